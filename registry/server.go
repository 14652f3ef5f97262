// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry composes the data plane: listeners, storage, policy,
// handlers, upkeep and drain.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/clientaddr"
	"github.com/packages-operator/packages-operator/registry/connlimit"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/upkeep"
)

const (
	// gracePeriod is how long content may be without a reference, and so how long
	// a push may take; deleteDelay is how long its bytes are kept on, so that a
	// database restored from within it is complete.
	gracePeriod = 24 * time.Hour
	deleteDelay = 24 * time.Hour
	// drainTimeout bounds how long running requests may take once the process
	// was asked to end.
	drainTimeout = 28 * time.Second
	// readHeaderTimeout and idleTimeout bound what a silent client costs.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// PolicySource brings the policy and keeps it current.
type PolicySource interface {
	// Run publishes policies until ctx ends.
	Run(ctx context.Context) error
	// Status is how that goes.
	Status() policy.Status
}

// Options say what to serve and where.
type Options struct {
	// Listen and AdminListen are addresses; an empty AdminListen opens no admin
	// port.
	Listen      string
	AdminListen string
	// Profiling serves profiles of the process on the admin port.
	Profiling bool
	// TrustedProxies are believed when they say, in X-Forwarded-For, which client
	// they speak for.
	TrustedProxies []netip.Prefix
	// DataDir keeps everything, but for the blobs when S3 is set and the catalog
	// when DatabaseURL is; InstanceUID is who it belongs to. Adopt takes over data
	// of another instance.
	DataDir     string
	InstanceUID string
	Adopt       bool
	// S3 is where the blobs are kept; nil means DataDir. Its InstanceUID, Adopt and
	// SpoolDir are those above.
	S3 *s3.Options
	// DatabaseURL of a PostgreSQL database that keeps the catalog; empty for a
	// file in DataDir. It may hold a password, and is told nowhere.
	DatabaseURL string
	// Keys sign bearer tokens.
	Keys access.KeySource
	// Policy is published to by Source.
	Policy *policy.Live
	Source PolicySource
	// Loopback lets loopback names select the Docker registry.
	Loopback bool
	// MaxConnections of clients may be open at once; zero means
	// DefaultMaxConnections. There are fewer where the process may not open as many
	// files.
	MaxConnections int
	Version        string
	Log            logr.Logger
	// Audit is told who does what; may be nil. It stays open.
	Audit *audit.Log
	// Tracer makes spans of requests and of what they ask of the stores; nil makes
	// none.
	Tracer trace.Tracer
	// Ready is called with the bound addresses once requests are served; may be
	// nil.
	Ready func(listen, admin net.Addr)
}

// Run serves until ctx ends, then drains: it stops accepting, lets running
// requests finish, and closes the storage cleanly.
func Run(ctx context.Context, o Options) error {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("open the registry's port (--listen): %w", err)
	}
	defer func() { _ = listener.Close() }()
	var adminListener net.Listener
	if o.AdminListen != "" {
		if adminListener, err = net.Listen("tcp", o.AdminListen); err != nil {
			return fmt.Errorf("open the admin port (--admin-listen): %w", err)
		}
		defer func() { _ = adminListener.Close() }()
	}
	metrics := newMetrics()
	storage, err := openStorage(ctx, o, metrics.observeS3)
	if err != nil {
		return err
	}
	storage.measure(metrics, o.Tracer)
	metrics.watch(o, storage)
	runErr := serve(ctx, o, storage, metrics, listener, adminListener)
	return errors.Join(runErr, storage.close())
}

var errLost = errors.New("others have taken over the catalog, out of whose sight this process was for too long")

func serve(ctx context.Context, o Options, s *storage, metrics *metrics, listener, adminListener net.Listener) error {
	var requests sync.WaitGroup
	server := newServer(o, counted(&requests, newHandler(o, s, metrics)))
	clients := limitConnections(o, listener)
	server.ConnState = clients.ConnState
	metrics.watchConnections(clients)
	var draining atomic.Bool
	admin := newServer(o, newAdmin(o, s, metrics, &draining))

	// Background work outlives the listeners, so that running requests find
	// everything in place while they drain.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	failed := make(chan error, 5)
	var work sync.WaitGroup
	for _, run := range []func(context.Context) error{
		o.Source.Run,
		func(ctx context.Context) error { return purge(ctx, o, s.catalog) },
		func(ctx context.Context) error {
			return upkeep.Run(ctx, upkeep.Options{Catalog: s.catalog, Blobs: s.blobs, Log: o.Log.WithName("upkeep"), Report: metrics.passed})
		},
	} {
		work.Go(func() {
			// Without one of these the registry would go on with a policy or a
			// disk that nobody looks after: better to end, and be restarted.
			if err := run(background); err != nil && background.Err() == nil {
				failed <- err
			}
		})
	}

	go func() { failed <- server.Serve(clients) }()
	var adminAddr net.Addr
	if adminListener != nil {
		adminAddr = adminListener.Addr()
		others := connlimit.New(adminListener, maxAdminConnections)
		admin.ConnState = others.ConnState
		go func() { failed <- admin.Serve(others) }()
	}
	if o.Ready != nil {
		o.Ready(listener.Addr(), adminAddr)
	}

	var serveErr error
	select {
	case <-ctx.Done():
		o.Log.Info("Draining: no new connections; running requests may finish", "timeout", drainTimeout.String())
	case serveErr = <-failed:
	case <-s.lost:
		serveErr = errLost
	}
	draining.Store(true)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		o.Log.Info("Some requests did not finish in time and are cut off", "reason", err.Error())
		_ = server.Close()
	}
	// Cut off or not, a handler ends before the catalog does: what it began it
	// then records or removes.
	requests.Wait()
	_ = admin.Close()
	stopBackground()
	work.Wait()
	return serveErr
}

// counted lets requests wait for the handlers that run.
func counted(requests *sync.WaitGroup, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		defer requests.Done()
		next.ServeHTTP(w, r)
	})
}

// newHandler is the registry port's handler with all that is around it.
func newHandler(o Options, s *storage, m *metrics) http.Handler {
	handler := oci.New(oci.Options{
		Policy:      o.Policy,
		Access:      access.New(o.Keys, time.Now),
		Catalog:     s.catalog,
		Blobs:       s.blobs,
		ChunkSize:   s.chunkSize,
		Log:         o.Log.WithName("oci"),
		FailedLogin: limitLogins(o.Log.WithName("http"), m),
		Room:        s.data.Room,
		Loopback:    o.Loopback,
	})
	return &observer{next: handler, clients: clientaddr.New(o.TrustedProxies), log: o.Log.WithName("http"), metrics: m, audit: o.Audit, tracer: o.Tracer}
}

func newServer(o Options, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          quietLog(o.Log),
	}
}
