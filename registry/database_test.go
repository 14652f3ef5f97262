// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
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
	for _, a := range []answer{
		c.do("HEAD", "/v2/"+name+"/manifests/before", nil),
		c.do("GET", "/v2/"+name+"/tags/list", nil),
		c.do("POST", "/v2/"+name+"/blobs/uploads/", nil),
		c.putManifest(name, "away", content),
		client{t: t, addr: p.admin}.do("GET", "/readyz", nil),
	} {
		if a.StatusCode < 500 || strings.Contains(string(a.body), "postgres") {
			t.Errorf("%s %s: status %d: %s", a.Request.Method, a.Request.URL, a.StatusCode, a.body)
		}
	}

	server.Run()
	eventually(t, "the registry is ready again", func() bool { return ready() == http.StatusOK })
	kept.check(c)
	content, digest = c.pushImage(name, "after", strings.Repeat("layer", 30_000))
	kept.manifests[digest] = content
	kept.check(c)
	p.terminate(t)
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
