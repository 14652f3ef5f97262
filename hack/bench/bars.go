// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// bar is what is demanded of the ratio of ours to a peer in a row.
type bar struct {
	row, peer string
	// goal is what we want to reach, and reached what we did: a quick run that is
	// twice as bad as this fails.
	goal, reached float64
}

// parseBars reads lines of a row, a peer, the goal and what was reached, separated
// by spaces. Empty lines and what follows # do not count; - stands for no number.
func parseBars(r io.Reader, known []row) (bars []bar, err error) {
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		b := bar{}
		if len(fields) != 4 {
			return nil, fmt.Errorf("line %d has %d fields; write ROW PEER GOAL REACHED", number, len(fields))
		}
		b.row, b.peer = fields[0], fields[1]
		if !slices.ContainsFunc(known, func(r row) bool { return r.name == b.row }) {
			return nil, fmt.Errorf("line %d: there is no row %q", number, b.row)
		}
		for i, value := range []*float64{&b.goal, &b.reached} {
			text := fields[2+i]
			if text == "-" {
				continue
			}
			if *value, err = strconv.ParseFloat(text, 64); err != nil || *value <= 0 {
				return nil, fmt.Errorf("line %d: %q is no number above 0, nor -", number, text)
			}
		}
		bars = append(bars, b)
	}
	return bars, lines.Err()
}

// meets reports whether a ratio is at least as good as a limit; with less is better
// for the unit, at most as large.
func meets(u unit, ratio, limit float64) bool {
	if u.lessIsBetter() {
		return ratio <= limit
	}
	return ratio >= limit
}

// regressions are the bars that a quick run is too far below: half as good as what
// was reached once, or without any value.
func regressions(bars []bar, results []result) (problems []string) {
	for _, r := range results {
		for _, b := range bars {
			if b.row != r.Row || b.reached == 0 {
				continue
			}
			limit := b.reached / 2
			if r.Unit.lessIsBetter() {
				limit = b.reached * 2
			}
			ratio, found := r.Ratios[b.peer]
			switch {
			case !found:
				problems = append(problems, fmt.Sprintf("%s: there is no ratio to %s", r.Row, b.peer))
			case !meets(r.Unit, ratio, limit):
				problems = append(problems, fmt.Sprintf("%s: ours is %s times %s, was %s, and may be %s", r.Row, format(ratio), b.peer, format(b.reached), format(limit)))
			}
		}
	}
	return problems
}

// doubtful are the rows whose results are regressions, but for those that depend on
// what was measured before them.
func doubtful(rows []row, bars []bar, results []result) (found []row) {
	for _, r := range rows {
		i := slices.IndexFunc(results, func(measured result) bool { return measured.Row == r.name })
		if !r.once && i >= 0 && len(regressions(bars, results[i:i+1])) > 0 {
			found = append(found, r)
		}
	}
	return found
}

// failures names the rows that a server failed at.
func failures(results []result) (problems []string) {
	for _, r := range results {
		for _, name := range sortedServers(r) {
			if failure := r.Servers[name].Failure; failure != "" {
				problems = append(problems, fmt.Sprintf("%s: %s failed: %s", r.Row, name, failure))
			}
		}
	}
	return problems
}

// verdict says in the table how a row stands to its goals: met, or by what it is
// missed.
func verdict(bars []bar, r result) string {
	var texts []string
	for _, b := range bars {
		if b.row != r.Row || b.goal == 0 {
			continue
		}
		sign := "≥"
		if r.Unit.lessIsBetter() {
			sign = "≤"
		}
		text := fmt.Sprintf("%s %s × %s", sign, format(b.goal), b.peer)
		if ratio, found := r.Ratios[b.peer]; !found || !meets(r.Unit, ratio, b.goal) {
			text += " MISSED"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
