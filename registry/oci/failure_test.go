// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/filesystem"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

const (
	failureValue = "octocat-0123456789-0123456789-0123456789"
	failureName  = "octocat/octo-app/image"
)

// impatient is a catalog whose client leaves while it stores a blob.
type impatient struct {
	catalog.Store
	leave context.CancelFunc
}

func (i *impatient) PutBlob(ctx context.Context, name ref.Name, b catalog.Blob) (string, error) {
	if i.leave != nil {
		i.leave()
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return i.Store.PutBlob(ctx, name, b)
}

// newHandler serves a repository of octocat from dir.
func newHandler(t *testing.T, dir string) (*oci.Handler, *impatient) {
	t.Helper()
	blobs, err := filesystem.Open(dir, filesystem.Options{InstanceUID: "uid"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	store, err := sql.Open(t.Context(), sql.Options{
		Path: filepath.Join(dir, "catalog.db"), InstanceUID: "uid", GracePeriod: time.Hour, DeleteDelay: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	blobs.StartEpoch(store.Epoch())
	live := &policy.Live{}
	publish(t, live, failurePolicy())
	keys, err := access.NewKeys(map[string][]byte{"1": bytes.Repeat([]byte("k"), access.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	c := &impatient{Store: store}
	return oci.New(oci.Options{
		Policy: live, Access: access.New(keys, time.Now), Catalog: c, Blobs: blobs,
		Room: blobs.Room, Log: testr.New(t), Loopback: true,
	}), c
}

// failurePolicy has one private repository, and its owner's token.
func failurePolicy() policy.Policy {
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{Owner: "octocat", Name: "octo-app", Visibility: policy.Private}}
	p.Credentials = []policy.Credential{registrytest.Credential(failureValue, "octocat", policy.ScopeWrite, policy.ScopeDelete)}
	return p
}

func publish(t *testing.T, live *policy.Live, p policy.Policy) {
	t.Helper()
	snapshot, err := policy.NewSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	live.Publish(snapshot)
}

func request(method, path string, body []byte) *http.Request {
	r := httptest.NewRequest(method, "http://localhost"+path, bytes.NewReader(body))
	r.SetBasicAuth("octocat", failureValue)
	return r
}

// objectsIn are the paths of the objects in a data directory.
func objectsIn(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(filepath.Join(dir, "objects"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestABlobWhoseClientLeavesIsKept(t *testing.T) {
	dir := t.TempDir()
	h, c := newHandler(t, dir)
	content := bytes.Repeat([]byte("x"), 100_000)
	digest := ref.SHA256.FromBytes(content)
	ctx, cancel := context.WithCancel(t.Context())
	c.leave = cancel
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v2/"+failureName+"/blobs/uploads/?digest="+string(digest), content).WithContext(ctx))
	if w.Code != http.StatusCreated || len(objectsIn(t, dir)) != 1 {
		t.Fatalf("status %d, %d objects: %s", w.Code, len(objectsIn(t, dir)), w.Body)
	}
	if _, err := c.Blob(t.Context(), failureName, digest); err != nil {
		t.Error(err)
	}
}

// late is the end of a body, before which something happens.
type late struct{ happens func() }

func (l late) Read([]byte) (int, error) {
	l.happens()
	return 0, io.EOF
}

func TestWhatIsForbiddenWhileABodyArrivesIsNotStored(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	digest := string(ref.SHA256.FromBytes(content))
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	uploads := "/v2/" + failureName + "/blobs/uploads/"
	changes := map[string]struct {
		change func(*policy.Policy)
		status int
	}{
		"read-only":            {func(p *policy.Policy) { p.Support = policy.SupportReadOnly }, http.StatusMethodNotAllowed},
		"a deleted token":      {func(p *policy.Policy) { p.Credentials = nil }, http.StatusUnauthorized},
		"a deleted repository": {func(p *policy.Policy) { p.Repositories = nil }, http.StatusNotFound},
		"another change":       {func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic }, 0},
	}
	for what, c := range changes {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			h, _ := newHandler(t, dir)
			begin := func() string {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("POST", uploads, nil))
				return w.Header().Get("Location")
			}
			changed := failurePolicy()
			c.change(&changed)
			for _, push := range []struct {
				method, path string
				body         []byte
				status       int
			}{
				{"POST", uploads + "?digest=" + digest, content, http.StatusCreated},
				{"PATCH", begin(), content, http.StatusAccepted},
				{"PUT", begin() + "?digest=" + digest, content, http.StatusCreated},
				{"PUT", "/v2/" + failureName + "/manifests/1", manifest, http.StatusCreated},
			} {
				publish(t, h.Policy, failurePolicy())
				r := request(push.method, push.path, nil)
				r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(push.body), late{func() { publish(t, h.Policy, changed) }}))
				r.ContentLength = int64(len(push.body))
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if want := cmp.Or(c.status, push.status); w.Code != want {
					t.Errorf("%s %s: status %d, want %d: %s", push.method, push.path, w.Code, want, w.Body)
				}
			}
			if found := objectsIn(t, dir); c.status != 0 && len(found) > 0 {
				t.Errorf("stored even so: %v", found)
			}
		})
	}
}

func TestABlobWithoutItsObjectIsAFailureOfTheRegistry(t *testing.T) {
	dir := t.TempDir()
	h, _ := newHandler(t, dir)
	content := bytes.Repeat([]byte("x"), 100_000)
	digest := ref.SHA256.FromBytes(content)
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/v2/"+failureName+"/blobs/uploads/?digest="+string(digest), content))
	loseObjects(t, dir)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("GET", "/v2/"+failureName+"/blobs/"+string(digest), nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}

// loseObjects removes all objects of a data directory.
func loseObjects(t *testing.T, dir string) {
	t.Helper()
	for _, path := range objectsIn(t, dir) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// broken is a catalog that fails to store, with one error.
type broken struct {
	catalog.Store
	err   error
	swept *atomic.Bool
}

func (b broken) PutBlob(context.Context, ref.Name, catalog.Blob) (string, error) { return "", b.err }
func (b broken) FinishUpload(context.Context, string, catalog.Progress, catalog.Blob) (string, error) {
	return "", b.err
}
func (b broken) SaveUpload(context.Context, string, catalog.Progress, catalog.Progress) error {
	return b.err
}
func (b broken) SweepLater() { b.swept.Store(true) }

func TestAnObjectStaysUnlessItIsKnownNotToBeStored(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	digest := string(ref.SHA256.FromBytes(content))
	uploads := "/v2/" + failureName + "/blobs/uploads/"
	for _, test := range []struct {
		err  error
		kept int
	}{
		{catalog.ErrUnavailable, 0},
		{catalog.ErrOutcomeUnknown, 1},
		{errors.New("something else"), 1},
	} {
		for _, method := range []string{"POST", "PATCH", "PUT"} {
			dir := t.TempDir()
			h, c := newHandler(t, dir)
			path := uploads
			if method != "POST" {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("POST", uploads, nil))
				path = w.Header().Get("Location")
			}
			if method != "PATCH" {
				path += "?digest=" + digest
			}
			b := broken{Store: c.Store, err: fmt.Errorf("store it: %w", test.err), swept: &atomic.Bool{}}
			h.Catalog = b
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(method, path, content))
			if found := objectsIn(t, dir); len(found) != test.kept {
				t.Errorf("%v at %s: %d objects are left, want %d", test.err, method, len(found), test.kept)
			}
			if got := b.swept.Load(); got != (test.kept > 0) {
				t.Errorf("%v at %s: to be swept later: %v", test.err, method, got)
			}
		}
	}
}

// away is a blob store that takes bytes and does not answer.
type away struct{ blob.Store }

func (away) Append(_ context.Context, p blob.Partial, _ io.Reader) (blob.Partial, error) {
	return p, blob.ErrUnavailable
}
func (away) Delete(context.Context, string) error { return blob.ErrUnavailable }

func TestWhatAStoreThatIsAwayMayKeepIsSwept(t *testing.T) {
	h, c := newHandler(t, t.TempDir())
	b := broken{Store: c.Store, swept: &atomic.Bool{}}
	h = oci.New(oci.Options{
		Policy: h.Policy, Access: h.Access, Catalog: b, Blobs: away{h.Blobs},
		Room: h.Room, Log: testr.New(t), Loopback: true,
	})
	content := bytes.Repeat([]byte("x"), 100_000)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v2/"+failureName+"/blobs/uploads/?digest="+string(ref.SHA256.FromBytes(content)), content))
	if w.Code != http.StatusServiceUnavailable || !b.swept.Load() {
		t.Errorf("status %d, to be swept later: %v", w.Code, b.swept.Load())
	}
}

func TestAPushBringsALostObjectBack(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	digest := string(ref.SHA256.FromBytes(content))
	blobPath, uploads := "/v2/"+failureName+"/blobs/"+digest, "/v2/"+failureName+"/blobs/uploads/"
	const elsewhere = "/v2/octocat/octo-app/elsewhere/blobs/uploads/"
	for what, push := range map[string]func(h *oci.Handler) *http.Request{
		"in one request": func(*oci.Handler) *http.Request {
			return request("POST", uploads+"?digest="+digest, content)
		},
		"in parts": func(h *oci.Handler) *http.Request {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request("POST", uploads, nil))
			location := w.Header().Get("Location")
			h.ServeHTTP(httptest.NewRecorder(), request("PATCH", location, content[:70_000]))
			return request("PUT", location+"?digest="+digest, content[70_000:])
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			h, _ := newHandler(t, dir)
			want := func(r *http.Request, status int) *httptest.ResponseRecorder {
				t.Helper()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != status {
					t.Fatalf("%s %s: status %d, want %d: %s", r.Method, r.URL, w.Code, status, w.Body)
				}
				return w
			}
			want(request("POST", uploads+"?digest="+digest, content), http.StatusCreated)
			want(request("POST", elsewhere+"?mount="+digest+"&from="+failureName, nil), http.StatusCreated)
			loseObjects(t, dir)

			// A client that asks first is not told that it need not push.
			want(request("HEAD", blobPath, nil), http.StatusNotFound)
			want(request("POST", uploads+"?mount="+digest+"&from=octocat/octo-app/elsewhere", nil), http.StatusAccepted)
			want(request("POST", "/v2/octocat/octo-app/third/blobs/uploads/?mount="+digest, nil), http.StatusAccepted)

			want(push(h), http.StatusCreated)
			for _, name := range []string{failureName, "octocat/octo-app/elsewhere"} {
				w := want(request("GET", "/v2/"+name+"/blobs/"+digest, nil), http.StatusOK)
				if !bytes.Equal(w.Body.Bytes(), content) {
					t.Errorf("%s has other content", name)
				}
			}
			// One that is whole is not replaced.
			objects := objectsIn(t, dir)
			want(push(h), http.StatusCreated)
			if after := objectsIn(t, dir); len(objects) != 1 || !slices.Equal(after, objects) {
				t.Errorf("objects %v became %v", objects, after)
			}
			want(request("HEAD", blobPath, nil), http.StatusOK)
		})
	}
}

func TestAnUploadWithoutItsObjectIsUnknown(t *testing.T) {
	dir := t.TempDir()
	h, _ := newHandler(t, dir)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v2/"+failureName+"/blobs/uploads/", nil))
	location := w.Header().Get("Location")
	h.ServeHTTP(httptest.NewRecorder(), request("PATCH", location, make([]byte, 100_000)))
	loseObjects(t, dir)
	for method, path := range map[string]string{"PATCH": location, "PUT": location + "?digest=" + string(ref.SHA256.FromBytes(make([]byte, 100_000)))} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(method, path, []byte{}))
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "BLOB_UPLOAD_UNKNOWN") {
			t.Errorf("%s: status %d: %s", method, w.Code, w.Body)
		}
	}
}

