// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"fmt"
	"hash"
	"io"
	"math"
	"sync"
	"sync/atomic"
)

const (
	// maxEmptyReads is when a reader that returns neither bytes nor an error is
	// given up.
	maxEmptyReads = 100
)

// buffer is a pooled piece of memory and how much of it is in use, of which the first
// bytes may have been hashed before.
type buffer struct {
	bytes     []byte
	hashed, n int
}

func (b *buffer) data() []byte { return b.bytes[:b.n] }

// pool keeps buffers of one size.
type pool struct{ sync.Pool }

func newPool(size int) *pool {
	return &pool{sync.Pool{New: func() any { return &buffer{bytes: make([]byte, size)} }}}
}

func (p *pool) take() *buffer     { return p.Get().(*buffer) }
func (p *pool) release(b *buffer) { p.Put(b) }

var (
	// headBuffers hold one byte more than fits inline, which tells content that
	// fits from content that does not.
	headBuffers = newPool(InlineLimit + 1)

	// streams are those under way, in and out.
	streams atomic.Int64
)

// tier is what a stream reads, hashes and writes with.
type tier struct {
	// last is the number of the last stream in the tier, of those under way.
	last    int64
	buffers *pool
	// most bounds the buffers of a stream, and so how far hashing may lag behind
	// writing. With one it does not: both see it before the next is read.
	most int
}

// tiers give less to streams of which there are many: 2,000 take 25 MiB at most.
var tiers = []tier{
	{8, newPool(512 << 10), 2},
	{32, newPool(64 << 10), 2},
	{256, newPool(16 << 10), 1},
	{1024, newPool(8 << 10), 1},
	{math.MaxInt64, newPool(4 << 10), 1},
}

// tierOf is the tier of the stream with a number, the first being 1.
func tierOf(number int64) tier {
	i := 0
	for number > tiers[i].last {
		i++
	}
	return tiers[i]
}

// Copy writes src to dst until src ends, in pieces that are large while few streams
// are under way: where neither is a file, every piece costs two system calls and
// perhaps two hand-overs to other programs.
func Copy(dst io.Writer, src io.Reader) (int64, error) {
	buffers := tierOf(streams.Add(1)).buffers
	defer streams.Add(-1)
	b := buffers.take()
	defer buffers.release(b)
	return io.CopyBuffer(writer{dst}, src, b.bytes)
}

// writer hides a ReadFrom, which would take a buffer of its own.
type writer struct{ io.Writer }

// fill reads until p is full, r ends or r fails. It differs from io.ReadFull in
// keeping r's error as it is: a request body that breaks off says
// io.ErrUnexpectedEOF, which must not look like its end.
func fill(r io.Reader, p []byte) (n int, ended bool, err error) {
	for empty := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		switch {
		case err == io.EOF:
			return n, true, nil
		case err != nil:
			return n, false, err
		case m > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return n, false, io.ErrNoProgress
			}
		}
	}
	return n, false, nil
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

// WriteTo implements io.WriterTo. The prefix goes with what follows it: where writes
// begin decides how large the pieces are that the kernel keeps of a file.
func (s *hashingReader) WriteTo(w io.Writer) (int64, error) {
	begin := s.count
	mine := tierOf(streams.Add(1))
	defer streams.Add(-1)
	// The channels hold all buffers there are, so that sending never blocks.
	toHash := make(chan *buffer, mine.most)
	free := make(chan *buffer, mine.most)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for b := range toHash {
			s.h.Write(b.data()[b.hashed:])
			free <- b
		}
	}()
	taken := 0
	defer func() {
		close(toHash)
		<-hashed
		for range taken {
			mine.buffers.release(<-free)
		}
	}()

	for {
		var b *buffer
		select {
		case b = <-free:
		default:
			if taken < mine.most {
				b = mine.buffers.take()
				taken++
			} else {
				b = <-free
			}
		}
		ended, readErr := s.next(b)
		data := b.data()
		toHash <- b
		n, err := w.Write(data)
		s.count += int64(n)
		if err != nil {
			return s.count - begin, err
		}
		if ended || readErr != nil {
			return s.count - begin, readErr
		}
	}
}

// next fills b.
func (s *hashingReader) next(b *buffer) (ended bool, err error) {
	b.hashed = copy(b.bytes, s.prefix)
	s.prefix = s.prefix[b.hashed:]
	if len(s.prefix) == 0 {
		// An upload may go on for hours, and needs these bytes no more.
		s.prefix = nil
	}
	n, ended, err := fill(s.r, b.bytes[b.hashed:])
	b.n = b.hashed + n
	return ended, err
}

// cappedReader fails with ErrOverLimit at the first byte behind the limit.
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
		return n, fmt.Errorf("%w of %d bytes", ErrOverLimit, c.limit)
	}
	c.left -= int64(n)
	return n, err
}

// failedReader is a reader that has failed.
type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }
