// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A unit is what a row's values count. Of most, more is better.
type unit string

const (
	perSecond unit = "/s"
	megabytes unit = "MB/s"
	// Of these, less is better.
	milliseconds unit = "ms"
	mebibytes    unit = "MiB"
)

// lessIsBetter tells in which direction a unit is good.
func (u unit) lessIsBetter() bool { return u == milliseconds || u == mebibytes }

// fleet is a set of servers that rows run on.
type fleet int

const (
	// standard: files, and SQLite for our catalog.
	standard fleet = iota
	// shared: an S3 server for blobs, and PostgreSQL for our catalog.
	shared
)

func (f fleet) String() string { return [...]string{"standard", "shared"}[f] }

// row is one kind of work that every server of a fleet is measured at.
type row struct {
	name string
	// title says what is done, for people.
	title string
	unit  unit
	fleet fleet
	// once says that a single round is enough, for what takes long and varies
	// little.
	once bool
	// quick says that the row is part of the short form.
	quick bool
	// prepare brings a server to where the work begins, for every round; it is not
	// measured. It returns the work, or errNotSupported.
	prepare func(ctx context.Context, s *server, scale scale) (work, error)
}

// work is what is measured.
type work func(ctx context.Context) (sample, error)

// errNotSupported says that a server cannot do what a row measures.
var errNotSupported = errors.New("not supported")

// scale is how much is done: all of it, or so little that it takes a minute.
type scale struct {
	// duration of a row that goes on until it is over.
	duration time.Duration
	// layer is the size of the large layer in bytes, and imageLayer that of each
	// layer of the large image.
	layer, imageLayer int64
	// tags is how many a name grows to, and manyTags and manyNames what listings
	// and a cold start are measured on.
	tags, manyTags, manyNames int
	referrers                 int
	// declared is the number of repositories, and of tokens.
	declared int
	// uploads run in parallel and have uploadSize bytes each.
	uploads    int
	uploadSize int64
}

var (
	fullScale = scale{
		duration: 3 * time.Second, layer: 1 << 30, imageLayer: 5 << 20,
		tags: 3000, manyTags: 100_000, manyNames: 10_000, referrers: 1000, declared: 10_000,
		uploads: 200, uploadSize: 100 << 20,
	}
	quickScale = scale{
		duration: 500 * time.Millisecond, layer: 256 << 20, imageLayer: 1 << 20,
		tags: 1000, manyTags: 5000, manyNames: 500, referrers: 200, declared: 1000,
		uploads: 50, uploadSize: 4 << 20,
	}
)

// sample is what came of some work.
type sample struct {
	// value in the row's unit.
	value float64
	// operations done, and how long each took.
	operations int
	latencies  []time.Duration
}

// operation is a unit of work of one worker, which has a number. It returns the
// bytes that count.
type operation func(ctx context.Context, worker int) (int64, error)

// load repeats an operation in several workers, each of which goes on with the next
// when the last is done.
type load struct {
	workers int
	// Either duration or count ends it. An operation that has begun is finished,
	// and counted.
	duration time.Duration
	count    int
}

// run returns the sample of a load; rates are in unit.
func (l load) run(ctx context.Context, unit unit, do operation) (sample, error) {
	var (
		left      atomic.Int64
		bytes     atomic.Int64
		all       sync.WaitGroup
		latencies = make([][]time.Duration, l.workers)
		failures  = make([]error, l.workers)
	)
	left.Store(int64(l.count))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	end := began.Add(l.duration)
	for worker := range l.workers {
		all.Go(func() {
			for {
				start := time.Now()
				if l.count > 0 && left.Add(-1) < 0 || l.count == 0 && start.After(end) {
					return
				}
				n, err := do(ctx, worker)
				if err != nil {
					failures[worker] = err
					cancel() // the others need not go on
					return
				}
				bytes.Add(n)
				latencies[worker] = append(latencies[worker], time.Since(start))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began)
	if err := firstCause(failures); err != nil {
		return sample{}, err
	}
	s := sample{latencies: slices.Concat(latencies...)}
	s.operations = len(s.latencies)
	switch unit {
	case perSecond:
		s.value = float64(s.operations) / elapsed.Seconds()
	case megabytes:
		s.value = float64(bytes.Load()) / 1e6 / elapsed.Seconds()
	default:
		return sample{}, fmt.Errorf("a load has no value in %s", unit)
	}
	return s, nil
}

// firstCause is an error that made the others give up.
func firstCause(failures []error) error {
	var canceled error
	for _, err := range failures {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		canceled = errors.Join(canceled, err)
	}
	return canceled
}

// each runs do for 0 to count-1 in several workers.
func each(ctx context.Context, count int, do func(ctx context.Context, i int) error) error {
	const workers = 8
	var next atomic.Int64
	if count == 0 {
		return nil
	}
	_, err := load{workers: workers, count: count}.run(ctx, perSecond, func(ctx context.Context, _ int) (int64, error) {
		return 0, do(ctx, int(next.Add(1)-1))
	})
	return err
}
