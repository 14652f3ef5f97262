// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var barRows = []row{{name: "fast", unit: perSecond}, {name: "small", unit: mebibytes}}

func TestParseBars(t *testing.T) {
	got, err := parseBars(strings.NewReader("# comment\n\nfast floor 0.9 0.95 # why\nsmall distribution - 1.5\n"), barRows)
	if err != nil {
		t.Fatal(err)
	}
	want := []bar{{"fast", "floor", 0.9, 0.95}, {"small", "distribution", 0, 1.5}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(bar{})); diff != "" {
		t.Errorf("bars (-want +got)\n%s", diff)
	}
	for text, problem := range map[string]string{
		"fast floor 0.9":      "line 1 has 3 fields",
		"\nslow floor 1 1":    `line 2: there is no row "slow"`,
		"fast floor much 1":   `"much" is no number`,
		"fast floor 1 -2":     `"-2" is no number above 0`,
		"fast floor 1 0":      `"0" is no number above 0`,
		"fast floor 1 1 1 # ": "5 fields",
	} {
		if _, err := parseBars(strings.NewReader(text), barRows); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q gives the error %v, want one with %q", text, err, problem)
		}
	}
}

func TestTheBarsOfTheRepositoryCanBeRead(t *testing.T) {
	bars, err := parseBars(strings.NewReader(barsText), rows)
	if err != nil {
		t.Fatal(err)
	}
	// Every row of DESIGN's table has a goal.
	for _, name := range []string{"push-layer", "pull-layer", "push-small", "get-manifest", "head-tag", "head-tag-3000", "get-blob", "put-manifest", "tags-page", "rss"} {
		found := false
		for _, b := range bars {
			found = found || b.row == name && b.goal > 0
		}
		if !found {
			t.Errorf("%s has no goal", name)
		}
	}
}

// measuredAs is a result of ours and a peer's values.
func measuredAs(name string, u unit, ours, theirs float64) result {
	r := result{Row: name, Unit: u, Servers: map[string]*measured{
		oursName:  {Values: []float64{ours}},
		floorName: {Values: []float64{theirs}},
	}}
	r.summarize()
	return r
}

func TestAQuickRunFailsAtHalfOfWhatWasReached(t *testing.T) {
	bars := []bar{{"fast", floorName, 0.9, 0.8}, {"small", floorName, 1, 1.5}}
	for _, test := range []struct {
		name   string
		result result
		want   string
	}{
		{"as fast as before", measuredAs("fast", perSecond, 80, 100), ""},
		{"just fast enough", measuredAs("fast", perSecond, 40, 100), ""},
		{"too slow", measuredAs("fast", perSecond, 39, 100), "fast: ours is 0.39 times floor, was 0.8, and may be 0.4"},
		{"not measured", measuredAs("fast", perSecond, 0, 100), "fast: there is no ratio to floor"},
		{"just small enough", measuredAs("small", mebibytes, 300, 100), ""},
		{"too large", measuredAs("small", mebibytes, 301, 100), "small: ours is 3.01 times floor, was 1.50, and may be 3.00"},
	} {
		got := strings.Join(regressions(bars, []result{test.result}), "; ")
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestAGoalIsShownAsMissed(t *testing.T) {
	bars := []bar{{"fast", floorName, 0.9, 0}, {"small", floorName, 1, 0}}
	for _, test := range []struct {
		result result
		want   string
	}{
		{measuredAs("fast", perSecond, 90, 100), "≥ 0.9 × floor"},
		{measuredAs("fast", perSecond, 89, 100), "≥ 0.9 × floor MISSED"},
		{measuredAs("small", mebibytes, 100, 100), "≤ 1.00 × floor"},
		{measuredAs("small", mebibytes, 101, 100), "≤ 1.00 × floor MISSED"},
	} {
		if got := verdict(bars, test.result); got != test.want {
			t.Errorf("%v: got %q, want %q", test.result.Ratios, got, test.want)
		}
	}
}

func TestOnlyRowsThatStandAloneAreMeasuredAgain(t *testing.T) {
	rows := []row{{name: "fast"}, {name: "slow"}, {name: "grown", once: true}, {name: "unknown"}}
	bars := []bar{{"fast", floorName, 0, 0.8}, {"slow", floorName, 0, 0.8}, {"grown", floorName, 0, 0.8}, {"unknown", floorName, 0, 0.8}}
	results := []result{measuredAs("fast", perSecond, 80, 100), measuredAs("slow", perSecond, 20, 100), measuredAs("grown", perSecond, 20, 100)}
	var names []string
	for _, r := range doubtful(rows, bars, results) {
		names = append(names, r.name)
	}
	if got := strings.Join(names, " "); got != "slow" {
		t.Errorf("measured again: %q, want slow", got)
	}
}
