// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{30, 10, 20}, 20},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, test := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{nil, 99, 0},
		{hundred[:1], 50, 1},
		{hundred[:1], 99, 1},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
		{hundred[:4], 50, 2},
		{hundred[:5], 50, 3},
	} {
		if got := percentile(test.sorted, test.p); got != test.want {
			t.Errorf("percentile %v of %d durations is %d, want %d", test.p, len(test.sorted), got, test.want)
		}
	}
}

func TestARatioComparesWithinRounds(t *testing.T) {
	for _, test := range []struct {
		name         string
		ours, theirs []float64
		want         float64
	}{
		{"a slow round changes nothing", []float64{100, 10, 100}, []float64{50, 5, 50}, 2},
		{"one lucky round does not decide", []float64{10, 10, 99}, []float64{10, 10, 1}, 1},
		{"nothing measured", nil, []float64{1}, 0},
		{"a round without a value does not count", []float64{6, 6}, []float64{0, 3}, 2},
	} {
		if got := ratio(test.ours, test.theirs); got != test.want {
			t.Errorf("%s: %v by %v is %v, want %v", test.name, test.ours, test.theirs, got, test.want)
		}
	}
}
