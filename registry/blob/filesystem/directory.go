// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	markerFile = "instance"
	lockFile   = "lock"
)

var (
	// ErrInUse is returned by Open while another process has the directory.
	ErrInUse = errors.New("another process uses it")
	// ErrOtherInstance is returned by Open when the data is another instance's.
	ErrOtherInstance = errors.New("data belongs to another instance")
)

// openDirectory opens dir, and makes it when it is missing.
func openDirectory(dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDirectory(dir); err != nil {
			return nil, fmt.Errorf("create data directory %s: %w", dir, reason(err))
		}
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("data directory %s: a part of its path is not a directory", dir)
	case err != nil:
		return nil, fmt.Errorf("data directory %s: %w", dir, reason(err))
	case !info.IsDir():
		return nil, fmt.Errorf("data directory %s is not a directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, reason(err))
	}
	return root, nil
}

// makeDirectory makes dir and its missing parents, durably.
func makeDirectory(dir string) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDirectory(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncPath(parent)
}

// acquire locks the directory for this process. The lock ends with the process,
// however that ends.
func acquire(root *os.Root, dir string) (*os.File, error) {
	file, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			return nil, fmt.Errorf("data directory %s is not writable for user %d: %w", dir, os.Geteuid(), reason(err))
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, reason(err))
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return file, nil
	}
	closeErr := file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, ErrInUse), closeErr)
	}
	return nil, errors.Join(fmt.Errorf("lock data directory %s: %w", dir, err), closeErr)
}

// claim checks that the directory belongs to the instance. The marker is written
// before anything else, so that objects without one are not this program's.
func claim(root *os.Root, dir, uid string, adopt bool) error {
	found, err := root.ReadFile(markerFile)
	owner := strings.TrimSpace(string(found))
	switch {
	case err == nil && owner == uid:
		return nil
	case err == nil && !adopt:
		return fmt.Errorf("data directory %s: %w: it is of instance %q, this is %q; start with --adopt to take it over",
			dir, ErrOtherInstance, owner, uid)
	case errors.Is(err, fs.ErrNotExist) && !adopt:
		if _, err := root.Lstat("objects"); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("data directory %s: %w: it has objects but no file %q that names their instance, this is %q; start with --adopt to take it over",
				dir, ErrOtherInstance, markerFile, uid)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the instance of data directory %s: %w", dir, reason(err))
	}
	if err := writeMarker(root, uid); err != nil {
		return fmt.Errorf("write the instance of data directory %s: %w", dir, reason(err))
	}
	return nil
}

// writeMarker replaces the marker at once, or not at all.
func writeMarker(root *os.Root, uid string) error {
	const temporary = markerFile + ".new"
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(uid + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := root.Rename(temporary, markerFile); err != nil {
		return err
	}
	return syncRoot(root)
}

// checkUID keeps what cannot be read back from a line of text out of the marker.
func checkUID(uid string) error {
	if uid == "" {
		return errors.New("blob store has no instance UID")
	}
	for _, c := range []byte(uid) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("instance UID %q is not printable ASCII", uid)
		}
	}
	return nil
}

// openSubdirectory opens a directory of parent, and makes it durably when it is
// missing.
func openSubdirectory(parent *os.Root, name string) (*os.Root, error) {
	switch err := parent.Mkdir(name, 0o700); {
	case err == nil:
		if err := syncRoot(parent); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("create directory: %w", err)
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return root, nil
}

// syncRoot makes the entries of a directory durable.
func syncRoot(root *os.Root) error {
	directory, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	return syncAndClose(directory)
}

func syncPath(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	return syncAndClose(directory)
}

func syncAndClose(directory *os.File) error {
	if err := directory.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync directory: %w", err), directory.Close())
	}
	return directory.Close()
}

// reason is the cause inside a path error, for messages that name the path
// themselves.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
