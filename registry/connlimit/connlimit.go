// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package connlimit bounds how many connections a server has open. Where there is
// no room for another, the one that has waited longest for a request is closed.
// While requests run on all of them, new ones wait: to refuse those would have
// clients come back at once, to find that nothing changed.
package connlimit

import (
	"net"
	"net/http"
	"sync"
)

// Listener admits connections to an http.Server whose ConnState it is.
type Listener struct {
	net.Listener
	most int

	mu sync.Mutex
	// changed is signaled when a connection has ended or begins to wait, and when
	// the listener closes.
	changed *sync.Cond
	open    map[net.Conn]*connection
	// waiting is the anchor of a ring: next is who has waited longest.
	waiting connection
	ended   bool
	evicted int64
}

// connection is in the ring while it waits for a request, be it the first or the
// next, and otherwise linked to nothing.
type connection struct {
	conn       net.Conn
	prev, next *connection
}

// New returns a Listener that has at most so many connections open, one at least.
func New(inner net.Listener, most int) *Listener {
	l := &Listener{Listener: inner, most: max(most, 1), open: map[net.Conn]*connection{}}
	l.changed = sync.NewCond(&l.mu)
	l.waiting.prev, l.waiting.next = &l.waiting, &l.waiting
	return l
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.admit(conn) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}

// admit waits for room, and is false when the listener has closed.
func (l *Listener) admit(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= l.most && !l.ended {
		oldest := l.waiting.next
		if oldest == &l.waiting {
			l.changed.Wait()
			continue
		}
		l.forget(oldest.conn)
		l.evicted++
		// The server notices, and has nothing to answer.
		_ = oldest.conn.Close()
	}
	if l.ended {
		return false
	}
	c := &connection{conn: conn}
	l.open[conn] = c
	l.link(c)
	return true
}

// ConnState is for the http.Server of that field, which serves the listener.
func (l *Listener) ConnState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, found := l.open[conn]
	if !found {
		return
	}
	switch state {
	case http.StateActive:
		c.unlink()
	case http.StateIdle:
		l.link(c)
		l.changed.Signal()
	case http.StateClosed, http.StateHijacked:
		l.forget(conn)
		l.changed.Signal()
	}
}

// Close implements net.Listener; who waits for room is not admitted any more.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.ended = true
	l.changed.Broadcast()
	l.mu.Unlock()
	return l.Listener.Close()
}

// Open is how many connections are open, and Evicted how many were closed to
// admit others.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Evicted is described at Open.
func (l *Listener) Evicted() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted
}

func (l *Listener) forget(conn net.Conn) {
	l.open[conn].unlink()
	delete(l.open, conn)
}

// link makes c the one that has waited for the shortest time.
func (l *Listener) link(c *connection) {
	c.unlink()
	c.prev, c.next = l.waiting.prev, &l.waiting
	c.prev.next, c.next.prev = c, c
}

func (c *connection) unlink() {
	if c.next != nil {
		c.prev.next, c.next.prev = c.next, c.prev
		c.prev, c.next = nil, nil
	}
}
