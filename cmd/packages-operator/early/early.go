// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package early makes a start short. Packages are initialized in the order of their
// import paths, each after those that it imports; as this one imports little, it comes
// before Kubernetes' libraries, whose types are most of what there is to initialize.
package early

import (
	"os"
	"runtime"
	"runtime/debug"
)

// startPercent is GOGC during a start: what a start leaves as garbage is a few
// megabytes, and nobody needs that memory before it is over. Where there is more, it is
// collected.
const startPercent = 400

// previous is GOGC as it was found; zero where the environment has it.
var previous int

func init() {
	// Samples of what is allocated cost a megabyte and a half, and only who asks for
	// profiles reads them.
	runtime.MemProfileRate = 0
	if os.Getenv("GOGC") == "" {
		previous = debug.SetGCPercent(startPercent)
	}
}

// Over says that the start is: garbage is collected as ever. It is safe to be called
// more than once.
func Over() {
	if previous != 0 {
		debug.SetGCPercent(previous)
	}
}

// ProfileMemory has a part of what is allocated from now on recorded for profiles of
// the heap, one in so many bytes as Go does by default.
func ProfileMemory() { runtime.MemProfileRate = 512 << 10 }