// contested is a blob store where another registry ends an upload, and deletes its
// object, just before a request writes to it.
type contested struct {
	blob.Store
	ends func()
	err  error
}

func (c *contested) Append(_ context.Context, p blob.Partial, r io.Reader) (blob.Partial, error) {
	c.ends()
	n, err := io.Copy(io.Discard, r)
	p.Size += n
	return p, cmp.Or(c.err, err)
}

func (c *contested) Commit(context.Context, blob.Partial) error {
	c.ends()
	return c.err
}

func TestAnUploadThatEndsWhileItIsWrittenToLeavesNothing(t *testing.T) {
	content := make([]byte, 100_000)
	digest := string(ref.SHA256.FromBytes(content))
	for what, failure := range map[string]error{
		"written after its deletion":      nil,
		"the storage refuses what it had": errors.New("it was completed with other content"),
	} {
		for _, r := range []struct {
			method, query string
			first, last   []byte
		}{
			{"PATCH", "", content[:50_000], content[50_000:]},
			{"PUT", "?digest=" + digest, content[:50_000], content[50_000:]},
			{"PUT", "?digest=" + digest, content, nil},
		} {
			t.Run(fmt.Sprintf("%s/%s of %d bytes", what, r.method, len(r.last)), func(t *testing.T) {
				h, c := newHandler(t, t.TempDir())
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("POST", "/v2/"+failureName+"/blobs/uploads/", nil))
				location := w.Header().Get("Location")
				h.ServeHTTP(httptest.NewRecorder(), request("PATCH", location, r.first))

				var key string
				ends := func() {
					var err error
					if key != "" {
						return
					}
					if key, err = c.CancelUpload(t.Context(), filepath.Base(location), failureName, "octocat"); err != nil {
						t.Fatal(err)
					}
					due, err := c.DueDeletions(t.Context(), 10)
					if err != nil || len(due) != 1 {
						t.Fatalf("due deletions are %v: %v", due, err)
					}
					if err := c.DeletionsDone(t.Context(), due); err != nil {
						t.Fatal(err)
					}
				}
				h = oci.New(oci.Options{
					Policy: h.Policy, Access: h.Access, Catalog: c, Blobs: &contested{h.Blobs, ends, failure},
					Room: h.Room, Log: testr.New(t), Loopback: true,
				})
				w = httptest.NewRecorder()
				h.ServeHTTP(w, request(r.method, location+r.query, r.last))
				if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "BLOB_UPLOAD_UNKNOWN") {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
				due, err := c.DueDeletions(t.Context(), 10)
				if err != nil || len(due) != 1 || due[0].Key != key {
					t.Errorf("due deletions are %v, want object %s: %v", due, key, err)
				}
			})
		}
	}
}

