// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"slices"
	"time"
)

// usage is what a server has taken so far.
type usage struct {
	// pid tells one start of a program from another.
	pid int
	cpu time.Duration
	rss int64
}

// usage is empty for a server that was started by others, and for one that does not
// run.
func (s *server) usage() (usage, error) {
	if s.process == nil || s.process.running == nil {
		return usage{}, nil
	}
	cpu, err := s.process.cpu()
	if err != nil {
		return usage{}, err
	}
	rss, _, err := s.process.memory()
	return usage{pid: s.process.running.Process.Pid, cpu: cpu, rss: rss}, err
}

// result is what came of one row.
type result struct {
	Row     string               `json:"row"`
	Title   string               `json:"title"`
	Unit    unit                 `json:"unit"`
	Servers map[string]*measured `json:"servers"`
	// Ratios are ours by each other server's value.
	Ratios map[string]float64 `json:"ratios,omitempty"`
}

// measured is what came of a row on one server.
type measured struct {
	// Value is the median of the rounds' Values, in the row's unit.
	Value  float64   `json:"value,omitempty"`
	Values []float64 `json:"values,omitempty"`
	// P50 and P99 are the medians, over rounds, of these percentiles of an
	// operation's milliseconds.
	P50 float64 `json:"p50ms,omitempty"`
	P99 float64 `json:"p99ms,omitempty"`
	// CPU is the median of the seconds of processor time that the server took for
	// a round, and Operations of what it did in it.
	CPU        float64 `json:"cpuSeconds,omitempty"`
	Operations float64 `json:"operations,omitempty"`
	// RSS is the server's memory after the last round, in MiB.
	RSS float64 `json:"rssMiB,omitempty"`

	NotSupported bool   `json:"notSupported,omitempty"`
	Failure      string `json:"failure,omitempty"`

	p50, p99, cpu, operations []float64
}

// of returns the part of a server.
func (r *result) of(server string) *measured {
	if r.Servers[server] == nil {
		r.Servers[server] = &measured{}
	}
	return r.Servers[server]
}

// add takes up one round.
func (m *measured) add(s sample, before, after usage) {
	slices.Sort(s.latencies)
	m.Values = append(m.Values, s.value)
	m.p50 = append(m.p50, inMilliseconds(percentile(s.latencies, 50)))
	m.p99 = append(m.p99, inMilliseconds(percentile(s.latencies, 99)))
	m.operations = append(m.operations, float64(s.operations))
	cpu := after.cpu
	if before.pid == after.pid {
		cpu -= before.cpu
	}
	m.cpu = append(m.cpu, cpu.Seconds())
	m.RSS = mib(after.rss)
}

func inMilliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// summarize follows the last round.
func (r *result) summarize() {
	for _, m := range r.Servers {
		m.Value, m.P50, m.P99 = median(m.Values), median(m.p50), median(m.p99)
		m.CPU, m.Operations = median(m.cpu), median(m.operations)
	}
	ours := r.Servers[oursName]
	if ours == nil || ours.Failure != "" {
		return
	}
	r.Ratios = map[string]float64{}
	for name, m := range r.Servers {
		if ratio := ratio(ours.Values, m.Values); name != oursName && ratio > 0 && m.Failure == "" {
			r.Ratios[name] = ratio
		}
	}
}
