// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Several processes have epochs at once. Each holds a lock on its own with a
// connection that does nothing else, so that the server tells when the process
// is gone. A server that restarts forgets all locks: so a process counts as gone
// only when its lock was free for a while. Then its rows in the table
// transactions are removed, and with them its power to change anything, should it
// live after all; only now may another one sweep its objects.

const (
	defaultTakeover     = 2 * time.Minute
	defaultKeepInterval = 5 * time.Second
	// keepPause is how long the keeper waits before it tries again to get its
	// lock back.
	keepPause = 500 * time.Millisecond
	// aloneTimeout is how long a process waits for others to be gone, whose
	// ends the server may not have noticed yet.
	aloneTimeout = 10 * time.Second
)

var errNotAlone = errors.New("another registry that runs uses the database, and cannot reach this one's files")

// serverTime is the server's clock in microseconds.
const serverTime = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// lockKey is the number of an advisory lock.
func lockKey(kind, whose string, epoch uint64) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "packages-operator\x00%s\x00%s\x00%d", kind, whose, epoch))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

func (s *server) epochKey(epoch uint64) int64 { return lockKey("epoch", s.instance, epoch) }

// begin implements database.
func (s *server) begin(ctx context.Context, instanceUID, blobs string, adopt bool) (uint64, error) {
	t := &session{ctx: ctx, conn: s.keeper}
	err := t.transact(func() (err error) {
		if s.epoch, err = beginEpoch(t, instanceUID, blobs, adopt); err != nil {
			return err
		}
		if s.options.Alone {
			if err := s.awaitAlone(t); err != nil {
				return err
			}
		}
		// The lock outlives the transaction, and is there before anybody sees
		// the epoch.
		if _, err := t.first("SELECT 1 FROM pg_advisory_lock(?)", s.epochKey(s.epoch)); err != nil {
			return err
		}
		for index := range cap(s.slots) {
			if _, err := t.exec("INSERT INTO transactions (epoch, slot, number) VALUES (?, ?, 0)", s.epoch, index); err != nil {
				return err
			}
			s.slots <- &slot{index: index}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var keeping context.Context
	keeping, s.stopKeeper = context.WithCancel(context.WithoutCancel(ctx))
	s.kept.Go(func() { s.keep(keeping) })
	return s.epoch, nil
}

// awaitAlone returns once no other epoch's process is there.
func (s *server) awaitAlone(t *session) error {
	deadline := time.Now().Add(aloneTimeout)
	for {
		others, err := s.others(t)
		if err != nil {
			return err
		}
		alone := true
		for _, other := range others {
			alone = alone && other.free
		}
		if alone {
			return nil
		}
		if time.Now().After(deadline) {
			return errNotAlone
		}
		select {
		case <-time.After(keepPause):
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
}

// other is an epoch of another process.
type other struct {
	epoch uint64
	// free says that its lock is; goneFor since when that is known, less than 0
	// if it was not known.
	free    bool
	goneFor time.Duration
}

// others lists the other epochs, and locks their rows.
func (s *server) others(t tx) ([]other, error) {
	var found []other
	if err := t.query("SELECT epoch, coalesce("+serverTime+" - gone_since, -1) FROM epochs WHERE epoch <> ? ORDER BY epoch FOR UPDATE", func(r row) error {
		found = append(found, other{epoch: uint64(r.int(0)), goneFor: time.Duration(r.int(1)) * time.Microsecond})
		return nil
	}, s.epoch); err != nil {
		return nil, err
	}
	for i := range found {
		// Until the end of the transaction nobody else can have the lock.
		got, err := t.first("SELECT pg_try_advisory_xact_lock(?)", s.epochKey(found[i].epoch))
		if err != nil {
			return nil, err
		}
		found[i].free = got.int(0) == 1
	}
	return found, nil
}

// unclean implements database.
func (s *server) unclean(ctx context.Context, _ uint64) ([]uint64, error) {
	var epochs []uint64
	err := s.write(ctx, true, func(t tx) error {
		epochs = nil
		others, err := s.others(t)
		if err != nil {
			return err
		}
		for _, o := range others {
			if !o.free {
				continue
			}
			if o.goneFor < 0 {
				if _, err := t.exec("UPDATE epochs SET gone_since = "+serverTime+" WHERE epoch = ?", o.epoch); err != nil {
					return err
				}
				o.goneFor = 0
			}
			if o.goneFor < s.options.server.takeover {
				continue
			}
			if _, err := t.exec("DELETE FROM transactions WHERE epoch = ?", o.epoch); err != nil {
				return err
			}
			epochs = append(epochs, o.epoch)
		}
		return nil
	})
	return epochs, err
}

// keep holds the epoch's lock until ctx ends or the epoch is lost.
func (s *server) keep(ctx context.Context) {
	pause := s.options.server.keepInterval
	reach := true
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		err := s.checkLock(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errLost):
			s.options.Log.Error(err, "Others have taken over this process's work", "epoch", s.epoch)
			close(s.lostEpoch)
			return
		case err != nil:
			if reach {
				s.options.Log.Info("The database is out of reach; trying again", "epoch", s.epoch, "reason", err.Error())
			}
			reach, pause = false, keepPause
		default:
			if !reach {
				s.options.Log.Info("The database is in reach again", "epoch", s.epoch)
			}
			reach, pause = true, s.options.server.keepInterval
		}
	}
}

// checkLock makes sure of the lock, on a new connection if need be.
func (s *server) checkLock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if !s.keeper.IsClosed() {
		if err := s.keeper.Ping(ctx); err == nil {
			return nil
		}
		_ = s.keeper.Close(ctx)
	}
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := s.lockAgain(ctx, c); err != nil {
		_ = c.Close(ctx)
		return err
	}
	s.keeper = c
	return nil
}

var errStillHeld = errors.New("the server has not noticed yet that the connection before has ended")

// lockAgain gets the lock back, and says so to those who found it free.
func (s *server) lockAgain(ctx context.Context, c *pgx.Conn) error {
	t := &session{ctx: ctx, conn: c}
	got, err := t.first("SELECT pg_try_advisory_lock(?)", s.epochKey(s.epoch))
	if err != nil {
		return err
	}
	if got.int(0) == 0 {
		return errStillHeld
	}
	there, err := t.exec(`UPDATE epochs SET gone_since = NULL WHERE epoch = ?
		AND EXISTS (SELECT 1 FROM transactions WHERE transactions.epoch = epochs.epoch)`, s.epoch)
	if err == nil && there == 0 {
		err = errLost
	}
	return err
}
