// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

const (
	// queueLength is how many entries may wait for a slow stream.
	queueLength = 1024
	// defaultPatience is how long a request waits for the stream at most.
	defaultPatience = 5 * time.Second
	// gathering is how long a line that no request waits for may wait for others, to
	// be written with them.
	gathering = 2 * time.Millisecond
)

// stream is where the lines go.
type stream interface {
	io.Writer
	// reopen begins a new file, where the stream is one.
	reopen() error
	io.Closer
}

// Log writes entries in the order in which they come, whole lines with each write.
// One goroutine does that, so that a stream which hangs holds requests up for a
// bounded time, and then no longer: what cannot be written is counted and lost.
//
// A nil Log writes nothing. All methods are safe for concurrent use.
type Log struct {
	log      logr.Logger
	patience time.Duration
	stream   stream

	queue chan line
	// urgent is told that a request waits for a line that is queued.
	urgent chan struct{}
	reopen chan struct{}
	// closing asks the goroutine to end with what is queued; ended says that it has.
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once

	// stalled is set while the stream is known to hang: nobody waits for it then.
	stalled atomic.Bool
	written atomic.Uint64
	lost    atomic.Uint64
}

// line is an encoded entry; done, if there is one, is closed when it was written
// or could not be.
type line struct {
	text *[]byte
	done chan struct{}
}

var texts = sync.Pool{New: func() any { return new([]byte) }}

// Open begins a log: on stdout for "-", in the file at path otherwise, none for "".
// The file is made for its user alone and appended to. What goes wrong later is
// told to log.
func Open(path string, stdout io.Writer, log logr.Logger) (*Log, error) {
	switch path {
	case "":
		return nil, nil
	case "-":
		return start(plain{stdout}, defaultPatience, log), nil
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return start(f, defaultPatience, log), nil
}

func start(s stream, patience time.Duration, log logr.Logger) *Log {
	l := &Log{
		log:      log,
		patience: patience,
		stream:   s,
		queue:    make(chan line, queueLength),
		urgent:   make(chan struct{}, 1),
		reopen:   make(chan struct{}, 1),
		closing:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	go l.run()
	return l
}

// Append hands an entry over to be written soon.
func (l *Log) Append(e Entry) {
	if l != nil {
		l.enqueue(&e, nil)
	}
}

// Commit is Append, and returns when the operating system has the line: then the
// end of this process takes it away no more.
func (l *Log) Commit(e Entry) {
	if l == nil {
		return
	}
	done := make(chan struct{})
	if !l.enqueue(&e, done) || l.stalled.Load() {
		return
	}
	select {
	case l.urgent <- struct{}{}:
	default: // it was told
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-l.ended:
	case <-timer.C:
		l.stall()
	}
}

// enqueue reports whether the entry will be written if the stream goes on.
func (l *Log) enqueue(e *Entry, done chan struct{}) bool {
	text := texts.Get().(*[]byte)
	*text = e.appendLine((*text)[:0])
	next := line{text, done}
	select {
	case l.queue <- next:
		return true
	case <-l.ended:
		l.lost.Add(1)
		return false
	default:
	}
	if l.stalled.Load() {
		l.lost.Add(1)
		return false
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case l.queue <- next:
		return true
	case <-l.ended:
	case <-timer.C:
		l.stall()
	}
	l.lost.Add(1)
	return false
}

// stall notes that the stream hangs, and tells it once.
func (l *Log) stall() {
	if l.stalled.CompareAndSwap(false, true) {
		l.log.Error(errStalled, "The audit log takes no lines; requests go on, and entries beyond the queue are lost", "queue", queueLength)
	}
}

var errStalled = errors.New("writing hangs")

// Reopen begins the file anew, after it was renamed. On another stream it does
// nothing.
func (l *Log) Reopen() {
	if l == nil {
		return
	}
	select {
	case l.reopen <- struct{}{}:
	default: // it is asked for already
	}
}

// Written and Lost count entries.
func (l *Log) Written() uint64 {
	if l == nil {
		return 0
	}
	return l.written.Load()
}

// Lost counts the entries that could not be written.
func (l *Log) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Close writes what is queued and ends the log. A stream that hangs is given up.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.once.Do(func() { close(l.closing) })
	select {
	case <-l.ended:
		return l.stream.Close()
	case <-time.After(l.patience):
		return fmt.Errorf("close the audit log: %w; up to %d entries are lost", errStalled, len(l.queue)+1)
	}
}

// run writes until Close.
func (l *Log) run() {
	defer close(l.ended)
	w := writer{log: l}
	for {
		select {
		case next := <-l.queue:
			w.add(next)
			if next.done == nil {
				l.gather()
			}
			w.flush()
		case <-l.reopen:
			l.begin()
		case <-l.closing:
			w.flush()
			return
		}
	}
}

// gather lets lines come that can be written with one that is not urgent.
func (l *Log) gather() {
	timer := time.NewTimer(gathering)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.urgent:
	case <-l.closing:
	}
}

func (l *Log) begin() {
	if err := l.stream.reopen(); err != nil {
		l.log.Error(err, "The audit log stays in the file that it is in")
		return
	}
	l.log.Info("The audit log was opened again")
}

// writer brings lines to the stream, as many with one write as are waiting.
type writer struct {
	log  *Log
	text []byte
	// lines are in text; done are those whose requests wait.
	lines uint64
	done  []chan struct{}
	// torn says that the last line is incomplete, failing that it was told.
	torn, failing bool
}

// maxWrite is about how many bytes one write has at most.
const maxWrite = 64 << 10

func (w *writer) add(next line) {
	w.text = append(w.text, *next.text...)
	w.lines++
	if next.done != nil {
		w.done = append(w.done, next.done)
	}
	texts.Put(next.text)
}

// flush writes what was added and what waits in the queue.
func (w *writer) flush() {
	for {
		select {
		case next := <-w.log.queue:
			if w.add(next); len(w.text) < maxWrite {
				continue
			}
		default:
			if w.lines == 0 {
				return
			}
		}
		w.write()
	}
}

func (w *writer) write() {
	if w.torn {
		// A reader skips the half line, and not the one behind it.
		w.text = append([]byte("\n"), w.text...)
	}
	n, err := w.log.stream.Write(w.text)
	written := w.lines
	if err == nil {
		w.torn, w.failing = false, false
		w.log.stalled.Store(false)
	} else {
		whole := w.text[:n]
		written = uint64(bytes.Count(whole, []byte("\n")))
		if w.torn && written > 0 {
			written-- // the one that ends the half line
		}
		w.torn = w.torn && n == 0 || n > 0 && whole[n-1] != '\n'
		if !w.failing {
			w.failing = true
			w.log.log.Error(err, "The audit log cannot be written; entries are lost until it can")
		}
	}
	w.log.written.Add(written)
	w.log.lost.Add(w.lines - written)
	for _, done := range w.done {
		close(done)
	}
	w.text, w.lines, w.done = w.text[:0], 0, w.done[:0]
}
