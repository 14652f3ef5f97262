// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"os"
	"syscall"
)

// syncFileRangeWrite is SYNC_FILE_RANGE_WRITE of sync_file_range(2).
const syncFileRangeWrite = 2

// startWriteback asks the kernel to begin writing a range to the disk. It is a
// hint: whether the bytes are durable is for the later sync to say, and so a
// failure here is its to report.
func startWriteback(file *os.File, offset, length int64) {
	_ = syscall.SyncFileRange(int(file.Fd()), offset, length, syncFileRangeWrite)
}
