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
	// Confirmed is when the source last made sure that there is nothing newer than
	// what is in force; zero before the first time.
	Confirmed time.Time
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
	now := p.now()
	if p.status.Revision == s.Revision() {
		changed = p.status.Err != nil
		p.status.Err, p.status.Confirmed = nil, now
		return changed
	}
	p.status = Status{Revision: s.Revision(), Since: now, Confirmed: now}
	p.live.Publish(s)
	return true
}

// Confirm notes that nothing newer is to be had, unless the last thing known is a
// failure.
func (p *Publisher) Confirm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Err == nil && p.status.Revision != "" {
		p.status.Confirmed = p.now()
	}
}

// Restore puts into force what was kept from before: whether there is anything
// newer is not known.
func (p *Publisher) Restore(s *Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Revision, p.status.Since = s.Revision(), p.now()
	p.live.Publish(s)
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
