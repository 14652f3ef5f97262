// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"fmt"
	"hash"
	"io"
	"sync"
)

const (
	// bufferSize is how much is read, hashed and written at a time.
	bufferSize = 256 << 10
	// buffersInFlight bounds how far hashing may lag behind writing.
	buffersInFlight = 4
	// maxEmptyReads is when a reader that returns neither bytes nor an error is
	// given up.
	maxEmptyReads = 100
)

// buffer is a pooled piece of memory and how much of it is in use.
type buffer struct {
	bytes []byte
	n     int
}

var buffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, bufferSize)} }}

func takeBuffer() *buffer      { return buffers.Get().(*buffer) }
func (b *buffer) release()     { buffers.Put(b) }
func (b *buffer) data() []byte { return b.bytes[:b.n] }

// fill reads until p is full or r returns an error, io.EOF among others. It
// differs from io.ReadFull in keeping r's error as it is: a request body that
// breaks off says io.ErrUnexpectedEOF, which must not look like its end.
func fill(r io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty >= maxEmptyReads {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// hashingReader is a reader that hashes what it hands out, but for a prefix that
// was hashed before. Its WriteTo hashes beside the writing: a second goroutine
// reads the same buffers, and has ended when WriteTo returns.
type hashingReader struct {
	prefix []byte
	r      io.Reader
	h      hash.Hash
	// count is the number of bytes handed out, prefix included.
	count int64
}

// Read serves stores that cannot be written to directly.
func (s *hashingReader) Read(p []byte) (int, error) {
	if len(s.prefix) > 0 {
		n := copy(p, s.prefix)
		s.prefix = s.prefix[n:]
		s.count += int64(n)
		return n, nil
	}
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.count += int64(n)
	return n, err
}

// WriteTo implements io.WriterTo.
func (s *hashingReader) WriteTo(w io.Writer) (int64, error) {
	begin := s.count
	if len(s.prefix) > 0 {
		n, err := w.Write(s.prefix)
		s.prefix = s.prefix[n:]
		s.count += int64(n)
		if err != nil {
			return s.count - begin, err
		}
	}

	// The channels hold all buffers there are, so that sending never blocks.
	toHash := make(chan *buffer, buffersInFlight)
	free := make(chan *buffer, buffersInFlight)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for b := range toHash {
			s.h.Write(b.data())
			free <- b
		}
	}()
	taken := 0
	defer func() {
		close(toHash)
		<-hashed
		for range taken {
			(<-free).release()
		}
	}()

	for {
		var b *buffer
		select {
		case b = <-free:
		default:
			if taken < buffersInFlight {
				b = takeBuffer()
				taken++
			} else {
				b = <-free
			}
		}
		var readErr error
		b.n, readErr = fill(s.r, b.bytes)
		data := b.data()
		toHash <- b
		n, err := w.Write(data)
		s.count += int64(n)
		if err != nil {
			return s.count - begin, err
		}
		if readErr == io.EOF {
			return s.count - begin, nil
		}
		if readErr != nil {
			return s.count - begin, readErr
		}
	}
}

// cappedReader fails with ErrTooLarge at the first byte behind the limit.
type cappedReader struct {
	r           io.Reader
	left, limit int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		n = int(c.left)
		c.left = 0
		return n, fmt.Errorf("%w: %d bytes", ErrTooLarge, c.limit)
	}
	c.left -= int64(n)
	return n, err
}

// failedReader returns err, or when there is none reads on from r.
type failedReader struct {
	err error
	r   io.Reader
}

func (f *failedReader) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.r.Read(p)
}
