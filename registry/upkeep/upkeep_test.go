// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/filesystem"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/upkeep"
)

const app ref.Name = "octocat/octo-app/app"

// objects is a blob store in memory, as far as upkeep sees one. Keys are
// EPOCH-ANYTHING.
type objects struct {
	mu       sync.Mutex
	keys     map[string]bool
	stubborn map[string]bool
	content  map[string]string // of completed objects
	onDelete func()
}

var errStubborn = errors.New("the object does not want to go")

func newObjects(keys ...string) *objects {
	o := &objects{keys: map[string]bool{}, stubborn: map[string]bool{}, content: map[string]string{}, onDelete: func() {}}
	for _, key := range keys {
		o.keys[key] = true
	}
	return o
}

type object struct{ *strings.Reader }

func (object) Close() error { return nil }

func (o *objects) Open(_ context.Context, key string) (io.ReadSeekCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	content, found := o.content[key]
	if !found || !o.keys[key] {
		return nil, blob.ErrNotFound
	}
	return object{strings.NewReader(content)}, nil
}

func (o *objects) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.onDelete()
	if o.stubborn[key] {
		return errStubborn
	}
	delete(o.keys, key)
	return nil
}

func (o *objects) Keys(_ context.Context, epoch uint64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, key := range o.all() {
			if strings.HasPrefix(key, fmt.Sprint(epoch, "-")) && !yield(key, nil) {
				return
			}
		}
	}
}

func (o *objects) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.keys))
}

const (
	grace = 24 * time.Hour
	delay = 12 * time.Hour
)

// clock is moved by the test between passes.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func openCatalog(t *testing.T, directory string, c *clock) *sql.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), sql.Options{
		Path: filepath.Join(directory, "catalog.db"), InstanceUID: "uid-1",
		GracePeriod: grace, DeleteDelay: delay, Now: c.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func wantPass(t *testing.T, w *upkeep.Worker, want upkeep.Result) {
	t.Helper()
	got, err := w.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("the pass did %+v, want %+v", got, want)
	}
}

func wantObjects(t *testing.T, o *objects, want ...string) {
	t.Helper()
	if got := o.all(); !slices.Equal(got, want) {
		t.Fatalf("objects are %v, want %v", got, want)
	}
}

func put(t *testing.T, s catalog.Store, name ref.Name, key string) ref.Digest {
	t.Helper()
	digest := ref.SHA256.FromBytes([]byte(key))
	if _, err := s.PutBlob(t.Context(), name, catalog.Blob{Digest: digest, Size: 1, Key: key}); err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestUnreferencedContentGoesStepByStep(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects("1-used", "1-unused")
	used := put(t, s, app, "1-used")
	put(t, s, app, "1-unused")
	m := catalog.Manifest{Digest: ref.SHA256.FromBytes([]byte("m")), Content: []byte("m"), Blobs: []ref.Digest{used}}
	if err := s.PutManifest(t.Context(), app, m, nil); err != nil {
		t.Fatal(err)
	}
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now})
	wantPass(t, w, upkeep.Result{})
	c.now = c.now.Add(grace)
	wantPass(t, w, upkeep.Result{Reviewed: 1})
	wantObjects(t, o, "1-unused", "1-used")
	c.now = c.now.Add(delay)
	wantPass(t, w, upkeep.Result{DeletedObjects: 1})
	wantObjects(t, o, "1-used")
	wantPass(t, w, upkeep.Result{})
}

func TestBytesOfDeletedObjectsAreCounted(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects("1-a", "1-b", "1-half", "1-stubborn")
	o.content["1-a"], o.content["1-b"], o.content["1-stubborn"] = "12345", "123", "1234567"
	o.stubborn["1-stubborn"] = true
	for _, key := range o.all() {
		put(t, s, app, key)
	}
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now})
	c.now = c.now.Add(grace)
	wantPass(t, w, upkeep.Result{Reviewed: 4})
	c.now = c.now.Add(delay)
	if got, err := w.Pass(t.Context()); !errors.Is(err, errStubborn) || got != (upkeep.Result{DeletedObjects: 3, FreedBytes: 8}) {
		t.Errorf("the pass did %+v, %v", got, err)
	}
}

