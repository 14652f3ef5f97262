// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// answered is what a request was answered with.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func exchange(t *testing.T, method, url string, body []byte) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{response.StatusCode, response.Header, got}
}

func start(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(newFloor(t.TempDir()))
	t.Cleanup(server.Close)
	return server.URL
}

func TestABlobThatWasPushedIsPulled(t *testing.T) {
	base := start(t)
	for _, size := range []int{0, 1, bufferSize, 3*bufferSize + 7} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
		blob := base + "/v2/a/b/c/blobs/" + digest
		if got := exchange(t, http.MethodHead, blob, nil); got.status != http.StatusNotFound {
			t.Errorf("before the push: status %d", got.status)
		}
		begun := exchange(t, http.MethodPost, base+"/v2/a/b/c/blobs/uploads/", nil)
		sent := exchange(t, http.MethodPatch, base+begun.header.Get("Location"), content)
		done := exchange(t, http.MethodPut, base+sent.header.Get("Location")+"?digest="+digest, nil)
		if begun.status != http.StatusAccepted || sent.status != http.StatusAccepted || done.status != http.StatusCreated {
			t.Fatalf("POST %d, PATCH %d, PUT %d", begun.status, sent.status, done.status)
		}
		if got := exchange(t, http.MethodGet, blob, nil); got.status != http.StatusOK || !bytes.Equal(got.body, content) {
			t.Errorf("pulled %d bytes of %d with status %d", len(got.body), size, got.status)
		}
	}
}

func TestAnotherDigestIsRefused(t *testing.T) {
	base := start(t)
	begun := exchange(t, http.MethodPost, base+"/v2/a/b/c/blobs/uploads/", nil)
	exchange(t, http.MethodPatch, base+begun.header.Get("Location"), []byte("content"))
	if done := exchange(t, http.MethodPut, base+begun.header.Get("Location")+"?digest=sha256:00", nil); done.status != http.StatusBadRequest {
		t.Errorf("got status %d, want 400", done.status)
	}
}

func TestAManifestIsFoundByTagAndDigest(t *testing.T) {
	base := start(t)
	put := exchange(t, http.MethodPut, base+"/v2/a/b/c/manifests/v1", []byte("{}"))
	if put.status != http.StatusCreated {
		t.Fatalf("got status %d", put.status)
	}
	for _, reference := range []string{"v1", put.header.Get("Docker-Content-Digest")} {
		if got := exchange(t, http.MethodGet, base+"/v2/a/b/c/manifests/"+reference, nil); string(got.body) != "{}" {
			t.Errorf("%s: got %q with status %d", reference, got.body, got.status)
		}
	}
}

func TestAnswersAreTaughtWithTheirQuery(t *testing.T) {
	base := start(t)
	exchange(t, http.MethodPut, base+"/fixed/v2/a/tags/list?n=1", []byte("page"))
	if got := exchange(t, http.MethodGet, base+"/v2/a/tags/list?n=1", nil); string(got.body) != "page" {
		t.Errorf("got %q", got.body)
	}
	if got := exchange(t, http.MethodGet, base+"/v2/a/tags/list", nil); got.status != http.StatusNotFound {
		t.Errorf("without the query: status %d, want 404", got.status)
	}
}
