// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"slices"
	"time"

	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// purgeRetry is how long a purge that failed waits for its next try.
const purgeRetry = 10 * time.Second

// purge deletes the content of the repositories that the policy names for it,
// each once.
func purge(ctx context.Context, o Options, store catalog.Upkeep) error {
	log := o.Log.WithName("purge")
	for {
		changed := o.Policy.Changed()
		var retry <-chan time.Time
		if snapshot := o.Policy.Load(); snapshot != nil {
			if err := purgeAll(ctx, snapshot.Policy().Purges, store, o.Audit); err != nil && ctx.Err() == nil {
				log.Error(err, "Could not delete a repository's content; trying again")
				retry = time.After(purgeRetry)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-retry:
		}
	}
}

func purgeAll(ctx context.Context, purges []policy.Purge, store catalog.Upkeep, log *audit.Log) error {
	ids := make([]string, len(purges))
	for i, p := range purges {
		ids[i] = p.ID
	}
	done, err := store.Purged(ctx, ids)
	if err != nil {
		return err
	}
	for _, p := range purges {
		if slices.Contains(done, p.ID) {
			continue
		}
		e := audit.Entry{Action: audit.Purge, Outcome: audit.Allowed, Name: p.Owner + "/" + p.Name}
		err := store.Purge(ctx, p.ID, e.Name)
		if e.Time = time.Now().UTC(); err != nil {
			e.Outcome = audit.Failed
		}
		log.Commit(e)
		if err != nil {
			return err
		}
	}
	return nil
}
