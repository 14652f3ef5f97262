// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package loginlimit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// clock is a time that stands still unless a test moves it.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

var alice, bob = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// exhaust uses up what an address may have.
func exhaust(t *testing.T, l *Limiter, address netip.Addr) {
	t.Helper()
	for i := range Burst {
		if got := l.Failed(address); got != (Verdict{}) {
			t.Fatalf("failure %d of %s: %+v, want none to be limited", i+1, address, got)
		}
	}
}

func TestAnAddressMayFailABurstAndThenOnceInAWhile(t *testing.T) {
	c := newClock()
	l := New(c.Now)
	exhaust(t, l, alice)
	if got, want := l.Failed(alice), (Verdict{Wait: Interval, First: true}); got != want {
		t.Errorf("behind the burst: %+v, want %+v", got, want)
	}
	// What is refused does not count, so that who waits as told is let in.
	c.now = c.now.Add(Interval - time.Second)
	if got, want := l.Failed(alice), (Verdict{Wait: time.Second}); got != want {
		t.Errorf("a second too early: %+v, want %+v", got, want)
	}
	c.now = c.now.Add(time.Second)
	if got := l.Failed(alice); got != (Verdict{}) {
		t.Errorf("after the wait: %+v", got)
	}
	if got, want := l.Failed(alice), (Verdict{Wait: Interval}); got != want {
		t.Errorf("twice after the wait: %+v, want %+v", got, want)
	}
	c.now = c.now.Add(Burst * Interval)
	exhaust(t, l, alice)
	if got, want := l.Failed(alice), (Verdict{Wait: Interval, First: true}); got != want {
		t.Errorf("a burst later: %+v, want %+v", got, want)
	}
}

func TestAddressesAreCountedApart(t *testing.T) {
	for _, test := range []struct {
		name, exhausted, other string
		same                   bool
	}{
		{"two addresses", "192.0.2.1", "192.0.2.2", false},
		{"one IPv6 network", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"two IPv6 networks", "2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"IPv4 written as IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"two of these", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"one address in two zones", "fe80::1%a", "fe80::1%b", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := New(newClock().Now)
			exhaust(t, l, netip.MustParseAddr(test.exhausted))
			if limited := l.Failed(netip.MustParseAddr(test.other)).Wait > 0; limited != test.same {
				t.Errorf("after the failures of %s, %s is limited: %t", test.exhausted, test.other, limited)
			}
		})
	}
}

func TestClientsWithoutAnAddressAreOne(t *testing.T) {
	l := New(newClock().Now)
	exhaust(t, l, netip.Addr{})
	if got := l.Failed(netip.Addr{}); got.Wait == 0 {
		t.Error("failures from nowhere are not limited")
	}
	exhaust(t, l, netip.IPv4Unspecified())
}

// numbered is the IPv4 address of a number.
func numbered(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func TestAMillionAddressesTakeABoundedAmountOfMemory(t *testing.T) {
	l := New(newClock().Now)
	exhaust(t, l, alice)
	for n := range uint32(1_000_000) {
		l.Failed(numbered(n))
		if n%(maxAddresses/2) == 0 && l.Failed(alice).Wait == 0 {
			t.Fatalf("an address that goes on failing was forgotten with %d others", n)
		}
	}
	if len(l.entries) != maxAddresses+1 || len(l.index) != maxAddresses {
		t.Errorf("%d entries and %d in the index, want %d addresses", len(l.entries)-1, len(l.index), maxAddresses)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	runtime.KeepAlive(l)
	l = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(before.HeapAlloc) - int64(after.HeapAlloc); got > 4<<20 {
		t.Errorf("a million addresses take %d bytes", got)
	}
}

func TestWhoFailedLongestAgoIsForgottenFirst(t *testing.T) {
	l := New(newClock().Now)
	random := rand.New(rand.NewPCG(1, 2))
	var order []netip.Addr // the last to fail comes last
	for range 20 * maxAddresses {
		n := random.Uint32N(maxAddresses + maxAddresses/2)
		l.Failed(numbered(n))
	}
	for i := l.entries[0].prev; i != 0; i = l.entries[i].prev {
		order = append(order, l.entries[i].address)
	}
	if len(order) != maxAddresses {
		t.Fatalf("the ring has %d addresses, want %d", len(order), maxAddresses)
	}
	// New ones push out exactly the oldest, in this order.
	for i := range 1000 {
		if _, found := l.index[order[i]]; !found {
			t.Fatalf("address %d was forgotten before its time", i)
		}
		l.Failed(numbered(1<<24 + uint32(i)))
		if _, found := l.index[order[i]]; found {
			t.Fatalf("address %d outlived later ones", i)
		}
	}
}

func TestManyMayFailAtOnce(t *testing.T) {
	l := New(newClock().Now)
	var limited [8]int
	var work sync.WaitGroup
	for i := range limited {
		work.Go(func() {
			for range Burst {
				if l.Failed(bob).Wait > 0 {
					limited[i]++
				}
			}
		})
	}
	work.Wait()
	sum := 0
	for _, n := range limited {
		sum += n
	}
	if want := (len(limited) - 1) * Burst; sum != want {
		t.Errorf("%d failures were limited, want %d", sum, want)
	}
}
