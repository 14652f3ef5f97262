// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// admin asks the admin port.
func admin(t *testing.T, r *registrytest.Registry) client { return client{t: t, addr: r.AdminAddr} }

// status reads /status, which has no other fields than registry.Status.
func status(t *testing.T, r *registrytest.Registry) registry.Status {
	t.Helper()
	a := admin(t, r).do("GET", "/status", nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
	decoder := json.NewDecoder(strings.NewReader(string(a.body)))
	decoder.DisallowUnknownFields()
	var got registry.Status
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return got
}

func TestARegistryIsReadyOnceItHasAPolicy(t *testing.T) {
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{WithoutPolicy: true})
	a := admin(t, r)
	a.do("GET", "/healthz", nil).want(t, http.StatusOK)
	if got := a.do("GET", "/readyz", nil).want(t, http.StatusServiceUnavailable); string(got.body) != "no policy yet\n" {
		t.Errorf("/readyz: %q", got.body)
	}
	if got := status(t, r); got.PolicyRevision != "" || got.Instance.UID != "uid-of-test" {
		t.Errorf("status without a policy: %+v", got)
	}
	client{t: t, addr: r.Addr, value: writerValue}.do("GET", "/v2/", nil).want(t, http.StatusServiceUnavailable, errcode.Unknown)

	r.Publish(t, samplePolicy())
	a.do("GET", "/readyz", nil).want(t, http.StatusOK)
	client{t: t, addr: r.Addr, value: writerValue}.do("GET", "/v2/", nil).want(t, http.StatusOK)
}

func TestTheAdminPortTellsHowTheRegistryIs(t *testing.T) {
	r, c := start(t)
	snapshot, err := policy.NewSnapshot(samplePolicy())
	if err != nil {
		t.Fatal(err)
	}
	want := registry.Status{
		Instance:       registry.StatusInstance{Namespace: "tests", Name: "test", UID: "uid-of-test"},
		PolicyRevision: snapshot.Revision(), Version: "test",
	}
	if diff := cmp.Diff(want, status(t, r)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	r.Source().SetErr(errors.New("the newest policy has format 2"))
	want.PolicyError = "the newest policy has format 2"
	if diff := cmp.Diff(want, status(t, r)); diff != "" {
		t.Errorf("status with a policy that cannot be taken (-want +got):\n%s", diff)
	}
	// The last good policy stays in force, and the registry ready.
	a := admin(t, r)
	a.do("GET", "/readyz", nil).want(t, http.StatusOK)
	c.pushImage(name, "1.0", strings.Repeat("layer", 20_000))
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/2.0", nil).want(t, http.StatusNotFound)
	c.do("BREW", "/v2/", nil).want(t, http.StatusMethodNotAllowed)

	metrics := string(a.do("GET", "/metrics", nil).want(t, http.StatusOK).body)
	for _, line := range []string{
		`packages_registry_requests_total{code="200",method="GET",route="ManifestGet"} 1`,
		`packages_registry_requests_total{code="404",method="GET",route="ManifestGet"} 1`,
		`packages_registry_requests_total{code="201",method="PUT",route="ManifestPut"} 1`,
		`packages_registry_requests_total{code="201",method="PUT",route="UploadFinish"} 2`,
		`packages_registry_requests_total{code="405",method="other",route="Unknown"} 1`,
		`packages_registry_request_duration_seconds_count{route="UploadStart"} 2`,
		`packages_registry_requests_in_flight 0`,
		`packages_registry_policy_stale 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	for _, begin := range []string{"packages_registry_received_bytes_total 1", "packages_registry_sent_bytes_total ", "packages_registry_storage_free_bytes ", "go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(metrics, "\n"+begin) {
			t.Errorf("the metrics lack %s", begin)
		}
	}

	for _, path := range []string{"/healthz", "/readyz", "/status", "/metrics"} {
		a.do("POST", path, nil).want(t, http.StatusMethodNotAllowed)
		c.do("GET", path, nil).want(t, http.StatusNotFound) // not on the registry's port
	}
	a.do("GET", "/v2/", nil).want(t, http.StatusNotFound)
}

func TestProfilesAreServedWhenTheyAreAskedFor(t *testing.T) {
	paths := []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1"}
	for profiling, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		r := registrytest.Start(t, samplePolicy(), registrytest.Options{Profiling: profiling})
		for _, path := range paths {
			if a := admin(t, r).do("GET", path, nil).want(t, want); profiling && len(a.body) == 0 {
				t.Errorf("%s is empty", path)
			}
			client{t: t, addr: r.Addr}.do("GET", path, nil).want(t, http.StatusNotFound)
		}
	}
}

func TestAPurgeDeletesARepositorysContentOnce(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	c.pushImage("octocat/octo-public/image", "1.0", "layer")
	p := samplePolicy()
	p.Purges = []policy.Purge{{ID: "uid-of-a-repository", Owner: "octocat", Name: "octo-app"}}
	r.Publish(t, p)
	eventually(t, "the purge is reported", func() bool { return len(status(t, r).Purged) == 1 })
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusNotFound)
	c.do("HEAD", "/v2/"+name+"/blobs/"+string(ref.SHA256.FromBytes([]byte("layer"))), nil).want(t, http.StatusNotFound)
	c.do("GET", "/v2/octocat/octo-public/image/manifests/1.0", nil).want(t, http.StatusOK)

	// What is pushed afterwards stays, though the policy still has the purge.
	c.pushImage(name, "2.0", "layer")
	p.Purges = append(p.Purges, policy.Purge{ID: "uid-of-another", Owner: "octocat", Name: "octo-internal"})
	r.Publish(t, p)
	eventually(t, "the second purge is reported", func() bool { return len(status(t, r).Purged) == 2 })
	c.do("GET", "/v2/"+name+"/manifests/2.0", nil).want(t, http.StatusOK)
}

func TestDrainingLetsRunningRequestsFinish(t *testing.T) {
	r, c := start(t)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	upload := beginUpload(t, c, r.DataDir, "PATCH", location)

	stopped := make(chan struct{})
	go func() { defer close(stopped); r.Stop(t) }()
	eventually(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", r.Addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if got := admin(t, r).do("GET", "/readyz", nil).want(t, http.StatusServiceUnavailable); string(got.body) != "draining\n" {
		t.Errorf("/readyz while draining: %q", got.body)
	}
	admin(t, r).do("GET", "/healthz", nil).want(t, http.StatusOK)
	select {
	case <-stopped:
		t.Fatal("the registry did not wait for the upload")
	default:
	}
	upload.write(t, []byte("last"))
	if status := upload.finish(); status != http.StatusAccepted {
		t.Errorf("the upload that was under way: status %d", status)
	}
	<-stopped // Stop fails the test unless Run returned nil

	again := registrytest.Start(t, samplePolicy(), registrytest.Options{DataDir: r.DataDir})
	c.addr = again.Addr
	c.do("PUT", location+"?digest="+string(ref.SHA256.FromBytes(upload.received)), nil).want(t, http.StatusCreated)
}
