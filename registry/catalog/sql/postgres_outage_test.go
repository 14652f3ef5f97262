// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// cutter cuts connections at a COMMIT.
type cutter struct {
	// before and after count the COMMITs to be cut off, before the server gets
	// them or before its answer comes back.
	before, after atomic.Int64
	// onCut, if any, is called when one is cut off.
	onCut func()
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: raw, cutter: c}, nil
}

type cutConn struct {
	net.Conn
	cutter *cutter
	cut    atomic.Bool
}

var errCut = errors.New("cut off by the test")

func (c *cutConn) Write(p []byte) (int, error) {
	if !bytes.Contains(p, []byte("COMMIT\x00")) {
		return c.Conn.Write(p)
	}
	switch {
	case c.cutter.before.Add(-1) >= 0:
		c.cut.Store(true)
		_ = c.Close()
		c.cutter.onCut()
		return 0, errCut
	case c.cutter.after.Add(-1) >= 0:
		c.cut.Store(true)
		n, err := c.Conn.Write(p)
		// The server answers once it has committed: then the answer is lost.
		_, _ = c.Conn.Read(make([]byte, 1))
		_ = c.Close()
		c.cutter.onCut()
		return n, err
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.cut.Load() {
		return 0, errCut
	}
	return c.Conn.Read(p)
}

// startUpload begins an upload of which every operation can happen but once.
func startUpload(t *testing.T, s *sql.Store, id string) (from catalog.Progress, b catalog.Blob) {
	t.Helper()
	b, _ = crashImage(id)
	from = catalog.Progress{Offset: b.Size, Algorithm: ref.SHA256, Inline: b.Content}
	if err := s.StartUpload(t.Context(), catalog.Upload{ID: id, Name: crashName, StartedAt: time.Now(), Progress: from}); err != nil {
		t.Fatal(err)
	}
	return from, b
}

func TestTheOutcomeOfACommitIsFoundOut(t *testing.T) {
	server := postgrestest.Start(t)
	for _, test := range []struct {
		name          string
		before, after int64
	}{
		{"that the server never got", 1, 0},
		{"that was done", 0, 1},
		{"that the server never got, and then was done", 1, 1},
		{"that the server never got, again and again", 4, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cutter{onCut: func() {}}
			c.before.Store(-1 << 40)
			c.after.Store(-1 << 40)
			options := sql.ServerOptions{Dial: c.dial}.On(onServer(server.Schema(), crashOptions()))
			// Finding out must not need more connections than there are.
			options.Connections = 1
			s := mustOpen(t, options)
			from, b := startUpload(t, s, "u1")
			c.before.Store(test.before)
			c.after.Store(test.after)
			if _, err := s.FinishUpload(t.Context(), "u1", from, b); err != nil {
				t.Fatal(err)
			}
			if c.before.Load() > 0 || c.after.Load() > 0 {
				t.Fatal("no COMMIT was cut off")
			}
			if got, err := s.Blob(t.Context(), crashName, b.Digest); err != nil || !bytes.Equal(got.Content, b.Content) {
				t.Fatalf("the blob is %v (%v)", got, err)
			}
			if _, err := s.Upload(t.Context(), "u1", crashName, ""); !errors.Is(err, catalog.ErrUploadUnknown) {
				t.Fatalf("the upload is still there: %v", err)
			}
		})
	}
}

func TestAnOutcomeThatCannotBeFoundOutIsNoRefusal(t *testing.T) {
	server := postgrestest.Start(t)
	c := &cutter{onCut: server.Kill}
	c.before.Store(-1 << 40)
	s := mustOpenUnclosed(t, sql.ServerOptions{Dial: c.dial, OutcomeTimeout: time.Second}.On(onServer(server.Schema(), crashOptions())))
	from, b := startUpload(t, s, "u1")
	c.after.Store(1)
	_, err := s.FinishUpload(t.Context(), "u1", from, b)
	if !errors.Is(err, catalog.ErrOutcomeUnknown) {
		t.Fatalf("error is %v, want that the outcome is not known", err)
	}
	if strings.Contains(err.Error(), postgrestest.Password) {
		t.Errorf("the password is told: %v", err)
	}
	server.Run()
	if errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("the error says that nothing is stored: %v", err)
	}
	// It had been stored, and the store goes on.
	if _, err := s.Blob(t.Context(), crashName, b.Digest); err != nil {
		t.Fatal(err)
	}
	from, b = startUpload(t, s, "u2")
	if _, err := s.FinishUpload(t.Context(), "u2", from, b); err != nil {
		t.Fatal(err)
	}
}

