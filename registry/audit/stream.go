// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// plain is a stream that somebody else opened, and that stays open.
type plain struct{ io.Writer }

func (plain) reopen() error { return nil }
func (plain) Close() error  { return nil }

// file is a stream in a file.
type file struct {
	*os.File
	path string
}

func openFile(path string) (*file, error) {
	f := &file{path: path}
	return f, f.open()
}

func (f *file) open() error {
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	if err := endLine(opened); err != nil {
		return errors.Join(fmt.Errorf("open the audit log: %w", err), opened.Close())
	}
	f.File = opened
	return nil
}

// endLine ends a last line that a full disk has cut short.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	reader, err := os.Open(f.Name())
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	var last [1]byte
	if _, err := reader.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte("\n"))
	return err
}

// reopen implements stream. The file before stays open if there is no new one.
func (f *file) reopen() error {
	before := f.File
	if err := f.open(); err != nil {
		return err
	}
	return before.Close()
}
