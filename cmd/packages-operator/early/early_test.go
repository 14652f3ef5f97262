// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package early

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// percent is GOGC as it is.
func percent() int {
	now := debug.SetGCPercent(100)
	debug.SetGCPercent(now)
	return now
}

func TestGarbageIsLeftUntilTheStartIsOver(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("GOGC is set, and stays as it is")
	}
	t.Cleanup(func() { debug.SetGCPercent(startPercent) })
	if got := percent(); got != startPercent {
		t.Errorf("GOGC is %d in a start, want %d", got, startPercent)
	}
	for range 2 {
		Over()
		if got := percent(); got != 100 {
			t.Errorf("GOGC is %d when the start is over, want 100", got)
		}
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
