// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package loginlimit decides how the failures of a client address to sign in are
// answered. It is asked about failures alone: whoever presents a credential that
// is good is never held up, whatever others did from the same address.
package loginlimit

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// Burst is how many failures an address may have at once.
	Burst = 20
	// Interval is the time after which it may have one more.
	Interval = 3 * time.Second

	// maxAddresses bounds how many addresses are remembered: about 1.5 MiB. The one
	// that failed longest ago gives way.
	maxAddresses = 16 << 10

	// ipv6Network is how many bits of an IPv6 address tell clients apart: one
	// client is commonly given all of such a network.
	ipv6Network = 64
)

// Verdict is what to do about one failure.
type Verdict struct {
	// Wait is zero while the address is within its limit, and otherwise how long
	// it takes until it is again.
	Wait time.Duration
	// First is set with the first Wait since the address had its whole Burst.
	First bool
}

// Limiter counts failures by address: IPv4 alone, IPv6 by network of 64 bits. It
// is safe for concurrent use, and needs a bounded amount of memory.
type Limiter struct {
	now func() time.Time

	mu sync.Mutex
	// entries are a ring by links: entries[0] is its anchor, behind which is the
	// address that failed last, and before which the one that failed longest ago.
	entries []entry
	index   map[netip.Addr]int32
}

// entry is an address, and when it will have its whole Burst again: what is left
// of that follows from how far away that is.
type entry struct {
	address    netip.Addr
	full       time.Time
	told       bool
	prev, next int32
}

// New returns a Limiter; now must be safe for concurrent use.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, entries: make([]entry, 1), index: map[netip.Addr]int32{}}
}

// Failed counts a failure of the address. All clients whose address is not known
// are one.
func (l *Limiter) Failed(address netip.Addr) Verdict {
	address = client(address)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.touch(address)
	if !e.full.After(now) {
		e.full, e.told = now, false
	}
	full := e.full.Add(Interval)
	if wait := full.Sub(now) - Burst*Interval; wait > 0 {
		verdict := Verdict{Wait: wait, First: !e.told}
		e.told = true
		return verdict
	}
	e.full = full
	return Verdict{}
}

// client is the address, or the network, that stands for one client.
func client(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !address.Is6() {
		return address
	}
	// The number of bits is one that an IPv6 address has.
	network, _ := address.Prefix(ipv6Network)
	return network.Addr()
}

// touch makes the address the one that failed last.
func (l *Limiter) touch(address netip.Addr) *entry {
	i, found := l.index[address]
	switch {
	case found:
		l.unlink(i)
	case len(l.entries) <= maxAddresses:
		i = int32(len(l.entries))
		l.entries = append(l.entries, entry{address: address})
		l.index[address] = i
	default:
		i = l.entries[0].prev
		l.unlink(i)
		delete(l.index, l.entries[i].address)
		l.entries[i] = entry{address: address}
		l.index[address] = i
	}
	first := l.entries[0].next
	l.entries[i].prev, l.entries[i].next = 0, first
	l.entries[0].next, l.entries[first].prev = i, i
	return &l.entries[i]
}

func (l *Limiter) unlink(i int32) {
	e := &l.entries[i]
	l.entries[e.prev].next, l.entries[e.next].prev = e.next, e.prev
}
