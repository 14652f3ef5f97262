// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"io"
	"net/http"
	"time"
)

// The rest of a body that nobody wants may take abandonPatience, and of one that was
// refused at most abandonedBytes are taken.
const (
	abandonPatience = 5 * time.Second
	abandonedBytes  = 64 << 20
)

// body counts what is received of a request, and gives up a client that stays
// silent for longer than patience. However slow it is, a client that goes on
// sending may finish.
type body struct {
	io.ReadCloser
	received   int64
	connection *http.ResponseController
	patience   time.Duration
	now        func() time.Time
	// unasked says that the client waits to be asked for the body, by a Read.
	unasked bool
	// extended is when the deadline was set last, and end, unless zero, when it can be
	// extended no more.
	extended, end time.Time
}

// watchBody returns the request's body, for a copy of the request: by its own, the
// server tells whether the connection can be used again. Patience begins now: a body
// that no handler reads, the server itself reads, for the same end.
func watchBody(w http.ResponseWriter, r *http.Request, patience time.Duration, now func() time.Time) *body {
	b := &body{ReadCloser: r.Body, patience: patience, now: now}
	if r.ContentLength != 0 {
		b.connection = http.NewResponseController(w)
		b.unasked = r.Header.Get("Expect") != ""
		b.extend()
	}
	return b
}

// Read implements io.Reader. Behind the body's end there is no deadline: what a
// handler then does takes its time.
func (b *body) Read(p []byte) (int, error) {
	if b.connection != nil && b.now().Sub(b.extended) > b.patience/8 {
		b.extend()
	}
	b.unasked = false
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	if err == io.EOF && b.connection != nil {
		// Without deadlines (in a test) there is nothing to end.
		_ = b.connection.SetReadDeadline(time.Time{})
		b.connection = nil
	}
	return n, err
}

// abandon follows the handler. What it left of the body, the server reads, to use
// the connection again; who was refused is not waited for as long as who was not.
// A client that is refused while it sends finds the answer only if the connection
// lives on: closed, it is reset, and the answer with it. So the answer goes out
// first, and then the rest of the body is taken until the client has seen it. Nothing
// comes of a client that was not asked to send.
func (b *body) abandon(refused bool) {
	if b.connection == nil {
		return
	}
	_ = b.connection.SetReadDeadline(b.now().Add(abandonPatience))
	if refused && !b.unasked && b.connection.EnableFullDuplex() == nil && b.connection.Flush() == nil {
		_, _ = io.CopyN(io.Discard, b.ReadCloser, abandonedBytes)
	}
}

// EndBy is for a body that must have come by then, however steadily it comes.
func (b *body) EndBy(end time.Time) {
	b.end = end
	if b.connection != nil {
		b.extend()
	}
}

func (b *body) extend() {
	b.extended = b.now()
	deadline := b.extended.Add(b.patience)
	if !b.end.IsZero() && b.end.Before(deadline) {
		deadline = b.end
	}
	_ = b.connection.SetReadDeadline(deadline)
}
