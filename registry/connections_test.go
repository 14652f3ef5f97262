// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "testing"

func TestConnectionsFollowTheLimitOnFiles(t *testing.T) {
	for files, want := range map[uint64]int{
		0:          minConnections,
		256:        minConnections,
		1024:       256,
		8704:       DefaultMaxConnections,
		1 << 20:    524032,
		^uint64(0): 1 << 30,
	} {
		if got := connectionsFor(files); got != want {
			t.Errorf("for %d files: %d connections, want %d", files, got, want)
		}
	}
}
