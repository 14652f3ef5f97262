// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/packages-operator/packages-operator/registry/durable"
)

// embedded is a database in a file that this process alone writes.
//
// One goroutine writes. It runs the operations that wait in one transaction, each
// in a savepoint, and answers them after the shared COMMIT and, where they need it,
// a shared sync of the log: many pushes share one. Reads use connections of their
// own and never wait for a write.
type embedded struct {
	path  string
	cache *cache

	// log is the write-ahead log, and sync makes durable what it has.
	log  *os.File
	sync func() error

	// Only serve, and close after it, use writer and failed, which is why nothing
	// is written any more.
	writer  *conn
	failed  error
	queue   chan *operation
	closing chan struct{}
	served  chan struct{}

	readers chan *conn

	// pending counts the operations that were not answered yet, commits the
	// transactions that were committed.
	pending atomic.Int64
	commits atomic.Uint64
}

var _ database = (*embedded)(nil)

// openEmbedded opens the file's connections and brings the schema up to date.
// Writes wait until serve runs.
func openEmbedded(path string, cache *cache) (_ *embedded, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	e := &embedded{
		path:    path,
		cache:   cache,
		queue:   make(chan *operation),
		closing: make(chan struct{}),
		served:  make(chan struct{}),
		// As many readers as can work at once, and a few that wait for the disk.
		readers: make(chan *conn, runtime.GOMAXPROCS(0)+2),
	}
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	if e.writer, err = dialWriter(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.hangUp())
		}
	}()
	if err := e.migrate(); err != nil {
		return nil, err
	}
	// SQLite keeps the file of its log until the last connection is closed, and
	// takes no locks on it that closing this would drop.
	if e.log, err = os.OpenFile(path+"-wal", os.O_RDWR, 0); err != nil {
		return nil, err
	}
	e.sync = e.log.Sync
	for range cap(e.readers) {
		reader, err := dialReader(path, cap(e.readers))
		if err != nil {
			return nil, err
		}
		e.readers <- reader
	}
	return e, nil
}

// migrate brings the schema up to date in a transaction of its own.
func (e *embedded) migrate() (err error) {
	if _, err := e.writer.exec(sqlBegin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// The transaction may be gone already; the first error counts.
			_, _ = e.writer.exec(sqlRollback)
		}
	}()
	if err := migrate(e.writer); err != nil {
		return err
	}
	_, err = e.writer.exec(sqlCommit)
	return err
}

// begin implements database. It comes before serve.
func (e *embedded) begin(_ context.Context, instanceUID, blobs string, adopt bool) (uint64, error) {
	var epoch uint64
	first := newOperation(true, func(t tx) (err error) {
		epoch, err = beginEpoch(t, instanceUID, blobs, adopt)
		return err
	})
	e.commit([]*operation{first})
	if first.err != nil {
		return 0, first.err
	}
	return epoch, durable.SyncDirectory(filepath.Dir(e.path))
}

// unclean implements database: nobody else has the file open, so every other
// epoch that did not end is one of a process that did.
func (e *embedded) unclean(ctx context.Context, own uint64) ([]uint64, error) {
	var epochs []uint64
	err := e.read(ctx, func(t tx) error {
		return t.query("SELECT epoch FROM epochs WHERE epoch < ? ORDER BY epoch", func(r row) error {
			epochs = append(epochs, uint64(r.int(0)))
			return nil
		}, own)
	})
	return epochs, err
}

// stats implements database.
func (e *embedded) stats() DatabaseStats {
	idle := len(e.readers)
	return DatabaseStats{
		Commits: e.commits.Load(), Pending: e.pending.Load(),
		Idle: idle, Busy: cap(e.readers) - idle, Max: cap(e.readers),
	}
}

// lost implements database: the file cannot be taken away.
func (e *embedded) lost() <-chan struct{} { return nil }

// hangUp closes every connection that is not in use, the writer last: it then
// moves the log into the database's file.
func (e *embedded) hangUp() error {
	var errs []error
	for range len(e.readers) {
		errs = append(errs, (<-e.readers).close())
	}
	return errors.Join(append(errs, e.closeLog(), e.writer.close())...)
}

func (e *embedded) closeLog() error {
	if e.log == nil {
		return nil
	}
	return e.log.Close()
}

// read implements database.
func (e *embedded) read(ctx context.Context, f func(tx) error) error {
	select {
	case <-e.closing:
		return errClosed
	default:
	}
	select {
	case c := <-e.readers:
		defer func() { e.readers <- c }()
		return f(c)
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closing:
		return errClosed
	}
}

// close implements database. Operations that wait get an error; reads that are
// under way are waited for.
func (e *embedded) close(epoch uint64, clean bool) error {
	close(e.closing)
	<-e.served
	var errs []error
	if clean {
		last := newOperation(true, func(t tx) error { return endEpoch(t, epoch) })
		e.commit([]*operation{last})
		errs = append(errs, last.err)
	}
	for range cap(e.readers) {
		errs = append(errs, (<-e.readers).close())
	}
	return errors.Join(append(errs, e.closeLog(), e.writer.close())...)
}
