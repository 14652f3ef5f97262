// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// documented is a row of the table in docs/operations.md: name, labels, type.
var documented = regexp.MustCompile("(?m)^\\| `(packages_registry_[a-z0-9_]+)(\\{[a-z_,]+\\})?` \\| (counter|gauge|histogram) \\| ")

func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, row := range documented.FindAllStringSubmatch(string(text), -1) {
		labels := strings.Split(strings.Trim(row[2], "{}"), ",")
		slices.Sort(labels)
		if _, twice := found[row[1]]; twice {
			t.Errorf("%s is documented twice", row[1])
		}
		found[row[1]] = row[3] + " of " + strings.Join(labels, ",")
	}
	return found
}

// scrape asks for the metrics of a registry, as Prometheus does.
func scrape(t *testing.T, addr string) map[string]*dto.MetricFamily {
	t.Helper()
	a := client{t: t, addr: addr}.do("GET", "/metrics", nil).want(t, http.StatusOK)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// exported are the metrics of a registry that are its own.
func exported(t *testing.T, families map[string]*dto.MetricFamily) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name, family := range families {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		slices.Sort(labels)
		found[name] = strings.ToLower(family.GetType().String()) + " of " + strings.Join(labels, ",")
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	return found
}

// traffic does something of everything.
func traffic(c client) {
	c.t.Helper()
	_, digest := c.pushImage(name, "1.0", strings.Repeat("layer", 20_000))
	for range 2 {
		c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(c.t, http.StatusOK)
		c.do("GET", "/v2/"+name+"/manifests/"+string(digest), nil).want(c.t, http.StatusOK)
	}
	c.do("GET", "/v2/"+name+"/manifests/2.0", nil).want(c.t, http.StatusNotFound)
	c.do("GET", "/nowhere", nil).want(c.t, http.StatusNotFound)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(c.t, http.StatusAccepted).Header.Get("Location")
	c.do("DELETE", location, nil).want(c.t, http.StatusNoContent)
	c.as(ownerValue).do("DELETE", "/v2/"+name+"/manifests/1.0", nil).want(c.t, http.StatusAccepted)
}

func TestMetricsAreThoseThatAreDocumented(t *testing.T) {
	inBucket := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucketOf(s3test.Start(t))})
	traffic(client{t: t, addr: inBucket.Addr, value: writerValue})
	families := scrape(t, inBucket.AdminAddr)
	if diff := cmp.Diff(documentedMetrics(t), exported(t, families)); diff != "" {
		t.Errorf("the metrics that docs/operations.md lists, and those that there are (-documented +exported):\n%s", diff)
	}

	// Elsewhere the same are exported, but for those of S3.
	inFile, c := start(t)
	traffic(c)
	onServer := startProcess(t, processOptions{DataDir: t.TempDir(), DatabaseURL: postgrestest.Start(t).Schema()})
	traffic(client{t: t, addr: onServer.addr, value: writerValue})
	want := exported(t, families)
	delete(want, "packages_registry_s3_request_duration_seconds")
	for where, addr := range map[string]string{"a file": inFile.AdminAddr, "a server": onServer.admin} {
		if diff := cmp.Diff(want, exported(t, scrape(t, addr))); diff != "" {
			t.Errorf("with %s (-want +got):\n%s", where, diff)
		}
	}
}

// sample is the value of a counter or gauge, or the number of a histogram's
// observations, with the labels written as in the text format.
func sample(families map[string]*dto.MetricFamily, name, labels string) float64 {
	for _, metric := range families["packages_registry_"+name].GetMetric() {
		var pairs []string
		for _, label := range metric.GetLabel() {
			pairs = append(pairs, label.GetName()+"="+label.GetValue())
		}
		if strings.Join(pairs, ",") != labels {
			continue
		}
		return metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
	}
	return -1
}

func TestMetricsCountWhatHappens(t *testing.T) {
	r, c := start(t)
	traffic(c)
	f := scrape(t, r.AdminAddr)
	for what, want := range map[[2]string]float64{
		{"uploads_started_total", ""}:                                                  3,
		{"uploads_ended_total", "outcome=finished"}:                                    2,
		{"uploads_ended_total", "outcome=canceled"}:                                    1,
		{"uploads_ended_total", "outcome=expired"}:                                     0,
		{"cache_hits_total", "content=tag"}:                                            1,
		{"cache_misses_total", "content=tag"}:                                          2,
		{"cache_hits_total", "content=manifest"}:                                       3,
		{"cache_misses_total", "content=manifest"}:                                     1,
		{"catalog_operation_duration_seconds", "operation=PutManifest,outcome=ok"}:     1,
		{"catalog_operation_duration_seconds", "operation=ResolveTag,outcome=refused"}: 1,
		{"blob_operation_duration_seconds", "operation=Append,outcome=ok"}:             1,
		{"blob_operation_duration_seconds", "operation=Commit,outcome=ok"}:             1,
		{"database_pending_writes", ""}:                                                0,
		{"audit_entries_total", ""}:                                                    0,
		{"upkeep_passes_total", "outcome=failed"}:                                      0,
		{"requests_total", "code=200,method=GET,route=ManifestGet"}:                    4,
		{"request_duration_seconds", "route=UploadStart"}:                              3,
		{"requests_total", "code=404,method=GET,route=Unknown"}:                        1,
		{"catalog_operation_duration_seconds", "operation=DeleteTag,outcome=ok"}:       1,
	} {
		if got := sample(f, what[0], what[1]); got != want {
			t.Errorf("%s{%s} is %v, want %v", what[0], what[1], got, want)
		}
	}
	for _, what := range [][2]string{{"database_commits_total", ""}, {"cache_bytes", ""}, {"cache_limit_bytes", ""}, {"database_connections", "state=idle"}, {"database_max_connections", ""}} {
		if got := sample(f, what[0], what[1]); got <= 0 {
			t.Errorf("%s is %v", what[0], got)
		}
	}
}
