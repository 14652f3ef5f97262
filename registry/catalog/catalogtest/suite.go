// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalogtest is the behavior that every catalog.Store must show.
package catalogtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Options of a store under test.
type Options struct {
	Now         func() time.Time
	GracePeriod time.Duration
	DeleteDelay time.Duration
}

// Open opens the store whose database belongs to a directory. The directory is
// empty at first; the same one means the same database.
type Open func(t testing.TB, directory string, options Options) catalog.Store

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Blobs", testBlobs},
		{"Uploads", testUploads},
		{"Manifests", testManifests},
		{"Sparse", testSparse},
		{"Listings", testListings},
		{"Referrers", testReferrers},
		{"LargeReferrers", testLargeReferrers},
		{"Review", testReview},
		{"Purge", testPurge},
		{"Epochs", testEpochs},
		{"Concurrency", Concurrency},
		{"Random", Random},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.run(t, open)
		})
	}
}

// Clock is a clock that tests move. The zero value is not usable.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	grace = 24 * time.Hour
	delay = 12 * time.Hour
)

// fixture is a store under test, with helpers that fail the test.
type fixture struct {
	catalog.Store
	t     testing.TB
	clock *Clock
}

// Crasher is a store that can end as in a crash. One that cannot goes on beside
// those that are opened after it, which take it for gone.
type Crasher interface{ Crash() }

func (f *fixture) crash() {
	if c, can := f.Store.(Crasher); can {
		c.Crash()
	}
}

func newFixture(t testing.TB, open Open) *fixture {
	t.Helper()
	clock := NewClock()
	return &fixture{
		Store: open(t, t.TempDir(), Options{Now: clock.Now, GracePeriod: grace, DeleteDelay: delay}),
		t:     t, clock: clock,
	}
}

func digestOf(content string) ref.Digest {
	sum := sha256.Sum256([]byte(content))
	return ref.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// inline is a small blob; object is one whose bytes are elsewhere.
func inline(content string) catalog.Blob {
	return catalog.Blob{Digest: digestOf(content), Size: int64(len(content)), Content: []byte(content)}
}

func object(content, key string) catalog.Blob {
	return catalog.Blob{Digest: digestOf(content), Size: int64(len(content)), Key: key}
}

// image is a manifest that refers to blobs.
func image(content string, blobs ...ref.Digest) catalog.Manifest {
	return catalog.Manifest{
		Digest: digestOf(content), MediaType: "application/vnd.oci.image.manifest.v1+json",
		Content: []byte(content), Blobs: blobs,
	}
}

// index is a manifest that refers to manifests.
func index(content string, children ...ref.Digest) catalog.Manifest {
	return catalog.Manifest{
		Digest: digestOf(content), MediaType: "application/vnd.oci.image.index.v1+json",
		Content: []byte(content), Manifests: children,
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wantError(err, want error) {
	f.t.Helper()
	if !errors.Is(err, want) {
		f.t.Fatalf("error is %v, want %v", err, want)
	}
}

func (f *fixture) putBlob(name ref.Name, b catalog.Blob) {
	f.t.Helper()
	discard, err := f.PutBlob(f.t.Context(), name, b)
	f.must(err)
	if discard != "" {
		f.t.Fatalf("object %q is to be discarded", discard)
	}
}

func (f *fixture) wantReplaced(want bool, content, lost, key string) {
	f.t.Helper()
	done, err := f.ReplaceObject(f.t.Context(), digestOf(content), lost, key)
	f.must(err)
	if done != want {
		f.t.Fatalf("object %s replaced by %s: %v, want %v", lost, key, done, want)
	}
}

func (f *fixture) putManifest(name ref.Name, m catalog.Manifest, tags ...ref.Tag) {
	f.t.Helper()
	f.must(f.PutManifest(f.t.Context(), name, m, tags))
}

func (f *fixture) wantBlob(name ref.Name, want catalog.Blob) {
	f.t.Helper()
	got, err := f.Blob(f.t.Context(), name, want.Digest)
	f.must(err)
	f.same(got, want)
	if (got.Content == nil) != (got.Key != "") {
		f.t.Fatalf("blob with key %q has content %v: exactly one of them must be there", got.Key, got.Content)
	}
}

func (f *fixture) noBlob(name ref.Name, digest ref.Digest) {
	f.t.Helper()
	_, err := f.Blob(f.t.Context(), name, digest)
	f.wantError(err, catalog.ErrBlobUnknown)
}

func (f *fixture) wantTag(name ref.Name, tag ref.Tag, want ref.Digest) {
	f.t.Helper()
	got, err := f.ResolveTag(f.t.Context(), name, tag)
	f.must(err)
	if got.Digest != want {
		f.t.Fatalf("tag %s is %s, want %s", tag, got.Digest, want)
	}
}

func (f *fixture) noTag(name ref.Name, tag ref.Tag) {
	f.t.Helper()
	_, err := f.ResolveTag(f.t.Context(), name, tag)
	f.wantError(err, catalog.ErrManifestUnknown)
}

func (f *fixture) wantManifest(name ref.Name, want catalog.Manifest) {
	f.t.Helper()
	got, err := f.Manifest(f.t.Context(), name, want.Digest)
	f.must(err)
	f.same(got, want)
}

func (f *fixture) noManifest(name ref.Name, digest ref.Digest) {
	f.t.Helper()
	_, err := f.Manifest(f.t.Context(), name, digest)
	f.wantError(err, catalog.ErrManifestUnknown)
}

// same compares values; nothing and an empty list are the same.
func (f *fixture) same(got, want any) {
	f.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.t.Fatalf("wrong result (-want +got):\n%s", diff)
	}
}

// review reviews everything that is due, one entry at a time.
func (f *fixture) review() {
	f.t.Helper()
	for {
		n, err := f.Review(f.t.Context(), 1)
		f.must(err)
		if n == 0 {
			return
		}
	}
}

func (f *fixture) wantDeletions(want ...string) {
	f.t.Helper()
	f.same(keysOf(f.dueDeletions()), want)
}

func (f *fixture) dueDeletions() []catalog.Deletion {
	f.t.Helper()
	due, err := f.DueDeletions(f.t.Context(), 10_000)
	f.must(err)
	return due
}

// keysOf are the keys of deletions, in order.
func keysOf(deletions []catalog.Deletion) []string {
	var keys []string
	for _, d := range deletions {
		keys = append(keys, d.Key)
	}
	slices.Sort(keys)
	return keys
}

// deletionsDone has everything that is due deleted.
func (f *fixture) deletionsDone() {
	f.t.Helper()
	f.must(f.DeletionsDone(f.t.Context(), f.dueDeletions()))
}

func (f *fixture) wantUnreferenced(keys []string, want ...string) {
	f.t.Helper()
	got, err := f.Unreferenced(f.t.Context(), keys)
	f.must(err)
	f.same(got, want)
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
