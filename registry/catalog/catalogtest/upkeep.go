// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func testReview(t *testing.T, open Open) {
	large := object("large", "key-1")

	t.Run("forgets what no manifest came to use", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.wantBlob(app, large)
		f.clock.Advance(grace - time.Second)
		f.review()
		f.clock.Advance(time.Second)
		f.review()
		f.noBlob(app, large.Digest)
		_, err := f.Tags(t.Context(), app, "", 1)
		f.wantError(err, catalog.ErrNameUnknown)
		f.wantUnreferenced([]string{"key-1"})
		f.wantDeletions()
		f.clock.Advance(delay)
		f.wantDeletions("key-1")
		f.must(f.DeletionsDone(t.Context(), append(f.dueDeletions(), catalog.Deletion{Key: "key-9", Due: f.clock.Now()})))
		f.wantDeletions()
		f.wantUnreferenced([]string{"key-1"}, "key-1")
	})
	t.Run("counts what is queued", func(t *testing.T) {
		f := newFixture(t, open)
		want := func(b catalog.Backlog) {
			t.Helper()
			got, err := f.Backlog(t.Context())
			f.must(err)
			if got != b {
				t.Fatalf("the backlog is %+v, want %+v", got, b)
			}
		}
		want(catalog.Backlog{})
		f.putBlob(app, large)
		f.must(f.StartUpload(t.Context(), catalog.Upload{ID: "upload", Name: app, StartedAt: f.clock.Now(), Progress: catalog.Progress{Key: "key-2"}}))
		want(catalog.Backlog{Uploads: 1, Reviews: 1})
		f.must(f.Mount(t.Context(), tool, large.Digest, app))
		f.putManifest(tool, image("image", large.Digest))
		want(catalog.Backlog{Uploads: 1, Reviews: 1})
		_, err := f.CancelUpload(t.Context(), "upload", app, "")
		f.must(err)
		want(catalog.Backlog{Reviews: 1, Deletions: 1})
		f.must(f.DeleteManifest(t.Context(), tool, digestOf("image")))
		want(catalog.Backlog{Reviews: 2, Deletions: 1})
		f.clock.Advance(grace)
		f.review()
		f.clock.Advance(grace)
		f.review()
		want(catalog.Backlog{Deletions: 2})
		f.clock.Advance(delay)
		f.deletionsDone()
		want(catalog.Backlog{})
	})
	t.Run("keeps what a manifest uses", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.putManifest(app, image("image", large.Digest))
		f.clock.Advance(10 * grace)
		f.review()
		f.wantBlob(app, large)
	})
	t.Run("removes the links of other names", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.must(f.Mount(t.Context(), tool, large.Digest, app))
		f.putManifest(app, image("image", large.Digest))
		f.clock.Advance(grace)
		f.review()
		f.noBlob(tool, large.Digest)
		f.wantBlob(app, large)
	})
	t.Run("follows the deletion of the last manifest", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.putManifest(app, image("one", large.Digest))
		f.putManifest(app, image("two", large.Digest))
		f.must(f.DeleteManifest(t.Context(), app, digestOf("one")))
		f.clock.Advance(grace)
		f.review()
		f.wantBlob(app, large)
		f.must(f.DeleteManifest(t.Context(), app, digestOf("two")))
		f.clock.Advance(grace / 4)
		f.wantBlob(app, large)
		f.clock.Advance(grace - grace/4)
		f.review()
		f.noBlob(app, large.Digest)
		f.clock.Advance(delay)
		f.wantDeletions("key-1")
	})
	t.Run("follows the deletion of the blob", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.must(f.DeleteBlob(t.Context(), app, large.Digest))
		f.clock.Advance(grace - 1)
		f.review()
		f.wantUnreferenced([]string{"key-1"})
		f.clock.Advance(1)
		f.review()
		f.clock.Advance(delay)
		f.wantDeletions("key-1")
	})
	t.Run("is put off by a client that is told of the blob", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.clock.Advance(grace - time.Second)
		f.wantBlob(app, large)
		f.clock.Advance(grace - time.Second)
		f.review()
		f.putManifest(app, image("image", large.Digest))
		f.clock.Advance(grace)
		f.review()
		f.wantBlob(app, large)
	})
	t.Run("is put off when it is overdue as well", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.clock.Advance(2 * grace)
		f.wantBlob(app, large)
		f.review()
		f.wantBlob(app, large)
	})
	t.Run("is put off by another push and by a mount", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, inline("one"))
		f.putBlob(app, inline("two"))
		f.putBlob(app, inline("three"))
		f.clock.Advance(grace - time.Second)
		f.putBlob(app, inline("one"))
		f.must(f.Mount(t.Context(), app, digestOf("two"), app))
		f.clock.Advance(time.Second)
		f.review()
		f.wantBlob(app, inline("one"))
		f.wantBlob(app, inline("two"))
		f.noBlob(app, digestOf("three"))
	})
	t.Run("ends when a deleted blob is pushed again", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.must(f.DeleteBlob(t.Context(), app, large.Digest))
		discard, err := f.PutBlob(t.Context(), app, object("large", "key-2"))
		f.must(err)
		if discard != "key-2" {
			t.Fatalf("object %q is to be discarded, want key-2", discard)
		}
		f.putManifest(app, image("image", large.Digest))
		f.clock.Advance(10 * grace)
		f.review()
		f.wantBlob(app, large)
		f.wantDeletions("key-2")
	})
	t.Run("never lets a deletion take new bytes", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.clock.Advance(grace)
		f.review()
		// The old object waits for its deletion: the digest gets the new one.
		f.putBlob(app, object("large", "key-2"))
		f.wantBlob(app, object("large", "key-2"))
		f.clock.Advance(delay)
		f.wantDeletions("key-1")
	})
	t.Run("deletes once more what was written to an upload that had ended", func(t *testing.T) {
		f := newFixture(t, open)
		f.must(f.StartUpload(t.Context(), catalog.Upload{ID: "upload", Name: app, StartedAt: f.clock.Now(), Progress: catalog.Progress{Key: "key-1"}}))
		_, err := f.CancelUpload(t.Context(), "upload", app, "")
		f.must(err)
		deleted := f.dueDeletions()
		// A request that had begun before writes the object once it is deleted.
		f.must(f.AbandonObject(t.Context(), "key-1"))
		f.must(f.DeletionsDone(t.Context(), deleted))
		f.clock.Advance(time.Millisecond)
		f.wantDeletions("key-1")
		f.deletionsDone()
		// Another one does so later still.
		f.must(f.AbandonObject(t.Context(), "key-1"))
		f.wantDeletions("key-1")
	})
	t.Run("deletes nothing that is in use because a writer gave it up", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, large)
		f.must(f.StartUpload(t.Context(), catalog.Upload{ID: "upload", Name: app, StartedAt: f.clock.Now(), Progress: catalog.Progress{Key: "key-2"}}))
		f.must(f.AbandonObject(t.Context(), "key-1"))
		f.must(f.AbandonObject(t.Context(), "key-2"))
		f.clock.Advance(delay)
		f.wantDeletions()
	})
	t.Run("queues no deletion for a blob without an object", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, inline("small"))
		f.clock.Advance(grace)
		f.review()
		f.noBlob(app, digestOf("small"))
		f.clock.Advance(delay)
		f.wantDeletions()
	})
	t.Run("takes at most as many as asked", func(t *testing.T) {
		f := newFixture(t, open)
		for _, content := range []string{"1", "2", "3"} {
			f.putBlob(app, object(content, "key-"+content))
		}
		f.putBlob(tool, object("4", "key-4"))
		f.must(f.DeleteBlob(t.Context(), tool, digestOf("4")))
		f.clock.Advance(grace)
		for _, want := range []int{3, 1, 0} {
			n, err := f.Review(t.Context(), 3)
			f.must(err)
			if n != want {
				t.Fatalf("%d entries reviewed, want %d", n, want)
			}
		}
		f.clock.Advance(delay)
		due, err := f.DueDeletions(t.Context(), 3)
		f.must(err)
		if len(due) != 3 {
			t.Fatalf("%d deletions with limit 3", len(due))
		}
		f.must(f.DeletionsDone(t.Context(), due))
		due, err = f.DueDeletions(t.Context(), 3)
		f.must(err)
		if len(due) != 1 {
			t.Fatalf("%d deletions left, want 1", len(due))
		}
	})
}

