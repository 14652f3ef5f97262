// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// writerKey is the object metadata that tells who wrote an object.
const writerKey = "writer"

// copyBufferSize is how much of a reader is taken at a time when it cannot write
// itself.
const copyBufferSize = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBufferSize); return &b }}

// Create implements blob.Store. It sends nothing: an object without bytes costs
// nothing, and is not listed.
func (s *Store) Create(ctx context.Context) (blob.Partial, error) {
	if err := stop(ctx); err != nil {
		return blob.Partial{}, err
	}
	key, err := s.newKey()
	if err != nil {
		return blob.Partial{}, err
	}
	return blob.Partial{Key: key}, nil
}

// Append implements blob.Store. It holds at most two parts in memory: one that is
// being sent, and one that is being filled.
func (s *Store) Append(ctx context.Context, p blob.Partial, r io.Reader) (blob.Partial, error) {
	if err := stop(ctx); err != nil {
		return p, err
	}
	if err := checkKey(p.Key); err != nil {
		return p, err
	}
	st, err := decode(p)
	if err != nil {
		return p, err
	}
	out := &sink{s: s, ctx: ctx, from: p, recorded: st, state: st, size: p.Size}
	// The parts of p stay as they are for whoever has p.
	out.state.Parts = st.Parts[:len(st.Parts):len(st.Parts)]
	out.state.Tail, out.state.Short, out.state.Stale = "", "", st.Tail
	readErr := out.take(r)
	next, err := out.finish()
	if err != nil {
		return p, objectError("append to", p.Key, err)
	}
	return next, readErr
}

// sink cuts what is written to it into parts and sends them.
type sink struct {
	s    *Store
	ctx  context.Context
	from blob.Partial
	// recorded is the state of from, state what comes of it.
	recorded, state state
	size            int64
	// began is whether this sink made the multipart upload.
	began bool
	// buffer is the part that is being filled up to n; nil before the first byte.
	buffer *[]byte
	n      int
	// sending is the part that is being sent.
	sending *sending
	err     error
}

// sending is a part on its way. done is closed when etag and err are set.
type sending struct {
	buffer *[]byte
	done   chan struct{}
	etag   string
	err    error
}

// take writes all of r, which writes itself if it can.
func (w *sink) take(r io.Reader) error {
	if r, ok := r.(io.WriterTo); ok {
		_, err := r.WriteTo(w)
		return err
	}
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	_, err := io.CopyBuffer(w, r, *buffer)
	return err
}

func (w *sink) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && w.err == nil {
		if w.buffer == nil {
			w.err = w.begin()
			continue
		}
		n := copy((*w.buffer)[w.n:w.partSize()], p)
		w.n += n
		w.size += int64(n)
		written += n
		p = p[n:]
		if w.n == w.partSize() {
			w.err = w.sendPart()
		}
	}
	return written, w.err
}

// partSize is fixed by the upload's first Append: all parts have one size.
func (w *sink) partSize() int {
	if w.recorded.Upload != "" {
		return int(w.recorded.PartSize)
	}
	return w.s.partSize
}

// begin waits for memory and reads the tail into it.
func (w *sink) begin() error {
	if err := w.s.parts.Acquire(w.ctx, 1); err != nil {
		return err
	}
	w.buffer = w.s.takeBuffer(w.partSize())
	tail := w.from.Size
	if w.recorded.Upload != "" {
		tail -= w.recorded.PartSize * int64(len(w.recorded.Parts))
	}
	if tail == 0 {
		return nil
	}
	if tail > int64(w.partSize()) {
		return fmt.Errorf("it has %d bytes that are no part, parts have %d", tail, w.partSize())
	}
	// Without a tail object, the bytes are the object in its place.
	in := &s3.GetObjectInput{Bucket: &w.s.bucket, Key: w.s.objectName(w.from.Key), IfMatch: aws.String(w.recorded.Base)}
	if w.recorded.Tail != "" {
		in.Key, in.IfMatch = w.s.tailName(w.from.Key, w.recorded.Tail), nil
	}
	if err := w.s.readInto(w.ctx, in, (*w.buffer)[:tail]); err != nil {
		return fmt.Errorf("read its tail: %w", err)
	}
	w.n = int(tail)
	if w.n == w.partSize() { // parts have become smaller since
		return w.sendPart()
	}
	return nil
}

// sendPart sends the full buffer and goes on with another: a second one if there
// is memory, or the one that was on its way.
func (w *sink) sendPart() error {
	if err := w.beginUpload(); err != nil {
		return err
	}
	var free *[]byte
	if w.sending == nil && w.s.parts.TryAcquire(1) {
		free = w.s.takeBuffer(w.partSize())
	}
	if w.sending != nil {
		var err error
		if free, err = w.await(); err != nil {
			w.s.releaseBuffer(free)
			return err
		}
	}
	number := len(w.state.Parts) + 1
	if number > maxParts {
		w.s.releaseBuffer(free)
		return fmt.Errorf("%w: S3 takes %d parts, of %d bytes here", blob.ErrTooLarge, maxParts, w.partSize())
	}
	w.sending = &sending{buffer: w.buffer, done: make(chan struct{})}
	go func(out *sending, content []byte) {
		defer close(out.done)
		out.etag, out.err = w.s.uploadPart(w.ctx, w.from.Key, w.state.Upload, number, content)
	}(w.sending, (*w.buffer)[:w.n])
	w.buffer, w.n = free, 0
	if free != nil {
		return nil
	}
	var err error
	w.buffer, err = w.await()
	return err
}

