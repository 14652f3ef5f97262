// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/packages-operator/packages-operator/registry/ref"
)

var (
	// ErrTooLarge is returned when content grows beyond what is allowed.
	ErrTooLarge = errors.New("content is larger than allowed")
	// ErrOverLimit is the ErrTooLarge of the limit given to Append; a store may have
	// one of its own.
	ErrOverLimit = fmt.Errorf("%w: over the limit", ErrTooLarge)
	// ErrDigestMismatch is returned when content does not have the digest that
	// was announced for it.
	ErrDigestMismatch = errors.New("content does not have the announced digest")
)

// cleanupTimeout bounds how long a request that failed waits for what it made to be
// removed: the storage may be what failed.
const cleanupTimeout = 5 * time.Second

// Progress is how far the writing of one blob is. It is plain data: another
// process continues from it. The zero value, or one with an Algorithm alone, is
// a blob without bytes. Its slices are never changed in place.
type Progress struct {
	// Offset is the number of bytes received.
	Offset int64
	// Algorithm that the bytes are hashed with, sha256 when empty, and the
	// hash's midstate.
	Algorithm ref.Algorithm
	Hash      []byte
	// Inline holds the bytes while they are at most InlineLimit; else Key and
	// State name the Store's object.
	Inline []byte
	Key    string
	State  []byte
}

// Finished is a blob whose bytes are complete, durable (or Content) and have the
// digest.
type Finished struct {
	Digest ref.Digest
	Size   int64
	// Key of the object; empty when Content holds the bytes.
	Key string
	// Content of a small blob; not nil when Key is empty.
	Content []byte
}

// Writer takes in blobs: it hashes bytes while they are written, keeps small
// blobs as values and brings the others into Store. It has no state of its own,
// and is safe for concurrent use on different blobs.
//
// A Progress that names an object it did not have before owns that object: a
// caller that does not record it deletes the object.
type Writer struct {
	Store Store
}

// Append reads r to its end and returns the continued progress, whose bytes are
// durable if they are in an object. Where r fails half-way, the progress counts
// what was read until then, beside r's error. Where the store fails (ErrNoSpace
// among others), or the content would have more than limit bytes (ErrOverLimit,
// as soon as they arrive), the progress is from: nothing of r is kept. A limit
// below zero is none.
//
// The context's end does not stop an Append, r's does: what was received before
// a client went away is worth keeping.
func (w Writer) Append(ctx context.Context, from Progress, r io.Reader, limit int64) (Progress, error) {
	ctx = context.WithoutCancel(ctx)
	h, err := resume(from)
	if err != nil {
		return from, err
	}
	if limit >= 0 {
		if from.Offset > limit {
			return from, fmt.Errorf("%w of %d bytes", ErrOverLimit, limit)
		}
		r = &cappedReader{r: r, left: limit - from.Offset, limit: limit}
	}
	if from.Key != "" {
		return w.appendObject(ctx, from, h, nil, r)
	}

	inline, err := readHead(from.Inline, r)
	if errors.Is(err, ErrTooLarge) {
		return from, err
	}
	h.Write(inline[len(from.Inline):])
	if len(inline) > InlineLimit {
		if err != nil {
			r = failedReader{err}
		}
		return w.spill(ctx, from, h, inline, r)
	}
	to := from
	to.Inline = inline
	return suspend(from, to, int64(len(inline)), h, err)
}

// readHead reads what fits inline behind what is there, and a byte more where r has
// it. The buffer is given back before a stream begins, which takes its own.
func readHead(inline []byte, r io.Reader) ([]byte, error) {
	head := headBuffers.take()
	defer headBuffers.release(head)
	var err error
	head.n, _, err = fill(r, head.bytes[:max(1, InlineLimit+1-len(inline))])
	if head.n == 0 {
		return inline, err
	}
	whole := make([]byte, 0, len(inline)+head.n)
	return append(append(whole, inline...), head.data()...), err
}

