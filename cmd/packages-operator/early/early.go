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

// startPercent is GOGC until garbage is collected for the first time. What an ordinary
// start leaves is less than that waits for, and collecting it would only delay the start.
const startPercent = 400

// profileRate is how often what is allocated is recorded when it is.
var profileRate = runtime.MemProfileRate

func init() {
	// Samples of what is allocated cost a megabyte and a half, and only who asks for
	// profiles reads them.
	runtime.MemProfileRate = 0
	postponeCollection(os.Getenv("GOGC"))
}

// postponeCollection has the first collection of garbage come late. A start that
// reaches it goes on with GOGC as it was. What the environment sets stays.
func postponeCollection(gogc string) {
	if gogc != "" {
		return
	}
	previous := debug.SetGCPercent(startPercent)
	// The first collection finds this, which nobody refers to.
	runtime.AddCleanup(new(*int), func(percent int) { debug.SetGCPercent(percent) }, previous)
}

// ProfileMemory has what is allocated from now on recorded for profiles of the heap.
func ProfileMemory() { runtime.MemProfileRate = profileRate }
