// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	// documentRoom is how many bytes of documents, manifests and listings, are held
	// for clients that send or take them.
	documentRoom = 32 << 20
	// smallDocument is what needs no room: nearly all manifests. The number of
	// connections bounds it.
	smallDocument = 16 << 10
	// builders is how many large manifests are parsed, and listings put together, at a
	// time: both take a multiple of the document's length.
	builders = 4
	// documentPatience is how long a request waits for room.
	documentPatience = 10 * time.Second
	// manifestTime is how long the body of a manifest may take: it holds room.
	manifestTime = 2 * time.Minute
)

// room bounds the memory for documents.
type room struct {
	bytes    *semaphore.Weighted
	building *semaphore.Weighted
	patience time.Duration
}

func newRoom() room {
	return room{
		bytes:    semaphore.NewWeighted(documentRoom),
		building: semaphore.NewWeighted(builders),
		patience: documentPatience,
	}
}

// take waits until there is room for a document of size bytes, and returns what
// gives it back. Without room in time the error is a 429.
func (m *room) take(ctx context.Context, size int64) (release func(), err error) {
	if size <= smallDocument {
		return func() {}, nil
	}
	return m.wait(ctx, m.bytes, min(size, documentRoom))
}

// build waits for leave to build a document.
func (m *room) build(ctx context.Context) (release func(), err error) {
	return m.wait(ctx, m.building, 1)
}

func (m *room) wait(ctx context.Context, s *semaphore.Weighted, n int64) (release func(), err error) {
	patient, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	if err := s.Acquire(patient, n); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, tooMany(m.patience, "too many large manifests and listings are under way")
	}
	return func() { s.Release(n) }, nil
}

// readManifest reads a manifest's body, which keeps its room until release.
func (h *Handler) readManifest(x *exchange) (content []byte, release func(), err error) {
	if body, ok := x.r.Body.(interface{ EndBy(time.Time) }); ok {
		body.EndBy(h.Now().Add(manifestTime))
	}
	size := x.r.ContentLength
	if size > manifest.MaxSize {
		return nil, nil, manifestTooLarge(x)
	}
	var buffer bytes.Buffer
	if size < 0 {
		// How long it is shows only as it comes: more than this is taken for the longest.
		n, err := io.CopyN(&buffer, x.r.Body, smallDocument+1)
		if size = n; err == nil {
			size = manifest.MaxSize
		} else if err != io.EOF {
			return nil, nil, manifestBroken()
		}
	}
	if release, err = h.room.take(x.r.Context(), size); err != nil {
		return nil, nil, err
	}
	buffer.Grow(int(size) - buffer.Len() + bytes.MinRead)
	_, err = buffer.ReadFrom(io.LimitReader(x.r.Body, manifest.MaxSize+1-int64(buffer.Len())))
	switch {
	case err != nil:
		err = manifestBroken()
	case buffer.Len() > manifest.MaxSize:
		err = manifestTooLarge(x)
	default:
		return buffer.Bytes(), release, nil
	}
	release()
	return nil, nil, err
}

// manifestTooLarge reads on for a while: most clients look for an answer only when
// they have sent what they have.
func manifestTooLarge(x *exchange) error {
	_, _ = io.CopyN(io.Discard, x.r.Body, 4*manifest.MaxSize)
	return errcode.New(http.StatusRequestEntityTooLarge, errcode.SizeInvalid, fmt.Sprintf("the manifest is larger than %d bytes", manifest.MaxSize))
}

func manifestBroken() error {
	return errcode.New(http.StatusBadRequest, errcode.ManifestInvalid, "the connection ended, or two minutes passed, before the whole manifest arrived")
}

// parseManifest parses what was pushed.
func (h *Handler) parseManifest(x *exchange, content []byte) (manifest.Manifest, error) {
	if len(content) > smallDocument {
		release, err := h.room.build(x.r.Context())
		if err != nil {
			return manifest.Manifest{}, err
		}
		defer release()
	}
	parsed, err := manifest.Parse(content, x.r.Header.Get("Content-Type"))
	if err != nil {
		err = errcode.New(http.StatusBadRequest, errcode.ManifestInvalid, err.Error())
	}
	return parsed, err
}

// loadManifest gets a manifest that has room until release.
func (h *Handler) loadManifest(ctx context.Context, name ref.Name, digest ref.Digest) (m catalog.Manifest, release func(), err error) {
	if m, err = h.Catalog.Manifest(ctx, name, digest); err != nil {
		return m, nil, err
	}
	size := int64(len(m.Content))
	if size <= smallDocument {
		return m, func() {}, nil
	}
	if h.room.bytes.TryAcquire(size) {
		return m, func() { h.room.bytes.Release(size) }, nil
	}
	// Who waits for room must not hold what there is none for.
	m = catalog.Manifest{}
	if release, err = h.room.take(ctx, size); err != nil {
		return m, nil, err
	}
	if m, err = h.Catalog.Manifest(ctx, name, digest); err != nil {
		release()
	}
	return m, release, err
}

// list answers with a listing that build puts together.
func (h *Handler) list(x *exchange, build func() (any, error)) error {
	ctx := x.r.Context()
	done, err := h.room.build(ctx)
	if err != nil {
		return err
	}
	body, release, err := func() ([]byte, func(), error) {
		defer done()
		document, err := build()
		if err != nil {
			return nil, nil, err
		}
		body, err := json.Marshal(document)
		if err != nil {
			return nil, nil, err
		}
		// As long as this one waits for room, no other is begun.
		release, err := h.room.take(ctx, int64(len(body)))
		return body, release, err
	}()
	if err != nil {
		return err
	}
	defer release()
	writeJSONBody(x, http.StatusOK, body)
	return nil
}
