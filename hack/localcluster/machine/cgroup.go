// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies lists the mounted control group trees below root: one with
// version 2, several with version 1 or a mixture.
func hierarchies(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		// Version 1 also has symbolic links such as "cpu" to "cpu,cpuacct".
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && e.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("no control groups are mounted at %s", root)
	}
	return dirs, nil
}

func makeCgroup(name string) error {
	dirs, err := hierarchies(cgroupRoot)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		// Version 2 offers a controller below only where it is switched on. One
		// that cannot be is missed by the kubelet, which then says which.
		for _, controller := range []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// removeCgroup removes the group and all groups below it in every hierarchy,
// and waits for their processes, which are being killed, to be gone. It says
// whether there was any.
func removeCgroup(name string, patience time.Duration) (bool, error) {
	dirs, err := hierarchies(cgroupRoot)
	if err != nil {
		return false, err
	}
	removed := false
	deadline := time.Now().Add(patience)
	for _, dir := range dirs {
		group := filepath.Join(dir, name)
		for {
			err := removeTree(group)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err == nil {
				removed = true
				break
			}
			if time.Now().After(deadline) {
				return removed, fmt.Errorf("remove control group: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return removed, nil
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Remove(dir)
}
