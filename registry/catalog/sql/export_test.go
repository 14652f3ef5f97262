// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"time"
)

// TakeOverAfter returns options whose store takes a process for gone after d of
// absence, less than 0 for at once.
func TakeOverAfter(o Options, d time.Duration) Options {
	o.takeover = d
	return o
}

// Abandon ends a store on a server as a crash of its process would.
func Abandon(s *Store) {
	s.closed.Do(func() {
		d := s.database.(*server)
		d.stopKeeper()
		d.kept.Wait()
		_ = d.keeper.Close(context.Background())
		d.pool.Reset()
	})
}
