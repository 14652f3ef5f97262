// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/packages-operator/packages-operator/registry/instrument"
	"github.com/packages-operator/packages-operator/registry/route"
	"github.com/packages-operator/packages-operator/registry/upkeep"
)

// Buckets in seconds: of whole requests, and of what the stores do in them.
var (
	requestBuckets   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 300}
	operationBuckets = []float64{.00001, .00005, .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30}
)

// metrics are what the admin port exports. docs/operations.md lists them all.
type metrics struct {
	registry      *prometheus.Registry
	requests      requestCounters
	duration      [routes]prometheus.Observer
	inFlight      prometheus.Gauge
	largeImages   prometheus.Counter
	receivedBytes prometheus.Counter
	sentBytes     prometheus.Counter
	failedLogins  *prometheus.CounterVec

	catalog *prometheus.HistogramVec
	blobs   *prometheus.HistogramVec
	s3      *prometheus.HistogramVec
	uploads instrument.Uploads
	expired prometheus.Counter
	upkeep  upkeepMetrics
}

// newMetrics makes those that something counts into; watch adds those that are
// looked up when they are asked for.
func newMetrics() *metrics {
	duration := newHistogram("request_duration_seconds", "Time from a request's header to the end of its response.", requestBuckets, "route")
	ended := newCounters("uploads_ended_total", "Uploads that ended, by how.", "outcome")
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		requests:      requestCounters{vector: newCounters("requests_total", "Requests by route, method and HTTP status.", "route", "method", "code")},
		inFlight:      newGauge("requests_in_flight", "Requests that are being served."),
		largeImages:   newCounter("large_images_total", "Image manifests that were stored with a warning, because the image is larger than the instance's docker.limits.warnImageSize."),
		failedLogins:  newCounters("failed_logins_total", "Logins that failed: refused with 401, or with 429 where the client's address is over its limit (limited).", "outcome"),
		receivedBytes: newCounter("received_bytes_total", "Bytes of request bodies."),
		sentBytes:     newCounter("sent_bytes_total", "Bytes of response bodies."),
		catalog:       newHistogram("catalog_operation_duration_seconds", "Time that an operation of the catalog takes.", operationBuckets, "operation", "outcome"),
		blobs:         newHistogram("blob_operation_duration_seconds", "Time that an operation of the blob store takes; Append waits for the client.", operationBuckets, "operation", "outcome"),
		s3:            newHistogram("s3_request_duration_seconds", "Time that a request to the S3 storage takes, with its repetitions, until its answer begins.", operationBuckets, "operation", "outcome"),
		uploads: instrument.Uploads{
			Started:  newCounter("uploads_started_total", "Uploads that began, those in one request included."),
			Finished: ended.WithLabelValues("finished"),
			Canceled: ended.WithLabelValues("canceled"),
		},
		expired: ended.WithLabelValues("expired"),
		upkeep:  newUpkeepMetrics(),
	}
	for _, outcome := range []string{loginRefused, loginLimited} {
		m.failedLogins.WithLabelValues(outcome)
	}
	for kind := range m.duration {
		m.duration[kind] = duration.WithLabelValues(route.Kind(kind).String())
	}
	m.registry.MustRegister(
		m.requests.vector, duration, m.inFlight, m.largeImages, m.failedLogins, m.receivedBytes, m.sentBytes, m.catalog, m.blobs, m.s3, m.uploads.Started, ended,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.registry.MustRegister(m.upkeep.collectors()...)
	return m
}

const namespace = "packages_registry"

func newCounter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func newCounters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func newGauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func newHistogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

// routes is the number of kinds of requests; zero is the unknown one.
const routes = int(route.ManifestDelete) + 1

// observe counts a request.
func (m *metrics) observe(kind route.Kind, method string, code int, took time.Duration, received, sent int64) {
	m.requests.child(kind, method, code).Inc()
	m.duration[kind].Observe(took.Seconds())
	m.receivedBytes.Add(float64(received))
	m.sentBytes.Add(float64(sent))
}

// observeS3 counts a request to the storage.
func (m *metrics) observeS3(operation string, took time.Duration, err error) {
	m.s3.WithLabelValues(operation, instrument.OutcomeOf(err).String()).Observe(took.Seconds())
}

// requestCounters are the children of a vector by what a request has anyway, so
// that counting makes no strings. There are as many as the routes, methods and
// codes that were answered.
type requestCounters struct {
	vector *prometheus.CounterVec
	// children is replaced when one is added.
	children atomic.Pointer[map[requestKey]prometheus.Counter]
	adding   sync.Mutex
}

type requestKey struct {
	kind   route.Kind
	method string
	code   int
}

func (c *requestCounters) child(kind route.Kind, method string, code int) prometheus.Counter {
	key := requestKey{kind, method, code}
	if children := c.children.Load(); children != nil {
		if child, found := (*children)[key]; found {
			return child
		}
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	child := c.vector.WithLabelValues(kind.String(), method, strconv.Itoa(code))
	next := map[requestKey]prometheus.Counter{key: child}
	if children := c.children.Load(); children != nil {
		for key, child := range *children {
			next[key] = child
		}
	}
	c.children.Store(&next)
	return child
}

// upkeepMetrics follow the passes of upkeep.
type upkeepMetrics struct {
	succeeded, failed       prometheus.Counter
	passes                  *prometheus.CounterVec
	reviewed, freed         prometheus.Counter
	deleted, swept          prometheus.Counter
	objects                 *prometheus.CounterVec
	open, review, deletions prometheus.Gauge
	queue                   *prometheus.GaugeVec
}

func newUpkeepMetrics() upkeepMetrics {
	passes := newCounters("upkeep_passes_total", "Passes of upkeep, one a minute.", "outcome")
	objects := newCounters("upkeep_deleted_objects_total", "Objects that were deleted: those that nothing refers to, and those that a crash left behind.", "reason")
	queue := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "upkeep_queue_length", Help: "What waits for its review or its deletion, due or not, as of the last pass of upkeep.",
	}, []string{"queue"})
	return upkeepMetrics{
		passes: passes, succeeded: passes.WithLabelValues(instrument.OK.String()), failed: passes.WithLabelValues(instrument.Failed.String()),
		reviewed: newCounter("upkeep_reviewed_total", "Links and blobs that were looked at because they had lost a reference."),
		freed:    newCounter("upkeep_freed_bytes_total", "Bytes of the objects that were deleted."),
		objects:  objects, deleted: objects.WithLabelValues("unreferenced"), swept: objects.WithLabelValues("crash"),
		open:  newGauge("uploads_open", "Uploads that have neither ended nor expired, as of the last pass of upkeep."),
		queue: queue, review: queue.WithLabelValues("review"), deletions: queue.WithLabelValues("deletion"),
	}
}

func (u *upkeepMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{u.passes, u.reviewed, u.freed, u.objects, u.open, u.queue}
}

// passed takes in a pass of upkeep.
func (m *metrics) passed(r upkeep.Report) {
	u := &m.upkeep
	if r.Err == nil {
		u.succeeded.Inc()
	} else {
		u.failed.Inc()
	}
	m.expired.Add(float64(r.ExpiredUploads))
	u.reviewed.Add(float64(r.Reviewed))
	u.deleted.Add(float64(r.DeletedObjects))
	u.swept.Add(float64(r.SweptObjects))
	u.freed.Add(float64(r.FreedBytes))
	if b := r.Backlog; b != nil {
		u.open.Set(float64(b.Uploads))
		u.review.Set(float64(b.Reviews))
		u.deletions.Set(float64(b.Deletions))
	}
}
