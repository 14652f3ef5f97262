// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func TestALoadCountsWhatItDid(t *testing.T) {
	var done atomic.Int64
	s, err := load{workers: 3, count: 100}.run(t.Context(), megabytes, func(context.Context, int) (int64, error) {
		done.Add(1)
		return 1e6, nil
	})
	if err != nil || done.Load() != 100 || s.operations != 100 || len(s.latencies) != 100 || s.value <= 0 {
		t.Errorf("100 operations: %d were done, %d counted, %d timed, %v MB/s, error %v", done.Load(), s.operations, len(s.latencies), s.value, err)
	}
	s, err = load{workers: 2, duration: 20 * time.Millisecond}.run(t.Context(), perSecond, func(context.Context, int) (int64, error) {
		time.Sleep(5 * time.Millisecond)
		return 0, nil
	})
	if err != nil || s.operations < 2 || s.value > 400 {
		t.Errorf("two workers with 200 operations a second each did %d, %v a second, error %v", s.operations, s.value, err)
	}
}

func TestALoadEndsWithTheFirstFailure(t *testing.T) {
	broken := errors.New("broken")
	_, err := load{workers: 4, duration: time.Hour}.run(t.Context(), perSecond, func(ctx context.Context, worker int) (int64, error) {
		if worker == 2 {
			return 0, broken
		}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, broken) || errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want the one that came first", err)
	}
}

func TestChooseRows(t *testing.T) {
	all := []row{{name: "push-a", quick: true}, {name: "push-b"}, {name: "pull"}}
	for _, test := range []struct {
		names string
		quick bool
		want  string
	}{
		{"", false, "push-a push-b pull"},
		{"", true, "push-a"},
		{"pull,push-b", false, "push-b pull"},
		{"push-*", false, "push-a push-b"},
		{"push-b", true, "push-b"},
	} {
		chosen, err := chooseRows(all, test.names, test.quick)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range chosen {
			names = append(names, r.name)
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("-rows=%s -quick=%v chooses %s, want %s", test.names, test.quick, got, test.want)
		}
	}
	for _, names := range []string{"pus", "pull,", "x*"} {
		if _, err := chooseRows(all, names, false); err == nil {
			t.Errorf("-rows=%s is no error", names)
		}
	}
}

func TestRemoteRegistries(t *testing.T) {
	s, err := parseRemote("zot=http://u:p@127.0.0.1:5000")
	if err != nil || s.name != "zot" || s.base.String() != "http://127.0.0.1:5000/" || s.user.String() != "u:p" {
		t.Errorf("got %+v and the error %v", s, err)
	}
	for _, bad := range []string{"zot", "=http://x", "zot=127.0.0.1:5000", "zot=ftp://x", "ours=http://x", "zot=http://u:secret@"} {
		_, err := parseRemote(bad)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s gives the error %v", bad, err)
		}
	}
}

// The rows are what the figures stand on: each must do its work on a registry that
// checks tokens, and none may get answers that only look right.
func TestEveryRowRunsOnOurRegistry(t *testing.T) {
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{Owner: owner, Name: "app", Visibility: policy.Private}}
	p.Credentials = []policy.Credential{registrytest.Credential(valueOf(owner), owner, policy.ScopeRead, policy.ScopeWrite)}
	registry := registrytest.Start(t, p, registrytest.Options{})
	s := &server{name: oursName, client: newClient(&url.URL{Scheme: "http", Host: registry.Addr}, url.UserPassword(owner, valueOf(owner)), "")}
	tiny := scale{
		duration: time.Millisecond, layer: 100_000, imageLayer: 40_000,
		tags: 150, manyTags: 150, manyNames: 12, referrers: 12,
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := runner{rounds: 2, scale: tiny, progress: io.Discard}
			res, err := r.row(t.Context(), row, []*server{s})
			if err != nil {
				t.Fatal(err)
			}
			m := res.Servers[oursName]
			// Memory, a start and TLS take a process that this program started.
			needsProcess := row.unit.lessIsBetter() || row.name == "mixed-tls"
			if m.Failure != "" || m.NotSupported != needsProcess {
				t.Errorf("failed: %q, not supported: %v", m.Failure, m.NotSupported)
			}
			if !needsProcess && (m.Value <= 0 || m.P99 < m.P50 || m.P50 <= 0) {
				t.Errorf("measured %+v", m)
			}
		})
	}
}

func TestAReportIsWritten(t *testing.T) {
	r := report{Commit: "abc<&>", Rows: []result{
		measuredAs("push-layer", megabytes, 95, 100),
		{Row: "token", Title: "GET a token", Unit: perSecond, Servers: map[string]*measured{
			oursName: {Value: 3}, distributionName: {NotSupported: true}, floorName: {Failure: "gone"},
		}},
	}}
	var tables, plot bytes.Buffer
	if err := errors.Join(r.writeTables(&tables, []bar{{"push-layer", floorName, 0.9, 0}}), r.writePlot(&plot)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"push-layer        MB/s  95.0  –             100", "0.95", "≥ 0.9 × floor", "failed"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables have no %q:\n%s", want, &tables)
		}
	}
	decoder := xml.NewDecoder(&plot)
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}
