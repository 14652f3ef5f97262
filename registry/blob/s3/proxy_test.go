// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

// proxy stands between a store and the server, and does to requests what a test
// wants.
type proxy struct {
	*httptest.Server
	forward http.Handler

	mu sync.Mutex
	// fault may answer a request by itself (true), or leave it to the server.
	fault    func(w http.ResponseWriter, r *http.Request) bool
	requests []string
}

func startProxy(t *testing.T, server *s3test.Server) *proxy {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header stays as it is, because it is signed.
	p := &proxy{forward: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.Out.Host = r.In.Host
	}}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, operation(r))
	fault := p.fault
	p.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	p.forward.ServeHTTP(w, r)
}

// set replaces the fault; nil heals.
func (p *proxy) set(fault func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// taken returns the operations since the last call.
func (p *proxy) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.requests
	p.requests = nil
	return taken
}

// loseAnswers lets the operation happen, but not its answer come back.
func (p *proxy) loseAnswers(name string) {
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if operation(r) != name {
			return false
		}
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// loseRequests keeps the operation from happening.
func (p *proxy) loseRequests(name string) {
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if operation(r) == name {
			panic(http.ErrAbortHandler)
		}
		return false
	})
}

// answerError answers the operation as storage does that refuses it.
func (p *proxy) answerError(name string, status int, code string) {
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if operation(r) != name {
			return false
		}
		// A connection that is closed with unread data is reset, and the answer lost.
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>said by the storage</Message></Error>")) // the client sees to that
		return true
	})
}

// through lets the store's requests go through the proxy.
func (p *proxy) through(o s3.Options) s3.Options {
	o.Endpoint = p.URL
	return o
}

// operation names a request of the S3 API.
func operation(r *http.Request) string {
	query := r.URL.Query()
	has := func(key string) bool { _, ok := query[key]; return ok }
	tail := strings.Contains(r.URL.Path, "/tails/")
	switch {
	case r.Method == http.MethodPost && has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPut && has("uploadId"):
		return "UploadPart"
	case r.Method == http.MethodDelete && has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodGet && has("uploads"):
		return "ListMultipartUploads"
	case r.Method == http.MethodGet && has("list-type"):
		return "ListObjectsV2"
	case strings.HasSuffix(r.URL.Path, "/instance"):
		return r.Method + " marker"
	case tail:
		return r.Method + " tail"
	}
	return r.Method + " object"
}