func TestEveryPassIsReportedWithWhatIsLeft(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects("1-a")
	put(t, s, app, "1-a")
	if err := s.StartUpload(t.Context(), catalog.Upload{ID: "u", Name: app, StartedAt: c.now}); err != nil {
		t.Fatal(err)
	}
	var got []upkeep.Report
	run := func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = upkeep.Run(ctx, upkeep.Options{Catalog: s, Blobs: o, Now: c.Now, Interval: time.Hour, Report: func(r upkeep.Report) {
			got = append(got, r)
			cancel()
		}})
	}
	run()
	c.now = c.now.Add(grace)
	run()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run()
	if len(got) != 3 {
		t.Fatalf("%d reports", len(got))
	}
	if r := got[0]; r.Err != nil || r.Backlog == nil || *r.Backlog != (catalog.Backlog{Uploads: 1, Reviews: 1}) || r.Result != (upkeep.Result{}) {
		t.Errorf("the first pass: %+v, %+v", r, r.Backlog)
	}
	if r := got[1]; r.Err != nil || r.Backlog == nil || *r.Backlog != (catalog.Backlog{Uploads: 1, Deletions: 1}) || r.Result != (upkeep.Result{Reviewed: 1}) {
		t.Errorf("the second pass: %+v, %+v", r, r.Backlog)
	}
	if r := got[2]; r.Err == nil || r.Backlog != nil {
		t.Errorf("without a catalog: %+v", r)
	}
}

func TestUploadsExpire(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects()
	const uploads = 250
	for i := range uploads {
		key := fmt.Sprintf("1-%03d", i)
		o.keys[key] = true
		u := catalog.Upload{ID: key, Name: app, StartedAt: c.now, Progress: catalog.Progress{Key: key}}
		if err := s.StartUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now, UploadLifetime: time.Hour, Pause: 1})
	c.now = c.now.Add(time.Hour)
	wantPass(t, w, upkeep.Result{})
	c.now = c.now.Add(time.Second)
	wantPass(t, w, upkeep.Result{ExpiredUploads: uploads, DeletedObjects: uploads})
	wantObjects(t, o)
}

func TestObjectsThatCannotBeDeletedAreTriedAgain(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects()
	for i := range 150 {
		key := fmt.Sprintf("1-%03d", i)
		put(t, s, app, key)
		o.keys[key] = true
	}
	o.stubborn["1-000"], o.stubborn["1-149"] = true, true
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now, Pause: 1})
	c.now = c.now.Add(grace)
	wantPass(t, w, upkeep.Result{Reviewed: 150})
	c.now = c.now.Add(delay)
	for _, deleted := range []int{148, 0} {
		got, err := w.Pass(t.Context())
		if !errors.Is(err, errStubborn) || got.DeletedObjects != deleted {
			t.Fatalf("the pass did %+v with error %v, want %d deletions and the object's error", got, err, deleted)
		}
		wantObjects(t, o, "1-000", "1-149")
	}
	clear(o.stubborn)
	wantPass(t, w, upkeep.Result{DeletedObjects: 2})
	wantObjects(t, o)
}

func TestCrashIsSwept(t *testing.T) {
	c, directory := newClock(), t.TempDir()
	crashed := openCatalog(t, directory, c)
	put(t, crashed, app, "1-blob")
	u := catalog.Upload{ID: "u", Name: app, StartedAt: c.now, Progress: catalog.Progress{Key: "1-upload"}}
	if err := crashed.StartUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	// The catalog goes on without having been closed, as after a crash.
	s := openCatalog(t, directory, c)
	kept := []string{"1-blob", "1-upload", "10-other-epoch", "2-new"}
	o := newObjects(kept...)
	const lost = 230
	for i := range lost {
		o.keys[fmt.Sprintf("1-lost-%03d", i)] = true
	}
	o.stubborn["1-lost-007"] = true
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now, Pause: 1})
	if _, err := w.Pass(t.Context()); !errors.Is(err, errStubborn) {
		t.Fatalf("error is %v, want the object's", err)
	}
	// The epoch is not forgotten before all of it is swept.
	if epochs, err := s.UncleanEpochs(t.Context()); err != nil || !slices.Equal(epochs, []uint64{1}) {
		t.Fatalf("unclean epochs are %v (%v), want 1", epochs, err)
	}
	clear(o.stubborn)
	if _, err := w.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantObjects(t, o, kept...)
	if epochs, err := s.UncleanEpochs(t.Context()); err != nil || len(epochs) != 0 {
		t.Fatalf("unclean epochs are %v (%v), want none", epochs, err)
	}
}

