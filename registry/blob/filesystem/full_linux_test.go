// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
)

// mountVariable is set where a test runs with mounts of its own.
const mountVariable = "BLOB_TEST_MOUNTS"

// withMounts runs the calling test again in a process whose mounts nobody else
// sees and that end with it. It reports whether this is that process.
func withMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountVariable) != "" {
		return true
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), mountVariable+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		child.SysProcAttr.Unshareflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Errorf("with mounts of its own the test fails:\n%s", out)
	case err != nil:
		t.Errorf("this test mounts a small file system; run it as root, or where user namespaces are allowed: %v", err)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("with mounts of its own the test did not run:\n%s", out)
	}
	return false
}

// tmpfs mounts a small file system and returns its directory.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a tmpfs with %s: %v", options, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestAFullDiskRefusesAndKeepsWhatItHad(t *testing.T) {
	if !withMounts(t) {
		return
	}
	s := mustOpen(t, tmpfs(t, "size=1m"), Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	first := blobtest.Content(1, 300<<10)
	committed := mustStore(t, s, first)

	second := blobtest.Content(2, 400<<10)
	p, err := s.Create(t.Context())
	if err == nil {
		p, err = s.Append(t.Context(), p, bytes.NewReader(second[:100<<10]))
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}

	next, err := s.Append(t.Context(), p, bytes.NewReader(blobtest.Content(3, 2<<20)))
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("Append of 2 MiB to a disk of one gives %v, want ErrNoSpace", err)
	}
	if next.Size != p.Size {
		t.Errorf("the refused Append counts %d bytes, want the %d from before", next.Size, p.Size)
	}
	after, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if after.Free != before.Free {
		t.Errorf("%d bytes are free, want the %d from before: the partial bytes are dropped", after.Free, before.Free)
	}

	p, err = s.Append(t.Context(), p, bytes.NewReader(second[100<<10:]))
	if err == nil {
		err = s.Commit(t.Context(), p)
	}
	if err != nil {
		t.Fatalf("what fits is refused: %v", err)
	}
	if !bytes.Equal(read(t, s, p.Key), second) || !bytes.Equal(read(t, s, committed.Key), first) {
		t.Error("an object has other bytes than were written")
	}
	if err := s.Delete(t.Context(), committed.Key); err != nil {
		t.Fatal(err)
	}
	mustStore(t, s, blobtest.Content(4, 400<<10))
}

func TestTheWriterLeavesNothingOnAFullDisk(t *testing.T) {
	if !withMounts(t) {
		return
	}
	s := mustOpen(t, tmpfs(t, "size=1m"), Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	p, err := blob.Writer{Store: s}.Append(t.Context(), blob.Progress{}, bytes.NewReader(blobtest.Content(1, 8<<20)), -1)
	if !errors.Is(err, blob.ErrNoSpace) || p.Offset != 0 || p.Key != "" {
		t.Errorf("got %+v, %v; want no progress and ErrNoSpace", p, err)
	}
	for key, err := range s.Keys(t.Context(), 1) {
		t.Errorf("object %q is left (%v)", key, err)
	}
	after, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if after.Free != before.Free {
		t.Errorf("%d bytes are free, want the %d from before", after.Free, before.Free)
	}
}

func TestADiskWithoutRoomForFilesRefusesNewObjects(t *testing.T) {
	if !withMounts(t) {
		return
	}
	// The root, the lock, the marker and objects/ take four; a shard and an object two.
	s := mustOpen(t, tmpfs(t, "size=1m,nr_inodes=6"), Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	mustStore(t, s, []byte("content"))
	if _, err := s.Create(t.Context()); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Create gives %v, want ErrNoSpace", err)
	}

	full := tmpfs(t, "size=1m,nr_inodes=1")
	_, err := Open(full, Options{InstanceUID: "test"})
	wantError(t, err, nil, "lock data directory "+full+": no space left on device")
}

func TestAReadOnlyFileSystemIsNamed(t *testing.T) {
	if !withMounts(t) {
		return
	}
	dir := tmpfs(t, "size=1m")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{InstanceUID: "test"})
	if err == nil || !strings.Contains(err.Error(), dir+" is not writable") || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("got the error %v, want one that says why %s is not writable", err, dir)
	}
}
