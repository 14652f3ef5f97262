// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

var errLost = errors.New("this process was out of the database's sight for too long, and others have taken over; start it anew")

const defaultOutcomeTimeout = 20 * time.Second

// slot is a row of the table transactions.
type slot struct {
	index int
	// number of the transaction that was begun last.
	number int64
}

// write implements database.
func (s *server) write(ctx context.Context, durable bool, f func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.pending.Add(1)
	defer s.pending.Add(-1)
	select {
	case own := <-s.slots:
		defer func() { s.slots <- own }()
		return available(s.retry(ctx, func() (bool, error) { return s.transact(ctx, own, durable, f) }))
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return errClosed
	}
}

// transact runs f in a transaction. Again says that nothing of it is stored and
// that it may be run again.
func (s *server) transact(ctx context.Context, own *slot, durable bool, f func(tx) error) (again bool, err error) {
	again, known, err := s.attempt(ctx, own, durable, f)
	if known {
		return again, err
	}
	committed, outcomeErr := s.outcome(own)
	switch {
	case outcomeErr != nil:
		return false, fmt.Errorf("%w: %w, then: %w", catalog.ErrOutcomeUnknown, err, outcomeErr)
	case committed:
		s.commits.Add(1)
		return false, nil
	}
	return true, err
}

// attempt is transact where known is false if the answer to the COMMIT is lost.
// Finding out what became of it takes another connection: this one is given back
// by then, so that all who lost theirs at once do not wait for each other.
func (s *server) attempt(ctx context.Context, own *slot, durable bool, f func(tx) error) (again, known bool, err error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return ctx.Err() == nil, true, s.acquireError(ctx, err)
	}
	defer c.Release()
	t := &session{ctx: context.WithoutCancel(ctx), conn: c.Conn()}
	if err := s.start(t, own, durable); err != nil {
		t.rollback()
		return transient(err), true, err
	}
	if err := f(t); err != nil {
		t.rollback()
		return transient(err), true, err
	}
	if err := t.commit(); err != nil {
		// Should the connection still be there, this ends the transaction.
		t.rollback()
		return transient(err), refused(err), err
	}
	s.commits.Add(1)
	return false, true, nil
}

// start begins a transaction and gives it its number, with one message. Who has
// lost the epoch has no row to write the number to.
func (s *server) start(t *session, own *slot, durable bool) error {
	quick := ""
	if !durable {
		quick = "SET LOCAL synchronous_commit = off; "
	}
	own.number++
	changed, err := t.scripted(fmt.Sprintf(
		"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; %sUPDATE transactions SET number = %d WHERE epoch = %d AND slot = %d",
		quick, own.number, s.epoch, own.index))
	if err == nil && changed == 0 {
		err = errLost
	}
	return err
}

// refused says of the error of a COMMIT that the server has rolled back. One that
// ends the connection as well may come after the change was stored.
func refused(err error) bool {
	failure, answered := errors.AsType[*pgconn.PgError](err)
	return answered && failure.SeverityUnlocalized == "ERROR"
}

// outcome finds out whether the slot's last transaction was committed. It waits
// for a transaction that the server has not ended yet, and for a server that
// starts again.
func (s *server) outcome(own *slot) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.options.server.outcomeTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		committed, err = s.askOutcome(ctx, own)
		if err == nil || errors.Is(err, errLost) {
			return committed, err
		}
		select {
		case <-time.After(jittered(retryPause << min(attempt, retries))):
		case <-ctx.Done():
			return false, err
		}
	}
}

func (s *server) askOutcome(ctx context.Context, own *slot) (committed bool, err error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, serverError(err)
	}
	defer c.Release()
	t := &session{ctx: ctx, conn: c.Conn()}
	// The lock waits for the transaction in question.
	found, err := t.first("SELECT number FROM transactions WHERE epoch = ? AND slot = ? FOR UPDATE", s.epoch, own.index)
	if err != nil {
		return false, err
	}
	if found == nil {
		return false, errLost
	}
	return found.int(0) == own.number, nil
}

// jittered spreads what several would do at once.
func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // nobody gains by guessing a pause
}
