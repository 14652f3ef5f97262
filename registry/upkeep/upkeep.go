// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upkeep removes what nobody needs: uploads that were given up, content
// that lost its last reference, and objects that a crash left behind. What may
// go, and when, is the catalog's decision; here it is carried out.
package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

// Defaults of Options.
const (
	DefaultInterval       = time.Minute
	DefaultPause          = 20 * time.Millisecond
	DefaultUploadLifetime = 24 * time.Hour
)

// batch bounds how much one transaction of the catalog does.
const batch = 100

// Catalog is what upkeep needs of a catalog.Store.
type Catalog interface {
	DropExpiredUploads(ctx context.Context, before time.Time, limit int) (int, error)
	Review(ctx context.Context, limit int) (int, error)
	DueDeletions(ctx context.Context, limit int) ([]catalog.Deletion, error)
	DeletionsDone(ctx context.Context, done []catalog.Deletion) error
	Unreferenced(ctx context.Context, keys []string) ([]string, error)
	UncleanEpochs(ctx context.Context) ([]uint64, error)
	Swept(ctx context.Context, epoch uint64) error
	Backlog(ctx context.Context) (catalog.Backlog, error)
}

var _ Catalog = catalog.Store(nil)

// Blobs is what upkeep needs of a blob.Store.
type Blobs interface {
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context, epoch uint64) iter.Seq2[string, error]
}

// Options of Run and New. Catalog and Blobs are required.
type Options struct {
	Catalog Catalog
	Blobs   Blobs
	Log     logr.Logger
	// Interval is the time between two passes; 0 means DefaultInterval.
	Interval time.Duration
	// Pause is the time between two batches of a pass, which is left to
	// requests; 0 means DefaultPause.
	Pause time.Duration
	// UploadLifetime is how long after its beginning an upload may be
	// finished; 0 means DefaultUploadLifetime.
	UploadLifetime time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Report is told of every pass, from the goroutine of Run; nil tells nobody.
	Report func(Report)
}

// Report is what a pass did, and left.
type Report struct {
	Result
	// Backlog is nil if it could not be counted.
	Backlog *catalog.Backlog
	// Err is what could not be done.
	Err error
}

// Result counts what a pass did.
type Result struct {
	// ExpiredUploads were dropped; Reviewed entries were looked at.
	ExpiredUploads, Reviewed int
	// DeletedObjects were due; SweptObjects were left behind by a crash.
	DeletedObjects, SweptObjects int
	// FreedBytes is the size of these objects, as far as their store tells it of
	// those that were never completed.
	FreedBytes int64
}

// Worker does upkeep pass by pass.
type Worker struct{ options Options }

// New returns a worker.
func New(o Options) *Worker {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Pause == 0 {
		o.Pause = DefaultPause
	}
	if o.UploadLifetime == 0 {
		o.UploadLifetime = DefaultUploadLifetime
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Worker{options: o}
}

// Run makes a pass at once and then at every interval, until ctx ends; it
// returns ctx's error. What fails is logged and tried again by the next pass.
func Run(ctx context.Context, o Options) error {
	w := New(o)
	for {
		done, err := w.Pass(ctx)
		w.report(ctx, done, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			o.Log.Error(err, "Upkeep could not do everything; it will try again", "interval", w.options.Interval.String())
		}
		if done != (Result{}) {
			o.Log.Info("Removed what nobody needs", "expiredUploads", done.ExpiredUploads, "reviewed", done.Reviewed,
				"deletedObjects", done.DeletedObjects, "sweptObjects", done.SweptObjects, "freedBytes", done.FreedBytes)
		}
		if err := wait(ctx, w.options.Interval); err != nil {
			return err
		}
	}
}

// report tells how a pass went.
func (w *Worker) report(ctx context.Context, done Result, err error) {
	if w.options.Report == nil {
		return
	}
	report := Report{Result: done, Err: err}
	if backlog, countErr := w.options.Catalog.Backlog(ctx); countErr == nil {
		report.Backlog = &backlog
	} else {
		report.Err = errors.Join(err, fmt.Errorf("count what is queued: %w", countErr))
	}
	w.options.Report(report)
}

// Pass does everything that is due. A part that fails does not keep the others
// from being done. It ends as soon as ctx does.
func (w *Worker) Pass(ctx context.Context) (Result, error) {
	var done Result
	parts := []struct {
		what string
		run  func(context.Context, *Result) error
	}{
		{"drop expired uploads", w.expire},
		{"review unreferenced content", w.review},
		{"delete objects", w.deleteDue},
		{"sweep after a crash", w.sweep},
	}
	var errs []error
	for _, part := range parts {
		if err := part.run(ctx, &done); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.what, err))
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
	}
	return done, errors.Join(errs...)
}

