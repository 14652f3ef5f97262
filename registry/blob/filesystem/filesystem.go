// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package filesystem is a blob store in a directory of one machine.
//
//	DIR/instance              the UID of the instance that the data belongs to
//	DIR/lock                  locked while a process uses the directory
//	DIR/objects/SHARD/KEY     an object; SHARD is two hexadecimal digits of KEY
//
// blob.NewKey makes KEY. Since keys are never reused and the catalog
// decides which of them count, an object is written where it stays: there is no
// rename. What is acknowledged is durable: the bytes, then the directory entry,
// are synced before Append returns.
package filesystem

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// Options say whose data a directory holds, and how new keys are made.
type Options struct {
	// InstanceUID is the instance that the data belongs to. A directory without
	// data takes it on; one with another refuses to open.
	InstanceUID string
	// Adopt replaces the UID of a directory that belongs to another instance.
	Adopt bool
	// Rand is where the random part of keys comes from; nil is crypto/rand.
	Rand io.Reader
}

// Store is a blob.Store in a directory. It is safe for concurrent use by one
// process, and locked against others.
type Store struct {
	root  *os.Root
	lock  *os.File
	epoch uint64

	randMu sync.Mutex
	rand   io.Reader

	objects *os.Root
	shards  [256]shard
}

// shard is one of the directories that objects are spread over. It is opened at
// its first use and stays open: reading an object then takes one system call
// that names it.
type shard struct {
	mu   sync.RWMutex
	root *os.Root
}

// Usage is the room of the file system that a store is on, in bytes.
type Usage struct {
	// Free is what the store may still write.
	Free int64
	// Total is the size of the file system.
	Total int64
}

var _ blob.Store = (*Store)(nil)

// Open takes hold of dir, and makes it (mode 0700) when it is missing. It fails
// with ErrInUse while another process has it, with ErrOtherInstance when its data
// belongs to another instance and adoption was not asked for, and with an error
// that says so when dir is not a directory or not writable. Close releases it.
func Open(dir string, o Options) (*Store, error) {
	if err := checkUID(o.InstanceUID); err != nil {
		return nil, err
	}
	s := &Store{rand: o.Rand}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	if err := s.open(dir, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(dir string, o Options) (err error) {
	if s.root, err = openDirectory(dir); err != nil {
		return err
	}
	if s.lock, err = acquire(s.root, dir); err != nil {
		return err
	}
	if err := claim(s.root, dir, o.InstanceUID, o.Adopt); err != nil {
		return err
	}
	s.objects, err = openSubdirectory(s.root, "objects")
	if err == nil {
		// Whoever made the directories that exist may have died before this.
		err = errors.Join(syncRoot(s.root), syncRoot(s.objects))
	}
	if err != nil {
		return fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return nil
}

// Close lets go of the directory. Files that Open returned stay readable.
func (s *Store) Close() error {
	var all []error
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		if shard.root != nil {
			all = append(all, shard.root.Close())
			shard.root = nil
		}
		shard.mu.Unlock()
	}
	if s.objects != nil {
		all = append(all, s.objects.Close())
	}
	if s.root != nil {
		all = append(all, s.root.Close())
	}
	if s.lock != nil {
		all = append(all, s.lock.Close())
	}
	return errors.Join(all...)
}

// StartEpoch makes new keys carry the epoch, 0 before. It comes before the first
// Create: whoever counts epochs does so under the lock that Open takes.
func (s *Store) StartEpoch(epoch uint64) { s.epoch = epoch }

// Empty reports whether no object was ever made in the directory.
func (s *Store) Empty() (bool, error) {
	directory, err := s.objects.Open(".")
	if err != nil {
		return false, fmt.Errorf("look for objects: %w", err)
	}
	defer func() { _ = directory.Close() }() // it was only read
	_, err = directory.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for objects: %w", err)
	}
	return false, nil
}

// Usage asks the file system for its room.
func (s *Store) Usage() (Usage, error) {
	var stat syscall.Statfs_t
	if err := syscall.Fstatfs(int(s.lock.Fd()), &stat); err != nil {
		return Usage{}, fmt.Errorf("ask the file system of the blob store for its room: %w", err)
	}
	size := uint64(stat.Bsize)
	return Usage{Free: int64(stat.Bavail * size), Total: int64(stat.Blocks * size)}, nil
}

// reserve is the room of a file system of total bytes that is left to the
// catalog, so that a full disk can still record what is deleted, and start again.
func reserve(total int64) int64 { return min(64<<20, total/8) }

// Room returns blob.ErrNoSpace when nothing more should be stored.
func (s *Store) Room() error {
	usage, err := s.Usage()
	if err == nil && usage.Free < reserve(usage.Total) {
		err = fmt.Errorf("%w: the last %d bytes are kept for the catalog", blob.ErrNoSpace, reserve(usage.Total))
	}
	return err
}

func (s *Store) newKey() (string, error) {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return blob.NewKey(s.rand, s.epoch)
}

// shardOf is the shard of a key, or false when key is none of this store's.
func shardOf(key string) (int, bool) {
	if !blob.IsKey(key) {
		return 0, false
	}
	random := key[strings.IndexByte(key, '-')+1:]
	return digit(random[0])<<4 | digit(random[1]), true
}

// digit is the value of a lower-case hexadecimal digit.
func digit(c byte) int {
	if c <= '9' {
		return int(c - '0')
	}
	return int(c-'a') + 10
}

// directoryOf returns the directory that key's object is in. Unless create is
// set, a directory that does not exist yet is fs.ErrNotExist.
func (s *Store) directoryOf(key string, create bool) (*os.Root, error) {
	number, ok := shardOf(key)
	if !ok {
		return nil, fmt.Errorf("%w: %q is not a key of this store", blob.ErrNotFound, key)
	}
	return s.shardRoot(number, create)
}

func (s *Store) shardRoot(number int, create bool) (*os.Root, error) {
	shard := &s.shards[number]
	shard.mu.RLock()
	root := shard.root
	shard.mu.RUnlock()
	if root != nil {
		return root, nil
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.root != nil {
		return shard.root, nil
	}
	name := fmt.Sprintf("%02x", number)
	var err error
	if create {
		shard.root, err = openSubdirectory(s.objects, name)
	} else {
		shard.root, err = s.objects.OpenRoot(name)
	}
	return shard.root, err
}

// storeError says what failed and with which object. A store without room is
// blob.ErrNoSpace, a missing object blob.ErrNotFound.
func storeError(action, key string, err error) error {
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s object %s: %w: %w", action, key, blob.ErrNoSpace, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s object %s: %w", action, key, blob.ErrNotFound)
	}
	return fmt.Errorf("%s object %s: %w", action, key, err)
}

// stop returns the context's error, if it has ended.
func stop(ctx context.Context) error { return context.Cause(ctx) }