func testPurge(t *testing.T, open Open) {
	f := newFixture(t, open)
	const near ref.Name = "octocat/octo-app-2/app"
	large := object("large", "key-1")
	shared := object("shared", "key-2")
	child := image("child", large.Digest, shared.Digest)
	fill := func() {
		t.Helper()
		f.putBlob(app, large)
		f.putBlob(app, shared)
		f.putManifest(app, child, "child")
		f.putManifest(app, index("parent", child.Digest), "latest")
	}
	fill()
	f.putBlob(tool, inline("small"))
	for _, name := range []ref.Name{near, other} {
		f.must(f.Mount(t.Context(), name, shared.Digest, app))
		f.putManifest(name, image("kept", shared.Digest), "kept")
	}
	for id, name := range map[string]ref.Name{"u1": app, "u2": near} {
		f.must(f.StartUpload(t.Context(), catalog.Upload{
			ID: id, Name: name, Actor: "a", StartedAt: f.clock.Now(), Progress: catalog.Progress{Key: "key-" + id},
		}))
	}

	f.must(f.Purge(t.Context(), "uid-1", "octocat/octo-app"))
	for _, name := range []ref.Name{app, tool} {
		_, err := f.Tags(t.Context(), name, "", 10)
		f.wantError(err, catalog.ErrNameUnknown)
	}
	f.noTag(app, "latest")
	f.noManifest(app, child.Digest)
	f.noBlob(app, large.Digest)
	f.noBlob(tool, digestOf("small"))
	_, err := f.Upload(t.Context(), "u1", app, "a")
	f.wantError(err, catalog.ErrUploadUnknown)
	_, err = f.Upload(t.Context(), "u2", near, "a")
	f.must(err)
	for _, name := range []ref.Name{near, other} {
		f.wantBlob(name, shared)
		f.wantTag(name, "kept", digestOf("kept"))
	}
	names, err := f.Names(t.Context(), "", 10)
	f.must(err)
	f.same(names, []ref.Name{near, other})

	f.clock.Advance(grace)
	f.review()
	f.clock.Advance(delay)
	f.wantDeletions("key-1", "key-u1")

	// The same purge is done once, even if the name has content again.
	purged, err := f.Purged(t.Context(), []string{"uid-0", "uid-1"})
	f.must(err)
	f.same(purged, []string{"uid-1"})
	f.deletionsDone()
	large.Key = "key-3"
	f.putBlob(app, large)
	f.must(f.Mount(t.Context(), app, shared.Digest, other))
	f.putManifest(app, child, "child")
	f.must(f.Purge(t.Context(), "uid-1", "octocat/octo-app"))
	f.wantManifest(app, child)
	f.must(f.Purge(t.Context(), "uid-2", "octocat/octo-app"))
	f.noManifest(app, child.Digest)
	f.must(f.Purge(t.Context(), "uid-3", "octocat/never-pushed"))
	purged, err = f.Purged(t.Context(), []string{"uid-2", "uid-3"})
	f.must(err)
	f.same(purged, []string{"uid-2", "uid-3"})
}

