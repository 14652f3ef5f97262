// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/byterange"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// readier is an object of which it shows only at the first Read, or by Ready, that
// it cannot be read. Afterwards it is too late for another status than 200.
type readier interface{ Ready() error }

// getBlob serves "Pulling blobs" of OCI Distribution, HEAD and GET, with ranges.
func (h *Handler) getBlob(x *exchange) error {
	ctx := x.r.Context()
	b, err := h.Catalog.Blob(ctx, x.req.Name, x.req.Digest)
	if err != nil {
		return err
	}
	byterange.Settle(x.r, b.Size)
	var content io.ReadSeeker
	switch {
	case b.Key == "":
		content = bytes.NewReader(b.Content)
	case x.r.Method == http.MethodHead:
		if whole, err := h.present(ctx, b); err != nil {
			return err
		} else if !whole {
			return catalog.ErrBlobUnknown
		}
		// Its size is all that is asked of it.
		content = io.NewSectionReader(bytes.NewReader(nil), 0, b.Size)
	default:
		object, err := blob.OpenSized(ctx, h.Blobs, b.Key, b.Size)
		if err != nil {
			return lostError(b, err)
		}
		defer func() { _ = object.Close() }()
		if object, ok := object.(readier); ok && x.r.Header.Get("Range") == "" {
			if err := object.Ready(); err != nil {
				return lostError(b, err)
			}
		}
		content = object
	}
	header := x.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Docker-Content-Digest", string(b.Digest))
	header.Set("Etag", etag(b.Digest))
	http.ServeContent(x, x.r, "", time.Time{}, content)
	return nil
}

func etag(d ref.Digest) string { return `"` + string(d) + `"` }

// deleteBlob serves "Deleting blobs".
func (h *Handler) deleteBlob(x *exchange) error {
	if err := h.Catalog.DeleteBlob(x.r.Context(), x.req.Name, x.req.Digest); err != nil {
		return err
	}
	writeBody(x, http.StatusAccepted, nil)
	return nil
}
