// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package blobtest is the conformance suite that every blob.Store passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// Open opens a store over the data of one test, whose new keys carry the epoch.
// The caller closes it before opening the data again.
type Open func(t *testing.T, epoch uint64) (s blob.Store, closeStore func())

// Run runs the suite. Each call of newData gives data that nobody else uses.
func Run(t *testing.T, newData func(t *testing.T) Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"what was appended and committed is read back", readsBack},
		{"an object can be without bytes", emptyObject},
		{"a committed object is read from any position", readsRanges},
		{"an object is continued after reopening the store", continuesAfterReopen},
		{"each of many appends adds to the object", manyAppends},
		{"an unrecorded append is overwritten", overwritesUnrecorded},
		{"an unrecorded append is not committed", commitDropsUnrecorded},
		{"bytes of a reader that fails are kept", keepsWhatWasRead},
		{"an append without bytes changes nothing", appendNothing},
		{"only recorded bytes of a partial are read", readsRecordedPartial},
		{"committing twice is no error", commitsTwice},
		{"a deleted object is gone", deletes},
		{"deleting what is not there is no error", deletesNothing},
		{"a partial can be deleted", deletesPartial},
		{"keys without an object are not found", notFound},
		{"no key leaves the store", hostileKeys},
		{"keys are listed by the epoch of their creation", keysByEpoch},
		{"a listing can be left early", keysStop},
		{"keys are not repeated", distinctKeys},
		{"many objects are written at the same time", concurrent},
		{"an ended context refuses to begin", endedContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newData(t)) })
	}
}

// Content is n bytes that are different for each seed.
func Content(seed uint64, n int) []byte {
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(content)
	return content
}

func open(t *testing.T, open Open, epoch uint64) blob.Store {
	t.Helper()
	s, closeStore := open(t, epoch)
	t.Cleanup(closeStore)
	return s
}

func create(t *testing.T, s blob.Store) blob.Partial {
	t.Helper()
	p, err := s.Create(t.Context())
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if p.Key == "" || p.Size != 0 {
		t.Fatalf("Create returned %+v, want a key and no bytes", p)
	}
	return p
}

func appendTo(t *testing.T, s blob.Store, p blob.Partial, content []byte) blob.Partial {
	t.Helper()
	next, err := s.Append(t.Context(), p, bytes.NewReader(content))
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if next.Key != p.Key || next.Size != p.Size+int64(len(content)) {
		t.Fatalf("Append of %d bytes to %+v returned %+v", len(content), p, next)
	}
	return next
}

func commit(t *testing.T, s blob.Store, p blob.Partial) {
	t.Helper()
	if err := s.Commit(t.Context(), p); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func store(t *testing.T, s blob.Store, content []byte) string {
	t.Helper()
	p := appendTo(t, s, create(t, s), content)
	commit(t, s, p)
	return p.Key
}

func wantContent(t *testing.T, s blob.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	got, err := readAndClose(r)
	if err != nil {
		t.Fatalf("read object: %v", err)
	}
	wantBytes(t, got, want)
}

func wantPartial(t *testing.T, s blob.Store, p blob.Partial, want []byte) {
	t.Helper()
	r, err := s.OpenPartial(t.Context(), p)
	if err != nil {
		t.Fatalf("OpenPartial: %v", err)
	}
	got, err := readAndClose(r)
	if err != nil {
		t.Fatalf("read partial: %v", err)
	}
	wantBytes(t, got, want)
}

func readAndClose(r io.ReadCloser) ([]byte, error) {
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func wantBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	t.Fatalf("content has %d bytes, want %d; the first difference is at %d", len(got), len(want), at)
}

func wantNotFound(t *testing.T, s blob.Store, key string) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err == nil {
		_ = r.Close()
	}
	if !errors.Is(err, blob.ErrNotFound) {
		t.Fatalf("Open(%q) returned %v, want ErrNotFound", key, err)
	}
}

