// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package blob keeps bytes. A Store holds objects under opaque keys that it
// chooses itself; which digest an object has, and who may read it, is the
// catalog's knowledge.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
)

// InlineLimit is the size up to which content is kept as a row in the catalog
// rather than as an object of its own: a file costs two fsyncs, a row shares one.
const InlineLimit = 32 << 10

var (
	// ErrNotFound is returned for a key without an object.
	ErrNotFound = errors.New("object not found")
	// ErrUnavailable is returned when the store does not answer, or has too much to
	// do; the same request may succeed later.
	ErrUnavailable = errors.New("the blob store is not available")
	// ErrNoSpace is returned when the store has no room left.
	ErrNoSpace = errors.New("no space left in the blob store")
)

// Partial is an object that is being written. It can be stored and continued by
// another process.
type Partial struct {
	Key string
	// Size is the number of bytes that are durable.
	Size int64
	// State is the store's own; opaque to others.
	State []byte
}

// Store keeps objects. Implementations are safe for concurrent use; two
// concurrent Appends to one Partial are prevented by the caller.
type Store interface {
	// Create begins an object whose key carries the store's current epoch. A
	// process that goes away before the first Append of bytes need not leave
	// anything.
	Create(ctx context.Context) (Partial, error)
	// Append writes r behind p.Size until EOF, makes the bytes durable, and
	// returns the continued Partial. When r fails half-way, what was read until
	// then is kept: the returned Partial counts it, beside r's error. When the
	// store itself fails, the returned Partial is p. Bytes behind p.Size that an
	// earlier, unrecorded Append left are overwritten.
	Append(ctx context.Context, p Partial, r io.Reader) (Partial, error)
	// Commit makes the object complete and durable under p.Key. Committing
	// twice is no error.
	Commit(ctx context.Context, p Partial) error
	// Open reads a committed object. Where it can, it returns an *os.File, so
	// that a response is sent without copying through user space.
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	// OpenPartial reads the durable bytes of an object that is being written. A
	// Store that cannot read what is not complete may complete it: it can still be
	// committed, but an Append may be ErrNotFound.
	OpenPartial(ctx context.Context, p Partial) (io.ReadCloser, error)
	// Delete removes an object, committed or not. A key without an object is no
	// error.
	Delete(ctx context.Context, key string) error
	// Keys lists the objects whose keys carry the epoch, in no order; those that
	// never had bytes may be missing.
	Keys(ctx context.Context, epoch uint64) iter.Seq2[string, error]
}

// SizedStore is a Store for which the size of an object is a question of its own.
type SizedStore interface {
	Store
	// OpenSized is Open for a caller who knows the object's size in bytes. Whether
	// the object is there may show only when it is read.
	OpenSized(ctx context.Context, key string, size int64) (io.ReadSeekCloser, error)
}

// OpenSized opens an object of size bytes, without asking for the size where that
// costs something.
func OpenSized(ctx context.Context, s Store, key string, size int64) (io.ReadSeekCloser, error) {
	if s, ok := s.(SizedStore); ok {
		return s.OpenSized(ctx, key, size)
	}
	return s.Open(ctx, key)
}
