// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func TestADatabaseThatIsAwayIsAnsweredAndSurvived(t *testing.T) {
	server := postgrestest.Start(t)
	dir := t.TempDir()
	p := startProcess(t, processOptions{DataDir: dir, DatabaseURL: server.Schema()})
	c := client{t: t, addr: p.addr, value: ownerValue}
	kept := &acknowledged{name: name, manifests: map[ref.Digest][]byte{}}
	content, digest := c.pushImage(name, "before", strings.Repeat("layer", 20_000))
	kept.manifests[digest] = content
	if _, err := os.Stat(filepath.Join(dir, "catalog.db")); !os.IsNotExist(err) {
		t.Errorf("the catalog is in a file as well: %v", err)
	}
	ready := func() int {
		return client{t: t, addr: p.admin}.do("GET", "/readyz", nil).StatusCode
	}
	if got := ready(); got != http.StatusOK {
		t.Fatalf("readyz is %d", got)
	}

	server.Kill()
	for _, a := range c.doTogether(
		asked{"HEAD", "/v2/" + name + "/manifests/before", nil},
		asked{"GET", "/v2/" + name + "/tags/list", nil},
		asked{"POST", "/v2/" + name + "/blobs/uploads/", nil},
		asked{"PUT", "/v2/" + name + "/manifests/away", content},
	) {
		a.wantUnavailable(t)
	}
	a := client{t: t, addr: p.admin}.do("GET", "/readyz", nil).want(t, http.StatusServiceUnavailable)
	if got := string(a.body); got != "the database does not answer\n" {
		t.Errorf("readyz says %q", got)
	}
	p.wantTroubles(t, registry.TroubleDatabaseUnavailable)

	server.Run()
	eventually(t, "the registry is ready again", func() bool { return ready() == http.StatusOK })
	p.wantTroubles(t)
	kept.check(c)
	content, digest = c.pushImage(name, "after", strings.Repeat("layer", 30_000))
	kept.manifests[digest] = content
	kept.check(c)
	p.terminate(t)
}

// asked is a request.
type asked struct {
	method, path string
	body         []byte
}

// doTogether sends requests at the same time, of which each takes long.
func (c client) doTogether(requests ...asked) []answer {
	c.t.Helper()
	answers, errs := make([]answer, len(requests)), make([]error, len(requests))
	var wait sync.WaitGroup
	for i, r := range requests {
		wait.Go(func() { answers[i], errs[i] = c.send(r.method, r.path, r.body) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatal(err)
	}
	return answers
}

// wantUnavailable fails the test unless the answer asks to come back later, and
// tells nothing of what is away.
func (a answer) wantUnavailable(t *testing.T) {
	t.Helper()
	a.want(t, http.StatusServiceUnavailable).wantHeader(t, "Retry-After", "5")
	if a.Request.Method != http.MethodHead {
		a.want(t, http.StatusServiceUnavailable, errcode.Unavailable).wantReason(t, "try again")
	}
	for _, secret := range []string{"postgres", postgrestest.Password, "127.0.0.1", "test-access-key", "amazon"} {
		if strings.Contains(string(a.body), secret) {
			t.Errorf("%s %s tells %q: %s", a.Request.Method, a.Request.URL, secret, a.body)
		}
	}
}

func TestARegistryBesideAnotherOnItsDatabaseIsRefused(t *testing.T) {
	database := postgrestest.Start(t).Schema()
	p := startProcess(t, processOptions{DataDir: t.TempDir(), DatabaseURL: database})
	_, err := tryProcess(t, processOptions{DataDir: t.TempDir(), DatabaseURL: database}, nil)
	if err == nil || !strings.Contains(err.Error(), "another registry that runs uses the database") {
		t.Errorf("it was started: %v", err)
	}
	p.terminate(t)
}

func TestARegistryOnTheDatabaseOfOtherBlobsIsRefused(t *testing.T) {
	database, bucket := postgrestest.Start(t).Schema(), s3test.Start(t).Endpoint
	inBucket := processOptions{DataDir: t.TempDir(), DatabaseURL: database, S3: bucket}
	startProcess(t, inBucket)
	for _, test := range []struct {
		what, want string
		options    processOptions
	}{
		{"a directory", "in s3://packages/registries/test, and this registry keeps its own in a data directory", processOptions{DatabaseURL: database}},
		{"another bucket", "in s3://packages/registries/test, and this registry keeps its own in s3://packages/elsewhere", processOptions{DatabaseURL: database, S3: bucket, S3Prefix: "elsewhere"}},
	} {
		test.options.DataDir = t.TempDir()
		if _, err := tryProcess(t, test.options, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want it to say %q", test.what, err, test.want)
		}
	}
	// Beside the first, one that has the same is welcome.
	inBucket.DataDir = t.TempDir()
	startProcess(t, inBucket)
}
