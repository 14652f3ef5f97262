// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"testing"

	"github.com/go-logr/logr"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/audit"
)

// BenchmarkObserving is what the audit log and traces add to a request: the GET of a
// manifest.
func BenchmarkObserving(b *testing.B) {
	log, err := audit.Open("/dev/null", nil, logr.Discard())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	sampled := func(sampler sdktrace.Sampler) trace.Tracer {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler)).Tracer("")
	}
	for _, with := range []struct {
		what   string
		audit  *audit.Log
		tracer trace.Tracer
	}{
		{"Nothing", nil, nil},
		{"AuditLog", log, nil},
		{"NotSampled", log, sampled(sdktrace.NeverSample())},
		{"Sampled", log, sampled(sdktrace.AlwaysSample())},
	} {
		b.Run(with.what, func(b *testing.B) {
			r := startBench(b, func(o *Options) { o.Audit, o.Tracer = with.audit, with.tracer })
			const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
			put := r.request(b, http.MethodPut, "/v2/octocat/app/image/manifests/1", index)
			put.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w, received := &sink{header: http.Header{}}, r.request(b, http.MethodGet, "/v2/octocat/app/image/manifests/"+digestOf(index), "")
			r.handler.ServeHTTP(w, put)
			w.status = 0
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				received.Body = http.NoBody // the handler replaces it
				r.handler.ServeHTTP(w, received)
			}
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
			}
		})
	}
}