func TestSweepOfAFileSystem(t *testing.T) {
	c, directory := newClock(), t.TempDir()
	data, err := filesystem.Open(directory, filesystem.Options{InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	crashed := openCatalog(t, directory, c)
	data.StartEpoch(crashed.Epoch())
	var keys []string
	for range 3 {
		p, err := data.Create(t.Context())
		if err == nil {
			p, err = data.Append(t.Context(), p, strings.NewReader("content"))
		}
		if err == nil {
			err = data.Commit(t.Context(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.Key)
	}
	put(t, crashed, app, keys[0])
	s := openCatalog(t, directory, c)
	wantPass(t, upkeep.New(upkeep.Options{Catalog: s, Blobs: data, Now: c.Now}), upkeep.Result{SweptObjects: 2, FreedBytes: 14})
	var left []string
	for key, err := range data.Keys(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, key)
	}
	if !slices.Equal(left, keys[:1]) {
		t.Fatalf("objects are %v, want %v", left, keys[:1])
	}
}

func TestPassEndsWithItsContext(t *testing.T) {
	c := newClock()
	s := openCatalog(t, t.TempDir(), c)
	o := newObjects()
	for i := range 50 {
		put(t, s, app, fmt.Sprint("1-", i))
	}
	w := upkeep.New(upkeep.Options{Catalog: s, Blobs: o, Now: c.Now})
	c.now = c.now.Add(grace)
	wantPass(t, w, upkeep.Result{Reviewed: 50})
	c.now = c.now.Add(delay)
	ctx, cancel := context.WithCancel(t.Context())
	deleted := 0
	o.onDelete = func() {
		if deleted++; deleted == 3 {
			cancel()
		}
	}
	if _, err := w.Pass(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v, want context.Canceled", err)
	}
	if deleted != 3 {
		t.Fatalf("%d objects were deleted, 3 of them before the end", deleted)
	}
	// Deleting an object twice does no harm, so what was done need not be known.
	o.onDelete = func() {}
	if _, err := w.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if due, err := s.DueDeletions(t.Context(), 100); err != nil || len(due) != 0 {
		t.Fatalf("deletions %v are left (%v)", due, err)
	}
}

// failingCatalog fails to review, until it does not, and has nothing else to do.
type failingCatalog struct {
	upkeep.Catalog
	failures int
	reviews  []time.Time
	expired  int
}

var errReview = errors.New("the database is away")

func (f *failingCatalog) Review(context.Context, int) (int, error) {
	f.reviews = append(f.reviews, time.Now())
	if len(f.reviews) <= f.failures {
		return 0, errReview
	}
	return 0, nil
}

func (f *failingCatalog) DropExpiredUploads(context.Context, time.Time, int) (int, error) {
	f.expired++
	return 1, nil
}

func (f *failingCatalog) DueDeletions(context.Context, int) ([]catalog.Deletion, error) {
	return nil, nil
}

func (f *failingCatalog) UncleanEpochs(context.Context) ([]uint64, error) { return nil, nil }

func TestRunGoesOnUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		f := &failingCatalog{failures: 2}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour+time.Minute)
		defer cancel()
		began := time.Now()
		err := upkeep.Run(ctx, upkeep.Options{
			Catalog: f, Blobs: newObjects(), Interval: time.Hour,
			Log: funcr.New(func(_, line string) { log = append(log, line) }, funcr.Options{}),
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v, want the context's", err)
		}
		if took := time.Since(began); took != 3*time.Hour+time.Minute {
			t.Fatalf("it ended after %v", took)
		}
		for i, at := range f.reviews {
			if want := time.Duration(i) * time.Hour; at.Sub(began) != want {
				t.Errorf("pass %d came after %v, want %v", i, at.Sub(began), want)
			}
		}
		if len(f.reviews) != 4 || f.expired != 4 {
			t.Fatalf("%d reviews and %d expirations, want 4 passes with both", len(f.reviews), f.expired)
		}
		told := 0
		for _, line := range log {
			if strings.Contains(line, errReview.Error()) {
				told++
			}
		}
		if told != 2 {
			t.Fatalf("%d failures were logged, want 2:\n%s", told, strings.Join(log, "\n"))
		}
	})
}