func mustOpenUnclosed(t *testing.T, o sql.Options) *sql.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestAcknowledgedPushesOutliveTheServer kills the server while two processes
// push.
func TestAcknowledgedPushesOutliveTheServer(t *testing.T) {
	const rounds, pushers, perRound = 3, 8, 40
	server := postgrestest.Start(t)
	var mu sync.Mutex
	var said strings.Builder
	log := funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		said.WriteString(prefix + args + "\n")
	}, funcr.Options{Verbosity: 9})
	options := sql.ServerOptions{Takeover: time.Hour, KeepInterval: 50 * time.Millisecond}.On(onServer(server.Schema(), crashOptions()))
	options.Log = log
	stores := []*sql.Store{mustOpen(t, options), mustOpen(t, options)}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// So large that no pusher waits while the server is restarted.
	acknowledged := make(chan string, 1<<16)
	var done sync.WaitGroup
	for pusher := range pushers {
		done.Go(func() {
			s := stores[pusher%len(stores)]
			for i := 0; ctx.Err() == nil; i++ {
				tag := fmt.Sprintf("p%d-%d", pusher, i)
				if err := push(ctx, s, tag); err != nil {
					// Not acknowledged; it may be there or not.
					log.Error(err, "push", "tag", tag)
					continue
				}
				acknowledged <- tag
			}
		})
	}
	var tags []string
	await := func(n int) {
		for range n {
			select {
			case tag := <-acknowledged:
				tags = append(tags, tag)
			case <-time.After(60 * time.Second):
				t.Fatalf("only %d pushes were acknowledged", len(tags))
			}
		}
	}
	for range rounds {
		await(perRound)
		server.Kill()
		server.Run()
	}
	await(perRound)
	stop()
	done.Wait()
	close(acknowledged)
	for tag := range acknowledged {
		tags = append(tags, tag)
	}
	for _, s := range stores {
		checkPushes(t, s, tags)
		wantUnclean(t, s)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{postgrestest.Password, options.URL} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q is told in a log or an error", secret)
		}
	}
}

func push(ctx context.Context, s *sql.Store, tag string) error {
	b, m := crashImage(tag)
	from := catalog.Progress{Algorithm: ref.SHA256}
	if err := s.StartUpload(ctx, catalog.Upload{ID: tag, Name: crashName, StartedAt: time.Now(), Progress: from}); err != nil {
		return err
	}
	if _, err := s.FinishUpload(ctx, tag, from, b); err != nil {
		return err
	}
	return s.PutManifest(ctx, crashName, m, []ref.Tag{ref.Tag(tag), "latest"})
}

func TestAServerThatIsAwayIsSaidAndComesBack(t *testing.T) {
	server := postgrestest.Start(t)
	s := mustOpenUnclosed(t, onServer(server.Schema(), crashOptions()))
	if err := push(t.Context(), s, "before"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	b, m := crashImage("away")
	var tried sync.WaitGroup
	for what, operation := range map[string]func() error{
		"a read":  func() error { _, err := s.ResolveTag(t.Context(), crashName, "before"); return err },
		"a write": func() error { return s.PutManifest(t.Context(), crashName, m, nil) },
		"a blob":  func() error { _, err := s.PutBlob(t.Context(), crashName, b); return err },
		"a ping":  func() error { return s.Ping(t.Context()) },
	} {
		tried.Go(func() {
			if err := operation(); !errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, catalog.ErrOutcomeUnknown) {
				t.Errorf("%s: error is %v, want %v", what, err, catalog.ErrUnavailable)
			}
		})
	}
	tried.Wait()
	server.Run()
	if err := push(t.Context(), s, "after"); err != nil {
		t.Fatal(err)
	}
	checkPushes(t, s, []string{"before", "after"})
}

// A failover, as a registry sees it: the server ends, what answers in its place is a
// standby, and some time later that is the one to write to.
func TestAStandbyIsNotUsedUntilItIsPromoted(t *testing.T) {
	server := postgrestest.Start(t)
	s := mustOpenUnclosed(t, onServer(server.Schema(), crashOptions()))
	if err := push(t.Context(), s, "before"); err != nil {
		t.Fatal(err)
	}
	server.Demote()
	if err := push(t.Context(), s, "standby"); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("error is %v, want %v", err, catalog.ErrUnavailable)
	}
	server.Promote()
	if err := push(t.Context(), s, "after"); err != nil {
		t.Fatal(err)
	}
	checkPushes(t, s, []string{"before", "after"})
}
