// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// copyBufferSize is how much of a reader is taken at a time when it cannot write
// itself.
const copyBufferSize = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBufferSize); return &b }}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Partial, error) {
	if err := stop(ctx); err != nil {
		return blob.Partial{}, err
	}
	key, err := s.newKey()
	if err != nil {
		return blob.Partial{}, err
	}
	directory, err := s.directoryOf(key, true)
	if err != nil {
		return blob.Partial{}, storeError("create", key, err)
	}
	file, err := directory.OpenFile(key, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return blob.Partial{}, storeError("create", key, err)
	}
	if err := file.Close(); err != nil {
		return blob.Partial{}, storeError("create", key, err)
	}
	return blob.Partial{Key: key}, nil
}

// Append implements blob.Store. The context's end does not interrupt it; the
// reader's does.
func (s *Store) Append(ctx context.Context, p blob.Partial, r io.Reader) (blob.Partial, error) {
	if err := stop(ctx); err != nil {
		return p, err
	}
	file, directory, err := s.openToWrite(p)
	if err != nil {
		return p, err
	}
	next, readErr, err := appendTo(file, p, r, s.Room)
	if err != nil {
		// The catalog never hears of these bytes; on a full disk they would be in
		// the way until the upload ends. Synced, because Commit trusts the size.
		if dropErr := errors.Join(file.Truncate(p.Size), file.Sync()); dropErr != nil {
			err = errors.Join(err, fmt.Errorf("drop the rest: %w", dropErr))
		}
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil && p.Size == 0 {
		err = syncRoot(directory)
	}
	if err != nil {
		return p, storeError("append to", p.Key, err)
	}
	return next, readErr
}

// openToWrite opens the object of p and drops what is behind p.Size.
func (s *Store) openToWrite(p blob.Partial) (*os.File, *os.Root, error) {
	directory, err := s.directoryOf(p.Key, p.Size == 0)
	if err != nil {
		return nil, nil, storeError("open", p.Key, err)
	}
	flags := os.O_WRONLY
	if p.Size == 0 {
		// A crash may have lost an object that was only created.
		flags |= os.O_CREATE
	}
	file, err := directory.OpenFile(p.Key, flags, 0o600)
	if err != nil {
		return nil, nil, storeError("open", p.Key, err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.Size() < p.Size:
		err = fmt.Errorf("it has %d bytes, %d are recorded", info.Size(), p.Size)
	case info.Size() > p.Size:
		err = file.Truncate(p.Size)
	}
	if err != nil {
		return nil, nil, errors.Join(storeError("open", p.Key, err), file.Close())
	}
	return file, directory, nil
}

// appendTo writes r behind p.Size and makes the bytes durable, as long as there is
// room. It tells r's error from the file's.
func appendTo(file *os.File, p blob.Partial, r io.Reader, room func() error) (next blob.Partial, readErr, err error) {
	out := &sink{file: file, offset: p.Size, flushed: p.Size, room: room}
	readErr = out.take(r)
	if out.err == nil {
		out.err = room()
	}
	if out.err != nil {
		return p, nil, fmt.Errorf("write: %w", out.err)
	}
	if err := file.Sync(); err != nil {
		return p, nil, fmt.Errorf("sync: %w", err)
	}
	p.Size = out.offset
	return p, readErr, nil
}

// sink writes to a file from an offset on, and remembers the file's own failure.
// Bytes are handed to the disk as they come, so that the sync at the end finds
// little left to do.
type sink struct {
	file            *os.File
	offset, flushed int64
	room            func() error
	err             error
}

// take writes all of r, which writes itself if it can.
func (s *sink) take(r io.Reader) error {
	if r, ok := r.(io.WriterTo); ok {
		_, err := r.WriteTo(s)
		return err
	}
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	_, err := io.CopyBuffer(s, r, *buffer)
	return err
}

// flushSize is how much is written between two starts of the disk.
const flushSize = 8 << 20

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.file.WriteAt(p, s.offset)
	s.offset += int64(n)
	if err != nil {
		s.err = err
		return n, err
	}
	if pending := s.offset - s.flushed; pending >= flushSize {
		startWriteback(s.file, s.flushed, pending)
		s.flushed = s.offset
		s.err = s.room()
	}
	return n, s.err
}

// Commit implements blob.Store. Append has made the bytes durable; what is left
// is to drop an unrecorded tail, or to keep an object without bytes.
func (s *Store) Commit(ctx context.Context, p blob.Partial) error {
	if err := stop(ctx); err != nil {
		return err
	}
	directory, err := s.directoryOf(p.Key, p.Size == 0)
	if err != nil {
		return storeError("commit", p.Key, err)
	}
	info, err := directory.Lstat(p.Key)
	if err == nil && info.Size() == p.Size && p.Size > 0 {
		return nil
	}
	if err != nil && (p.Size > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return storeError("commit", p.Key, err)
	}
	file, directory, err := s.openToWrite(p)
	if err != nil {
		return err
	}
	if err := syncAndClose(file); err != nil {
		return storeError("commit", p.Key, err)
	}
	if err := syncRoot(directory); err != nil {
		return storeError("commit", p.Key, err)
	}
	return nil
}

// Open implements blob.Store. What it returns is an *os.File.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	file, err := s.openToRead(ctx, key)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (s *Store) openToRead(ctx context.Context, key string) (*os.File, error) {
	if err := stop(ctx); err != nil {
		return nil, err
	}
	directory, err := s.directoryOf(key, false)
	if err != nil {
		return nil, storeError("open", key, err)
	}
	file, err := directory.Open(key)
	if err != nil {
		return nil, storeError("open", key, err)
	}
	return file, nil
}

