// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// part is the content of a part that is on its way from a client to the storage, in
// memory or in a file.
type part struct {
	memory *[]byte
	file   *os.File
	// n is how much of it there is.
	n int
}

// newPart finds room for a part of size bytes.
func (s *Store) newPart(size int) (*part, error) {
	if p := s.newMemoryPart(size); p != nil {
		return p, nil
	}
	file, err := os.CreateTemp(s.spoolDir, "part-*")
	if err != nil {
		return nil, spoolError(err)
	}
	// Without a name, it goes with the process.
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(spoolError(err), file.Close())
	}
	return &part{file: file}, nil
}

// newMemoryPart is newPart in memory, or nil if there is none left.
func (s *Store) newMemoryPart(size int) *part {
	if !s.memory.TryAcquire(int64(size)) {
		return nil
	}
	buffer := s.buffers.Get().(*[]byte)
	if len(*buffer) != size { // parts had another size when the upload began
		b := make([]byte, size)
		buffer = &b
	}
	return &part{memory: buffer}
}

// release gives the room of a part back; nil has none.
func (s *Store) release(p *part) {
	switch {
	case p == nil:
	case p.file != nil:
		_ = p.file.Close() // nobody needs the content
	default:
		s.memory.Release(int64(len(*p.memory)))
		if len(*p.memory) == s.partSize {
			s.buffers.Put(p.memory)
		}
	}
}

// Write adds bytes, for which there is room.
func (p *part) Write(b []byte) (int, error) {
	if p.file == nil {
		n := copy((*p.memory)[p.n:], b)
		p.n += n
		return n, nil
	}
	n, err := p.file.WriteAt(b, int64(p.n))
	p.n += n
	if err != nil {
		return n, spoolError(err)
	}
	return n, nil
}

// body reads the part. There can be many readers at a time.
func (p *part) body() io.ReadSeeker {
	if p.file == nil {
		return bytes.NewReader((*p.memory)[:p.n])
	}
	return io.NewSectionReader(p.file, 0, int64(p.n))
}

func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("keep a part in a file: %w: %w", blob.ErrNoSpace, err)
	}
	return fmt.Errorf("keep a part in a file: %w", err)
}