func keys(t *testing.T, s blob.Store, epoch uint64) []string {
	t.Helper()
	var all []string
	for key, err := range s.Keys(t.Context(), epoch) {
		if err != nil {
			t.Fatalf("Keys: %v", err)
		}
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

func readsBack(t *testing.T, data Open) {
	s := open(t, data, 1)
	for i, size := range []int{1, 4096, 4097, 1 << 20, 3<<20 + 11} {
		content := Content(uint64(i), size)
		wantContent(t, s, store(t, s, content), content)
	}
}

func emptyObject(t *testing.T, data Open) {
	s := open(t, data, 1)
	p := create(t, s)
	commit(t, s, p)
	wantContent(t, s, p.Key, nil)
}

func readsRanges(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(1, 100_000)
	r, err := s.Open(t.Context(), store(t, s, content))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil || end != int64(len(content)) {
		t.Fatalf("the end is at %d (%v), want %d", end, err, len(content))
	}
	for _, piece := range [][2]int{{0, 1}, {99_999, 1}, {5_000, 70_000}, {1, 99_999}, {100_000, 0}} {
		if _, err := r.Seek(int64(piece[0]), io.SeekStart); err != nil {
			t.Fatalf("seek to %d: %v", piece[0], err)
		}
		got := make([]byte, piece[1])
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatalf("read %d bytes at %d: %v", piece[1], piece[0], err)
		}
		wantBytes(t, got, content[piece[0]:piece[0]+piece[1]])
	}
}

func continuesAfterReopen(t *testing.T, data Open) {
	content := Content(2, 300_000)
	s, closeStore := data(t, 1)
	p := appendTo(t, s, create(t, s), content[:123_456])
	closeStore()

	s, closeStore = data(t, 2)
	p = appendTo(t, s, p, content[123_456:])
	closeStore()

	s, closeStore = data(t, 3)
	commit(t, s, p)
	closeStore()

	wantContent(t, open(t, data, 4), p.Key, content)
}

func manyAppends(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(3, 50_000)
	p := create(t, s)
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 777)
		p = appendTo(t, s, p, rest[:n])
		rest = rest[n:]
	}
	commit(t, s, p)
	wantContent(t, s, p.Key, content)
}

func overwritesUnrecorded(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(4, 20_000)
	recorded := appendTo(t, s, create(t, s), content[:10_000])
	appendTo(t, s, recorded, Content(5, 90_000))
	p := appendTo(t, s, recorded, content[10_000:])
	commit(t, s, p)
	wantContent(t, s, p.Key, content)
}

func commitDropsUnrecorded(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(6, 10_000)
	recorded := appendTo(t, s, create(t, s), content)
	appendTo(t, s, recorded, Content(7, 5_000))
	commit(t, s, recorded)
	wantContent(t, s, recorded.Key, content)

	none := create(t, s)
	appendTo(t, s, none, Content(8, 5_000))
	commit(t, s, none)
	wantContent(t, s, none.Key, nil)
}

