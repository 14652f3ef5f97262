// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/route"
	"github.com/packages-operator/packages-operator/registry/upkeep"
)

func TestMetricsFollowTheRulesOfPrometheus(t *testing.T) {
	o, s, _ := storedBlob(t, 0)
	m := newMetrics()
	s.measure(m, nil)
	m.watch(o, s)
	m.observe(route.BlobGet, http.MethodGet, 200, time.Second, 1, 1)
	m.observeS3("PutObject", time.Second, nil)
	if err := s.catalog.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.blobs.Open(t.Context(), "no-key"); err == nil {
		t.Fatal("there is an object without a key")
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCountingARequestMakesNoGarbage(t *testing.T) {
	m := newMetrics()
	if n := testing.AllocsPerRun(1000, func() { m.observe(route.ManifestGet, http.MethodGet, 200, time.Millisecond, 0, 1234) }); n != 0 {
		t.Errorf("a request allocates %v times", n)
	}
	for code := range 500 {
		m.observe(route.ManifestGet, http.MethodGet, 100+code, 0, 0, 0)
	}
	if n := testutil.ToFloat64(m.requests.child(route.ManifestGet, http.MethodGet, 200)); n != 1002 {
		t.Errorf("%v requests are counted", n)
	}
}

// source is a policy source with a status.
type source struct {
	waiting
	status policy.Status
}

func (s *source) Status() policy.Status { return s.status }

func TestMetricsTellHowCurrentThePolicyIs(t *testing.T) {
	o, s, _ := storedBlob(t, 0)
	live := &source{}
	o.Source, o.Version = live, "1.2.3"
	m := newMetrics()
	m.watch(o, s)
	revision := o.Policy.Load().Revision()
	check := func(when string, age time.Duration, stale string) {
		t.Helper()
		families, err := m.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			value := family.GetMetric()[0].GetGauge().GetValue()
			switch family.GetName() {
			case "packages_registry_policy_age_seconds":
				if off := value - age.Seconds(); off < 0 || off > 60 {
					t.Errorf("%s the policy is %v seconds old", when, value)
				}
			case "packages_registry_policy_applied_timestamp_seconds":
				if value != 1763790010.5 {
					t.Errorf("%s the policy is of %v", when, value)
				}
			}
		}
		if err := testutil.GatherAndCompare(m.registry, strings.NewReader(`
# HELP packages_registry_policy_info Always 1; the label is the revision in force.
# TYPE packages_registry_policy_info gauge
packages_registry_policy_info{revision="`+revision+`"} 1
# HELP packages_registry_policy_stale 1 while a newer policy could not be taken, or cannot be asked for, and the last good one is in force.
# TYPE packages_registry_policy_stale gauge
packages_registry_policy_stale `+stale+`
# HELP packages_registry_build_info Always 1; the labels say what runs.
# TYPE packages_registry_build_info gauge
packages_registry_build_info{go_version="`+runtime.Version()+`",version="1.2.3"} 1
`), "packages_registry_policy_info", "packages_registry_policy_stale", "packages_registry_build_info"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("before the first contact", 0, "0")
	live.status = policy.Status{Since: time.UnixMilli(1763790010500), Confirmed: time.Now().Add(-time.Hour), Err: errors.New("the API is away")}
	check("an hour after the last contact", time.Hour, "1")
	live.status.Confirmed, live.status.Err = time.Now(), nil
	check("in contact", 0, "0")
	// Another revision takes the place of the first one's series.
	changed := *o.Policy.Load().Policy()
	changed.Support = policy.SupportReadOnly
	next, err := policy.NewSnapshot(changed)
	if err != nil {
		t.Fatal(err)
	}
	o.Policy.Publish(next)
	revision = next.Revision()
	check("with the next revision", 0, "0")
}

func TestMetricsFollowUpkeep(t *testing.T) {
	m := newMetrics()
	m.passed(upkeep.Report{
		Result:  upkeep.Result{ExpiredUploads: 1, Reviewed: 2, DeletedObjects: 3, SweptObjects: 4, FreedBytes: 500},
		Backlog: &catalog.Backlog{Uploads: 6, Reviews: 7, Deletions: 8},
	})
	// What could not be counted stays as it was.
	m.passed(upkeep.Report{Result: upkeep.Result{Reviewed: 10}, Err: errors.New("the database is away")})
	for what, c := range map[string]struct{ got, want float64 }{
		"expired":      {testutil.ToFloat64(m.expired), 1},
		"reviewed":     {testutil.ToFloat64(m.upkeep.reviewed), 12},
		"unreferenced": {testutil.ToFloat64(m.upkeep.objects.WithLabelValues("unreferenced")), 3},
		"crash":        {testutil.ToFloat64(m.upkeep.objects.WithLabelValues("crash")), 4},
		"freed":        {testutil.ToFloat64(m.upkeep.freed), 500},
		"open":         {testutil.ToFloat64(m.upkeep.open), 6},
		"review":       {testutil.ToFloat64(m.upkeep.queue.WithLabelValues("review")), 7},
		"deletion":     {testutil.ToFloat64(m.upkeep.queue.WithLabelValues("deletion")), 8},
		"ok":           {testutil.ToFloat64(m.upkeep.passes.WithLabelValues("ok")), 1},
		"failed":       {testutil.ToFloat64(m.upkeep.passes.WithLabelValues("failed")), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.observe(route.ManifestGet, http.MethodGet, 200, time.Millisecond, 0, 1234)
	}
}
