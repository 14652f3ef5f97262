// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/packages-operator/packages-operator/registry/durable"
)

func TestAFileIsReplacedWholeAndForItsUserAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	// A crash left a temporary file that everybody may read.
	if err := os.WriteFile(filepath.Join(dir, ".file.tmp"), []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first, and longer", "second"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("the file has %q (%v), want %q", got, err, content)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("the file has the mode %v (%v), want 0600", info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v (%v), want the file alone", entries, err)
	}
}

func TestAFailureLeavesTheFileBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := durable.WriteFile(path, []byte("before")); err != nil {
		t.Fatal(err)
	}
	// A directory that is not empty stands where the temporary file would.
	if err := os.MkdirAll(filepath.Join(dir, ".file.tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("after")); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("the file has %q (%v), want what it had", got, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "missing", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a directory that is missing", err)
	}
}
