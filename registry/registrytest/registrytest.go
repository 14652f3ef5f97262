// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registrytest runs a real registry on a loopback port for tests.
package registrytest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// Registry is a running registry.
type Registry struct {
	// Addr and AdminAddr are HOST:PORT.
	Addr, AdminAddr string
	// DataDir can be given to another registry once this one has stopped.
	DataDir string
	live    *policy.Live
	source  *Source
	cancel  context.CancelFunc
	done    chan error
}

// Source is a policy source that a test drives.
type Source struct{ err atomic.Pointer[error] }

// Run only waits: tests publish by themselves.
func (s *Source) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Status has the error that SetErr set. What is in force is the newest otherwise.
func (s *Source) Status() policy.Status {
	status := policy.Status{Confirmed: time.Now(), Since: time.Now()}
	if err := s.err.Load(); err != nil {
		status.Err = *err
	}
	return status
}

// SetErr makes the source report that a newer policy could not be taken.
func (s *Source) SetErr(err error) { s.err.Store(&err) }

// Options change what Start does by default.
type Options struct {
	// DataDir to use instead of a new one.
	DataDir string
	// S3 is where the blobs are kept, instead of DataDir.
	S3 *s3.Options
	// Log instead of the test's own.
	Log *logr.Logger
	// TrustedProxies may say which client they speak for.
	TrustedProxies []netip.Prefix
	// MaxConnections instead of the default.
	MaxConnections int
	// Audit is told who does what.
	Audit *audit.Log
	// Profiling serves profiles on the admin port.
	Profiling bool
	// Tracer makes spans, if it is set.
	Tracer trace.Tracer
	// WithoutPolicy starts before the policy has come; Publish brings it.
	WithoutPolicy bool
}

// Policy returns an instance "test" without repositories and credentials, for a
// test to fill in.
func Policy() policy.Policy {
	return policy.Policy{
		Instance:      policy.Instance{Namespace: "tests", Name: "test", UID: "uid-of-test"},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       policy.SupportEnabled,
		AnonymousPull: policy.AnonymousDeny,
	}
}

// Credential returns a credential for value, with the scopes.
func Credential(value, user string, scopes ...policy.Scope) policy.Credential {
	return policy.Credential{ID: credential.ID(value), Hash: credential.Sum(value), Token: user + "-token", User: user, Scopes: scopes}
}

// Start runs a registry with p until the test ends.
func Start(t testing.TB, p policy.Policy, o Options) *Registry {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	log := testr.NewWithInterface(quiet{t}, testr.Options{})
	if o.Log != nil {
		log = *o.Log
	}
	keys, err := access.CreateKeys(filepath.Join(o.DataDir, "keys"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registry{DataDir: o.DataDir, live: &policy.Live{}, source: &Source{}, cancel: cancel, done: make(chan error, 1)}
	if !o.WithoutPolicy {
		r.Publish(t, p)
	}
	type bound struct{ listen, admin net.Addr }
	ready := make(chan bound, 1)
	go func() {
		r.done <- registry.Run(ctx, registry.Options{
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
			DataDir: o.DataDir, InstanceUID: p.Instance.UID, S3: o.S3,
			Keys: keys, Policy: r.live, Source: r.source,
			Loopback: true, TrustedProxies: o.TrustedProxies, MaxConnections: o.MaxConnections, Version: "test", Log: log, Audit: o.Audit, Tracer: o.Tracer, Profiling: o.Profiling,
			Ready: func(listen, admin net.Addr) { ready <- bound{listen, admin} },
		})
	}()
	select {
	case b := <-ready:
		r.Addr, r.AdminAddr = b.listen.String(), b.admin.String()
	case err := <-r.done:
		t.Fatalf("the registry did not start: %v", err)
	}
	t.Cleanup(func() { r.Stop(t) })
	return r
}

// Publish puts a policy in force.
func (r *Registry) Publish(t testing.TB, p policy.Policy) {
	t.Helper()
	snapshot, err := policy.NewSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	r.live.Publish(snapshot)
}

// Source is the registry's policy source.
func (r *Registry) Source() *Source { return r.source }

// Stop drains the registry; stopping twice is no error.
func (r *Registry) Stop(t testing.TB) {
	t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("the registry stopped with: %v", err)
	}
	r.done <- nil
}

// Image names an image of the registry: HOST:PORT/NAME.
func (r *Registry) Image(format string, arguments ...any) string {
	return r.Addr + "/" + fmt.Sprintf(format, arguments...)
}

// quiet drops what is logged after the test has ended.
type quiet struct{ testing.TB }

func (q quiet) Log(arguments ...any) {
	defer func() { _ = recover() }()
	q.TB.Log(arguments...)
}
