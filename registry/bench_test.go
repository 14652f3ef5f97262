// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// BenchmarkRequest is what a request costs beside what net/http takes for any:
// everything between the server and the catalog, with a bearer token.
func BenchmarkRequest(b *testing.B) {
	const image = "/v2/octocat/app/image"
	r := startBench(b)
	layer, blob := strings.Repeat("l", 16<<10), strings.Repeat("b", 64<<10)
	for _, content := range []string{"{}", layer, blob} {
		r.do(b, http.MethodPost, image+"/blobs/uploads/?digest="+digestOf(content), content)
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}`, digestOf("{}"), digestOf(layer), len(layer))
	for tag := range 200 {
		r.do(b, http.MethodPut, fmt.Sprintf("%s/manifests/v%d", image, tag), manifest)
	}
	for i := range 100 {
		signature := strings.TrimSuffix(manifest, "}") + fmt.Sprintf(`,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d},`+
			`"annotations":{"org.opencontainers.image.created":"%d"}}`, digestOf(manifest), len(manifest), i)
		r.do(b, http.MethodPut, image+"/manifests/"+digestOf(signature), signature)
	}
	for _, request := range []struct{ name, method, path string }{
		{"GetManifest", http.MethodGet, image + "/manifests/" + digestOf(manifest)},
		{"HeadTag", http.MethodHead, image + "/manifests/v100"},
		{"GetSmallBlob", http.MethodGet, image + "/blobs/" + digestOf(layer)},
		{"GetBlob", http.MethodGet, image + "/blobs/" + digestOf(blob)},
		{"TagsPage100", http.MethodGet, image + "/tags/list?n=100"},
		{"Referrers100", http.MethodGet, image + "/referrers/" + digestOf(manifest)},
	} {
		b.Run(request.name, func(b *testing.B) {
			w, received := &sink{header: http.Header{}}, r.request(b, request.method, request.path, "")
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				received.Body = http.NoBody // the handler replaces it
				r.handler.ServeHTTP(w, received)
			}
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
			}
		})
	}
}

// BenchmarkUpload is an upload of 16 KiB in the three requests that docker makes of it.
func BenchmarkUpload(b *testing.B) {
	r := startBench(b)
	contents := distinct(16<<10, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for _, content := range contents {
		r.upload(b, content)
	}
}

func TestTheBytesOfASmallUploadAreCopiedOnce(t *testing.T) {
	r := startBench(t)
	allocated := func(size int) int {
		const uploads = 200
		var before, after runtime.MemStats
		for i, content := range distinct(size, 2*uploads) {
			if i == uploads { // what is made once has been
				runtime.ReadMemStats(&before)
			}
			r.upload(t, content)
		}
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc-before.TotalAlloc) / uploads
	}
	// Far apart, so that what a pool happens to give back does not count.
	const small, large = 1 << 10, 31 << 10
	few, many := allocated(small), allocated(large)
	if copies := float64(many-few) / (large - small); copies > 1.5 {
		t.Errorf("%d bytes take %d, and %d bytes %d: %.1f copies", small, few, large, many, copies)
	}
}

// content is that of a blob, with its digest.
type content struct{ bytes, digest string }

// distinct makes contents of a size.
func distinct(size, count int) []content {
	list := make([]content, count)
	for i := range list {
		bytes := fmt.Sprintf("%-*d", size, i)
		list[i] = content{bytes, digestOf(bytes)}
	}
	return list
}

func (r *benchRegistry) upload(b testing.TB, c content) {
	b.Helper()
	location := r.send(b, http.MethodPost, "/v2/octocat/app/image/blobs/uploads/", "", http.StatusAccepted)
	location = r.send(b, http.MethodPatch, location, c.bytes, http.StatusAccepted)
	r.send(b, http.MethodPut, location+"?digest="+c.digest, "", http.StatusCreated)
}

// benchRegistry is a registry without a port.
type benchRegistry struct {
	handler http.Handler
	token   string
}

func startBench(b testing.TB, change ...func(*Options)) *benchRegistry {
	b.Helper()
	value := "bench-only-" + strings.Repeat("0", 40)
	snapshot, err := policy.NewSnapshot(policy.Policy{
		Instance: policy.Instance{Namespace: "bench", Name: "bench", UID: "uid"},
		Hosts:    policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:  policy.SupportEnabled, AnonymousPull: policy.AnonymousDeny,
		Repositories: []policy.Repository{{Owner: "octocat", Name: "app", Visibility: policy.Private}},
		Credentials: []policy.Credential{{
			ID: credential.ID(value), Hash: credential.Sum(value), User: "octocat", Scopes: []policy.Scope{policy.ScopeRead, policy.ScopeWrite},
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	live := &policy.Live{}
	live.Publish(snapshot)
	keys, err := access.CreateKeys(b.TempDir(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	o := Options{DataDir: b.TempDir(), InstanceUID: "uid", Keys: keys, Policy: live, Source: idleSource{}, Log: logr.Discard()}
	for _, f := range change {
		f(&o)
	}
	s, err := openStorage(b.Context(), o, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	})
	issued, err := access.New(keys, time.Now).IssueToken(snapshot, access.TokenRequest{
		Username: "octocat", Password: value, Service: "docker.packages.test", Scopes: []string{"repository:octocat/app/image:pull,push"},
	})
	if err != nil {
		b.Fatal(err)
	}
	m := newMetrics()
	s.measure(m, o.Tracer)
	return &benchRegistry{handler: newHandler(o, s, m), token: issued.Token}
}

type idleSource struct{ PolicySource }

func (r *benchRegistry) request(b testing.TB, method, path, body string) *http.Request {
	b.Helper()
	request := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	request.Host = "docker.packages.test"
	request.Header.Set("Authorization", "Bearer "+r.token)
	if strings.Contains(path, "/manifests/") {
		request.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	return request
}

// do makes a request that prepares a benchmark.
func (r *benchRegistry) do(b *testing.B, method, path, body string) {
	b.Helper()
	r.send(b, method, path, body, http.StatusCreated)
}

// send makes a request and returns where the answer points to.
func (r *benchRegistry) send(b testing.TB, method, path, body string, want int) string {
	b.Helper()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, r.request(b, method, path, body))
	if w.Code != want {
		b.Fatalf("%s %s: status %d: %s", method, path, w.Code, w.Body)
	}
	return w.Header().Get("Location")
}

// sink takes an answer and keeps nothing of it.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// ReadFrom takes a file as sendfile does: without reading it.
func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		return limited.N, nil
	}
	return io.Copy(io.Discard, r)
}

func digestOf(content string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))) }
