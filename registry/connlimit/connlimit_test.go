// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package connlimit_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/connlimit"
)

// server answers "/" at once, and "/held" when it is released.
type server struct {
	*connlimit.Listener
	held, release chan struct{}
}

func start(t *testing.T, most int) *server {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: connlimit.New(inner, most), held: make(chan struct{}), release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/held", func(http.ResponseWriter, *http.Request) {
		s.held <- struct{}{}
		<-s.release
	})
	httpServer := &http.Server{Handler: mux, ConnState: s.ConnState, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- httpServer.Serve(s) }()
	t.Cleanup(func() {
		_ = httpServer.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		eventually(t, "all connections are closed", func() bool { return s.Open() == 0 })
	})
	return s
}

// client is one connection.
type client struct {
	net.Conn
	in *bufio.Reader
}

func (s *server) dial(t *testing.T) client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return client{conn, bufio.NewReader(conn)}
}

func (c client) send(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func (c client) receive(t *testing.T) {
	t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

func (c client) get(t *testing.T) { t.Helper(); c.send(t, "/"); c.receive(t) }

// closed waits until the server has closed the connection.
func (c client) closed(t *testing.T) {
	t.Helper()
	if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("the connection is not closed: %v", err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// pipes is a listener whose connections a test makes.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) { return <-p.conns, nil }

func TestWhoHasWaitedLongestGivesWay(t *testing.T) {
	inner := pipes{conns: make(chan net.Conn, 1)}
	l := connlimit.New(inner, 4)
	accept := func() (ours net.Conn, closed func() bool) {
		ours, theirs := net.Pipe()
		inner.conns <- ours
		if got, err := l.Accept(); err != nil || got != ours {
			t.Fatalf("accepted %v, %v", got, err)
		}
		return ours, func() bool {
			_ = theirs.SetReadDeadline(time.Unix(1, 0))
			_, err := theirs.Read(make([]byte, 1))
			return errors.Is(err, io.EOF)
		}
	}
	request := func(c net.Conn) { l.ConnState(c, http.StateActive) }
	done := func(c net.Conn) { l.ConnState(c, http.StateIdle) }
	first, firstClosed := accept()
	busy, busyClosed := accept()
	_, silentClosed := accept() // silence from the beginning is waiting, too
	again, againClosed := accept()
	request(busy)
	for _, c := range []net.Conn{again, first, again} {
		request(c)
		done(c)
	}
	for i, gone := range []func() bool{silentClosed, firstClosed, againClosed} {
		if gone() {
			t.Fatalf("number %d was closed before its turn", i)
		}
		next, _ := accept()
		if !gone() {
			t.Fatalf("number %d was not closed in its turn", i)
		}
		request(next)
	}
	if busyClosed() {
		t.Error("a connection with a running request was closed")
	}
	if open, evicted := l.Open(), l.Evicted(); open != 4 || evicted != 3 {
		t.Errorf("%d connections are open and %d were closed, want 4 and 3", open, evicted)
	}
}

func TestASilentClientGivesWayToOneThatAsks(t *testing.T) {
	s := start(t, 2)
	silent := []client{s.dial(t), s.dial(t)}
	for range 5 {
		s.dial(t).get(t)
	}
	for _, c := range silent {
		c.closed(t)
	}
}

func TestARunningRequestIsNeverCutOff(t *testing.T) {
	s := start(t, 2)
	running := []client{s.dial(t), s.dial(t)}
	for _, c := range running {
		c.send(t, "/held")
		<-s.held
	}
	late := s.dial(t)
	late.send(t, "/")
	if err := late.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := late.in.Peek(1); err == nil {
		t.Fatal("a third request ran while two connections were busy")
	}
	if err := late.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	// Whoever is done first, and now waits, makes room.
	s.release <- struct{}{}
	late.receive(t)
	s.release <- struct{}{}
	answered := 0
	for _, c := range running {
		if response, err := http.ReadResponse(c.in, nil); err == nil && response.StatusCode == http.StatusOK {
			_ = response.Body.Close()
			answered++
		}
	}
	if answered != 2 {
		t.Errorf("%d of 2 running requests were answered", answered)
	}
}

func TestAConnectionThatEndsMakesRoom(t *testing.T) {
	s := start(t, 1)
	for range 5 {
		c := s.dial(t)
		c.get(t)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server sees the connection end", func() bool { return s.Open() == 0 })
	}
	if n := s.Evicted(); n != 0 {
		t.Errorf("%d connections were closed without need", n)
	}
}

func TestClosingDoesNotWaitForRoom(t *testing.T) {
	s := start(t, 1)
	running := s.dial(t)
	running.send(t, "/held")
	<-s.held
	late := s.dial(t)
	late.send(t, "/")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := late.in.ReadByte(); err == nil {
		t.Error("a closed listener admitted another connection")
	}
	s.release <- struct{}{}
	running.receive(t)
	_ = running.Close()
}
