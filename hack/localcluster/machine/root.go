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
	"sort"
	"strings"
	"syscall"
)

// enterRoot builds the machine's root directory and moves the calling process
// there. It must run in mount and PID namespaces of its own.
//
// The new root is a tmpfs that shares the host's programs (/usr and friends,
// read-only), devices and control groups, and has everything that programs
// write to (/run, /var, /tmp, /etc, /proc/sys) for itself.
func enterRoot(s *Spec) error {
	// Nothing mounted from here on may reach the host.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	root := filepath.Join(s.Dir, rootDir)
	if err := mount("tmpfs", root, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	steps := []func(*Spec, string) error{sharePrograms, makeWritable, mountKernel, bindState, pinSysctls}
	for _, step := range steps {
		if err := step(s, root); err != nil {
			return err
		}
	}
	old := filepath.Join(root, ".host")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := syscall.PivotRoot(root, old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := syscall.Unmount("/.host", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	if err := os.Remove("/.host"); err != nil {
		return err
	}
	// A container runtime and a kubelet pass mounts to each other.
	return mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
}

func sharePrograms(_ *Spec, root string) error {
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt"} {
		host, inside := "/"+name, filepath.Join(root, name)
		info, err := os.Lstat(host)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(host)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, inside); err != nil {
				return err
			}
			continue
		}
		if err := bind(host, inside); err != nil {
			return err
		}
		if err := mount("", inside, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			return err
		}
	}
	return nil
}

func makeWritable(s *Spec, root string) error {
	for _, dir := range []string{"run/lock", "var/lib", "var/log", "var/cache", "var/tmp", "tmp", "root", "mnt"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(root, dir), fs.ModeSticky|0o777); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			return err
		}
	}
	// Programs come through the alternatives system (iptables does on Debian).
	if err := bind(filepath.Join(s.Dir, etcDir), filepath.Join(root, "etc")); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/alternatives"); err == nil {
		return bind("/etc/alternatives", filepath.Join(root, "etc/alternatives"))
	}
	return nil
}

func mountKernel(_ *Spec, root string) error {
	if err := bind("/dev", filepath.Join(root, "dev")); err != nil {
		return err
	}
	for _, fstype := range []string{"proc", "sysfs"} {
		dir := filepath.Join(root, strings.TrimSuffix(fstype, "fs"))
		if err := os.MkdirAll(dir, 0o555); err != nil {
			return err
		}
		if err := mount(fstype, dir, fstype, syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
			return err
		}
	}
	return mount(cgroupRoot, filepath.Join(root, "sys/fs/cgroup"), "", syscall.MS_BIND|syscall.MS_REC, "")
}

func bindState(s *Spec, root string) error {
	paths := append([]string{s.Dir}, s.Binds...)
	sort.Strings(paths) // a parent before what lies below it
	for _, path := range paths {
		if err := bind(path, filepath.Join(root, path)); err != nil {
			return err
		}
	}
	return nil
}

func pinSysctls(s *Spec, root string) error {
	for name, value := range s.PinnedSysctls {
		target := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		source := filepath.Join(s.Dir, sysctlDir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(source, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// bind makes source visible at target, which is created as source's kind.
func bind(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return mount(source, target, "", syscall.MS_BIND|syscall.MS_REC, "")
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", strings.TrimSpace(fstype+" "+source), target, err)
	}
	return nil
}
