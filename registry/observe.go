// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/clientaddr"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/route"
)

// observer surrounds the handlers: it gives every request an id, counts it, writes
// it into the logs, and turns a panic into a 500 for that request alone.
type observer struct {
	next    http.Handler
	clients clientaddr.Resolver
	log     logr.Logger
	metrics *metrics
	audit   *audit.Log
	// tracer makes a span of every request; nil makes none.
	tracer trace.Tracer
}

// observed is one request.
type observed struct {
	*observer
	r      *http.Request
	start  time.Time
	record oci.Record
	out    *response
	body   *body
	// span is nil without a tracer.
	span trace.Span
}

// ServeHTTP implements http.Handler.
func (o *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &observed{observer: o, r: r, start: time.Now(), record: oci.Record{RequestID: newRequestID(), Address: o.clients.Of(r)}}
	x.out = watchResponse(w, idleTimeout, time.Now)
	x.out.before = x
	x.body = watchBody(w, r, idleTimeout, time.Now)
	x.out.Header().Set("X-Request-Id", x.record.RequestID)
	ctx := oci.WithRecord(r.Context(), &x.record)
	if o.tracer != nil {
		ctx = x.beginSpan(ctx)
	}
	// The last to run: it takes time that is no part of the request.
	defer func() { x.body.abandon(x.out.status >= http.StatusBadRequest) }()
	o.metrics.inFlight.Inc()
	defer o.metrics.inFlight.Dec()
	defer func() {
		if p := recover(); p != nil {
			x.panicked(p)
		}
		took := time.Since(x.start)
		if x.record.Warning != "" {
			o.metrics.largeImages.Inc()
		}
		o.metrics.observe(x.record.Kind, methodLabel(r.Method), x.out.status, took, x.body.received, x.out.sent)
		x.writeLog(took)
		if x.span != nil {
			x.endSpan()
		}
	}()
	observed := r.WithContext(ctx)
	observed.Body = x.body
	o.next.ServeHTTP(x.out, observed)
}

// panicked answers for a handler that could not.
func (x *observed) panicked(p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	x.log.Error(fmt.Errorf("panic: %v", p), "A request's handler panicked", "request", x.record.RequestID, "stack", string(debug.Stack()))
	if x.out.status == 0 {
		http.Error(x.out, "internal error; the registry's log tells why under request "+x.record.RequestID, http.StatusInternalServerError)
	}
}

// routine says of a request that it changes nothing that anybody sees: a read that
// succeeds, a question whether something is there, or a step of an upload.
func (x *observed) routine() bool {
	status := x.out.status
	switch x.r.Method {
	case http.MethodGet:
		return status < http.StatusBadRequest
	case http.MethodHead:
		return status < http.StatusBadRequest || status == http.StatusNotFound && !x.record.Denied
	}
	return status == http.StatusAccepted && (x.record.Kind == route.UploadStart || x.record.Kind == route.UploadChunk)
}

// writeLog writes the request's line, with verbosity 1 for routine.
func (x *observed) writeLog(took time.Duration) {
	level := 0
	if x.routine() {
		level = 1
	}
	if log := x.log.V(level); log.Enabled() {
		record := &x.record
		log.Info("Request", "request", record.RequestID, "method", x.r.Method, "route", record.Kind.String(),
			"name", record.Name, "reference", record.Reference, "user", record.User, "credential", record.CredentialID,
			"status", x.out.status, "code", record.Code, "reason", record.Message, "warning", record.Warning, "received", x.body.received, "sent", x.out.sent,
			"duration", took.String(), "trace", x.traceID(), "remote", record.Address.String(), "client", truncate(x.r.UserAgent(), maxUserAgent))
	}
}

// writeAudit comes before the answer, so that nothing is acknowledged which the
// audit log does not have.
func (x *observed) writeAudit(status int) {
	if x.audit == nil {
		return
	}
	e, wanted := auditEntry(&x.record, status, x.body.received, x.r.UserAgent())
	if !wanted {
		return
	}
	e.Time = time.Now().UTC()
	if mustLast(&e) {
		x.audit.Commit(e)
	} else {
		x.audit.Append(e)
	}
}

func newRequestID() string {
	var id [8]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// methodLabel keeps a client from making new time series.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	}
	return "other"
}

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// quietLog sends what net/http says about broken connections to verbosity 1.
func quietLog(l logr.Logger) *log.Logger {
	return log.New(lineLogger{l.WithName("http").V(1)}, "", 0)
}

type lineLogger struct{ log logr.Logger }

func (l lineLogger) Write(p []byte) (int, error) {
	l.log.Info(strings.TrimSpace(string(p)))
	return len(p), nil
}
