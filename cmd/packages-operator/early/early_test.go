// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package early

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// percent is GOGC as it is. To ask debug for it would set it.
func percent() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// collected collects garbage, and waits for what follows the first time.
func collected(t *testing.T) {
	t.Helper()
	runtime.GC()
	for deadline := time.Now().Add(10 * time.Second); percent() == startPercent; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("GOGC is %d after a collection", percent())
		}
	}
}

func TestOnlyTheFirstCollectionComesLate(t *testing.T) {
	collected(t) // what init postponed
	before := debug.SetGCPercent(80)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	postponeCollection("")
	if got := percent(); got != startPercent {
		t.Errorf("GOGC is %d in a start, want %d", got, startPercent)
	}
	collected(t)
	if got := percent(); got != 80 {
		t.Errorf("GOGC is %d after a collection, want 80", got)
	}
}

func TestWhatTheEnvironmentSaysOfGarbageStays(t *testing.T) {
	collected(t)
	before := debug.SetGCPercent(70)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	postponeCollection("70")
	if got := percent(); got != 70 {
		t.Errorf("GOGC is %d, want 70", got)
	}
}

func TestWhatIsAllocatedIsRecordedWhenProfilesAreWanted(t *testing.T) {
	if runtime.MemProfileRate != 0 {
		t.Errorf("one in %d bytes is recorded, and nobody asked", runtime.MemProfileRate)
	}
	t.Cleanup(func() { runtime.MemProfileRate = 0 })
	ProfileMemory()
	kept = make([]byte, 16<<20)
	runtime.GC() // what it found is in the profile then
	records := make([]runtime.MemProfileRecord, 10_000)
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		t.Fatalf("%d records", n)
	}
	for _, r := range records[:n] {
		if r.AllocBytes >= 16<<20 {
			return
		}
	}
	t.Errorf("16 MiB are in none of the %d records", n)
}

var kept []byte
