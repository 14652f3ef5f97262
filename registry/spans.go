// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/oci"
)

// beginSpan begins the request's span, in the trace that the client names by W3C
// Trace Context (traceparent), or in one of its own.
func (x *observed) beginSpan(ctx context.Context) context.Context {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(x.r.Header))
	// The route, which names the span, is not known yet.
	ctx, x.span = x.tracer.Start(ctx, x.r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.start))
	return ctx
}

// endSpan says what the request was, in the attributes of OpenTelemetry's semantic
// conventions for HTTP servers, and of its own.
func (x *observed) endSpan() {
	defer x.span.End()
	if !x.span.IsRecording() {
		return
	}
	record := &x.record
	x.span.SetName(record.Kind.String())
	x.span.SetAttributes(spanAttributes(record, methodLabel(x.r.Method), x.out.status)...)
	x.span.SetAttributes(
		attribute.Int64("http.request.body.size", x.body.received),
		attribute.Int64("http.response.body.size", x.out.sent),
		attribute.String("user_agent.original", truncate(x.r.UserAgent(), maxUserAgent)),
	)
	// Of a client's mistake the server's span says nothing.
	if x.out.status >= http.StatusInternalServerError {
		x.span.SetStatus(codes.Error, record.Message)
	}
}

func spanAttributes(r *oci.Record, method string, status int) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", method),
		attribute.Int("http.response.status_code", status),
		attribute.String("packages.route", r.Kind.String()),
		attribute.String("packages.request_id", r.RequestID),
	}
	for key, value := range map[string]string{
		"packages.name": string(r.Name), "packages.reference": r.Reference, "packages.error_code": r.Code,
	} {
		if value != "" {
			attributes = append(attributes, attribute.String(key, value))
		}
	}
	if r.Address.IsValid() {
		attributes = append(attributes, attribute.String("client.address", r.Address.String()))
	}
	return attributes
}

// traceID is what logs and traces have in common; empty without a tracer.
func (x *observed) traceID() string {
	if x.span == nil {
		return ""
	}
	return x.span.SpanContext().TraceID().String()
}
