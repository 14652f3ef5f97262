// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
)

// disk is where a keeper writes: a write begins when begun is received from, and
// ends with what is sent to ends.
type disk struct {
	begun chan string
	ends  chan error
}

func (d disk) save(shards []policy.Shard) error {
	d.begun <- shards[0].Revision
	return <-d.ends
}

func startKeeper(t *testing.T) (k *keeper, d disk, stop func()) {
	t.Helper()
	d = disk{begun: make(chan string), ends: make(chan error)}
	k = newKeeper(d.save)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { k.run(ctx) })
	return k, d, func() { cancel(); running.Wait() }
}

func keepRevision(k *keeper, revision string) {
	k.keep([]policy.Shard{{Revision: revision}}, revision)
}

func TestABusyDiskHoldsNothingUp(t *testing.T) {
	k, d, stop := startKeeper(t)
	keepRevision(k, "1")
	if got := <-d.begun; got != "1" {
		t.Fatalf("%q is written", got)
	}
	// None of these waits for the disk, and only the last matters.
	for _, revision := range []string{"2", "3", "4"} {
		keepRevision(k, revision)
	}
	d.ends <- nil
	if got := <-d.begun; got != "4" {
		t.Fatalf("%q is written after 1", got)
	}
	d.ends <- nil
	// What the file has is not written again.
	keepRevision(k, "4")
	stop()
}

func TestWhatIsWantedAtTheEndIsWritten(t *testing.T) {
	k, d, stop := startKeeper(t)
	keepRevision(k, "1")
	<-d.begun
	keepRevision(k, "2")
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	d.ends <- nil
	if got := <-d.begun; got != "2" {
		t.Fatalf("%q is written at the end", got)
	}
	d.ends <- nil
	<-stopped
}

func TestAFailedWriteIsToldAndTriedAgain(t *testing.T) {
	k, d, stop := startKeeper(t)
	full := errors.New("the disk is full")
	keepRevision(k, "1")
	<-d.begun
	d.ends <- full
	if err := <-k.failed; !errors.Is(err, full) {
		t.Fatalf("told %v", err)
	}
	keepRevision(k, "1")
	if got := <-d.begun; got != "1" {
		t.Fatalf("%q is written", got)
	}
	d.ends <- nil
	stop()
}
