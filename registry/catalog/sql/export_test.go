// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var ErrLost = errLost

// ServerOptions are what tests change of a store on a server.
type ServerOptions struct {
	Takeover, KeepInterval, OutcomeTimeout time.Duration
	Dial                                   pgconn.DialFunc
}

// On returns options with these.
func (o ServerOptions) On(options Options) Options {
	options.server = serverOptions{takeover: o.Takeover, keepInterval: o.KeepInterval, outcomeTimeout: o.OutcomeTimeout, dial: o.Dial}
	return options
}

// Abandon ends a store on a server as a crash of its process would.
func Abandon(s *Store) {
	s.closed.Do(func() {
		HideFrom(s)
		s.database.(*server).pool.Close()
	})
}

// HideFrom ends what tells others that the store's process lives; it can go on.
func HideFrom(s *Store) {
	d := s.database.(*server)
	d.stopKeeper()
	d.kept.Wait()
	_ = d.keeper.Close(context.Background())
}

// ShowAgain undoes HideFrom.
func ShowAgain(s *Store) {
	d := s.database.(*server)
	var ctx context.Context
	ctx, d.stopKeeper = context.WithCancel(context.Background())
	d.kept.Go(func() { d.keep(ctx) })
}

// AwaitLock waits until the store's process holds its epoch's lock.
func AwaitLock(t *testing.T, s *Store) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		free := false
		if err := s.read(t.Context(), func(t tx) error {
			got, err := t.first("SELECT pg_try_advisory_lock(?)", s.database.(*server).epochKey(s.epoch))
			if err != nil || got.int(0) == 0 {
				return err
			}
			free = true
			_, err = t.first("SELECT pg_advisory_unlock(?)", s.database.(*server).epochKey(s.epoch))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !free {
			return
		}
	}
	t.Fatal("the process does not get its lock back")
}

// Alternate returns a store that runs every operation on another one of two
// stores on the same database.
func Alternate(a, b *Store) *Store {
	return &Store{options: a.options, epoch: a.epoch, cache: a.cache, contents: a.contents, database: &alternating{database: a.database, second: b.database}}
}

type alternating struct {
	database
	second database
	count  atomic.Int64
}

func (a *alternating) next() database {
	if a.count.Add(1)%2 == 0 {
		return a.second
	}
	return a.database
}

func (a *alternating) read(ctx context.Context, f func(tx) error) error {
	return a.next().read(ctx, f)
}

func (a *alternating) write(ctx context.Context, durable bool, f func(tx) error) error {
	return a.next().write(ctx, durable, f)
}
