// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// recordingListener hands out connections that remember the files that the
// kernel was asked to send.
type recordingListener struct {
	net.Listener
	mu    sync.Mutex
	bytes int64
}

func (l *recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &recordingConn{TCPConn: c.(*net.TCPConn), listener: l}, nil
}

// fileBytes is how much came straight from files.
func (l *recordingListener) fileBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

type recordingConn struct {
	*net.TCPConn
	listener *recordingListener
}

// ReadFrom is what net/http calls on the connection. TCPConn turns it into
// sendfile when the source is a file, or a limited part of one.
func (c *recordingConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	if limited, ok := r.(*io.LimitedReader); ok {
		r = limited.R
	}
	if _, ok := r.(*os.File); ok {
		c.listener.mu.Lock()
		c.listener.bytes += n
		c.listener.mu.Unlock()
	}
	return n, err
}

// hidingWriter is a wrapper as they are easily written: it hides ReadFrom.
type hidingWriter struct{ http.ResponseWriter }

// waiting is a policy source that only waits.
type waiting struct{}

func (waiting) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (waiting) Status() policy.Status         { return policy.Status{} }

func TestBlobsAreSentByTheKernel(t *testing.T) {
	const size = 4 << 20
	sent := func(t *testing.T, wrap func(http.Handler) http.Handler, headers http.Header) (fromFile, received int64) {
		t.Helper()
		o, s, digest := storedBlob(t, size)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		recording := &recordingListener{Listener: listener}
		m := newMetrics()
		s.measure(m, nil)
		server := newServer(o, wrap(newHandler(o, s, m)))
		served := make(chan error, 1)
		go func() { served <- server.Serve(recording) }()

		req, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String()+"/v2/octocat/octo-app/image/blobs/"+string(digest), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = headers
		req.SetBasicAuth("octocat", octocatValue)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		received, err = io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("status %d, %v", resp.StatusCode, err)
		}
		_ = resp.Body.Close()
		// The handler has returned when the server has shut down.
		if err := server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Fatal(err)
		}
		return recording.fileBytes(), received
	}
	asIs := func(h http.Handler) http.Handler { return h }

	t.Run("whole", func(t *testing.T) {
		// The first 512 bytes leave with the header.
		if fromFile, received := sent(t, asIs, http.Header{}); received != size || fromFile < size-512 {
			t.Errorf("of %d bytes received, only %d came straight from the file: a wrapper of the response hides ReadFrom", received, fromFile)
		}
	})
	t.Run("a range", func(t *testing.T) {
		if fromFile, received := sent(t, asIs, http.Header{"Range": {"bytes=1048576-"}}); received != size-1<<20 || fromFile < size-1<<20-512 {
			t.Errorf("of %d bytes received, only %d came straight from the file", received, fromFile)
		}
	})
	t.Run("not behind a wrapper that hides ReadFrom", func(t *testing.T) {
		hide := func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hidingWriter{w}, r) })
		}
		if fromFile, received := sent(t, hide, http.Header{}); received != size || fromFile != 0 {
			t.Errorf("this test would not notice a wrapper that hides ReadFrom: %d of %d bytes came straight from the file", fromFile, received)
		}
	})
}

var octocatValue = "octocat" + strings.Repeat("-0123456789", 4)

// storedBlob opens a storage with a blob of the size in octocat/octo-app/image.
func storedBlob(t testing.TB, size int) (Options, *storage, ref.Digest) {
	t.Helper()
	snapshot, err := policy.NewSnapshot(policy.Policy{
		Instance:      policy.Instance{Name: "test", UID: "uid"},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       policy.SupportEnabled,
		AnonymousPull: policy.AnonymousDeny,
		Repositories:  []policy.Repository{{Owner: "octocat", Name: "octo-app", Visibility: policy.Private}},
		Credentials: []policy.Credential{{
			ID: credential.ID(octocatValue), Hash: credential.Sum(octocatValue), Token: "octocat", User: "octocat", Scopes: []policy.Scope{policy.ScopeRead},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := access.CreateKeys(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{DataDir: t.TempDir(), InstanceUID: "uid", Keys: keys, Policy: &policy.Live{}, Source: waiting{}, Loopback: true, Log: logr.Discard()}
	o.Policy.Publish(snapshot)
	s, err := openStorage(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})

	content := make([]byte, size)
	_, _ = rand.Read(content)
	digest := ref.SHA256.FromBytes(content)
	writer := blob.Writer{Store: s.blobs}
	progress, err := writer.Append(t.Context(), blob.Progress{}, strings.NewReader(string(content)), -1)
	if err != nil {
		t.Fatal(err)
	}
	finished, err := writer.Finish(t.Context(), progress, digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.catalog.PutBlob(t.Context(), "octocat/octo-app/image", catalog.Blob(finished)); err != nil {
		t.Fatal(err)
	}
	return o, s, digest
}
