// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// young keeps in memory the uploads of a file's catalog that have just begun: most
// end within milliseconds, and what was received of them is then written once,
// with the blob, instead of three times. An upload moves to the file when its bytes
// are a store's, when it is a second or two old, when the catalog closes, and when
// there are too many. Until then the end of the process ends it, as a loss of power
// can end any upload: what is received is promised to nobody before the blob is.
//
// Only one process writes to a file, so nobody else misses them. A nil young keeps
// nothing. It is safe for concurrent use.
type young struct {
	mu      sync.Mutex
	uploads map[string]*youngUpload
	// size is what the uploads have received, in bytes.
	size int
	// age counts the seconds.
	age    uint64
	closed bool
	// settling is held by whoever moves uploads to the file: two who wait for many
	// could wait for each other.
	settling sync.Mutex
	// ending ends ageUploads, which closes ended.
	ending, ended chan struct{}
}

// youngUpload is one of them. Its mutex is held by whoever does something with it.
type youngUpload struct {
	mu sync.Mutex
	catalog.Upload
	// left says that it is young no more: it has ended, or the file has it.
	left bool
	born uint64
}

// At most youngUploads are kept, which have received at most youngSize bytes.
const (
	youngUploads = 1024
	youngSize    = 4 << 20
	youngFor     = time.Second
)

func newYoung() *young {
	return &young{uploads: map[string]*youngUpload{}, ending: make(chan struct{}), ended: make(chan struct{})}
}

// add reports whether the upload is kept.
func (y *young) add(u catalog.Upload) (bool, error) {
	if y == nil || u.Key != "" || len(u.Inline) > 0 {
		return false, nil
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.uploads[u.ID] != nil {
		return false, fmt.Errorf("there is an upload %s already", u.ID)
	}
	if y.closed || len(y.uploads) == youngUploads {
		return false, nil
	}
	y.uploads[u.ID] = &youngUpload{Upload: u, born: y.age}
	return true, nil
}

// take locks an upload; nil if it is not young.
func (y *young) take(id string) *youngUpload {
	if y == nil {
		return nil
	}
	y.mu.Lock()
	u := y.uploads[id]
	y.mu.Unlock()
	if u == nil {
		return nil
	}
	u.mu.Lock()
	if u.left {
		u.mu.Unlock()
		return nil
	}
	return u
}

// takeAll locks all of them, and waits for those that somebody is busy with; or else
// those that have been young for long enough and nobody is busy with.
func (y *young) takeAll(all bool) (taken []*youngUpload) {
	y.mu.Lock()
	var found []*youngUpload
	for _, u := range y.uploads {
		if all || u.born+1 < y.age {
			found = append(found, u)
		}
	}
	y.mu.Unlock()
	for _, u := range found {
		if all {
			u.mu.Lock()
		} else if !u.mu.TryLock() {
			continue
		}
		if u.left {
			u.mu.Unlock()
			continue
		}
		taken = append(taken, u)
	}
	return taken
}

// save reports whether the upload can stay with what it has received now.
func (y *young) save(u *youngUpload, to catalog.Progress) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	grown := len(to.Inline) - len(u.Inline)
	if y.closed || to.Key != "" || y.size+grown > youngSize {
		return false
	}
	y.size += grown
	u.Progress = to
	return true
}

// leave forgets an upload that its caller has locked.
func (y *young) leave(u *youngUpload) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.size -= len(u.Inline)
	u.left = true
	delete(y.uploads, u.ID)
}

func (y *young) count() int {
	if y == nil {
		return 0
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.uploads)
}

// grow makes everybody a second older.
func (y *young) grow() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.age++
}

// close has later uploads go to the file at once.
func (y *young) close() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.closed = true
}

// check compares what a caller believes of an upload with what is.
func (u *youngUpload) check(from catalog.Progress) error {
	if u.Offset != from.Offset || u.Key != from.Key {
		return catalog.ErrUploadConflict
	}
	return nil
}

// settleUploads moves young uploads to the file: all, or those that are old enough.
func (s *Store) settleUploads(ctx context.Context, all bool) error {
	if s.young == nil {
		return nil
	}
	s.young.settling.Lock()
	defer s.young.settling.Unlock()
	taken := s.young.takeAll(all)
	if len(taken) == 0 {
		return nil
	}
	err := s.write(ctx, false, func(t tx) error {
		for _, u := range taken {
			if err := insertUpload(t, u.Upload); err != nil {
				return err
			}
		}
		return nil
	})
	for _, u := range taken {
		if err == nil {
			s.young.leave(u)
		}
		u.mu.Unlock()
	}
	return err
}

// ageUploads moves uploads to the file in time, until the store closes. Where that
// fails they stay in memory, and the next one to write is told why.
func (s *Store) ageUploads(ctx context.Context) {
	defer close(s.young.ended)
	ticker := time.NewTicker(youngFor)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.young.grow()
			_ = s.settleUploads(ctx, false)
		case <-s.young.ending:
			return
		}
	}
}

// closeYoung has the next process find the uploads, if they can be written.
func (s *Store) closeYoung() {
	if s.young == nil {
		return
	}
	close(s.young.ending)
	<-s.young.ended
	s.young.close()
	if err := s.settleUploads(context.Background(), true); err != nil {
		s.options.Log.Info("Uploads that had just begun are lost and have to be begun again", "count", s.young.count(), "reason", err.Error())
	}
}

// finishYoung is FinishUpload of an upload that its caller has locked.
func (s *Store) finishYoung(ctx context.Context, u *youngUpload, from catalog.Progress, b catalog.Blob) (discard string, err error) {
	if err := u.check(from); err != nil {
		return "", err
	}
	if discard, err = s.PutBlob(ctx, u.Name, b); err == nil {
		s.young.leave(u)
	}
	return discard, err
}

// saveYoung is SaveUpload of an upload that its caller has locked.
func (s *Store) saveYoung(ctx context.Context, u *youngUpload, from, to catalog.Progress) error {
	if err := u.check(from); err != nil || s.young.save(u, to) {
		return err
	}
	grown := u.Upload
	grown.Progress = to
	err := s.write(ctx, false, func(t tx) error { return insertUpload(t, grown) })
	if err == nil {
		s.young.leave(u)
	}
	return err
}

// cancelYoung is CancelUpload of an upload that its caller has locked.
func (s *Store) cancelYoung(u *youngUpload, name ref.Name, actor string) error {
	if u.Name != name || u.Actor != actor {
		return catalog.ErrUploadUnknown
	}
	s.young.leave(u)
	return nil
}
