// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// deadlines remembers how far a connection's deadline is from now.
type deadlines struct {
	http.ResponseWriter
	now  time.Time
	left []time.Duration
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { return d.SetReadDeadline(at) }

func (d *deadlines) SetReadDeadline(at time.Time) error {
	left := time.Duration(0)
	if !at.IsZero() {
		left = at.Sub(d.now)
	}
	d.left = append(d.left, left)
	return nil
}

func TestASlowClientMayFinishItsBody(t *testing.T) {
	const patience = 8 * time.Second
	w := &deadlines{ResponseWriter: httptest.NewRecorder(), now: time.Now()}
	r := httptest.NewRequest(http.MethodPut, "/", iotest.OneByteReader(strings.NewReader("slowly")))
	r.ContentLength = 6
	b := watchBody(w, r, patience, func() time.Time { return w.now })
	for {
		w.now = w.now.Add(7 * time.Second)
		before := len(w.left)
		if _, err := b.Read(make([]byte, 10)); errors.Is(err, io.EOF) {
			break
		}
		if got := w.left[before:]; len(got) != 1 || got[0] != patience {
			t.Fatalf("before a read the deadline is %v away", got)
		}
	}
	if last := w.left[len(w.left)-1]; last != 0 || b.received != 6 {
		t.Errorf("behind the body the deadline is %v away; %d bytes were received", last, b.received)
	}
}

func TestABodyThatMustEndIsNotWaitedForLonger(t *testing.T) {
	const patience = 8 * time.Second
	w := &deadlines{ResponseWriter: httptest.NewRecorder(), now: time.Now()}
	r := httptest.NewRequest(http.MethodPut, "/", iotest.OneByteReader(strings.NewReader("steadily")))
	b := watchBody(w, r, patience, func() time.Time { return w.now })
	b.EndBy(w.now.Add(10 * time.Second))
	for _, want := range []time.Duration{6 * time.Second, 2 * time.Second, -2 * time.Second} {
		w.now = w.now.Add(4 * time.Second)
		if _, err := b.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if left := w.left[len(w.left)-1]; left != want {
			t.Errorf("the deadline is %v away, want %v", left, want)
		}
	}
}

func TestTheRestOfARefusedBodyIsNotWaitedForLong(t *testing.T) {
	w := &deadlines{ResponseWriter: httptest.NewRecorder(), now: time.Now()}
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("refused"))
	b := watchBody(w, r, time.Hour, func() time.Time { return w.now })
	b.abandon(false)
	if last := w.left[len(w.left)-1]; last != abandonPatience {
		t.Errorf("the rest may take %v, want %v", last, abandonPatience)
	}
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	ended := len(w.left)
	if b.abandon(true); len(w.left) != ended {
		t.Errorf("behind the body there is a deadline again, %v away", w.left[ended:])
	}
}

func TestASilentClientIsGivenUp(t *testing.T) {
	for what, read := range map[string]bool{"a body that is read": true, "a body that is not": false} {
		t.Run(what, func(t *testing.T) {
			failed := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := watchBody(w, r, 50*time.Millisecond, time.Now)
				if read {
					_, err := io.ReadAll(b)
					failed <- err
				}
				w.WriteHeader(http.StatusUnauthorized)
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
				t.Fatal(err)
			}
			// The answer comes, and then the end of the connection.
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 401 ") {
				t.Fatalf("%v: %q", err, got)
			}
			if read {
				if err := <-failed; err == nil {
					t.Error("half of a body was taken for whole")
				}
			}
		})
	}
}