func TestWithoutRoomWhatStoresIsRefusedAndAllElseGoesOn(t *testing.T) {
	h, _ := newHandler(t, t.TempDir())
	send := func(method, path string, body []byte) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(method, path, body))
		return w
	}
	content := []byte("layer")
	digest := string(ref.SHA256.FromBytes(content))
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	base := "/v2/" + failureName
	uploads := base + "/blobs/uploads/"
	send("POST", uploads+"?digest="+digest, content)
	send("PUT", base+"/manifests/1", index)
	upload := send("POST", uploads, nil).Header().Get("Location")
	h.Room = func() error { return blob.ErrNoSpace }
	for _, r := range []struct {
		method, path string
		body         []byte
		status       int
	}{
		{"POST", uploads, nil, http.StatusInsufficientStorage},
		{"POST", uploads + "?digest=" + digest, content, http.StatusInsufficientStorage},
		{"POST", uploads + "?mount=" + digest + "&from=" + failureName, nil, http.StatusInsufficientStorage},
		{"PATCH", upload, content, http.StatusInsufficientStorage},
		{"PUT", upload + "?digest=" + digest, content, http.StatusInsufficientStorage},
		{"PUT", base + "/manifests/2", index, http.StatusInsufficientStorage},
		{"GET", "/v2/", nil, http.StatusOK},
		{"GET", "/v2/_catalog", nil, http.StatusOK},
		{"GET", "/token?service=docker.packages.test", nil, http.StatusOK},
		{"GET", base + "/tags/list", nil, http.StatusOK},
		{"GET", base + "/referrers/" + digest, nil, http.StatusOK},
		{"HEAD", base + "/manifests/1", nil, http.StatusOK},
		{"GET", base + "/manifests/1", nil, http.StatusOK},
		{"HEAD", base + "/blobs/" + digest, nil, http.StatusOK},
		{"GET", base + "/blobs/" + digest, nil, http.StatusOK},
		{"GET", upload, nil, http.StatusNoContent},
		{"DELETE", upload, nil, http.StatusNoContent},
		{"DELETE", base + "/manifests/1", nil, http.StatusAccepted},
		{"DELETE", base + "/blobs/" + digest, nil, http.StatusAccepted},
	} {
		w := send(r.method, r.path, r.body)
		if w.Code != r.status {
			t.Errorf("%s %s: status %d, want %d: %s", r.method, r.path, w.Code, r.status, w.Body)
		}
		if full := strings.Contains(w.Body.String(), "the registry's storage is full"); full != (r.status == http.StatusInsufficientStorage) {
			t.Errorf("%s %s answers %s", r.method, r.path, w.Body)
		}
	}
}

