// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr/testr"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// remote is a store whose objects are no files, such as a bucket.
type remote struct{ blob.Store }

func (r remote) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	object, err := r.Store.Open(ctx, key)
	return struct{ io.ReadSeekCloser }{object}, err
}

// pieces counts what a response is written in.
type pieces struct {
	*httptest.ResponseRecorder
	count int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.count++
	return p.ResponseRecorder.Write(b)
}

func TestABlobThatIsNoFileIsSentInLargePieces(t *testing.T) {
	h, c := newHandler(t, t.TempDir())
	h = oci.New(oci.Options{
		Policy: h.Policy, Access: h.Access, Catalog: c, Blobs: remote{h.Blobs},
		Room: h.Room, Log: testr.New(t), Loopback: true,
	})
	content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	digest := ref.SHA256.FromBytes(content)
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/v2/"+failureName+"/blobs/uploads/?digest="+string(digest), content))
	w := &pieces{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, request("GET", "/v2/"+failureName+"/blobs/"+string(digest), nil))
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), content) {
		t.Fatalf("status %d and %d bytes, want the %d that were pushed", w.Code, w.Body.Len(), len(content))
	}
	if w.count > 16 {
		t.Errorf("4 MiB were sent in %d pieces", w.count)
	}
}
