// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/connlimit"
)

// watch exports what the parts of a registry say of themselves when they are
// asked.
func (m *metrics) watch(o Options, s *storage) {
	m.registry.MustRegister(
		constant("build_info", "Always 1; the labels say what runs.", prometheus.Labels{"version": o.Version, "go_version": runtime.Version()}),
		gauge("storage_free_bytes", "Room left in the file system of the data directory.", func() float64 {
			usage, err := s.data.Usage()
			if err != nil {
				return 0
			}
			return float64(usage.Free)
		}),
		counter("audit_entries_total", "Entries of the audit log that were written.", func() float64 { return float64(o.Audit.Written()) }),
		counter("audit_lost_entries_total", "Entries of the audit log that could not be written.", func() float64 { return float64(o.Audit.Lost()) }),
		&policyCollector{options: o, started: time.Now()},
		&catalogCollector{stats: s.stats},
	)
}

// watchConnections exports how many connections of clients there are.
func (m *metrics) watchConnections(l *connlimit.Listener) {
	m.registry.MustRegister(
		gauge("connections", "Connections of clients that are open.", func() float64 { return float64(l.Open()) }),
		counter("connections_evicted_total", "Connections that were closed while they waited for a request, to admit others.",
			func() float64 { return float64(l.Evicted()) }),
	)
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
}

func counter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, value)
}

func constant(name, help string, labels prometheus.Labels) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, func() float64 { return 1 })
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// policyCollector tells of the policy. Only the revision in force has a series.
type policyCollector struct {
	options Options
	started time.Time
}

var (
	policyInfo  = describe("policy_info", "Always 1; the label is the revision in force.", "revision")
	policySince = describe("policy_applied_timestamp_seconds", "When the revision in force came into force.")
	policyAge   = describe("policy_age_seconds", "Seconds since the policy in force was last known to be the newest.")
	policyStale = describe("policy_stale", "1 while a newer policy could not be taken, or cannot be asked for, and the last good one is in force.")
)

// Describe implements prometheus.Collector.
func (c *policyCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{policyInfo, policySince, policyAge, policyStale} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *policyCollector) Collect(metrics chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	status := c.options.Source.Status()
	if snapshot := c.options.Policy.Load(); snapshot != nil {
		send(policyInfo, 1, snapshot.Revision())
	}
	if !status.Since.IsZero() {
		send(policySince, float64(status.Since.UnixMilli())/1000)
	}
	confirmed := status.Confirmed
	if confirmed.IsZero() {
		confirmed = c.started
	}
	send(policyAge, max(0, time.Since(confirmed).Seconds()))
	stale := 0.
	if status.Err != nil {
		stale = 1
	}
	send(policyStale, stale)
}

// catalogCollector tells of the catalog's database and what is kept in memory.
type catalogCollector struct{ stats func() sql.Stats }

var (
	databaseCommits     = describe("database_commits_total", "Transactions that were committed.")
	databasePending     = describe("database_pending_writes", "Changes that wait for their turn, are being made, or are not yet durable.")
	databaseConnections = describe("database_connections", "Connections to the database; with a file, those that read.", "state")
	databaseMax         = describe("database_max_connections", "How many connections there may be.")
	cacheHits           = describe("cache_hits_total", "Look-ups that found what they looked for in memory.", "content")
	cacheMisses         = describe("cache_misses_total", "Look-ups that had to ask the database.", "content")
	cacheBytes          = describe("cache_bytes", "Memory that the cache takes, about.")
	cacheLimit          = describe("cache_limit_bytes", "Memory that the cache may take.")
)

// Describe implements prometheus.Collector.
func (c *catalogCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		databaseCommits, databasePending, databaseConnections, databaseMax, cacheHits, cacheMisses, cacheBytes, cacheLimit,
	} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *catalogCollector) Collect(metrics chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	stats := c.stats()
	send(databaseCommits, prometheus.CounterValue, float64(stats.Database.Commits))
	send(databasePending, prometheus.GaugeValue, float64(stats.Database.Pending))
	send(databaseConnections, prometheus.GaugeValue, float64(stats.Database.Idle), "idle")
	send(databaseConnections, prometheus.GaugeValue, float64(stats.Database.Busy), "busy")
	send(databaseMax, prometheus.GaugeValue, float64(stats.Database.Max))
	for content, counts := range stats.Cache {
		send(cacheHits, prometheus.CounterValue, float64(counts.Hits), content)
		send(cacheMisses, prometheus.CounterValue, float64(counts.Misses), content)
	}
	send(cacheBytes, prometheus.GaugeValue, float64(stats.CacheBytes))
	send(cacheLimit, prometheus.GaugeValue, float64(stats.CacheLimit))
}