func TestRefusalsStayShort(t *testing.T) {
	h, _ := newHandler(t, t.TempDir())
	const descriptor = `{"mediaType":"application/x","digest":"%","size":1}`
	var layers []string
	for i := range 1000 {
		layers = append(layers, strings.Replace(descriptor, "%", string(ref.SHA256.FromBytes([]byte{byte(i), byte(i >> 8)})), 1))
	}
	content := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + layers[0] + `,"layers":[` + strings.Join(layers, ",") + `]}`
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("PUT", "/v2/"+failureName+"/manifests/1", []byte(content)))
	if w.Code != http.StatusNotFound || w.Body.Len() > 3000 || !strings.Contains(w.Body.String(), "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("status %d, %d bytes: %.200s", w.Code, w.Body.Len(), w.Body)
	}
}

func TestAPortThatIsNoneSelectsNothing(t *testing.T) {
	h, _ := newHandler(t, t.TempDir())
	for host, want := range map[string]int{
		"127.0.0.1:5000": http.StatusOK, "localhost": http.StatusOK, "[::1]:80": http.StatusOK, "localhost:": http.StatusOK,
		"127.0.0.1:x@elsewhere.example": http.StatusNotFound, "127.0.0.1:99999": http.StatusNotFound, "": http.StatusNotFound,
	} {
		r := request("GET", "/v2/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: status %d, want %d", host, w.Code, want)
		}
	}
}
