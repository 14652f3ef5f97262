// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"fmt"
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

// serve runs operations until the store closes. Those that arrive while a
// transaction is being committed share the next one.
func (e *embedded) serve() {
	defer close(e.served)
	batch := make([]*operation, 0, maxBatch)
	for {
		select {
		case o := <-e.queue:
			batch = append(batch[:0], o)
		case <-e.closing:
			return
		}
	collect:
		for len(batch) < maxBatch {
			select {
			case o := <-e.queue:
				batch = append(batch, o)
			default:
				break collect
			}
		}
		e.commit(batch)
		clear(batch)
	}
}

// commit runs a batch in one transaction and answers its operations.
func (e *embedded) commit(batch []*operation) {
	taken := batch[:0]
	durable := false
	for _, o := range batch {
		if o.take() {
			taken = append(taken, o)
			durable = durable || o.durable
		}
	}
	if len(taken) == 0 {
		return
	}
	if err := e.transact(taken, durable); err != nil {
		// What fails here is the transaction, so none of its operations is
		// stored, whatever its own result was.
		_, _ = e.writer.exec(sqlRollback)
		for _, o := range taken {
			o.err = err
		}
	}
	for _, o := range taken {
		close(o.done)
	}
}

func (e *embedded) transact(batch []*operation, durable bool) error {
	clear(e.writer.changed)
	if durable != e.durable {
		mode := sqlQuick
		if durable {
			mode = sqlDurable
		}
		if _, err := e.writer.exec(mode); err != nil {
			return fmt.Errorf("set the durability: %w", err)
		}
		e.durable = durable
	}
	if _, err := e.writer.exec(sqlBegin); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	for _, o := range batch {
		if err := e.runOne(o); err != nil {
			return err
		}
	}
	e.cache.begin(e.writer.changed)
	defer e.cache.end(e.writer.changed)
	if _, err := e.writer.exec(sqlCommit); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
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
