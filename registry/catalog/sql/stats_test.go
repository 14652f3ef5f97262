// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// statsAfterUse are those of a store that took a blob, and was asked for it and for
// another that it does not have.
func statsAfterUse(t *testing.T, s *Store) Stats {
	t.Helper()
	before := s.Stats().Database.Commits
	b := catalog.Blob{Digest: ref.SHA256.FromBytes([]byte("x")), Size: 1, Content: []byte("x")}
	if _, err := s.PutBlob(t.Context(), cachedName1, b); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Blob(t.Context(), cachedName1, b.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ResolveTag(t.Context(), cachedName1, "none"); !errors.Is(err, catalog.ErrManifestUnknown) {
		t.Fatal(err)
	}
	stats := s.Stats()
	if n := stats.Database.Commits - before; n != 1 {
		t.Errorf("%d commits, want one", n)
	}
	if d := stats.Database; d.Pending != 0 || d.Max < 1 || d.Busy != 0 || d.Idle < 1 || d.Idle > d.Max {
		t.Errorf("a database at rest says %+v", d)
	}
	return stats
}

func TestPendingChangesAreCounted(t *testing.T) {
	s := unserved(t)
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error)
	go func() { given <- s.write(ctx, true, func(tx) error { return nil }) }()
	for deadline := time.Now().Add(time.Minute); s.Stats().Database.Pending != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing waits for the writer")
		}
	}
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := s.Stats().Database.Pending; n != 0 {
		t.Errorf("%d operations wait that were given up", n)
	}
}

// opened is a store that is closed when the test ends.
func opened(t *testing.T, o Options) *Store {
	t.Helper()
	o.InstanceUID, o.GracePeriod = "uid-1", time.Hour
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStatsOfAFile(t *testing.T) {
	stats := statsAfterUse(t, opened(t, Options{Path: filepath.Join(t.TempDir(), "catalog.db")}))
	if c := stats.Cache["blob"]; c != (CacheStats{Hits: 2, Misses: 1}) {
		t.Errorf("look-ups of blobs: %+v", c)
	}
	if c := stats.Cache["tag"]; c != (CacheStats{Misses: 1}) {
		t.Errorf("look-ups of tags: %+v", c)
	}
	if stats.CacheBytes < 1 || stats.CacheBytes > stats.CacheLimit || stats.CacheLimit != DefaultCacheSize {
		t.Errorf("the cache has %d of %d bytes", stats.CacheBytes, stats.CacheLimit)
	}
}

func TestStatsOfAServer(t *testing.T) {
	s := opened(t, Options{URL: postgrestest.Start(t).Schema(), Connections: 3})
	stats := statsAfterUse(t, s)
	if stats.Database.Max != 3 {
		t.Errorf("%d connections at most, want 3", stats.Database.Max)
	}
	if stats.Cache["blob"] != (CacheStats{}) || stats.Cache["tag"] != (CacheStats{}) || stats.CacheBytes != 0 || stats.CacheLimit != DefaultCacheSize {
		t.Errorf("what is not kept is counted: %+v", stats)
	}
	m := catalog.Manifest{Digest: ref.SHA256.FromBytes([]byte("m")), Content: []byte("m")}
	if err := s.PutManifest(t.Context(), cachedName1, m, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Manifest(t.Context(), cachedName1, m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if stats = s.Stats(); stats.Cache["manifest"] != (CacheStats{Hits: 2, Misses: 1}) || stats.CacheBytes == 0 {
		t.Errorf("look-ups of manifests: %+v", stats)
	}
}
