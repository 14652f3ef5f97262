// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"

	"github.com/packages-operator/packages-operator/registry/policy"
)

// keeper writes the last good policy in a goroutine of its own: a disk that is
// busy with pushes must not hold up what revokes a token. Of policies that come
// while it writes, it writes the last.
type keeper struct {
	save func([]policy.Shard) error
	wake chan struct{}
	// failed tells why the last policy could not be kept.
	failed chan error

	mu sync.Mutex
	// wanted are the shards to keep, and revision what they are; kept is what the
	// file has.
	wanted         []policy.Shard
	revision, kept string
}

func newKeeper(save func([]policy.Shard) error) *keeper {
	return &keeper{save: save, wake: make(chan struct{}, 1), failed: make(chan error, 1)}
}

// keep has the shards written soon, unless the file has them. What could not be
// written is tried again when keep is called again.
func (k *keeper) keep(shards []policy.Shard, revision string) {
	k.mu.Lock()
	k.wanted, k.revision = shards, revision
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// has notes that the file has a revision.
func (k *keeper) has(revision string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = revision
}

// run writes until ctx ends, and then what is still wanted.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-k.wake:
			k.write()
		case <-ctx.Done():
			select {
			case <-k.wake:
				k.write()
			default:
			}
			return
		}
	}
}

func (k *keeper) write() {
	k.mu.Lock()
	shards, revision, kept := k.wanted, k.revision, k.kept
	k.mu.Unlock()
	if revision == kept {
		return
	}
	if err := k.save(shards); err != nil {
		select {
		case k.failed <- err:
		default: // one failure is told already
		}
		return
	}
	k.has(revision)
}