// spill begins an object with the inline bytes, which h has seen, and goes on
// with r.
func (w Writer) spill(ctx context.Context, from Progress, h hash.Hash, inline []byte, r io.Reader) (Progress, error) {
	p, err := w.Store.Create(ctx)
	if err != nil {
		return from, err
	}
	empty := Progress{Algorithm: from.Algorithm, Key: p.Key, State: p.State}
	to, err := w.appendObject(ctx, empty, h, inline, r)
	if to.Offset > 0 {
		return to, err
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	if deleteErr := w.Store.Delete(ctx, p.Key); deleteErr != nil {
		err = errors.Join(err, deleteErr)
	}
	return from, err
}

// appendObject writes prefix, which h has seen, and r, which it has not, behind
// what the object of from has.
func (w Writer) appendObject(ctx context.Context, from Progress, h hash.Hash, prefix []byte, r io.Reader) (Progress, error) {
	source := &hashingReader{prefix: prefix, r: r, h: h}
	p, err := w.Store.Append(ctx, from.partial(), source)
	if p.Size == from.Offset || errors.Is(err, ErrTooLarge) {
		return from, err
	}
	if p.Size != from.Offset+source.count {
		return from, errors.Join(err, fmt.Errorf("store has %d bytes of object %s, %d were written", p.Size, p.Key, from.Offset+source.count))
	}
	to := from
	to.State = p.State
	return suspend(from, to, p.Size, h, err)
}

// Finish checks that the content has the digest and makes it complete. Content
// that was hashed with another algorithm is read again. On any error the
// progress stays what it is, and can be continued or finished again.
func (w Writer) Finish(ctx context.Context, progress Progress, want ref.Digest) (Finished, error) {
	got, err := w.digest(ctx, progress, want.Algorithm())
	if err != nil {
		return Finished{}, err
	}
	if got != want {
		return Finished{}, fmt.Errorf("%w: it has %s, announced was %s", ErrDigestMismatch, got, want)
	}
	if progress.Key == "" {
		content := progress.Inline
		if content == nil {
			content = []byte{}
		}
		return Finished{Digest: want, Size: progress.Offset, Content: content}, nil
	}
	if err := w.Store.Commit(ctx, progress.partial()); err != nil {
		return Finished{}, err
	}
	return Finished{Digest: want, Size: progress.Offset, Key: progress.Key}, nil
}

func (w Writer) digest(ctx context.Context, progress Progress, algorithm ref.Algorithm) (ref.Digest, error) {
	if algorithm == progress.algorithm() {
		h, err := resume(progress)
		if err != nil {
			return "", err
		}
		return algorithm.Sum(h), nil
	}
	if algorithm.New() == nil {
		return "", fmt.Errorf("%w: %q", ref.ErrAlgorithm, algorithm)
	}
	if progress.Key == "" {
		return algorithm.FromBytes(progress.Inline), nil
	}
	content, err := w.Store.OpenPartial(ctx, progress.partial())
	if err != nil {
		return "", err
	}
	h := algorithm.New()
	n, err := Copy(h, content)
	if err := errors.Join(err, content.Close()); err != nil {
		return "", fmt.Errorf("read object %s again: %w", progress.Key, err)
	}
	if n != progress.Offset {
		return "", fmt.Errorf("object %s has %d bytes, %d were received", progress.Key, n, progress.Offset)
	}
	return algorithm.Sum(h), nil
}

func (p Progress) algorithm() ref.Algorithm {
	if p.Algorithm == "" {
		return ref.SHA256
	}
	return p.Algorithm
}

// partial is the object of a progress that has one.
func (p Progress) partial() Partial {
	return Partial{Key: p.Key, Size: p.Offset, State: p.State}
}

// resume returns the hash of what progress has received.
func resume(progress Progress) (hash.Hash, error) {
	h := progress.algorithm().New()
	if h == nil {
		return nil, fmt.Errorf("%w: %q", ref.ErrAlgorithm, progress.Algorithm)
	}
	if progress.Key == "" && progress.Offset != int64(len(progress.Inline)) {
		return nil, fmt.Errorf("upload has %d bytes, %d were received", len(progress.Inline), progress.Offset)
	}
	if progress.Offset == 0 {
		return h, nil
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(progress.Hash); err != nil {
		return nil, fmt.Errorf("resume %s hash at offset %d: %w", progress.algorithm(), progress.Offset, err)
	}
	return h, nil
}

// suspend completes to with its offset and the midstate of h. The error is cause,
// unless the midstate cannot be had: then the progress is from.
func suspend(from, to Progress, offset int64, h hash.Hash, cause error) (Progress, error) {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return from, errors.Join(cause, fmt.Errorf("suspend %s hash: %w", from.algorithm(), err))
	}
	to.Offset, to.Algorithm, to.Hash = offset, from.algorithm(), state
	return to, cause
}
