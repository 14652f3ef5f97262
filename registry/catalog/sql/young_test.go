// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func openFile(t *testing.T, path string) *Store { return opened(t, Options{Path: path}) }

// began starts an upload and gives it its first bytes.
func began(t *testing.T, s *Store, id string, content []byte) catalog.Upload {
	t.Helper()
	u := catalog.Upload{ID: id, Name: cachedName1, Actor: "octocat", StartedAt: time.Now().Truncate(time.Second), Progress: catalog.Progress{Algorithm: ref.SHA256}}
	if err := s.StartUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	from := u.Progress
	u.Progress = catalog.Progress{Offset: int64(len(content)), Algorithm: ref.SHA256, Hash: []byte("midstate of " + id), Inline: content}
	if err := s.SaveUpload(t.Context(), id, from, u.Progress); err != nil {
		t.Fatal(err)
	}
	return u
}

func checkUpload(t *testing.T, s *Store, want catalog.Upload) {
	t.Helper()
	got, err := s.Upload(t.Context(), want.ID, want.Name, want.Actor)
	if err != nil {
		t.Errorf("upload %s: %v", want.ID, err)
		return
	}
	if got.Offset != want.Offset || !bytes.Equal(got.Inline, want.Inline) || !bytes.Equal(got.Hash, want.Hash) || !got.StartedAt.Equal(want.StartedAt) {
		t.Errorf("upload %s is %+v, want %+v", want.ID, got, want)
	}
}

// inFile counts the uploads that the file has.
func inFile(t *testing.T, s *Store) (count int64) {
	t.Helper()
	if err := s.read(t.Context(), func(t tx) error {
		found, err := t.first("SELECT count(*) FROM uploads")
		if err == nil {
			count = found.int(0)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return count
}

func TestAYoungUploadIsNotWrittenBeforeItsBlob(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "catalog.db"))
	before := s.Stats().Database.Commits
	u := began(t, s, "1", []byte("content"))
	checkUpload(t, s, u)
	if _, err := s.Upload(t.Context(), "1", u.Name, "hubot"); !errors.Is(err, catalog.ErrUploadUnknown) {
		t.Errorf("another user's upload: %v", err)
	}
	if commits := s.Stats().Database.Commits - before; commits > 0 {
		t.Errorf("%d transactions", commits)
	}
	b := catalog.Blob{Digest: ref.SHA256.FromBytes(u.Inline), Size: u.Offset, Content: u.Inline}
	if _, err := s.FinishUpload(t.Context(), "1", catalog.Progress{}, b); !errors.Is(err, catalog.ErrUploadConflict) {
		t.Errorf("finished from where it is not: %v", err)
	}
	if _, err := s.FinishUpload(t.Context(), "1", u.Progress, b); err != nil {
		t.Fatal(err)
	}
	if commits := s.Stats().Database.Commits - before; commits != 1 {
		t.Errorf("%d transactions for a blob", commits)
	}
	if _, err := s.Upload(t.Context(), "1", u.Name, u.Actor); !errors.Is(err, catalog.ErrUploadUnknown) {
		t.Errorf("an upload that has ended: %v", err)
	}
}

func TestUploadsMoveToTheFileInTime(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "catalog.db"))
	u := began(t, s, "1", []byte("content"))
	for deadline := time.Now().Add(time.Minute); inFile(t, s) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file has no upload")
		}
	}
	checkUpload(t, s, u)
	if n := s.young.count(); n != 0 {
		t.Errorf("%d are young", n)
	}
	if _, err := s.CancelUpload(t.Context(), "1", u.Name, u.Actor); err != nil {
		t.Error(err)
	}
}

func TestTheNextProcessFindsUploads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	s := openFile(t, path)
	u := began(t, s, "1", []byte("content"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkUpload(t, openFile(t, path), u)
}

func TestYoungUploadsAreBounded(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "catalog.db"))
	check := func(count int, content []byte, wantInFile bool) {
		t.Helper()
		var all []catalog.Upload
		for i := range count {
			all = append(all, began(t, s, fmt.Sprintf("%d of %d", i, count), content))
		}
		s.young.mu.Lock()
		kept, size := len(s.young.uploads), s.young.size
		s.young.mu.Unlock()
		if kept > youngUploads || size > youngSize {
			t.Errorf("%d of %d bytes are young", kept, size)
		}
		if n := inFile(t, s); (n > 0) != wantInFile {
			t.Errorf("the file has %d", n)
		}
		if b, err := s.Backlog(t.Context()); err != nil || b.Uploads != int64(count) {
			t.Errorf("the backlog has %d (%v) of %d", b.Uploads, err, count)
		}
		for _, u := range all {
			checkUpload(t, s, u)
			if _, err := s.CancelUpload(t.Context(), u.ID, u.Name, u.Actor); err != nil {
				t.Fatal(err)
			}
		}
		s.young.mu.Lock()
		defer s.young.mu.Unlock()
		if len(s.young.uploads) != 0 || s.young.size != 0 {
			t.Errorf("in the end %d of %d bytes are young", len(s.young.uploads), s.young.size)
		}
	}
	check(youngUploads+10, []byte("content"), true)
	check(youngSize/blob.InlineLimit+10, make([]byte, blob.InlineLimit), true)
}

// While uploads are written and finished, they move to the file at any moment.
func TestMovingToTheFileDisturbsNobody(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "catalog.db"))
	ctx, stop := context.WithCancel(t.Context())
	var moving, work sync.WaitGroup
	for i := range 3 { // expiry, a purge and a clock that is in a hurry
		moving.Go(func() {
			for ctx.Err() == nil {
				s.young.grow()
				if err := s.settleUploads(t.Context(), i > 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const workers, each = 4, 100
	for worker := range workers {
		work.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", worker, i)
				u := began(t, s, id, []byte(id))
				checkUpload(t, s, u)
				b := catalog.Blob{Digest: ref.SHA256.FromBytes(u.Inline), Size: u.Offset, Content: u.Inline}
				if _, err := s.FinishUpload(t.Context(), id, u.Progress, b); err != nil {
					t.Errorf("finish %s: %v", id, err)
				}
				if found, err := s.Blob(t.Context(), u.Name, b.Digest); err != nil || string(found.Content) != id {
					t.Errorf("blob %s: %q %v", id, found.Content, err)
				}
			}
		})
	}
	work.Wait()
	stop()
	moving.Wait()
	if b, err := s.Backlog(t.Context()); err != nil || b.Uploads != 0 {
		t.Errorf("%d uploads are left (%v)", b.Uploads, err)
	}
}
