// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package instrument measures what the stores do: it wraps a catalog and a blob
// store so that each operation is timed for the metrics and, where a trace is
// recorded, becomes a span of it.
package instrument

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
)

// Outcome is how an operation ended.
type Outcome uint8

// The outcomes. Refused is an answer: what was asked for is not there, is against
// a rule, or its asker went away. Failed is a store that did not do its work.
const (
	OK Outcome = iota
	Refused
	Failed
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "refused", "failed"}

// String is the outcome as a label's value.
func (o Outcome) String() string { return outcomeNames[o] }

// refusals are the errors that stores answer with.
var refusals = []error{
	catalog.ErrNameUnknown, catalog.ErrBlobUnknown, catalog.ErrBlobInUse, catalog.ErrManifestUnknown, catalog.ErrManifestInUse,
	catalog.ErrUploadUnknown, catalog.ErrUploadConflict,
	blob.ErrNotFound, blob.ErrTooLarge, blob.ErrDigestMismatch,
	context.Canceled,
	// A client's body that breaks off, or comes no more.
	io.ErrUnexpectedEOF, os.ErrDeadlineExceeded,
}

// OutcomeOf tells what an operation's error says about the store.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OK
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return Refused
		}
	}
	if _, missing := errors.AsType[*catalog.MissingError](err); missing {
		return Refused
	}
	return Failed
}

// operations times what one store does. The children of the histogram are looked
// up once.
type operations struct {
	names    []string
	spans    []string
	duration *prometheus.HistogramVec
	children []atomic.Pointer[prometheus.Observer]
	tracer   trace.Tracer
}

func newOperations(store string, names []string, o Options) *operations {
	spans := make([]string, len(names))
	for i, name := range names {
		spans[i] = store + "." + name
	}
	return &operations{
		names:    names,
		spans:    spans,
		duration: o.Duration,
		children: make([]atomic.Pointer[prometheus.Observer], len(names)*int(outcomes)),
		tracer:   o.Tracer,
	}
}

// Options say where measurements go.
type Options struct {
	// Duration in seconds, with the labels operation and outcome.
	Duration *prometheus.HistogramVec
	// Tracer makes the spans; nil makes none.
	Tracer trace.Tracer
}

// call is an operation under way.
type call struct {
	o     *operations
	index int
	start time.Time
	span  trace.Span
}

// begin is followed by end. Only a trace that is recorded costs a context.
func (o *operations) begin(ctx context.Context, index int) (context.Context, call) {
	c := call{o: o, index: index, start: time.Now()}
	if o.tracer != nil && trace.SpanFromContext(ctx).IsRecording() {
		ctx, c.span = o.tracer.Start(ctx, o.spans[index])
	}
	return ctx, c
}

func (c *call) end(err error) {
	outcome := OutcomeOf(err)
	c.o.child(c.index, outcome).Observe(time.Since(c.start).Seconds())
	if c.span == nil {
		return
	}
	if outcome == Failed {
		c.span.SetStatus(codes.Error, err.Error())
	}
	c.span.End()
}

func (o *operations) child(index int, outcome Outcome) prometheus.Observer {
	at := &o.children[index*int(outcomes)+int(outcome)]
	if child := at.Load(); child != nil {
		return *child
	}
	child := o.duration.WithLabelValues(o.names[index], outcome.String())
	at.Store(&child)
	return child
}
