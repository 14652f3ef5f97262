// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/packages-operator/packages-operator/registry/connlimit"
)

// metrics are what the admin port exports.
type metrics struct {
	registry      *prometheus.Registry
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	largeImages   prometheus.Counter
	receivedBytes prometheus.Counter
	sentBytes     prometheus.Counter
	failedLogins  *prometheus.CounterVec
}

func newMetrics(o Options, s *storage) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "packages_registry_requests_total",
			Help: "Requests by route, method and HTTP status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "packages_registry_request_duration_seconds",
			Help:    "Time from a request's header to the end of its response, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 300},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "packages_registry_requests_in_flight",
			Help: "Requests that are being served.",
		}),
		largeImages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "packages_registry_large_images_total",
			Help: "Image manifests that were stored with a warning, because the image is larger than the instance's docker.limits.warnImageSize.",
		}),
		receivedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "packages_registry_received_bytes_total",
			Help: "Bytes of request bodies.",
		}),
		sentBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "packages_registry_sent_bytes_total",
			Help: "Bytes of response bodies.",
		}),
		failedLogins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "packages_registry_failed_logins_total",
			Help: "Logins that failed: refused with 401, or with 429 where the client's address is over its limit (limited).",
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(
		m.requests, m.duration, m.inFlight, m.largeImages, m.receivedBytes, m.sentBytes, m.failedLogins,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "packages_registry_policy_stale",
			Help: "1 while a newer policy could not be taken and the last good one is in force.",
		}, func() float64 {
			if o.Source.Status().Err != nil {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "packages_registry_storage_free_bytes",
			Help: "Room left in the file system of the data directory.",
		}, func() float64 {
			usage, err := s.data.Usage()
			if err != nil {
				return 0
			}
			return float64(usage.Free)
		}),
	)
	return m
}

// watchConnections exports how many connections of clients there are.
func (m *metrics) watchConnections(l *connlimit.Listener) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "packages_registry_connections",
			Help: "Connections of clients that are open.",
		}, func() float64 { return float64(l.Open()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "packages_registry_connections_evicted_total",
			Help: "Connections that were closed while they waited for a request, to admit others.",
		}, func() float64 { return float64(l.Evicted()) }),
	)
}

func (m *metrics) observe(route, method string, code int, took time.Duration, received, sent int64) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
	m.receivedBytes.Add(float64(received))
	m.sentBytes.Add(float64(sent))
}
