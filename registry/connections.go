// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"net"
	"syscall"

	"github.com/packages-operator/packages-operator/registry/connlimit"
)

const (
	// DefaultMaxConnections is how many connections of clients may be open.
	DefaultMaxConnections = 4096
	// maxAdminConnections is that of the admin port, which few talk to.
	maxAdminConnections = 64
	// ownFiles is how many files the process needs beside those for connections: the
	// database, the directories of objects, connections to a bucket.
	ownFiles = 512
	// filesPerConnection are the connection itself, and the blob it brings or gets.
	filesPerConnection = 2
	// minConnections are admitted however few files the process may open.
	minConnections = 16
)

// limitConnections bounds the connections of the registry's port. Fewer than
// wanted are admitted where the process may not open as many files.
func limitConnections(o Options, listener net.Listener) *connlimit.Listener {
	wanted := cmp.Or(o.MaxConnections, DefaultMaxConnections)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		if most := connectionsFor(limit.Cur); most < wanted {
			o.Log.Info("The limit on open files (RLIMIT_NOFILE) allows fewer connections than wanted; raise it for more",
				"connections", most, "wanted", wanted, "files", limit.Cur, "filesNeeded", wanted*filesPerConnection+ownFiles)
			wanted = most
		}
	}
	return connlimit.New(listener, wanted)
}

// connectionsFor is how many connections there are files for.
func connectionsFor(files uint64) int {
	const many = 1 << 30
	if files >= many {
		return many
	}
	return max((int(files)-ownFiles)/filesPerConnection, minConnections)
}