func testEpochs(t *testing.T, open Open) {
	clock := NewClock()
	options := Options{Now: clock.Now, GracePeriod: grace, DeleteDelay: delay}
	directory := t.TempDir()
	start := func(wantUnclean ...uint64) *fixture {
		t.Helper()
		f := &fixture{Store: open(t, directory, options), t: t, clock: clock}
		unclean, err := f.UncleanEpochs(t.Context())
		f.must(err)
		f.same(unclean, wantUnclean)
		f.must(f.Ping(t.Context()))
		return f
	}
	first := start()
	first.putBlob(app, inline("small"))
	first.must(first.Close())
	first.must(first.Close())
	if err := first.Ping(t.Context()); err == nil {
		t.Fatal("a closed store answers")
	}
	if _, err := first.PutBlob(t.Context(), app, inline("late")); err == nil {
		t.Fatal("a closed store stores")
	}

	second := start()
	if second.Epoch() <= first.Epoch() {
		t.Fatalf("epoch %d follows %d", second.Epoch(), first.Epoch())
	}
	second.wantBlob(app, inline("small"))
	second.crash()
	third := start(second.Epoch())
	third.crash()
	fourth := start(second.Epoch(), third.Epoch())
	fourth.must(fourth.Swept(t.Context(), second.Epoch()))
	fourth.must(fourth.Swept(t.Context(), fourth.Epoch()))
	fourth.must(fourth.Close())
	fifth := start(third.Epoch())
	if fifth.Epoch() <= fourth.Epoch() {
		t.Fatalf("epoch %d follows %d", fifth.Epoch(), fourth.Epoch())
	}
	fifth.wantBlob(app, inline("small"))
	fifth.must(fifth.Swept(t.Context(), third.Epoch()))
	// One that may have left something is swept, though it ended in order.
	fifth.SweepLater()
	fifth.must(fifth.Close())
	start(fifth.Epoch())
}
