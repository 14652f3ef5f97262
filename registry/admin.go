// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Status is what a registry tells the manager, on the admin port's /status.
type Status struct {
	Instance StatusInstance `json:"instance"`
	// PolicyRevision in force; empty before the first.
	PolicyRevision string `json:"policyRevision"`
	// PolicyError is why a newer policy could not be taken; empty when none.
	PolicyError string `json:"policyError,omitempty"`
	// Purged lists the ids of the policy's purges that are done.
	Purged []string `json:"purged,omitempty"`
	// Troubles are what is wrong now; empty when nothing is.
	Troubles []Trouble `json:"troubles,omitempty"`
	Version  string    `json:"version"`
}

// StatusInstance names the instance whose data is served.
type StatusInstance struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

const (
	// readyTimeout bounds how long a probe waits for the database and the bucket.
	readyTimeout = 5 * time.Second
	// statusTimeout does so for /status, which must say that they do not answer
	// before the manager stops waiting.
	statusTimeout = time.Second
)

// newAdmin serves the admin port: /healthz, /readyz, /status and /metrics, and
// profiles if they are asked for. But for those it tells nothing secret, and it
// changes nothing.
func newAdmin(o Options, s *storage, m *metrics, draining *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		switch {
		case draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case o.Policy.Load() == nil:
			http.Error(w, "no policy yet", http.StatusServiceUnavailable)
		case s.catalog.Ping(ctx) != nil:
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		case s.reach(ctx) != nil:
			http.Error(w, "the bucket does not answer", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ok\n"))
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
		defer cancel()
		status := currentStatus(ctx, o, s)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status)
	})
	if o.Profiling {
		addProfiles(mux)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// addProfiles serves what "go tool pprof" asks for. Profiles and traces take as
// long as the request says.
func addProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func currentStatus(ctx context.Context, o Options, s *storage) Status {
	status := Status{Instance: StatusInstance{UID: o.InstanceUID}, Version: o.Version, Troubles: s.troubles(ctx)}
	if err := o.Source.Status().Err; err != nil {
		status.PolicyError = err.Error()
	}
	snapshot := o.Policy.Load()
	if snapshot == nil {
		return status
	}
	p := snapshot.Policy()
	status.Instance.Namespace, status.Instance.Name = p.Instance.Namespace, p.Instance.Name
	status.PolicyRevision = snapshot.Revision()
	if len(p.Purges) == 0 || slices.Contains(status.Troubles, TroubleDatabaseUnavailable) {
		return status
	}
	ids := make([]string, len(p.Purges))
	for i, purge := range p.Purges {
		ids[i] = purge.ID
	}
	purged, err := s.catalog.Purged(ctx, ids)
	if err != nil {
		status.Troubles = append(status.Troubles, TroubleDatabaseUnavailable)
	}
	status.Purged = purged
	return status
}
