// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instrument

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func newDuration() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration_seconds", Help: "x", Buckets: []float64{1}}, []string{"operation", "outcome"})
}

func newUploads() Uploads {
	newCounter := func(name string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name})
	}
	return Uploads{Started: newCounter("started"), Finished: newCounter("finished"), Canceled: newCounter("canceled")}
}

func TestAnErrorIsARefusalOrAFailure(t *testing.T) {
	for want, errs := range map[Outcome][]error{
		OK: {nil},
		Refused: {
			catalog.ErrBlobUnknown, fmt.Errorf("%w: more", catalog.ErrUploadUnknown), &catalog.MissingError{}, fmt.Errorf("put: %w", &catalog.MissingError{}),
			blob.ErrNotFound, fmt.Errorf("%w: 5 bytes", blob.ErrTooLarge), context.Canceled, io.ErrUnexpectedEOF, os.ErrDeadlineExceeded,
		},
		Failed: {errors.New("anything"), catalog.ErrNoSpace, blob.ErrNoSpace, context.DeadlineExceeded},
	} {
		for _, err := range errs {
			if got := OutcomeOf(err); got != want {
				t.Errorf("%v is %s, want %s", err, got, want)
			}
		}
	}
}

// count is how often an operation ended so.
func count(t *testing.T, v *prometheus.HistogramVec, operation string, outcome Outcome) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(v)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if labels := metric.GetLabel(); labels[0].GetValue() == operation && labels[1].GetValue() == outcome.String() {
				return int(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// emptyCatalog has nothing, and takes everything.
type emptyCatalog struct{ catalog.Store }

func (emptyCatalog) Ping(context.Context) error                        { return nil }
func (emptyCatalog) StartUpload(context.Context, catalog.Upload) error { return nil }
func (emptyCatalog) FinishUpload(context.Context, string, catalog.Progress, catalog.Blob) (string, error) {
	return "", nil
}
func (emptyCatalog) PutBlob(context.Context, ref.Name, catalog.Blob) (string, error) { return "", nil }
func (emptyCatalog) CancelUpload(context.Context, string, ref.Name, string) (string, error) {
	return "", nil
}

// failingCatalog is a catalog that was closed.
func failingCatalog(t *testing.T) catalog.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), sql.Options{Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

var errBroken = errors.New("the disk is broken")

// failingBlobs fail; of an Append they take some bytes before.
type failingBlobs struct {
	blob.Store
	take int64
}

func (f failingBlobs) Append(_ context.Context, p blob.Partial, _ io.Reader) (blob.Partial, error) {
	p.Size += f.take
	return p, errBroken
}
func (failingBlobs) Commit(context.Context, blob.Partial) error { return errBroken }
func (failingBlobs) Open(context.Context, string) (io.ReadSeekCloser, error) {
	return nil, errBroken
}
func (failingBlobs) OpenPartial(context.Context, blob.Partial) (io.ReadCloser, error) {
	return nil, errBroken
}
func (failingBlobs) Delete(context.Context, string) error { return errBroken }

func TestAClientThatBreaksOffIsNoFailureOfTheStore(t *testing.T) {
	duration := newDuration()
	s := Blobs(failingBlobs{take: 5}, Options{Duration: duration})
	if next, err := s.Append(t.Context(), blob.Partial{Size: 1}, nil); !errors.Is(err, errBroken) || next.Size != 6 {
		t.Errorf("got %+v, %v", next, err)
	}
	if n := count(t, duration, "Append", Refused); n != 1 {
		t.Errorf("%d appends are refused", n)
	}
}

// untimed are the methods that are no operations.
var untimed = map[string]bool{"Epoch": true, "SweepLater": true, "Close": true, "Create": true, "Keys": true}

// TestEveryOperationIsTimed calls each method of a store that is none: a method
// that is not wrapped, or wrapped under another's name, shows.
func TestEveryOperationIsTimed(t *testing.T) {
	closed := failingCatalog(t)
	wrapped := func(t *testing.T, kind reflect.Type, wrap func(Options) any, operations []string) {
		names := strings.Join(operations, " ")
		for i := range kind.NumMethod() {
			method := kind.Method(i).Name
			if untimed[method] {
				continue
			}
			operation := strings.TrimSuffix(method, "Sized")
			if !strings.Contains(" "+names+" ", " "+operation+" ") {
				t.Errorf("%s is not timed", method)
				continue
			}
			duration := newDuration()
			target := reflect.ValueOf(wrap(Options{Duration: duration})).MethodByName(method)
			arguments := make([]reflect.Value, target.Type().NumIn())
			for i := range arguments {
				arguments[i] = reflect.Zero(target.Type().In(i))
			}
			arguments[0] = reflect.ValueOf(t.Context())
			target.Call(arguments)
			if n := count(t, duration, operation, Failed) + count(t, duration, operation, OK); n != 1 {
				t.Errorf("%s is timed %d times", method, n)
			}
		}
	}
	wrapped(t, reflect.TypeFor[catalog.Store](), func(o Options) any { return Catalog(closed, newUploads(), o) }, catalogOperations)
	wrapped(t, reflect.TypeFor[blob.SizedStore](), func(o Options) any { return Blobs(failingBlobs{}, o) }, blobOperations)
}

func BenchmarkOperation(b *testing.B) {
	s := Catalog(emptyCatalog{}, newUploads(), Options{Duration: newDuration()})
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMeasuringMakesNoGarbage(t *testing.T) {
	ctx := t.Context()
	for what, tracer := range map[string]trace.Tracer{"nothing is traced": nil, "the request is not recorded": noop.NewTracerProvider().Tracer("")} {
		s := Catalog(emptyCatalog{}, newUploads(), Options{Duration: newDuration(), Tracer: tracer})
		if n := testing.AllocsPerRun(1000, func() { _ = s.Ping(ctx) }); n != 0 {
			t.Errorf("while %s, an operation allocates %v times", what, n)
		}
	}
}

func TestUploadsAreCounted(t *testing.T) {
	uploads := newUploads()
	s := Catalog(emptyCatalog{}, uploads, Options{Duration: newDuration()})
	failing := Catalog(failingCatalog(t), uploads, Options{Duration: newDuration()})
	ctx := t.Context()
	for range 3 {
		_ = s.StartUpload(ctx, catalog.Upload{})
		_ = failing.StartUpload(ctx, catalog.Upload{})
	}
	_, _ = s.FinishUpload(ctx, "", catalog.Progress{}, catalog.Blob{})
	_, _ = failing.FinishUpload(ctx, "", catalog.Progress{}, catalog.Blob{})
	_, _ = s.PutBlob(ctx, "", catalog.Blob{})
	_, _ = failing.PutBlob(ctx, "", catalog.Blob{})
	_, _ = s.CancelUpload(ctx, "", "", "")
	_, _ = failing.CancelUpload(ctx, "", "", "")
	for what, c := range map[string]struct {
		counter prometheus.Counter
		want    float64
	}{"started": {uploads.Started, 4}, "finished": {uploads.Finished, 2}, "canceled": {uploads.Canceled, 1}} {
		if got := testutil.ToFloat64(c.counter); got != c.want {
			t.Errorf("%v uploads are %s, want %v", got, what, c.want)
		}
	}
}
