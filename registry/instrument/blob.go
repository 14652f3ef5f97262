// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instrument

import (
	"context"
	"io"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// The operations of a blob store, and what they are called. What costs nothing,
// and a listing whose reader sets the pace, are not timed.
const (
	opAppend = iota
	opCommit
	opOpen
	opOpenPartial
	opDelete
)

var blobOperations = []string{
	opAppend: "Append", opCommit: "Commit", opOpen: "Open", opOpenPartial: "OpenPartial", opDelete: "Delete",
}

// measuredBlobs is a blob store whose operations are timed. What it opens is what
// the store opened, so that a file is still sent by the kernel.
type measuredBlobs struct {
	blob.Store
	operations *operations
}

var _ blob.SizedStore = (*measuredBlobs)(nil)

// Blobs measures a blob store.
func Blobs(s blob.Store, o Options) blob.SizedStore {
	return &measuredBlobs{Store: s, operations: newOperations("blob", blobOperations, o)}
}

func (m *measuredBlobs) Append(ctx context.Context, p blob.Partial, r io.Reader) (next blob.Partial, err error) {
	ctx, c := m.operations.begin(ctx, opAppend)
	next, err = m.Store.Append(ctx, p, r)
	if err != nil && next.Size != p.Size {
		// A store that fails returns p: it was the client.
		c.end(context.Canceled)
	} else {
		c.end(err)
	}
	return next, err
}

func (m *measuredBlobs) Commit(ctx context.Context, p blob.Partial) error {
	ctx, c := m.operations.begin(ctx, opCommit)
	err := m.Store.Commit(ctx, p)
	c.end(err)
	return err
}

// Open, OpenSized and OpenPartial read with the context that they are given, which
// outlasts the span.

func (m *measuredBlobs) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	_, c := m.operations.begin(ctx, opOpen)
	object, err := m.Store.Open(ctx, key)
	c.end(err)
	return object, err
}

func (m *measuredBlobs) OpenSized(ctx context.Context, key string, size int64) (io.ReadSeekCloser, error) {
	_, c := m.operations.begin(ctx, opOpen)
	object, err := blob.OpenSized(ctx, m.Store, key, size)
	c.end(err)
	return object, err
}

func (m *measuredBlobs) OpenPartial(ctx context.Context, p blob.Partial) (io.ReadCloser, error) {
	_, c := m.operations.begin(ctx, opOpenPartial)
	object, err := m.Store.OpenPartial(ctx, p)
	c.end(err)
	return object, err
}

func (m *measuredBlobs) Delete(ctx context.Context, key string) error {
	ctx, c := m.operations.begin(ctx, opDelete)
	err := m.Store.Delete(ctx, key)
	c.end(err)
	return err
}
