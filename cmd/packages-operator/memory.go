// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "runtime/debug"

// registryMemory in bytes is what the garbage collector holds a registry's heap to,
// unless GOMEMLIMIT says otherwise. What requests need at a time is bounded to less;
// the rest of 256 MB is left to the database's cache and the program's own pages.
const registryMemory = 128 << 20

// limitMemory sets the limit of the garbage collector if the environment did not.
func limitMemory(lookup func(string) (string, bool)) {
	if _, set := lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(registryMemory)
	}
}
