// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// writerKey is the object metadata that tells who wrote an object.
const writerKey = "writer"

// copyBufferSize is how much of a reader is taken at a time when it cannot write
// itself.
const copyBufferSize = 256 << 10

// takeBackTimeout bounds how long a failed Append tries to remove what it made: the
// storage may be what failed.
const takeBackTimeout = 5 * time.Second

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

// Append implements blob.Store. It holds at most two parts: one that is being sent,
// and one that is being filled.
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
	// filling is the part that is being filled; nil before the first byte.
	filling *part
	// sending is the part that is being sent.
	sending *sending
	err     error
}

// sending is a part on its way. done is closed when etag and err are set.
type sending struct {
	part *part
	done chan struct{}
	etag string
	err  error
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
		if w.filling == nil {
			w.err = w.begin()
			continue
		}
		var n int
		n, w.err = w.filling.Write(p[:min(len(p), w.partSize()-w.filling.n)])
		w.size += int64(n)
		written += n
		p = p[n:]
		if w.err == nil && w.filling.n == w.partSize() {
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

// begin finds room for a part and reads the tail into it.
func (w *sink) begin() error {
	var err error
	if w.filling, err = w.s.newPart(w.partSize()); err != nil {
		return err
	}
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
	if err := w.s.readInto(w.ctx, in, w.filling, tail); err != nil {
		return fmt.Errorf("read its tail: %w", err)
	}
	if w.filling.n == w.partSize() { // parts have become smaller since
		return w.sendPart()
	}
	return nil
}

// sendPart sends the full part and goes on with another: a second one if there is
// memory, or the one that was on its way.
func (w *sink) sendPart() error {
	if err := w.beginUpload(); err != nil {
		return err
	}
	var free *part
	if w.sending == nil {
		free = w.s.newMemoryPart(w.partSize())
	} else {
		var err error
		if free, err = w.await(); err != nil {
			w.s.release(free)
			return err
		}
	}
	number := len(w.state.Parts) + 1
	if number > maxParts {
		w.s.release(free)
		return fmt.Errorf("%w: S3 takes %d parts, of %d bytes here", blob.ErrTooLarge, maxParts, w.partSize())
	}
	w.sending = &sending{part: w.filling, done: make(chan struct{})}
	go func(out *sending, key, upload string) {
		defer close(out.done)
		out.etag, out.err = w.s.uploadPart(w.ctx, key, upload, number, out.part.body())
	}(w.sending, w.from.Key, w.state.Upload)
	w.filling = free
	if free != nil {
		return nil
	}
	var err error
	w.filling, err = w.await()
	return err
}

// await records the part that is on its way, and returns it to be filled again.
func (w *sink) await() (*part, error) {
	out := w.sending
	w.sending = nil
	<-out.done
	out.part.n = 0
	if out.err != nil {
		return out.part, out.err
	}
	w.state.Parts = append(w.state.Parts, out.etag)
	return out.part, nil
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

// finish makes what was written durable, and gives the room back. On an error it
// takes back what nobody will hear of.
func (w *sink) finish() (blob.Partial, error) {
	defer func() { w.s.release(w.filling) }()
	if w.sending != nil {
		sent, err := w.await()
		w.s.release(sent)
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

// flush brings what is left of a part to the storage.
func (w *sink) flush() error {
	if w.filling.n == 0 {
		return nil
	}
	if w.from.Size == 0 && w.state.Upload == "" {
		etag, err := w.s.putFirst(w.ctx, w.from.Key, w.filling.body)
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
		tailErr = w.s.putTail(w.ctx, w.from.Key, tail, w.filling.body())
	}()
	w.state.Tail = tail
	w.state.Short, err = w.s.uploadPart(w.ctx, w.from.Key, w.state.Upload, len(w.state.Parts)+1, w.filling.body())
	<-written
	return errors.Join(err, tailErr)
}

// takeBack removes what a failed Append left. What fails here goes with the
// object, or with its epoch.
func (w *sink) takeBack() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), takeBackTimeout)
	defer cancel()
	if w.state.Tail != "" {
		_ = w.s.deleteObject(ctx, w.s.tailName(w.from.Key, w.state.Tail))
	}
	if w.began {
		_ = w.s.abort(ctx, w.from.Key, w.state.Upload)
	}
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

func (s *Store) uploadPart(ctx context.Context, key, upload string, number int, content io.ReadSeeker) (etag string, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: s.objectName(key), UploadId: &upload,
		PartNumber: aws.Int32(int32(number)), Body: content,
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

func (s *Store) putTail(ctx context.Context, key, nonce string, content io.ReadSeeker) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.tailName(key, nonce), Body: content})
	return err
}

// putFirst writes a whole object to its place. What an unrecorded Append left
// there is replaced; an answer that was lost is found again by the writer's name.
func (s *Store) putFirst(ctx context.Context, key string, content func() io.ReadSeeker) (etag string, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	writer, err := s.nonce()
	if err != nil {
		return "", err
	}
	replaced := ""
	for range maxAttempts {
		in := &s3.PutObjectInput{
			Bucket: &s.bucket, Key: s.objectName(key), Body: content(), Metadata: map[string]string{writerKey: writer},
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
