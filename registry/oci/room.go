// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"errors"
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
	documentRoom = 16 << 20
	// smallDocument is what needs no room: nearly all manifests. The number of
	// connections bounds it.
	smallDocument = 16 << 10
	// parsers is how many large manifests are parsed at a time, and builders how many
	// listings are put together: both take a multiple of the document's length.
	parsers  = 2
	builders = 4
	// documentPatience is how long a request waits for room.
	documentPatience = 10 * time.Second
	// manifestTime is how long the body of a manifest may take: it holds room.
	manifestTime = 2 * time.Minute
	// discardTime is how long the body of a manifest may take that is refused.
	discardTime = 5 * time.Second
)

// room bounds the memory for documents.
type room struct {
	bytes    *semaphore.Weighted
	parsing  *semaphore.Weighted
	building *semaphore.Weighted
	patience time.Duration
}

func newRoom() room {
	return room{
		bytes:    semaphore.NewWeighted(documentRoom),
		parsing:  semaphore.NewWeighted(parsers),
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

// wait takes n of s, if it can before patience ends.
func (m *room) wait(ctx context.Context, s *semaphore.Weighted, n int64) (release func(), err error) {
	release = func() { s.Release(n) }
	// Where nobody has to wait, no deadline may pass first.
	if s.TryAcquire(n) {
		return release, nil
	}
	patient, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	if err := s.Acquire(patient, n); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, tooMany(m.patience, "too many large manifests and listings are under way")
	}
	return release, nil
}

// readManifest reads a manifest's body, which keeps its room until release.
func (h *Handler) readManifest(x *exchange) (content []byte, release func(), err error) {
	h.endBodyIn(x, manifestTime)
	size := x.r.ContentLength
	if size > manifest.MaxSize {
		h.discardBody(x)
		return nil, nil, manifestTooLarge()
	}
	var buffer bytes.Buffer
	if size < 0 {
		// How long it is shows only as it comes: more than this is taken for the longest.
		n, err := io.CopyN(&buffer, x.r.Body, smallDocument+1)
		if size = n; err == nil {
			size = manifest.MaxSize
		} else if !errors.Is(err, io.EOF) {
			return nil, nil, manifestBroken()
		}
	}
	if release, err = h.room.take(x.r.Context(), size); err != nil {
		h.discardBody(x)
		return nil, nil, err
	}
	buffer.Grow(int(size) - buffer.Len() + bytes.MinRead)
	_, err = buffer.ReadFrom(io.LimitReader(x.r.Body, manifest.MaxSize+1-int64(buffer.Len())))
	switch {
	case err != nil:
		err = manifestBroken()
	case buffer.Len() > manifest.MaxSize:
		h.discardBody(x)
		err = manifestTooLarge()
	default:
		return buffer.Bytes(), release, nil
	}
	release()
	return nil, nil, err
}

// endBodyIn lets the request's body fail that has not come by then, where the server
// can do that.
func (h *Handler) endBodyIn(x *exchange, d time.Duration) {
	if body, ok := x.r.Body.(interface{ EndBy(time.Time) }); ok {
		body.EndBy(h.Now().Add(d))
	}
}

// discardBody takes a body that is refused, if it comes soon: most clients look for
// the answer only when they have sent what they have.
func (h *Handler) discardBody(x *exchange) {
	h.endBodyIn(x, discardTime)
	_, _ = io.CopyN(io.Discard, x.r.Body, 4*manifest.MaxSize)
}

func manifestTooLarge() error {
	return errcode.New(http.StatusRequestEntityTooLarge, errcode.SizeInvalid, fmt.Sprintf("the manifest is larger than %d bytes", manifest.MaxSize))
}

func manifestBroken() error {
	return errcode.New(http.StatusBadRequest, errcode.ManifestInvalid, "the connection ended, or two minutes passed, before the whole manifest arrived")
}

// parseManifest parses what was pushed.
func (h *Handler) parseManifest(x *exchange, content []byte) (manifest.Manifest, error) {
	if len(content) > smallDocument {
		release, err := h.room.wait(x.r.Context(), h.room.parsing, 1)
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
func (h *Handler) list(x *exchange, build func() ([]byte, error)) error {
	ctx := x.r.Context()
	done, err := h.room.wait(ctx, h.room.building, 1)
	if err != nil {
		return err
	}
	body, release, err := func() ([]byte, func(), error) {
		defer done()
		body, err := build()
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
