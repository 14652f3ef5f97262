// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob"
)

const (
	// readAttempts is how often in a row reading may fail without a byte of
	// progress; between two attempts it waits readPause, then twice that, and so on.
	readAttempts = 4
	readPause    = 100 * time.Millisecond
)

// Open implements blob.Store. It asks for the object's size; OpenSized does not
// have to.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	if err := stop(ctx); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	found, err := s.head(ctx, key)
	if err != nil {
		return nil, objectError("open", key, err)
	}
	return s.OpenSized(ctx, key, aws.ToInt64(found.ContentLength))
}

// OpenSized is Open of an object of which the caller knows that it has size bytes.
// It sends nothing: the first Read does. Reading ends with ctx.
func (s *Store) OpenSized(ctx context.Context, key string, size int64) (io.ReadSeekCloser, error) {
	if err := stop(ctx); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return &reader{s: s, ctx: ctx, key: key, size: size}, nil
}

// OpenPartial implements blob.Store. Parts cannot be read, so a multipart upload
// is completed for it; what remains possible is to Commit it.
func (s *Store) OpenPartial(ctx context.Context, p blob.Partial) (io.ReadCloser, error) {
	if err := stop(ctx); err != nil {
		return nil, err
	}
	if err := checkKey(p.Key); err != nil {
		return nil, err
	}
	st, err := decode(p)
	if err != nil {
		return nil, err
	}
	if p.Size > 0 {
		if st.Upload == "" {
			err = s.checkWhole(ctx, p, st)
		} else {
			err = s.complete(ctx, p, st)
		}
	}
	if err != nil {
		return nil, objectError("open", p.Key, err)
	}
	return s.OpenSized(ctx, p.Key, p.Size)
}

// reader reads an object by ranges, from wherever it stands. It is used by one
// goroutine at a time.
type reader struct {
	s      *Store
	ctx    context.Context
	key    string
	size   int64
	offset int64
	closed bool
	// body is the answer that is being read; its next byte is at bodyOffset.
	body       io.ReadCloser
	bodyOffset int64
	cancel     context.CancelFunc
}

// Seek implements io.Seeker. It sends nothing.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in object %s to %d: %w", r.key, offset, fs.ErrInvalid)
	}
	r.offset = offset
	return offset, nil
}

// Read implements io.Reader. A connection that breaks, or brings nothing, is
// replaced by another from there on.
func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.offset >= r.size {
		return 0, io.EOF
	}
	pause := readPause
	for attempt := 1; ; attempt++ {
		n, err := r.read(p[:min(int64(len(p)), r.size-r.offset)])
		r.offset += int64(n)
		r.bodyOffset += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		r.drop()
		if stopped := stop(r.ctx); stopped != nil {
			return 0, stopped
		}
		if missing(err) || attempt == readAttempts {
			return 0, objectError("read", r.key, err)
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// read reads once, from a body that stands at offset. An error leaves a body that
// is of no use.
func (r *reader) read(p []byte) (int, error) {
	if r.body != nil && r.bodyOffset != r.offset {
		r.drop()
	}
	if r.body == nil {
		if err := r.request(); err != nil {
			return 0, err
		}
	}
	// Only the storage is timed, not whoever takes the bytes.
	late := time.AfterFunc(r.s.stall, r.cancel)
	n, err := r.body.Read(p)
	if !late.Stop() && err != nil {
		err = fmt.Errorf("%w: nothing arrived for %s", blob.ErrUnavailable, r.s.stall)
	}
	if errors.Is(err, io.EOF) {
		if r.drop(); n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (r *reader) request() error {
	ctx, cancel := context.WithCancel(r.ctx)
	late := time.AfterFunc(r.s.timeout, cancel)
	out, err := r.s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &r.s.bucket, Key: r.s.objectName(r.key), Range: aws.String(fmt.Sprintf("bytes=%d-%d", r.offset, r.size-1)),
	})
	if !late.Stop() && err != nil {
		err = fmt.Errorf("%w: it did not answer for %s", blob.ErrUnavailable, r.s.timeout)
	}
	if err != nil {
		cancel()
		return err
	}
	if want := r.size - r.offset; aws.ToInt64(out.ContentLength) != want {
		cancel()
		return errors.Join(fmt.Errorf("the storage sends %d bytes from offset %d on, %d are expected", aws.ToInt64(out.ContentLength), r.offset, want), out.Body.Close())
	}
	r.body, r.bodyOffset, r.cancel = out.Body, r.offset, cancel
	return nil
}

// drop lets go of the body. It was only read, so that closing it tells nothing.
func (r *reader) drop() {
	if r.body != nil {
		_ = r.body.Close()
		r.cancel()
		r.body = nil
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.closed {
		return fs.ErrClosed
	}
	r.closed = true
	r.drop()
	return nil
}

// Ready sends the request that the next Read needs, so that an object which cannot
// be read shows before anything is said about it.
func (r *reader) Ready() error {
	if r.closed {
		return fs.ErrClosed
	}
	if r.body != nil || r.offset >= r.size {
		return nil
	}
	if err := r.request(); err != nil {
		return objectError("read", r.key, err)
	}
	return nil
}

// readInto copies an object of exactly size bytes.
func (s *Store) readInto(ctx context.Context, in *s3.GetObjectInput, w io.Writer, size int64) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = out.Body.Close() }() // it was only read
	if aws.ToInt64(out.ContentLength) != size {
		return fmt.Errorf("it has %d bytes, %d were recorded", aws.ToInt64(out.ContentLength), size)
	}
	_, err = io.CopyN(w, out.Body, size)
	return err
}
