// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"
)

func TestAClientGetsTheTimeThatTheAnswerTakes(t *testing.T) {
	const patience = 10 * time.Second
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   time.Duration
	}{
		"a header":    {func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }, patience},
		"bytes":       {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 20*slowestPull)) }, patience + 20*time.Second},
		"a file":      {func(w http.ResponseWriter) { _, _ = io.CopyN(w, neverEnding{}, 30*slowestPull) }, patience + 30*time.Second},
		"a late file": {func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(bytes.NewReader([]byte("x"))) }, patience},
	} {
		t.Run(what, func(t *testing.T) {
			connection := &deadlines{ResponseWriter: httptest.NewRecorder(), now: time.Now()}
			w := watchResponse(connection, patience, func() time.Time { return connection.now })
			if !slices.Equal(connection.left, []time.Duration{patience}) {
				t.Fatalf("a new request has %v", connection.left)
			}
			connection.now = connection.now.Add(time.Hour)
			c.answer(w)
			if last := connection.left[len(connection.left)-1]; len(connection.left) == 1 || last != c.want {
				t.Errorf("the client has %v, want %v", last, c.want)
			}
		})
	}
}

func TestAShortAnswerMovesTheDeadlineOnce(t *testing.T) {
	const patience = 10 * time.Second
	connection := &deadlines{ResponseWriter: httptest.NewRecorder(), now: time.Now()}
	w := watchResponse(connection, patience, func() time.Time { return connection.now })
	connection.now = connection.now.Add(patience / 10)
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write([]byte("short")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(connection.left, []time.Duration{patience}) {
		t.Errorf("the deadline was set to %v, want once", connection.left)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestAClientThatTakesNothingIsGivenUp(t *testing.T) {
	failed := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := watchResponse(w, 50*time.Millisecond, time.Now)
		piece := make([]byte, slowestPull/2)
		for {
			if _, err := out.Write(piece); err != nil {
				failed <- err
				return
			}
		}
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer failed with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the handler is held for good")
	}
}
