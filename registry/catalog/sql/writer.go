// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// maxBatch bounds how long an operation waits for others of its transaction.
const maxBatch = 256

// operation is a unit of work that the writer runs in a savepoint of its own.
type operation struct {
	run     func(tx) error
	durable bool
	taken   atomic.Bool
	err     error
	done    chan struct{}
}

func newOperation(durable bool, run func(tx) error) *operation {
	return &operation{run: run, durable: durable, done: make(chan struct{})}
}

// take claims the operation: once, for the writer or for a caller who gives up.
func (o *operation) take() bool { return o.taken.CompareAndSwap(false, true) }

// write implements database: it has the writer run an operation.
func (e *embedded) write(ctx context.Context, durable bool, run func(tx) error) error {
	e.pending.Add(1)
	defer e.pending.Add(-1)
	o := newOperation(durable, run)
	select {
	case e.queue <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closing:
		return errClosed
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.take() {
			return ctx.Err()
		}
		<-o.done
		return o.err
	}
}

// serve runs operations until the store closes.
//
// What is committed is in the log, and not yet on the disk: a sync of the log,
// beside the writer, makes it durable. Operations that need that are answered when
// the sync has ended, and those that arrive meanwhile share the next one. The
// others never wait for the disk.
func (e *embedded) serve() {
	defer close(e.served)
	var (
		quick, durable []*operation // to be run
		unsynced       []*operation // run, and to be answered after the sync
		synced         chan error   // of the sync under way, nil if there is none
	)
	add := func(o *operation) {
		if o.durable {
			durable = append(durable, o)
		} else {
			quick = append(quick, o)
		}
	}
	for {
		select {
		case o := <-e.queue:
			add(o)
		case err := <-synced:
			synced = nil
			e.synced(unsynced, err)
		case <-e.closing:
			if synced != nil {
				e.synced(unsynced, <-synced)
			}
			refuse(slices.Concat(quick, durable), errClosed)
			return
		}
	collect:
		for len(quick)+len(durable) < maxBatch {
			select {
			case o := <-e.queue:
				add(o)
			default:
				break collect
			}
		}
		batch := quick
		if synced == nil {
			batch = append(batch, durable...)
			durable = nil
		}
		quick = nil
		if waiting := e.run(batch); len(waiting) > 0 {
			unsynced, synced = waiting, make(chan error, 1)
			go func(done chan<- error) { done <- e.sync() }(synced)
		}
	}
}

// commit runs a batch in one transaction and answers its operations.
func (e *embedded) commit(batch []*operation) {
	if unsynced := e.run(batch); len(unsynced) > 0 {
		e.synced(unsynced, e.sync())
	}
}

// run runs a batch in one transaction. It answers the operations that need not be
// durable or have failed, and returns the others.
func (e *embedded) run(batch []*operation) (unsynced []*operation) {
	taken := batch[:0]
	for _, o := range batch {
		if o.take() {
			taken = append(taken, o)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	err := e.failed
	if err == nil {
		if err = e.transact(taken); err != nil {
			// What fails here is the transaction, so none of its operations is
			// stored, whatever its own result was.
			_, _ = e.writer.exec(sqlRollback)
		}
	}
	for _, o := range taken {
		if err != nil {
			o.err = err
		}
		if o.err == nil && o.durable {
			unsynced = append(unsynced, o)
		} else {
			close(o.done)
		}
	}
	return unsynced
}

// synced answers operations after a sync. When that failed, nobody knows what is on
// the disk, and a later sync would not tell: nothing more is written until the
// file is opened again and what it has is read.
func (e *embedded) synced(operations []*operation, err error) {
	if err != nil {
		e.failed = fmt.Errorf("the disk failed to keep the catalog's log, so that nothing more is stored until the registry is started again: %w", err)
	}
	for _, o := range operations {
		o.err = e.failed
		close(o.done)
	}
}

// refuse answers operations that are not run.
func refuse(operations []*operation, err error) {
	for _, o := range operations {
		if o.take() {
			o.err = err
			close(o.done)
		}
	}
}

func (e *embedded) transact(batch []*operation) error {
	clear(e.writer.changed)
	if _, err := e.writer.exec(sqlBegin); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if len(batch) == 1 {
		// Alone, an operation needs no savepoint: it fails with its transaction.
		if o := batch[0]; !e.runAlone(o) {
			return nil
		}
	} else {
		for _, o := range batch {
			if err := e.runOne(o); err != nil {
				return err
			}
		}
	}
	e.cache.begin(e.writer.changed)
	defer e.cache.end(e.writer.changed)
	if _, err := e.writer.exec(sqlCommit); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	e.commits.Add(1)
	return nil
}

// runAlone runs the only operation of a transaction, and reports whether there is
// something to commit.
func (e *embedded) runAlone(o *operation) bool {
	if o.err = o.run(e.writer); o.err == nil {
		return true
	}
	// Some failures (a full disk among them) have ended the transaction already.
	_, _ = e.writer.exec(sqlRollback)
	return false
}

// runOne runs an operation so that its failure leaves nothing of it in the
// transaction. The returned error is one of the transaction.
func (e *embedded) runOne(o *operation) error {
	if _, err := e.writer.exec(sqlSavepoint); err != nil {
		return fmt.Errorf("begin an operation: %w", err)
	}
	if o.err = o.run(e.writer); o.err != nil {
		// Some failures (a full disk among them) end the whole transaction:
		// then this fails too.
		if _, err := e.writer.exec(sqlRollbackTo); err != nil {
			return o.err
		}
	}
	if _, err := e.writer.exec(sqlRelease); err != nil {
		return fmt.Errorf("end an operation: %w", err)
	}
	return nil
}
