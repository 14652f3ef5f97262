// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// asNobody runs f as a user who may not write everywhere. Only the file system's
// view of one thread changes, and the thread ends with f.
func asNobody(t *testing.T, f func(uid int)) {
	t.Helper()
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() != 0 {
			f(os.Geteuid())
			return
		}
		runtime.LockOSThread() // and never unlocked
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
			t.Errorf("setfsuid: %v", errno)
			return
		}
		f(os.Geteuid())
	}()
	<-done
}

func TestADirectoryThatIsNotWritableIsNamed(t *testing.T) {
	// The parents of t.TempDir may be closed to other users.
	parent, err := os.MkdirTemp("/tmp", "blob-")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "data")
	t.Cleanup(func() {
		if err := errors.Join(os.Chmod(parent, 0o700), os.Chmod(dir, 0o700), os.RemoveAll(parent)); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o555, parent: 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func(uid int) {
		_, err := Open(dir, Options{InstanceUID: "test"})
		wantError(t, err, nil, "data directory "+dir+" is not writable for user "+strconv.Itoa(uid)+": permission denied")

		missing := filepath.Join(parent, "missing")
		_, err = Open(missing, Options{InstanceUID: "test"})
		wantError(t, err, nil, "create data directory "+missing+": permission denied")
	})
	if err := os.Chmod(dir, 0o000); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func(int) {
		_, err := Open(dir, Options{InstanceUID: "test"})
		wantError(t, err, nil, "open data directory "+dir+": permission denied")
	})
}
