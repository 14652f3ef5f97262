// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// runner measures rows.
type runner struct {
	programs programs
	remotes  []*server
	dir      string
	rounds   int
	scale    scale
	progress io.Writer
}

// run measures the rows and returns what came of them, in their order. Work that
// fails is part of the result; an error is what keeps everything from going on.
func (r *runner) run(ctx context.Context, rows []row) (results []result, err error) {
	for _, which := range fleetsOf(rows) {
		if err := r.runFleet(ctx, which, rows, &results); err != nil {
			return results, err
		}
	}
	return results, nil
}

// again measures rows once more and puts what came of them into results.
func (r *runner) again(ctx context.Context, rows []row, results []result) error {
	if len(rows) == 0 {
		return nil
	}
	r.say("%d rows are worse than they may be; the machine may have been busy: measuring them again", len(rows))
	measured, err := r.run(ctx, rows)
	for _, m := range measured {
		i := slices.IndexFunc(results, func(before result) bool { return before.Row == m.Row })
		results[i] = m
	}
	return err
}

// fleetsOf are the fleets that rows need, in order.
func fleetsOf(rows []row) (fleets []fleet) {
	for _, row := range rows {
		if !slices.Contains(fleets, row.fleet) {
			fleets = append(fleets, row.fleet)
		}
	}
	return fleets
}

func (r *runner) runFleet(ctx context.Context, which fleet, rows []row, results *[]result) (err error) {
	dir, err := os.MkdirTemp(r.dir, which.String()+"-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r.say("starting the %s servers in %s", which, dir)
	running, err := startFleet(ctx, which, r.programs, dir, r.remotes)
	if err != nil {
		return err
	}
	defer running.stop()
	for _, row := range rows {
		if row.fleet != which {
			continue
		}
		measured, err := r.row(ctx, row, running.all)
		if err != nil {
			return err
		}
		*results = append(*results, measured)
	}
	return nil
}

// row measures one row, in turn on every server, for some rounds.
func (r *runner) row(ctx context.Context, row row, servers []*server) (result, error) {
	rounds := r.rounds
	if row.once {
		rounds = 1
	}
	res := result{Row: row.name, Title: row.title, Unit: row.unit, Servers: map[string]*measured{}}
	for round := range rounds {
		// Each server goes first in turn.
		for i := range servers {
			s := servers[(round+i)%len(servers)]
			m := res.of(s.name)
			if m.NotSupported || m.Failure != "" {
				continue
			}
			err := r.measure(ctx, row, s, m)
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			switch {
			case errors.Is(err, errNotSupported):
				m.NotSupported = true
			case err != nil:
				m.Failure = err.Error()
			}
			r.tell(row, s.name, round+1, rounds, m)
		}
	}
	res.summarize()
	return res, nil
}

// measure has a server do the row's work once.
func (r *runner) measure(ctx context.Context, row row, s *server, m *measured) error {
	do, err := row.prepare(ctx, s, r.scale)
	if err != nil {
		return err
	}
	// What preparing left behind is not to be cleared away while it counts.
	runtime.GC()
	before, err := s.usage()
	if err != nil {
		return err
	}
	sample, err := do(ctx)
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	m.add(sample, before, after)
	return nil
}

func (r *runner) tell(row row, server string, round, rounds int, m *measured) {
	outcome := "not supported"
	switch {
	case m.Failure != "":
		outcome = "FAILED: " + m.Failure
	case !m.NotSupported:
		outcome = format(m.Values[len(m.Values)-1]) + " " + string(row.unit)
	}
	r.say("%-20s %d/%d  %-12s %s", row.name, round, rounds, server, outcome)
}

// say shows how far the run is; that it cannot is no reason to stop.
func (r *runner) say(message string, arguments ...any) {
	_, _ = fmt.Fprintf(r.progress, time.Now().Format(time.TimeOnly)+"  "+message+"\n", arguments...)
}
