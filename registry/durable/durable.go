// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package durable writes small files so that they outlast a power cut.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path, which only its user may read (0600). When
// it returns nil the file is durable; when it fails or the machine stops, the file
// before is still there, whole. The temporary file beside it has a name that
// begins with a dot. Calls for one path must not overlap.
func WriteFile(path string, content []byte) error {
	directory := filepath.Dir(path)
	temporary := filepath.Join(directory, "."+filepath.Base(path)+".tmp")
	// What an earlier crash left behind may have another mode.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return SyncDirectory(directory)
}

// SyncDirectory makes the names in a directory durable.
func SyncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
