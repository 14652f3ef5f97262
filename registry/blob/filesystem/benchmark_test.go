// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
)

var benchmarkSizes = []struct {
	name string
	size int
}{
	{"64KiB", 64 << 10},
	{"256MiB", 256 << 20},
}

// BenchmarkFloor does what physics asks of taking in a blob: it copies it to a
// file, hashes it on the way, and syncs. BenchmarkWriter is held to it.
func BenchmarkFloor(b *testing.B) {
	for _, bench := range benchmarkSizes {
		b.Run(bench.name, func(b *testing.B) {
			content := blobtest.Content(1, bench.size)
			dir, buffer := b.TempDir(), make([]byte, 1<<20)
			b.SetBytes(int64(bench.size))
			for b.Loop() {
				file, err := os.Create(filepath.Join(dir, "object"))
				if err != nil {
					b.Fatal(err)
				}
				h := sha256.New()
				_, err = io.CopyBuffer(struct{ io.Writer }{file}, io.TeeReader(source(content), h), buffer)
				if err := errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name())); err != nil {
					b.Fatal(err)
				}
				h.Sum(nil)
			}
		})
	}
}

// BenchmarkWriter takes in the same blob with the writer and this store.
func BenchmarkWriter(b *testing.B) {
	for _, bench := range benchmarkSizes {
		b.Run(bench.name, func(b *testing.B) {
			content := blobtest.Content(1, bench.size)
			s := mustOpen(b, b.TempDir(), Options{InstanceUID: "test"})
			defer mustClose(b, s)
			w := blob.Writer{Store: s}
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			for b.Loop() {
				p, err := w.Append(b.Context(), blob.Progress{}, source(content), -1)
				if err == nil {
					err = s.Commit(b.Context(), blob.Partial{Key: p.Key, Size: p.Offset})
				}
				if err == nil {
					err = os.Remove(filepath.Join(s.root.Name(), "objects", p.Key[17:19], p.Key))
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSend sends what BenchmarkWriter took in, and a file of the same bytes that
// was written at once, to a client on this machine.
func BenchmarkSend(b *testing.B) {
	content := blobtest.Content(1, 256<<20)
	s := mustOpen(b, b.TempDir(), Options{InstanceUID: "test"})
	defer mustClose(b, s)
	p, err := blob.Writer{Store: s}.Append(b.Context(), blob.Progress{}, source(content), -1)
	if err != nil {
		b.Fatal(err)
	}
	plain := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(plain, content, 0o600); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		open func() (io.ReadSeekCloser, error)
	}{
		{"Floor", func() (io.ReadSeekCloser, error) { return os.Open(plain) }},
		{"Object", func() (io.ReadSeekCloser, error) { return s.Open(b.Context(), p.Key) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			sender, receiver := connected(b)
			file, err := bench.open()
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = file.Close() }() // it was only read
			buffer := make([]byte, 256<<10)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				sent := make(chan error, 1)
				go func() { sent <- send(sender, file, int64(len(content))) }()
				for left := len(content); left > 0; {
					n, err := receiver.Read(buffer[:min(left, len(buffer))])
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
				if err := <-sent; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// send sends a file from its beginning, as net/http does.
func send(to net.Conn, file io.ReadSeeker, size int64) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(to, file, size)
	return err
}

// connected returns both ends of a connection.
func connected(b *testing.B) (sender, receiver net.Conn) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if receiver, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if sender, err = listener.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = errors.Join(sender.Close(), receiver.Close()) })
	return sender, receiver
}

// source hides that the content could write itself, as a request body does not.
func source(content []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(content)} }

func BenchmarkOpen(b *testing.B) {
	s := mustOpen(b, b.TempDir(), Options{InstanceUID: "test"})
	defer mustClose(b, s)
	key := mustStore(b, s, blobtest.Content(1, 64<<10)).Key
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(b.Context(), key)
		if err == nil {
			err = r.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
