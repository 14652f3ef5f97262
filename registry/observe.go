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

	"github.com/packages-operator/packages-operator/registry/clientaddr"
	"github.com/packages-operator/packages-operator/registry/oci"
)

// observe gives every request an id, counts it, logs it, and turns a panic into
// a 500 for that request alone. Reads that succeed are logged at verbosity 1.
func observe(next http.Handler, clients clientaddr.Resolver, log logr.Logger, m *metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		record := &oci.Record{RequestID: newRequestID(), Address: clients.Of(r)}
		out := watchResponse(w, idleTimeout, time.Now)
		body := watchBody(w, r, idleTimeout, time.Now)
		out.Header().Set("X-Request-Id", record.RequestID)
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				log.Error(fmt.Errorf("panic: %v", p), "A request's handler panicked", "request", record.RequestID, "stack", string(debug.Stack()))
				if out.status == 0 {
					http.Error(out, "internal error; the registry's log tells why under request "+record.RequestID, http.StatusInternalServerError)
				}
			}
			took := time.Since(start)
			if record.Warning != "" {
				m.largeImages.Inc()
			}
			m.observe(record.Kind.String(), methodLabel(r.Method), out.status, took, body.received, out.sent)
			level := 0
			if out.status < 400 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
				level = 1
			}
			if log := log.V(level); log.Enabled() {
				log.Info("Request", "request", record.RequestID, "method", r.Method, "route", record.Kind.String(),
					"name", record.Name, "reference", record.Reference, "user", record.User, "credential", record.CredentialID,
					"status", out.status, "code", record.Code, "reason", record.Message, "warning", record.Warning, "received", body.received, "sent", out.sent,
					"duration", took.String(), "remote", record.Address.String(), "client", truncate(r.UserAgent(), 200))
			}
		}()
		next.ServeHTTP(out, r.WithContext(oci.WithRecord(r.Context(), record)))
		body.abandon()
	})
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
