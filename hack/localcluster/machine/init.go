// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Words that make the executable the machine's first process or its supervisor.
const (
	initCommand      = "machine-init"
	superviseCommand = "machine-supervise"

	// PauseCommand makes the executable the process that holds a pod's
	// namespaces: it reaps, and ends when told to.
	PauseCommand = "machine-pause"
)

// File descriptors that Start hands to the first process.
const (
	lockFD = 3 // keeps Dir/machine.lock locked for as long as the process lives
	goFD   = 4 // the host writes a byte when its side of the network stands
)

var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LANG=C.UTF-8",
}

// Main runs the parts of a machine that live in its first two processes, and
// the pause process, and does not return then. In every other process it
// returns at once.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == PauseCommand {
		pauseUntilTold()
		os.Exit(0)
	}
	if len(os.Args) != 3 {
		return
	}
	var err error
	switch os.Args[1] {
	case initCommand:
		err = runInit(os.Args[2])
	case superviseCommand:
		err = runSupervisor(os.Args[2])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runInit is process 1 of the machine: it prepares the namespaces it was born
// into, starts the supervisor and reaps whatever loses its parent.
func runInit(dir string) error {
	syscall.CloseOnExec(lockFD)
	syscall.CloseOnExec(goFD)
	spec, err := loadSpec(dir)
	if err != nil {
		return err
	}
	if spec == nil {
		return fmt.Errorf("no machine in %s", dir)
	}
	// The host's /proc is still mounted here, so this is the host's number.
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(pid+"\n"), 0o600); err != nil {
		return err
	}
	// Whoever started this may have died before the host was ready.
	if _, err := io.ReadFull(os.NewFile(goFD, "go"), make([]byte, 1)); err != nil {
		return errors.New("the starting process went away")
	}
	if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := enterRoot(spec); err != nil {
		return err
	}
	if spec.Network != nil {
		if err := setUpNetwork(spec.Network); err != nil {
			return err
		}
	}
	supervisor, err := os.StartProcess("/proc/self/exe", []string{filepath.Base(os.Args[0]), superviseCommand, dir}, &os.ProcAttr{
		Dir: "/", Env: environment, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case pid == supervisor.Pid:
			return fmt.Errorf("the supervisor ended: %s", describeExit(status))
		}
	}
}

func setUpNetwork(n *Network) error {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", n.Node.String(), "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"route", "add", "default", "via", n.Host.Addr().String()},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// connectHost makes the link and sets up the host's end of it. The other end
// appears in the machine whose first process is pid.
func connectHost(n *Network, pid int) error {
	for _, args := range [][]string{
		{"link", "add", n.Link, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)},
		{"address", "add", n.Host.String(), "dev", n.Link},
		{"link", "set", n.Link, "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error {
	cmd := exec.Command("ip", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

func pauseUntilTold() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func describeExit(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by signal: " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
