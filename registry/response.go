// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"io"
	"net/http"
	"time"
)

// slowestPull is the rate, in bytes a second, that a client has to keep up beside
// its patience: one that takes nothing must not hold memory and a file for good.
const slowestPull = 16 << 10

// response counts what is sent, and gives up a client that does not take it. It
// keeps ReadFrom and Unwrap, without which a blob would be copied through user
// space instead of sent by the kernel.
type response struct {
	http.ResponseWriter
	status int
	sent   int64

	// connection is nil where there are no deadlines, as in a test.
	connection interface{ SetWriteDeadline(time.Time) error }
	patience   time.Duration
	now        func() time.Time
	// until is the deadline that was set last.
	until time.Time
	// before writes the audit log before the status is sent; may be nil.
	before *observed
}

// watchResponse wraps the writer of a new request.
func watchResponse(w http.ResponseWriter, patience time.Duration, now func() time.Time) *response {
	out := &response{ResponseWriter: w, patience: patience, now: now}
	out.connection, _ = w.(interface{ SetWriteDeadline(time.Time) error })
	// Of the request before, a deadline may be left that has passed.
	out.allow(0)
	return out
}

// allow gives the client the time to take n bytes, or an eighth of patience less: to
// move a deadline costs about as much as to write a small answer.
func (w *response) allow(n int64) {
	if w.connection == nil {
		return
	}
	took := time.Duration(n/slowestPull) * time.Second
	until := w.now().Add(w.patience + took)
	if until.Sub(w.until) < w.patience/8 {
		return
	}
	w.until = until
	// Where it cannot be set, the connection is gone.
	_ = w.connection.SetWriteDeadline(until)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// begin notes the status, once. The handler may have taken its time until here.
func (w *response) begin(status int) {
	if w.status == 0 {
		w.status = status
		if w.before != nil {
			w.before.writeAudit(status)
		}
		w.allow(0)
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	w.allow(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom. A reader that is not limited is sent within
// patience.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.begin(http.StatusOK)
	if limited, ok := r.(*io.LimitedReader); ok {
		w.allow(limited.N)
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.sent += n
	return n, err
}
