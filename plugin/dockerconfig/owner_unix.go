// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package dockerconfig

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner of another, which matters to root alone.
func keepOwner(to *os.File, from fs.FileInfo) error {
	stat, ok := from.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return to.Chown(int(stat.Uid), int(stat.Gid))
}