// OpenPartial implements blob.Store.
func (s *Store) OpenPartial(ctx context.Context, p blob.Partial) (io.ReadCloser, error) {
	file, err := s.openToRead(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	return &partialReader{Reader: io.LimitReader(file, p.Size), Closer: file}, nil
}

// partialReader reads the recorded bytes of an object.
type partialReader struct {
	io.Reader
	io.Closer
}

// Delete implements blob.Store. It is durable: an object that comes back after a
// crash would have nobody who knows it.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := stop(ctx); err != nil {
		return err
	}
	directory, err := s.directoryOf(key, false)
	if err == nil {
		err = directory.Remove(key)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = syncRoot(directory)
	}
	if err != nil {
		return storeError("delete", key, err)
	}
	return nil
}

// entriesAtATime bounds the memory that a listing takes.
const entriesAtATime = 1024

// Keys implements blob.Store.
func (s *Store) Keys(ctx context.Context, epoch uint64) iter.Seq2[string, error] {
	prefix := blob.KeyPrefix(epoch)
	return func(yield func(string, error) bool) {
		for number := range s.shards {
			root, err := s.shardRoot(number, false)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil && !yieldKeys(ctx, root, prefix, yield) {
				return
			}
			if err != nil {
				yield("", fmt.Errorf("list objects: %w", err))
				return
			}
		}
	}
}

// yieldKeys yields one directory's keys, and reports whether to go on.
func yieldKeys(ctx context.Context, root *os.Root, prefix string, yield func(string, error) bool) bool {
	directory, err := root.Open(".")
	if err != nil {
		yield("", fmt.Errorf("list objects: %w", err))
		return false
	}
	defer func() { _ = directory.Close() }() // it was only read
	for {
		if err := stop(ctx); err != nil {
			yield("", err)
			return false
		}
		names, err := directory.Readdirnames(entriesAtATime)
		for _, name := range names {
			if _, ok := shardOf(name); ok && strings.HasPrefix(name, prefix) && !yield(name, nil) {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			yield("", fmt.Errorf("list objects: %w", err))
			return false
		}
	}
}
