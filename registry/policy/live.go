// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync"
	"sync/atomic"
)

// Live holds the snapshot that is in force. The zero value holds none. All methods
// are safe for concurrent use; Load takes no lock.
type Live struct {
	current atomic.Pointer[Snapshot]

	mu      sync.Mutex
	changed chan struct{}
}

// Load is the snapshot in force, nil before the first Publish.
func (l *Live) Load() *Snapshot { return l.current.Load() }

// Publish puts a snapshot into force and wakes who waits on Changed. Requests that
// began before go on under the snapshot they loaded.
func (l *Live) Publish(s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.Store(s)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Changed returns a channel that the next Publish closes. Take it before Load, so
// that no change is missed between the two.
func (l *Live) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
