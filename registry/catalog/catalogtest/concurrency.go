// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const workers = 16

// together runs f in workers goroutines that begin at once, and returns their
// errors by worker.
func together(f func(worker int) error) []error {
	errs := make([]error, workers)
	begin := make(chan struct{})
	var done sync.WaitGroup
	for worker := range workers {
		done.Go(func() {
			<-begin
			errs[worker] = f(worker)
		})
	}
	close(begin)
	done.Wait()
	return errs
}

// Concurrency is the part of Run that has many callers at once.
func Concurrency(t *testing.T, open Open) {
	t.Run("all pushes are there", func(t *testing.T) {
		const images = 20
		f := newFixture(t, open)
		config := inline("shared config")
		push := func(worker int) error {
			for i := range images {
				own := inline(fmt.Sprintf("layer %d of %d", i, worker))
				for _, b := range []catalog.Blob{config, own} {
					if _, err := f.PutBlob(t.Context(), app, b); err != nil {
						return err
					}
				}
				m := image(fmt.Sprintf("image %d of %d", i, worker), config.Digest, own.Digest)
				tags := []ref.Tag{ref.Tag(fmt.Sprintf("w%d-%d", worker, i)), "latest"}
				if err := f.PutManifest(t.Context(), app, m, tags); err != nil {
					return err
				}
				// What was acknowledged is there for everybody at once.
				if d, err := f.ResolveTag(t.Context(), app, tags[0]); err != nil || d.Digest != m.Digest {
					return fmt.Errorf("tag %s is %s after its push: %w", tags[0], d.Digest, err)
				}
			}
			return nil
		}
		f.must(errors.Join(together(push)...))
		tags, err := f.Tags(t.Context(), app, "", workers*images+2)
		f.must(err)
		if len(tags) != workers*images+1 {
			t.Fatalf("%d tags, want %d", len(tags), workers*images+1)
		}
		for worker := range workers {
			for i := range images {
				f.wantTag(app, ref.Tag(fmt.Sprintf("w%d-%d", worker, i)), digestOf(fmt.Sprintf("image %d of %d", i, worker)))
			}
		}
	})
	t.Run("one of those who continue an upload wins", func(t *testing.T) {
		f := newFixture(t, open)
		f.must(f.StartUpload(t.Context(), catalog.Upload{ID: "u", Name: app, StartedAt: f.clock.Now()}))
		for offset := range int64(5) {
			from, to := catalog.Progress{Offset: offset}, catalog.Progress{Offset: offset + 1}
			f.oneWins(catalog.ErrUploadConflict, together(func(int) error {
				return f.SaveUpload(t.Context(), "u", from, to)
			}))
		}
		f.oneWins(catalog.ErrUploadUnknown, together(func(int) error {
			_, err := f.FinishUpload(t.Context(), "u", catalog.Progress{Offset: 5}, inline("12345"))
			return err
		}))
		f.wantBlob(app, inline("12345"))
	})
	t.Run("one of those who push the same blob keeps its bytes", func(t *testing.T) {
		f := newFixture(t, open)
		var discarded [workers]string
		f.must(errors.Join(together(func(worker int) (err error) {
			discarded[worker], err = f.PutBlob(t.Context(), app, object("large", fmt.Sprint("key-", worker)))
			return err
		})...))
		winner := slices.Index(discarded[:], "")
		if winner < 0 {
			t.Fatal("everybody's object is to be discarded")
		}
		for worker, key := range discarded {
			if want := fmt.Sprint("key-", worker); worker != winner && key != want {
				t.Fatalf("object %q is to be discarded beside the one kept, want %q", key, want)
			}
		}
		f.wantBlob(app, object("large", fmt.Sprint("key-", winner)))
	})
	t.Run("a review and a manifest exclude each other", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 50 {
			b := inline(fmt.Sprint("layer ", i))
			m := image(fmt.Sprint("image ", i), b.Digest)
			f.putBlob(app, b)
			f.clock.Advance(grace)
			var stored error
			f.must(errors.Join(together(func(worker int) error {
				if worker == 0 {
					stored = f.PutManifest(t.Context(), app, m, nil)
					return nil
				}
				_, err := f.Review(t.Context(), 1)
				return err
			})...))
			var missing *catalog.MissingError
			switch {
			case stored == nil:
				f.wantManifest(app, m)
				f.wantBlob(app, b)
			case errors.As(stored, &missing):
				f.noBlob(app, b.Digest)
			default:
				t.Fatal(stored)
			}
		}
	})
	t.Run("a deletion and a manifest exclude each other", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 30 {
			b, child := inline(fmt.Sprint("layer ", i)), index(fmt.Sprint("child ", i))
			m, parent := image(fmt.Sprint("image ", i), b.Digest), index(fmt.Sprint("parent ", i), child.Digest)
			f.putBlob(app, b)
			f.putManifest(app, child)
			var deletedBlob, deletedChild, stored, storedParent error
			together(func(worker int) error {
				switch worker {
				case 0:
					stored = f.PutManifest(t.Context(), app, m, nil)
				case 1:
					deletedBlob = f.DeleteBlob(t.Context(), app, b.Digest)
				case 2:
					storedParent = f.PutManifest(t.Context(), app, parent, nil)
				case 3:
					deletedChild = f.DeleteManifest(t.Context(), app, child.Digest)
				}
				return nil
			})
			f.oneOf(stored, deletedBlob, catalog.ErrBlobInUse)
			f.oneOf(storedParent, deletedChild, catalog.ErrManifestInUse)
		}
	})
	t.Run("a mount and a deletion of its source exclude each other", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 30 {
			b := inline(fmt.Sprint("layer ", i))
			f.putBlob(app, b)
			var mounted, deleted error
			together(func(worker int) error {
				switch worker {
				case 0:
					mounted = f.Mount(t.Context(), tool, b.Digest, app)
				case 1:
					deleted = f.DeleteBlob(t.Context(), app, b.Digest)
				}
				return nil
			})
			f.must(deleted)
			f.noBlob(app, b.Digest)
			if mounted == nil {
				f.wantBlob(tool, b)
				// It is not forgotten with the review of a blob without links.
				f.putManifest(tool, image(fmt.Sprint("image ", i), b.Digest))
				f.clock.Advance(grace)
				f.review()
				f.wantBlob(tool, b)
				continue
			}
			f.wantError(mounted, catalog.ErrBlobUnknown)
			f.noBlob(tool, b.Digest)
		}
	})
	t.Run("a push and the deletion of the last link follow each other", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 30 {
			b := inline(fmt.Sprint("layer ", i))
			f.putBlob(app, b)
			f.must(errors.Join(together(func(worker int) error {
				switch worker {
				case 0:
					_, err := f.PutBlob(t.Context(), tool, b)
					return err
				case 1:
					return f.DeleteBlob(t.Context(), app, b.Digest)
				}
				return nil
			})...))
			f.putManifest(tool, image(fmt.Sprint("image ", i), b.Digest))
			f.clock.Advance(grace)
			f.review()
			f.wantBlob(tool, b)
		}
	})
	t.Run("who is told of a blob has it, whatever is reviewed", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 30 {
			b := inline(fmt.Sprint("layer ", i))
			f.putBlob(app, b)
			f.clock.Advance(grace)
			var told error
			f.must(errors.Join(together(func(worker int) error {
				if worker == 0 {
					_, told = f.Blob(t.Context(), app, b.Digest)
					return nil
				}
				_, err := f.Review(t.Context(), 1)
				return err
			})...))
			if told == nil {
				f.wantBlob(app, b)
				continue
			}
			f.wantError(told, catalog.ErrBlobUnknown)
		}
	})
	t.Run("nobody sees an old state after a new one", func(t *testing.T) {
		const moves = 200
		f := newFixture(t, open)
		position := map[ref.Digest]int{}
		var manifests []catalog.Manifest
		for i := range moves {
			manifests = append(manifests, index(fmt.Sprint("move ", i)))
			position[manifests[i].Digest] = i
		}
		f.putManifest(app, manifests[0], "tag")
		var done atomic.Bool
		f.must(errors.Join(together(func(worker int) error {
			if worker == 0 {
				defer done.Store(true)
				for _, m := range manifests[1:] {
					if err := f.PutManifest(t.Context(), app, m, []ref.Tag{"tag"}); err != nil {
						return err
					}
				}
				return nil
			}
			for seen := 0; !done.Load(); {
				d, err := f.ResolveTag(t.Context(), app, "tag")
				if err != nil {
					return err
				}
				if position[d.Digest] < seen {
					return fmt.Errorf("the tag went back from %d to %d", seen, position[d.Digest])
				}
				seen = position[d.Digest]
			}
			return nil
		})...))
		f.wantTag(app, "tag", manifests[moves-1].Digest)
	})
	t.Run("a page of tags is one state", func(t *testing.T) {
		f := newFixture(t, open)
		// Both tags move in one operation, so that they never differ.
		f.must(errors.Join(together(func(worker int) error {
			for i := range 20 {
				if worker%2 == 0 {
					m := index(fmt.Sprintf("%d of %d", i, worker))
					if err := f.PutManifest(t.Context(), app, m, []ref.Tag{"a", "b"}); err != nil {
						return err
					}
					if err := f.DeleteManifest(t.Context(), app, m.Digest); err != nil {
						return err
					}
					continue
				}
				tags, err := f.Tags(t.Context(), app, "", 10)
				if err != nil && !errors.Is(err, catalog.ErrNameUnknown) {
					return err
				}
				if len(tags) == 1 {
					return fmt.Errorf("tag %s alone", tags[0])
				}
			}
			return nil
		})...))
	})
}

// oneOf checks that either something was stored, and the deletion of what it
// refers to was refused, or the other way round.
func (f *fixture) oneOf(stored, deleted, refusal error) {
	f.t.Helper()
	var missing *catalog.MissingError
	switch {
	case stored == nil:
		f.wantError(deleted, refusal)
	case !errors.As(stored, &missing):
		f.t.Fatalf("storing failed with %v", stored)
	default:
		f.must(deleted)
	}
}

// oneWins checks that one of several calls succeeded, and how the others failed.
func (f *fixture) oneWins(lost error, errs []error) {
	f.t.Helper()
	winners := 0
	for _, err := range errs {
		if err == nil {
			winners++
			continue
		}
		f.wantError(err, lost)
	}
	if winners != 1 {
		f.t.Fatalf("%d calls succeeded, want 1", winners)
	}
}
