// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"slices"
	"sync"
	"testing"
)

// stalled is a client that says how much it was asked for, and sends nothing until
// it is released.
type stalled struct {
	asked    chan<- int
	released <-chan struct{}
}

func (s stalled) Read(p []byte) (int, error) {
	s.asked <- len(p)
	<-s.released
	return 0, io.EOF
}

func TestManyStreamsTakeSmallBuffers(t *testing.T) {
	asked, released := make(chan int), make(chan struct{})
	var running sync.WaitGroup
	sum := 0
	for i := range 2000 {
		running.Go(func() {
			source := &hashingReader{r: stalled{asked, released}, h: sha256.New()}
			if _, err := source.WriteTo(io.Discard); err != nil {
				t.Error(err)
			}
		})
		want := 4 << 10
		switch {
		case i < 8:
			want = 512 << 10
		case i < 32:
			want = 64 << 10
		case i < 256:
			want = 16 << 10
		case i < 1024:
			want = 8 << 10
		}
		got := <-asked
		if got != want {
			t.Errorf("stream %d reads into %d bytes, want %d", i, got, want)
		}
		sum += got
	}
	if sum > 20<<20 {
		t.Errorf("2,000 slow uploads take %d bytes", sum)
	}
	close(released)
	running.Wait()
	if n := streams.Load(); n != 0 {
		t.Errorf("%d streams are counted when all have ended", n)
	}
}

// sizes notes how much a reader was asked for at a time.
type sizes struct {
	io.Reader
	asked []int
}

func (s *sizes) Read(p []byte) (int, error) {
	s.asked = append(s.asked, len(p))
	return s.Reader.Read(p)
}

func TestACopyReadsLargePiecesWhereTheWriterHasBuffersOfItsOwn(t *testing.T) {
	const size = 3 << 20
	source := &sizes{Reader: io.LimitReader(zeros{}, size)}
	// This writer's ReadFrom would read in pieces of its own choice.
	n, err := Copy(bufio.NewWriter(io.Discard), source)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if want := size/(512<<10) + 1; len(source.asked) > want {
		t.Errorf("%d bytes took %d reads, want %d", size, len(source.asked), want)
	}
	if n := streams.Load(); n != 0 {
		t.Errorf("%d streams are counted after the copy", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// pieces notes how much it was given at a time, and hashes it.
type pieces struct {
	hash  hash.Hash
	sizes []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return p.hash.Write(b)
}

func TestWhatWasReadBeforeAStreamGoesWithItsFirstPiece(t *testing.T) {
	const most = 512 << 10
	content := make([]byte, 2*most+5)
	for i := range content {
		content[i] = byte(i * 7)
	}
	for _, prefix := range []int{0, 1, InlineLimit + 1, most - 1, most, most + 1, len(content)} {
		h := sha256.New()
		h.Write(content[:prefix])
		source := &hashingReader{prefix: content[:prefix], r: bytes.NewReader(content[prefix:]), h: h}
		written := &pieces{hash: sha256.New()}
		n, err := source.WriteTo(written)
		if err != nil || n != int64(len(content)) || source.count != n {
			t.Errorf("prefix of %d bytes: %d are written and %d counted, %v", prefix, n, source.count, err)
		}
		if want := []int{most, most, 5}; !slices.Equal(written.sizes, want) {
			t.Errorf("prefix of %d bytes: written in pieces of %v, want %v", prefix, written.sizes, want)
		}
		want := sha256.Sum256(content)
		if !bytes.Equal(h.Sum(nil), want[:]) || !bytes.Equal(written.hash.Sum(nil), want[:]) {
			t.Errorf("prefix of %d bytes: what is hashed or written is not the content", prefix)
		}
	}
}
