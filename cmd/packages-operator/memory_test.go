// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"testing"
)

func TestTheRegistryLimitsItsMemoryUnlessToldOtherwise(t *testing.T) {
	const inherited = 1 << 40
	before := debug.SetMemoryLimit(inherited)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	limitMemory(func(name string) (string, bool) { return "1GiB", name == "GOMEMLIMIT" })
	if got := debug.SetMemoryLimit(-1); got != inherited {
		t.Errorf("with GOMEMLIMIT set, the limit became %d", got)
	}
	limitMemory(func(string) (string, bool) { return "", false })
	if got := debug.SetMemoryLimit(-1); got != registryMemory {
		t.Errorf("the limit is %d, want %d", got, registryMemory)
	}
}