// await records the part that is on its way, and returns its buffer.
func (w *sink) await() (*[]byte, error) {
	out := w.sending
	w.sending = nil
	<-out.done
	if out.err != nil {
		return out.buffer, out.err
	}
	w.state.Parts = append(w.state.Parts, out.etag)
	return out.buffer, nil
}

// beginUpload makes the multipart upload, if there is none yet.
func (w *sink) beginUpload() error {
	if w.state.Upload != "" {
		return nil
	}
	nonce, err := w.s.nonce()
	if err != nil {
		return err
	}
	ctx, cancel := w.s.limited(w.ctx)
	defer cancel()
	out, err := w.s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &w.s.bucket, Key: w.s.objectName(w.from.Key), Metadata: map[string]string{writerKey: nonce},
	})
	if err != nil {
		return err
	}
	w.began = true
	w.state.Upload, w.state.Nonce, w.state.PartSize = aws.ToString(out.UploadId), nonce, int64(w.partSize())
	return nil
}

// finish makes what was written durable, and frees the memory. On an error it
// takes back what nobody will hear of.
func (w *sink) finish() (blob.Partial, error) {
	defer func() {
		w.s.releaseBuffer(w.buffer)
		w.buffer = nil
	}()
	if w.sending != nil {
		buffer, err := w.await()
		w.s.releaseBuffer(buffer)
		if w.err == nil {
			w.err = err
		}
	}
	if w.size == w.from.Size && w.err == nil {
		return w.from, nil
	}
	if w.err == nil {
		w.err = w.flush()
	}
	if w.err != nil {
		w.takeBack()
		return w.from, w.err
	}
	if w.recorded.Stale != "" {
		// from is recorded, so the tail before its own is of no use. What fails here
		// goes with the object.
		_ = w.s.deleteObject(w.ctx, w.s.tailName(w.from.Key, w.recorded.Stale))
	}
	return blob.Partial{Key: w.from.Key, Size: w.size, State: w.state.encode()}, nil
}

// flush brings what is left in the buffer to the storage.
func (w *sink) flush() error {
	if w.n == 0 {
		return nil
	}
	content := (*w.buffer)[:w.n]
	if w.from.Size == 0 && w.state.Upload == "" {
		etag, err := w.s.putFirst(w.ctx, w.from.Key, content)
		w.state.Base = etag
		return err
	}
	if err := w.beginUpload(); err != nil {
		return err
	}
	tail, err := w.s.nonce()
	if err != nil {
		return err
	}
	var tailErr error
	written := make(chan struct{})
	go func() {
		defer close(written)
		tailErr = w.s.putTail(w.ctx, w.from.Key, tail, content)
	}()
	w.state.Tail = tail
	w.state.Short, err = w.s.uploadPart(w.ctx, w.from.Key, w.state.Upload, len(w.state.Parts)+1, content)
	<-written
	return errors.Join(err, tailErr)
}

// takeBack removes what a failed Append left. What fails here goes with the
// object, or with its epoch.
func (w *sink) takeBack() {
	ctx := context.WithoutCancel(w.ctx)
	if w.state.Tail != "" {
		_ = w.s.deleteObject(ctx, w.s.tailName(w.from.Key, w.state.Tail))
	}
	if w.began {
		_ = w.s.abort(ctx, w.from.Key, w.state.Upload)
	}
}

// takeBuffer returns memory that parts has counted.
func (s *Store) takeBuffer(size int) *[]byte {
	buffer := s.buffers.Get().(*[]byte)
	if len(*buffer) < size { // parts were larger when the upload began
		b := make([]byte, size)
		buffer = &b
	}
	return buffer
}

func (s *Store) releaseBuffer(buffer *[]byte) {
	if buffer == nil {
		return
	}
	if len(*buffer) == s.partSize {
		s.buffers.Put(buffer)
	}
	s.parts.Release(1)
}

func (s *Store) nonce() (string, error) {
	var b [16]byte
	s.randMu.Lock()
	_, err := io.ReadFull(s.rand, b[:])
	s.randMu.Unlock()
	if err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func (s *Store) uploadPart(ctx context.Context, key, upload string, number int, content []byte) (etag string, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: s.objectName(key), UploadId: &upload,
		PartNumber: aws.Int32(int32(number)), Body: bytes.NewReader(content),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

func (s *Store) putTail(ctx context.Context, key, nonce string, content []byte) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.tailName(key, nonce), Body: bytes.NewReader(content)})
	return err
}

// putFirst writes a whole object to its place. What an unrecorded Append left
// there is replaced; an answer that was lost is found again by the writer's name.
func (s *Store) putFirst(ctx context.Context, key string, content []byte) (etag string, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	writer, err := s.nonce()
	if err != nil {
		return "", err
	}
	replaced := ""
	for range maxAttempts {
		in := &s3.PutObjectInput{
			Bucket: &s.bucket, Key: s.objectName(key), Body: bytes.NewReader(content), Metadata: map[string]string{writerKey: writer},
		}
		in.IfMatch, in.IfNoneMatch = condition(replaced)
		out, putErr := s.client.PutObject(ctx, in)
		if putErr == nil {
			return aws.ToString(out.ETag), nil
		}
		if err = putErr; !refused(err) {
			return "", err
		}
		found, headErr := s.head(ctx, key)
		switch {
		case missing(headErr):
			replaced = ""
		case headErr != nil:
			return "", headErr
		case found.Metadata[writerKey] == writer:
			return aws.ToString(found.ETag), nil
		default:
			replaced = aws.ToString(found.ETag)
		}
	}
	return "", err
}

func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	return s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.objectName(key)})
}
