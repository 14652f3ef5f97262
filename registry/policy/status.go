// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync"
	"time"
)

// Status is how a source of policies is doing.
type Status struct {
	// Revision in force, empty before the first.
	Revision string
	// Since is when the revision came into force.
	Since time.Time
	// Err is why the newest policy is not in force, nil if it is. It may be shown
	// to an administrator.
	Err error
}

// Publisher is what the sources share: it publishes to a Live and keeps a Status.
// All methods are safe for concurrent use.
type Publisher struct {
	live *Live
	now  func() time.Time

	mu     sync.Mutex
	status Status
}

// NewPublisher makes a Publisher with a clock.
func NewPublisher(live *Live, now func() time.Time) *Publisher {
	return &Publisher{live: live, now: now}
}

// Publish puts a snapshot into force, unless its revision already is, and forgets
// the last failure. It says whether anything changed.
func (p *Publisher) Publish(s *Snapshot) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Revision == s.Revision() {
		changed = p.status.Err != nil
		p.status.Err = nil
		return changed
	}
	p.status = Status{Revision: s.Revision(), Since: p.now()}
	p.live.Publish(s)
	return true
}

// Fail records why the newest policy is not put into force. It says whether that
// is news.
func (p *Publisher) Fail(err error) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.status.Err == nil || p.status.Err.Error() != err.Error()
	p.status.Err = err
	return changed
}

// Status is the state at this moment.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}