func (w *Worker) expire(ctx context.Context, done *Result) error {
	before := w.options.Now().Add(-w.options.UploadLifetime)
	return w.batches(ctx, func() (bool, error) {
		n, err := w.options.Catalog.DropExpiredUploads(ctx, before, batch)
		done.ExpiredUploads += n
		return n == batch, err
	})
}

func (w *Worker) review(ctx context.Context, done *Result) error {
	return w.batches(ctx, func() (bool, error) {
		n, err := w.options.Catalog.Review(ctx, batch)
		done.Reviewed += n
		return n == batch, err
	})
}

// deleteDue deletes the objects whose time has come. Those that cannot be
// deleted stay in the catalog's queue; when nothing else is left in a batch, the
// next pass tries again.
func (w *Worker) deleteDue(ctx context.Context, done *Result) error {
	return w.batches(ctx, func() (bool, error) {
		due, err := w.options.Catalog.DueDeletions(ctx, batch)
		if err != nil || len(due) == 0 {
			return false, err
		}
		deleted, deleteErr := w.delete(ctx, due, done)
		done.DeletedObjects += len(deleted)
		if len(deleted) == 0 {
			return false, deleteErr
		}
		if err := w.options.Catalog.DeletionsDone(ctx, deleted); err != nil {
			return false, errors.Join(deleteErr, err)
		}
		// A failure that is met again by the next batch is told once, by the
		// last one.
		more := len(due) == batch
		if more {
			deleteErr = nil
		}
		return more, deleteErr
	})
}

// delete deletes objects until ctx ends, counts their bytes, and returns those that
// are gone and the first error.
func (w *Worker) delete(ctx context.Context, objects []catalog.Deletion, done *Result) ([]catalog.Deletion, error) {
	var first error
	deleted := make([]catalog.Deletion, 0, len(objects))
	for _, object := range objects {
		if ctx.Err() != nil {
			break
		}
		size := w.size(ctx, object.Key)
		if err := w.options.Blobs.Delete(ctx, object.Key); err != nil {
			if first == nil {
				first = fmt.Errorf("object %s: %w", object.Key, err)
			}
			continue
		}
		deleted = append(deleted, object)
		done.FreedBytes += size
	}
	return deleted, first
}

// size of an object in bytes, 0 if it cannot be told.
func (w *Worker) size(ctx context.Context, key string) int64 {
	object, err := w.options.Blobs.Open(ctx, key)
	if err != nil {
		return 0
	}
	defer func() { _ = object.Close() }()
	size, err := object.Seek(0, io.SeekEnd)
	if err != nil {
		return 0
	}
	return size
}

// sweep deletes the objects of epochs that ended in a crash and that the catalog
// does not know.
func (w *Worker) sweep(ctx context.Context, done *Result) error {
	epochs, err := w.options.Catalog.UncleanEpochs(ctx)
	if err != nil {
		return err
	}
	for _, epoch := range epochs {
		if err := w.sweepEpoch(ctx, epoch, done); err != nil {
			return fmt.Errorf("epoch %d: %w", epoch, err)
		}
		if err := w.options.Catalog.Swept(ctx, epoch); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) sweepEpoch(ctx context.Context, epoch uint64, done *Result) error {
	sweepKeys := func(keys []string) error {
		unreferenced, err := w.options.Catalog.Unreferenced(ctx, keys)
		if err != nil {
			return err
		}
		left := make([]catalog.Deletion, len(unreferenced))
		for i, key := range unreferenced {
			left[i].Key = key
		}
		deleted, err := w.delete(ctx, left, done)
		done.SweptObjects += len(deleted)
		if err != nil {
			return err
		}
		return ctx.Err()
	}
	keys := make([]string, 0, batch)
	for key, err := range w.options.Blobs.Keys(ctx, epoch) {
		if err != nil {
			return err
		}
		if keys = append(keys, key); len(keys) < batch {
			continue
		}
		if err := sweepKeys(keys); err != nil {
			return err
		}
		keys = keys[:0]
		if err := wait(ctx, w.options.Pause); err != nil {
			return err
		}
	}
	return sweepKeys(keys)
}

// batches calls one until it says that there is no more, with pauses.
func (w *Worker) batches(ctx context.Context, one func() (more bool, err error)) error {
	for {
		more, err := one()
		if err != nil || !more {
			return err
		}
		if err := wait(ctx, w.options.Pause); err != nil {
			return err
		}
	}
}

// wait waits, or returns ctx's error once that has ended.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
