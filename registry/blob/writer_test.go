// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/filesystem"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const unlimited = -1

// childVariable makes this program append its standard input to the progress in
// the variable, in the directory of childDirectory, and print the new progress.
const (
	childVariable  = "BLOB_TEST_PROGRESS"
	childDirectory = "BLOB_TEST_DIRECTORY"
)

func TestMain(m *testing.M) {
	if progress, ok := os.LookupEnv(childVariable); ok {
		if err := appendInChild(progress, os.Getenv(childDirectory)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func appendInChild(encoded, dir string) (err error) {
	var progress blob.Progress
	if err := json.Unmarshal([]byte(encoded), &progress); err != nil {
		return err
	}
	s, err := filesystem.Open(dir, filesystem.Options{InstanceUID: "test"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	progress, err = blob.Writer{Store: s}.Append(context.Background(), progress, os.Stdin, unlimited)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(progress)
}

func newStore(t testing.TB) *filesystem.Store {
	t.Helper()
	s, err := filesystem.Open(t.TempDir(), filesystem.Options{InstanceUID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.StartEpoch(1)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustAppend(t *testing.T, w blob.Writer, from blob.Progress, r io.Reader) blob.Progress {
	t.Helper()
	to, err := w.Append(t.Context(), from, r, unlimited)
	if err != nil {
		t.Fatalf("Append at %d: %v", from.Offset, err)
	}
	return to
}

// recorded is what a catalog gives back: the same data in other memory.
func recorded(t *testing.T, p blob.Progress) blob.Progress {
	t.Helper()
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back blob.Progress
	if err := json.Unmarshal(encoded, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// wantFinished finishes the progress and compares its bytes.
func wantFinished(t *testing.T, w blob.Writer, p blob.Progress, algorithm ref.Algorithm, content []byte) blob.Finished {
	t.Helper()
	digest := algorithm.FromBytes(content)
	finished, err := w.Finish(t.Context(), p, digest)
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	if finished.Digest != digest || finished.Size != int64(len(content)) {
		t.Fatalf("finished %s with %d bytes, want %s with %d", finished.Digest, finished.Size, digest, len(content))
	}
	if (finished.Key == "") != (finished.Content != nil) {
		t.Fatalf("finished with the key %q and %d bytes of content, want one of them", finished.Key, len(finished.Content))
	}
	got := finished.Content
	if finished.Key != "" {
		r, err := w.Store.Open(t.Context(), finished.Key)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		got, err = io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("the blob has other bytes than were appended (%d, want %d)", len(got), len(content))
	}
	return finished
}

func objects(t *testing.T, s blob.Store) (keys []string) {
	t.Helper()
	for key, err := range s.Keys(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestSmallBlobsAreInlineAndOthersObjects(t *testing.T) {
	for _, size := range []int{0, 1, blob.InlineLimit - 1, blob.InlineLimit, blob.InlineLimit + 1, 256 << 10, 3<<20 + 1} {
		w := blob.Writer{Store: newStore(t)}
		content := blobtest.Content(1, size)
		p := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content))
		finished := wantFinished(t, w, recorded(t, p), ref.SHA256, content)
		if inline := finished.Key == ""; inline != (size <= blob.InlineLimit) {
			t.Errorf("a blob of %d bytes is inline: %t", size, inline)
		}
		if got, want := len(objects(t, w.Store)), min(1, max(0, size-blob.InlineLimit)); got != want {
			t.Errorf("a blob of %d bytes has %d objects, want %d", size, got, want)
		}
	}
}

func TestABlobWithoutAppendIsEmpty(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	wantFinished(t, w, blob.Progress{}, ref.SHA256, nil)
	wantFinished(t, w, blob.Progress{Algorithm: ref.SHA512}, ref.SHA512, nil)
}

func TestChunksInAnyCutEqualTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
		for range 25 {
			w := blob.Writer{Store: newStore(t)}
			content := blobtest.Content(random.Uint64(), random.IntN(600<<10))
			p := blob.Progress{Algorithm: algorithm}
			for rest := content; len(rest) > 0; {
				n := 1 + random.IntN(min(len(rest), 1+random.IntN(200<<10)))
				var r io.Reader = bytes.NewReader(rest[:n])
				if random.IntN(2) == 0 {
					r = iotest.HalfReader(r)
				}
				p = recorded(t, mustAppend(t, w, p, r))
				rest = rest[n:]
			}
			wantFinished(t, w, p, algorithm, content)
		}
	}
}

func FuzzChunks(f *testing.F) {
	f.Add(uint64(1), uint32(10), uint32(20), uint32(30), false)
	f.Add(uint64(2), uint32(blob.InlineLimit), uint32(1), uint32(0), true)
	f.Add(uint64(3), uint32(blob.InlineLimit-1), uint32(1), uint32(1), false)
	f.Add(uint64(4), uint32(300<<10), uint32(63), uint32(65), true)
	w := blob.Writer{Store: newStore(f)}
	f.Fuzz(func(t *testing.T, seed uint64, a, b, c uint32, long bool) {
		const most = 400 << 10
		cuts := []int{int(a % most), int(b % most), int(c % most)}
		content := blobtest.Content(seed, cuts[0]+cuts[1]+cuts[2])
		algorithm := ref.SHA256
		if long {
			algorithm = ref.SHA512
		}
		p := blob.Progress{Algorithm: algorithm}
		rest := content
		for _, n := range cuts {
			p = recorded(t, mustAppend(t, w, p, iotest.HalfReader(bytes.NewReader(rest[:n]))))
			rest = rest[n:]
		}
		if finished := wantFinished(t, w, p, algorithm, content); finished.Key != "" {
			if err := w.Store.Delete(t.Context(), finished.Key); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAnotherProcessContinues(t *testing.T) {
	for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
		dir := t.TempDir()
		content := blobtest.Content(5, 150_000)
		p := blob.Progress{Algorithm: algorithm}
		for _, piece := range [][]byte{content[:20_001], content[20_001:100_003], content[100_003:]} {
			encoded, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+string(encoded), childDirectory+"="+dir)
			child.Stdin = bytes.NewReader(piece)
			child.Stderr = os.Stderr
			out, err := child.Output()
			if err != nil {
				t.Fatalf("child process: %v", err)
			}
			p = blob.Progress{}
			if err := json.Unmarshal(out, &p); err != nil {
				t.Fatal(err)
			}
		}
		s, err := filesystem.Open(dir, filesystem.Options{InstanceUID: "test"})
		if err != nil {
			t.Fatal(err)
		}
		wantFinished(t, blob.Writer{Store: s}, p, algorithm, content)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAReaderThatBreaksKeepsWhatItGave(t *testing.T) {
	for _, broken := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF} {
		for _, cut := range []int{0, 1, 1000, blob.InlineLimit, blob.InlineLimit + 1, 256 << 10, 700_001} {
			for _, before := range []int{0, 1000, 50_000} {
				w := blob.Writer{Store: newStore(t)}
				content := blobtest.Content(6, before+cut+10_000)
				from := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content[:before]))
				p, err := w.Append(t.Context(), from, io.MultiReader(bytes.NewReader(content[before:before+cut]), iotest.ErrReader(broken)), unlimited)
				if !errors.Is(err, broken) {
					t.Errorf("%v after %d bytes at %d: got the error %v", broken, cut, before, err)
				}
				if p.Offset != int64(before+cut) {
					t.Errorf("%v after %d bytes at %d: the offset is %d", broken, cut, before, p.Offset)
				}
				p = mustAppend(t, w, recorded(t, p), bytes.NewReader(content[p.Offset:]))
				wantFinished(t, w, p, ref.SHA256, content)
			}
		}
	}
}

func TestAReaderThatGivesNothingForeverIsGivenUp(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	if _, err := w.Append(t.Context(), blob.Progress{}, idleReader{}, unlimited); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got the error %v, want io.ErrNoProgress", err)
	}
}

type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

func TestTheLimitHoldsAsTheBytesArrive(t *testing.T) {
	for _, limit := range []int{0, 1, 1000, blob.InlineLimit, blob.InlineLimit + 1, 300_000} {
		for _, before := range []int{0, 500, 40_000} {
			if before > limit {
				continue
			}
			w := blob.Writer{Store: newStore(t)}
			content := blobtest.Content(7, limit)
			from := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content[:before]))
			had := objects(t, w.Store)

			source := &countingReader{r: io.MultiReader(bytes.NewReader(content[before:]), zeros{})}
			p, err := w.Append(t.Context(), from, source, int64(limit))
			if !errors.Is(err, blob.ErrOverLimit) {
				t.Fatalf("limit %d at %d: got the error %v, want ErrOverLimit", limit, before, err)
			}
			if source.n > int64(limit-before+1) {
				t.Errorf("limit %d at %d: %d bytes were taken in", limit, before, source.n)
			}
			if diff := cmp.Diff(from, p); diff != "" {
				t.Errorf("limit %d at %d: the progress changed (-from +to)\n%s", limit, before, diff)
			}
			if diff := cmp.Diff(had, objects(t, w.Store)); diff != "" {
				t.Errorf("limit %d at %d: objects (-before +after)\n%s", limit, before, diff)
			}

			p, err = w.Append(t.Context(), from, bytes.NewReader(content[before:]), int64(limit))
			if err != nil {
				t.Fatalf("limit %d at %d: exactly so many bytes give %v", limit, before, err)
			}
			wantFinished(t, w, p, ref.SHA256, content)
		}
	}
}

func TestALimitThatCameDownRefusesMore(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	from := mustAppend(t, w, blob.Progress{}, strings.NewReader("0123456789"))
	if p, err := w.Append(t.Context(), from, strings.NewReader(""), 9); !errors.Is(err, blob.ErrOverLimit) || p.Offset != 10 {
		t.Errorf("got the offset %d and %v, want 10 and ErrOverLimit", p.Offset, err)
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// brittleStore fails its Appends after some bytes, and can hide from the store
// below that a reader writes itself.
type brittleStore struct {
	blob.Store
	room     int64
	plain    bool
	failWith error
}

func (s *brittleStore) Append(ctx context.Context, p blob.Partial, r io.Reader) (blob.Partial, error) {
	if s.plain {
		r = struct{ io.Reader }{r}
	}
	if s.failWith == nil {
		return s.Store.Append(ctx, p, r)
	}
	if _, err := io.CopyN(io.Discard, r, s.room); err != nil {
		return p, err
	}
	return p, s.failWith
}

func TestAStoreThatFailsLeavesTheProgress(t *testing.T) {
	for _, before := range []int{0, 1000, 50_000} {
		for _, room := range []int64{0, 10_000, 5 << 20} {
			s := &brittleStore{Store: newStore(t)}
			w := blob.Writer{Store: s}
			content := blobtest.Content(8, 6<<20)
			from := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content[:before]))
			had := objects(t, s)

			s.room, s.failWith = room, blob.ErrNoSpace
			p, err := w.Append(t.Context(), from, bytes.NewReader(content[before:]), unlimited)
			if !errors.Is(err, blob.ErrNoSpace) {
				t.Fatalf("got the error %v, want ErrNoSpace", err)
			}
			if diff := cmp.Diff(from, p); diff != "" {
				t.Errorf("the progress changed (-from +to)\n%s", diff)
			}
			if diff := cmp.Diff(had, objects(t, s)); diff != "" {
				t.Errorf("objects (-before +after)\n%s", diff)
			}

			s.failWith = nil
			p = mustAppend(t, w, from, bytes.NewReader(content[before:]))
			wantFinished(t, w, p, ref.SHA256, content)
		}
	}
}

func TestAStoreMayReadByItself(t *testing.T) {
	w := blob.Writer{Store: &brittleStore{Store: newStore(t), plain: true}}
	content := blobtest.Content(9, 700_000)
	p := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content[:20_000]))
	p = mustAppend(t, w, p, bytes.NewReader(content[20_000:400_000]))
	p = mustAppend(t, w, p, bytes.NewReader(content[400_000:]))
	wantFinished(t, w, p, ref.SHA256, content)
}

func TestAClientThatLeavesKeepsWhatItSent(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	content := blobtest.Content(10, 100_000)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	p, err := w.Append(ctx, blob.Progress{}, io.MultiReader(bytes.NewReader(content[:60_000]), iotest.ErrReader(context.Canceled)), unlimited)
	if !errors.Is(err, context.Canceled) || p.Offset != 60_000 {
		t.Fatalf("got the offset %d and %v, want 60000 and context.Canceled", p.Offset, err)
	}
	p = mustAppend(t, w, p, bytes.NewReader(content[60_000:]))
	wantFinished(t, w, p, ref.SHA256, content)
}

func TestFinishRefusesAnotherDigest(t *testing.T) {
	for _, size := range []int{0, 100, 100_000} {
		w := blob.Writer{Store: newStore(t)}
		content := blobtest.Content(11, size)
		p := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content))
		for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
			want := algorithm.FromBytes([]byte("other content"))
			_, err := w.Finish(t.Context(), p, want)
			if !errors.Is(err, blob.ErrDigestMismatch) {
				t.Fatalf("got the error %v, want ErrDigestMismatch", err)
			}
			for _, digest := range []ref.Digest{want, algorithm.FromBytes(content)} {
				if !strings.Contains(err.Error(), string(digest)) {
					t.Errorf("the error %q does not name %s", err, digest)
				}
			}
		}
		wantFinished(t, w, p, ref.SHA256, content)
	}
}

func TestFinishHashesAgainForAnotherAlgorithm(t *testing.T) {
	for _, size := range []int{0, 100, 100_000} {
		w := blob.Writer{Store: newStore(t)}
		content := blobtest.Content(12, size)
		p := mustAppend(t, w, blob.Progress{}, bytes.NewReader(content))
		wantFinished(t, w, p, ref.SHA512, content)
		p = mustAppend(t, w, blob.Progress{Algorithm: ref.SHA512}, bytes.NewReader(content))
		wantFinished(t, w, p, ref.SHA256, content)
	}
}

func TestUnknownAlgorithmsAreRefused(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	if _, err := w.Append(t.Context(), blob.Progress{Algorithm: "md5"}, strings.NewReader("x"), unlimited); !errors.Is(err, ref.ErrAlgorithm) {
		t.Errorf("Append gives %v, want ErrAlgorithm", err)
	}
	if _, err := w.Finish(t.Context(), blob.Progress{}, "md5:00"); !errors.Is(err, ref.ErrAlgorithm) {
		t.Errorf("Finish gives %v, want ErrAlgorithm", err)
	}
}

func TestDamagedProgressIsRefused(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	small := mustAppend(t, w, blob.Progress{}, strings.NewReader("small"))
	for name, damage := range map[string]func(*blob.Progress){
		"no midstate":          func(p *blob.Progress) { p.Hash = nil },
		"a shorter midstate":   func(p *blob.Progress) { p.Hash = p.Hash[:len(p.Hash)-1] },
		"another algorithm's":  func(p *blob.Progress) { p.Algorithm = ref.SHA512 },
		"fewer bytes than had": func(p *blob.Progress) { p.Inline = p.Inline[1:] },
	} {
		p := recorded(t, small)
		damage(&p)
		if got, err := w.Append(t.Context(), p, strings.NewReader("x"), unlimited); err == nil {
			t.Errorf("%s: Append goes on to %+v", name, got)
		}
	}
}

func TestAppendLeavesItsArgumentAlone(t *testing.T) {
	w := blob.Writer{Store: newStore(t)}
	from := mustAppend(t, w, blob.Progress{}, strings.NewReader("begin "))
	before := recorded(t, from)
	one := mustAppend(t, w, from, strings.NewReader("one"))
	two := mustAppend(t, w, from, strings.NewReader("two"))
	if diff := cmp.Diff(before, from); diff != "" {
		t.Errorf("the progress was changed (-before +after)\n%s", diff)
	}
	wantFinished(t, w, one, ref.SHA256, []byte("begin one"))
	wantFinished(t, w, two, ref.SHA256, []byte("begin two"))
}
