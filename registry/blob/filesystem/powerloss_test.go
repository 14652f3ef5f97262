// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build faults && linux

package filesystem

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

const (
	// shutdownRequest is FS_IOC_SHUTDOWN, shutdownNoFlush its mode that leaves out
	// what the journal has not written, as a power cut does.
	shutdownRequest = 0x8004587d
	shutdownNoFlush = 2
)

// The tag faults marks tests that need root, a loop device and mkfs.ext4.
func TestWhatWasAcknowledgedOutlivesAPowerCut(t *testing.T) {
	if !withMounts(t) {
		return
	}
	for _, steps := range []int{1, 3, 4, 5, 11} {
		image, mountpoint := filepath.Join(t.TempDir(), "image"), t.TempDir()
		run(t, "truncate", "--size=96M", image)
		run(t, "mkfs.ext4", "-q", "-F", image)
		run(t, "mount", "-o", "loop", image, mountpoint)
		t.Cleanup(func() {
			// For a test that fails half-way; at its end nothing is mounted.
			_ = syscall.Unmount(mountpoint, syscall.MNT_DETACH)
		})
		dir := filepath.Join(mountpoint, "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}

		child, _, lines := startChild(t, childAppends, dir)
		acknowledged := map[int]step{}
		for range steps {
			readStep(t, lines, acknowledged)
		}
		unsynced := filepath.Join(mountpoint, "unsynced")
		content := bytes.Repeat([]byte("unsynced"), 1000)
		if err := os.WriteFile(unsynced, content, 0o600); err != nil {
			t.Fatal(err)
		}
		cutPower(t, mountpoint)
		// Nobody hears what is said after a power cut, but the child must not wait
		// for a reader. (A sync that overlaps the cut may report success.)
		for lines.Scan() {
		}
		if err := child.Wait(); err == nil || !child.ProcessState.Exited() {
			t.Errorf("without its disk the child process ended with %v", child.ProcessState)
		}

		run(t, "umount", mountpoint)
		run(t, "mount", "-o", "loop", image, mountpoint)
		if got, err := os.ReadFile(unsynced); err == nil && bytes.Equal(got, content) {
			t.Error("the power cut lost nothing, so that this test shows nothing")
		}
		checkAcknowledged(t, dir, acknowledged)
		run(t, "umount", mountpoint)
	}
}

func run(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, arguments, err, out)
	}
}

func cutPower(t *testing.T, mountpoint string) {
	t.Helper()
	directory, err := os.Open(mountpoint)
	if err != nil {
		t.Fatal(err)
	}
	mode := uint32(shutdownNoFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, directory.Fd(), shutdownRequest, uintptr(unsafe.Pointer(&mode))); errno != 0 {
		t.Fatalf("shut down %s: %v", mountpoint, errno)
	}
	if err := directory.Close(); err != nil {
		t.Fatal(err)
	}
}
