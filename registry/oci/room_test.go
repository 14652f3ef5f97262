// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const indexStart = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"x":"`

// indexOf is an index of size bytes.
func indexOf(size int) []byte {
	const end = `"}}`
	return []byte(indexStart + strings.Repeat("x", size-len(indexStart)-len(end)) + end)
}

func manifestPath(tag string) string { return "/v2/" + failureName + "/manifests/" + tag }

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantStatus fails the test unless the answer has the status; a 429 must tell how long
// to wait.
func wantStatus(t *testing.T, what string, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%s: status %d, want %d: %.300s", what, w.Code, status, w.Body)
	}
	if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "TOOMANYREQUESTS")) {
		t.Errorf("%s: Retry-After is %q: %s", what, w.Header().Get("Retry-After"), w.Body)
	}
}

// fullHandler is one whose clients wait a millisecond for room.
func fullHandler(t *testing.T) (*oci.Handler, *impatient) {
	t.Helper()
	h, c := newHandler(t, t.TempDir())
	h.SetPatience(time.Millisecond)
	return h, c
}

// slowPushes begins as many pushes of a manifest as there is room for, and returns what
// lets them end. length is what they announce.
func slowPushes(t *testing.T, h http.Handler, length int64) (finish func() []int) {
	t.Helper()
	const fit = 4 // of 4 MiB in the room for documents
	content := indexOf(manifest.MaxSize)
	var pushes sync.WaitGroup
	var pipes []*io.PipeWriter
	statuses := make([]int, fit)
	for i := range fit {
		body, pipe := io.Pipe()
		pipes = append(pipes, pipe)
		pushes.Go(func() {
			r := request("PUT", manifestPath(fmt.Sprint("slow-", i)), nil)
			r.Body, r.ContentLength = body, length
			statuses[i] = serve(h, r).Code
		})
		// A write ends when it has been read: by then the room is taken.
		if _, err := pipe.Write(content[:20_000]); err != nil {
			t.Fatal(err)
		}
		if _, err := pipe.Write(content[20_000:20_001]); err != nil {
			t.Fatal(err)
		}
	}
	return func() []int {
		for _, pipe := range pipes {
			pushes.Go(func() {
				_, _ = pipe.Write(content[20_001:])
				_ = pipe.Close()
			})
		}
		pushes.Wait()
		return statuses
	}
}

func TestLargeManifestsShareABoundedRoom(t *testing.T) {
	for framing, length := range map[string]int64{"Content-Length": manifest.MaxSize, "chunked": -1} {
		t.Run(framing, func(t *testing.T) {
			h, _ := fullHandler(t)
			wantStatus(t, "a large manifest", serve(h, request("PUT", manifestPath("large"), indexOf(100_000))), http.StatusCreated)
			finish := slowPushes(t, h, length)

			wantStatus(t, "one more large manifest", serve(h, request("PUT", manifestPath("more"), indexOf(20_000))), http.StatusTooManyRequests)
			wantStatus(t, "a pull of a large manifest", serve(h, request("GET", manifestPath("large"), nil)), http.StatusTooManyRequests)
			chunked := request("PUT", manifestPath("more"), indexOf(20_000))
			chunked.ContentLength = -1
			wantStatus(t, "one more without a length", serve(h, chunked), http.StatusTooManyRequests)
			// What is small needs no room.
			wantStatus(t, "a small manifest", serve(h, request("PUT", manifestPath("small"), indexOf(16<<10))), http.StatusCreated)
			chunked = request("PUT", manifestPath("small"), indexOf(10_000))
			chunked.ContentLength = -1
			wantStatus(t, "a small manifest without a length", serve(h, chunked), http.StatusCreated)
			wantStatus(t, "a pull of it", serve(h, request("GET", manifestPath("small"), nil)), http.StatusOK)
			wantStatus(t, "the head of a large manifest", serve(h, request("HEAD", manifestPath("large"), nil)), http.StatusOK)
			wantStatus(t, "a listing", serve(h, request("GET", "/v2/"+failureName+"/tags/list", nil)), http.StatusOK)

			// Bodies have room for as long as they come; to parse them, patience is short here.
			h.SetPatience(time.Minute)
			for i, status := range finish() {
				if status != http.StatusCreated {
					t.Errorf("slow push %d: status %d", i, status)
				}
			}
			h.SetPatience(time.Millisecond)
			wantStatus(t, "a large manifest afterwards", serve(h, request("PUT", manifestPath("more"), indexOf(manifest.MaxSize))), http.StatusCreated)
			wantStatus(t, "a pull of it", serve(h, request("GET", manifestPath("more"), nil)), http.StatusOK)
		})
	}
}