func keepsWhatWasRead(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(9, 1<<20)
	broken := errors.New("connection reset")
	p := create(t, s)
	next, err := s.Append(t.Context(), p, io.MultiReader(bytes.NewReader(content[:700_001]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Fatalf("Append returned %v, want the reader's error", err)
	}
	if next.Size != 700_001 {
		t.Fatalf("Append kept %d bytes, want the 700001 that were read", next.Size)
	}
	wantPartial(t, s, next, content[:700_001])
	next = appendTo(t, s, next, content[700_001:])
	commit(t, s, next)
	wantContent(t, s, next.Key, content)
}

func appendNothing(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(10, 5_000)
	p := appendTo(t, s, create(t, s), nil)
	p = appendTo(t, s, p, content)
	p = appendTo(t, s, p, nil)
	commit(t, s, p)
	wantContent(t, s, p.Key, content)
}

func readsRecordedPartial(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(11, 9_000)
	p := appendTo(t, s, create(t, s), content[:4_000])
	appendTo(t, s, p, content[4_000:])
	wantPartial(t, s, p, content[:4_000])
}

func commitsTwice(t *testing.T, data Open) {
	s := open(t, data, 1)
	content := Content(12, 9_000)
	p := appendTo(t, s, create(t, s), content)
	commit(t, s, p)
	commit(t, s, p)
	wantContent(t, s, p.Key, content)
}

func deletes(t *testing.T, data Open) {
	s := open(t, data, 1)
	gone, stays := store(t, s, Content(13, 100)), store(t, s, Content(14, 100))
	if err := s.Delete(t.Context(), gone); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantNotFound(t, s, gone)
	wantContent(t, s, stays, Content(14, 100))
	if got := keys(t, s, 1); !slices.Equal(got, []string{stays}) {
		t.Fatalf("Keys lists %q, want %q alone", got, stays)
	}
}

func deletesNothing(t *testing.T, data Open) {
	s := open(t, data, 1)
	key := store(t, s, Content(15, 100))
	for range 2 {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if err := s.Delete(t.Context(), "no key of any store"); err != nil {
		t.Fatalf("Delete of a key that cannot be: %v", err)
	}
}

func deletesPartial(t *testing.T, data Open) {
	s := open(t, data, 1)
	for _, p := range []blob.Partial{create(t, s), appendTo(t, s, create(t, s), Content(16, 10_000))} {
		if err := s.Delete(t.Context(), p.Key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNotFound(t, s, p.Key)
	}
	if got := keys(t, s, 1); len(got) != 0 {
		t.Fatalf("Keys lists %q, want none", got)
	}
}

func notFound(t *testing.T, data Open) {
	s := open(t, data, 1)
	p := appendTo(t, s, create(t, s), Content(17, 100))
	if err := s.Delete(t.Context(), p.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantNotFound(t, s, p.Key)
	if _, err := s.OpenPartial(t.Context(), p); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("OpenPartial returned %v, want ErrNotFound", err)
	}
	if got, err := s.Append(t.Context(), p, bytes.NewReader([]byte("x"))); !errors.Is(err, blob.ErrNotFound) || got.Size != p.Size {
		t.Errorf("Append returned %+v, %v; want the partial as it was and ErrNotFound", got, err)
	}
	if err := s.Commit(t.Context(), p); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Commit returned %v, want ErrNotFound", err)
	}
}

func hostileKeys(t *testing.T, data Open) {
	s := open(t, data, 1)
	key := store(t, s, Content(18, 100))
	for _, hostile := range []string{"", ".", "..", "/", "../" + key, key + "/..", key + "\x00", key[:len(key)-1], key + "0", "/etc/passwd", "../../../../etc/passwd"} {
		wantNotFound(t, s, hostile)
		if _, err := s.Append(t.Context(), blob.Partial{Key: hostile}, bytes.NewReader([]byte("x"))); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Append to %q returned %v, want ErrNotFound", hostile, err)
		}
		if err := s.Commit(t.Context(), blob.Partial{Key: hostile}); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Commit of %q returned %v, want ErrNotFound", hostile, err)
		}
		if err := s.Delete(t.Context(), hostile); err != nil {
			t.Errorf("Delete of %q returned %v, want no error", hostile, err)
		}
	}
	wantContent(t, s, key, Content(18, 100))
}

func keysByEpoch(t *testing.T, data Open) {
	var want [3][]string
	for epoch := range want {
		s, closeStore := data(t, uint64(epoch)<<40+7)
		for i := range 5 {
			want[epoch] = append(want[epoch], store(t, s, Content(uint64(i), 10)))
		}
		want[epoch] = append(want[epoch], appendTo(t, s, create(t, s), Content(9, 10)).Key)
		slices.Sort(want[epoch])
		closeStore()
	}
	s := open(t, data, 99)
	for epoch := range want {
		if got := keys(t, s, uint64(epoch)<<40+7); !slices.Equal(got, want[epoch]) {
			t.Errorf("Keys of epoch %d lists %q, want %q", epoch, got, want[epoch])
		}
	}
	if got := keys(t, s, 99); len(got) != 0 {
		t.Errorf("Keys of an epoch without objects lists %q", got)
	}
}

func keysStop(t *testing.T, data Open) {
	s := open(t, data, 1)
	for range 10 {
		appendTo(t, s, create(t, s), []byte("x"))
	}
	n := 0
	for _, err := range s.Keys(t.Context(), 1) {
		if err != nil {
			t.Fatalf("Keys: %v", err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("the listing had %d entries, want to leave it at the third", n)
	}
}

func distinctKeys(t *testing.T, data Open) {
	s := open(t, data, 1)
	seen := map[string]bool{}
	for range 1000 {
		key := create(t, s).Key
		if seen[key] {
			t.Fatalf("key %s was given out twice", key)
		}
		seen[key] = true
	}
}

func concurrent(t *testing.T, data Open) {
	s := open(t, data, 1)
	var all sync.WaitGroup
	failures := make(chan error, 16)
	for i := range cap(failures) {
		all.Go(func() {
			failures <- roundTrip(t.Context(), s, Content(uint64(i), 200_000+i))
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
}

func roundTrip(ctx context.Context, s blob.Store, content []byte) error {
	p, err := s.Create(ctx)
	if err != nil {
		return err
	}
	for _, piece := range [][]byte{content[:len(content)/2], content[len(content)/2:]} {
		if p, err = s.Append(ctx, p, bytes.NewReader(piece)); err != nil {
			return err
		}
	}
	if err := s.Commit(ctx, p); err != nil {
		return err
	}
	r, err := s.Open(ctx, p.Key)
	if err != nil {
		return err
	}
	got, err := readAndClose(r)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("object %s has other bytes than were written", p.Key)
	}
	return s.Delete(ctx, p.Key)
}

func endedContext(t *testing.T, data Open) {
	s := open(t, data, 1)
	key := store(t, s, Content(19, 100))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Create returned %v, want context.Canceled", err)
	}
	if _, err := s.Open(ended, key); !errors.Is(err, context.Canceled) {
		t.Errorf("Open returned %v, want context.Canceled", err)
	}
	if err := s.Delete(ended, key); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete returned %v, want context.Canceled", err)
	}
	var last error
	for _, err := range s.Keys(ended, 1) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("Keys ends with %v, want context.Canceled", last)
	}
	wantContent(t, s, key, Content(19, 100))
}