// Whether a manifest is refused, too large or breaks off: its room comes back.
func TestRefusedManifestsGiveBackTheirRoom(t *testing.T) {
	h, _ := fullHandler(t)
	broken := bytes.Repeat([]byte("{"), manifest.MaxSize)
	for range 10 {
		wantStatus(t, "no manifest", serve(h, request("PUT", manifestPath("x"), broken)), http.StatusBadRequest)
		wantStatus(t, "too large", serve(h, request("PUT", manifestPath("x"), append(broken, '{'))), http.StatusRequestEntityTooLarge)
		chunked := request("PUT", manifestPath("x"), append(broken, '{'))
		chunked.ContentLength = -1
		wantStatus(t, "too large, without a length", serve(h, chunked), http.StatusRequestEntityTooLarge)
		r := request("PUT", manifestPath("x"), nil)
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(broken[:100_000]), failing{}))
		r.ContentLength = manifest.MaxSize
		wantStatus(t, "broken off", serve(h, r), http.StatusBadRequest)
		wantStatus(t, "unknown", serve(h, request("GET", manifestPath("x"), nil)), http.StatusNotFound)
	}
	wantStatus(t, "a large manifest", serve(h, request("PUT", manifestPath("x"), indexOf(manifest.MaxSize))), http.StatusCreated)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// slowReader takes an answer when it is released.
type slowReader struct {
	*httptest.ResponseRecorder
	begun, released chan struct{}
}

func (w slowReader) Write(p []byte) (int, error) {
	w.begun <- struct{}{}
	<-w.released
	return w.ResponseRecorder.Write(p)
}

func TestWhoTakesAnswersSlowlyHoldsABoundedRoom(t *testing.T) {
	h, _ := fullHandler(t)
	wantStatus(t, "push", serve(h, request("PUT", manifestPath("large"), indexOf(manifest.MaxSize))), http.StatusCreated)
	var pulls sync.WaitGroup
	begun, released := make(chan struct{}), make(chan struct{})
	for range 4 {
		pulls.Go(func() {
			w := slowReader{httptest.NewRecorder(), begun, released}
			h.ServeHTTP(w, request("GET", manifestPath("large"), nil))
			if w.Body.Len() != manifest.MaxSize {
				t.Errorf("a slow pull got %d bytes", w.Body.Len())
			}
		})
		<-begun
	}
	wantStatus(t, "one more", serve(h, request("GET", manifestPath("large"), nil)), http.StatusTooManyRequests)
	h.SetPatience(time.Minute)
	var late sync.WaitGroup
	late.Go(func() {
		wantStatus(t, "one that waits", serve(h, request("GET", manifestPath("large"), nil)), http.StatusOK)
	})
	close(released)
	pulls.Wait()
	late.Wait()
}

// held is a catalog that lists tags when it is released.
type held struct {
	*impatient
	begun, released chan struct{}
}

func (c held) Tags(ctx context.Context, name ref.Name, last string, limit int) ([]ref.Tag, error) {
	c.begun <- struct{}{}
	<-c.released
	return c.impatient.Tags(ctx, name, last, limit)
}

func TestFewListingsAreBuiltAtATime(t *testing.T) {
	h, c := fullHandler(t)
	wantStatus(t, "push", serve(h, request("PUT", manifestPath("small"), indexOf(1000))), http.StatusCreated)
	catalog := held{c, make(chan struct{}), make(chan struct{})}
	h.Catalog = catalog
	tags := func() *http.Request { return request("GET", "/v2/"+failureName+"/tags/list", nil) }
	var listings sync.WaitGroup
	for range 4 {
		listings.Go(func() { wantStatus(t, "a listing", serve(h, tags()), http.StatusOK) })
		<-catalog.begun
	}
	wantStatus(t, "one more listing", serve(h, tags()), http.StatusTooManyRequests)
	wantStatus(t, "the catalog", serve(h, request("GET", "/v2/_catalog", nil)), http.StatusTooManyRequests)
	wantStatus(t, "referrers", serve(h, request("GET", "/v2/"+failureName+"/referrers/"+string(ref.SHA256.FromBytes(nil)), nil)), http.StatusTooManyRequests)
	wantStatus(t, "a small manifest", serve(h, request("GET", manifestPath("small"), nil)), http.StatusOK)
	close(catalog.released)
	listings.Wait()
	wantStatus(t, "a listing afterwards", serve(h, request("GET", "/v2/_catalog", nil)), http.StatusOK)
}
