// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning is returned by what needs a running machine.
var ErrNotRunning = errors.New("the machine does not run")

// killPatience bounds the wait for the processes of a killed machine.
const killPatience = 20 * time.Second

// Machine is a machine on this host, running or not. Its methods may be called
// by several goroutines, but Start and Stop of one directory must not overlap.
type Machine struct {
	dir    string
	client *http.Client
}

// Open returns the machine that lives, or will live, in dir.
func Open(dir string) *Machine {
	return &Machine{dir: dir, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			path, release, err := controlPath(dir)
			if err != nil {
				return nil, err
			}
			defer release()
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Start makes the machine, with no component running yet. The executable must
// call [Main]. A machine that runs in the same directory is an error.
func (m *Machine) Start(ctx context.Context, spec *Spec, executable string) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	for _, dir := range []string{etcDir, filepath.Join(etcDir, "alternatives"), logsDir, rootDir, sysctlDir} {
		if err := os.MkdirAll(filepath.Join(spec.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := writeEtc(spec); err != nil {
		return err
	}
	lock, err := lockFileOf(spec.Dir, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // the first process keeps its copy, and so the lock
	if err := spec.save(); err != nil {
		return err
	}
	if err := makeCgroup(spec.Cgroup); err != nil {
		return fmt.Errorf("make control group: %w", err)
	}
	if err := m.launch(spec, executable, lock); err != nil {
		return err
	}
	return m.waitForSupervisor(ctx)
}

func (m *Machine) launch(spec *Spec, executable string, lock *os.File) error {
	out, err := os.OpenFile(logPath(spec.Dir, "machine"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	ready, goAhead, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = goAhead.Close() }()

	cmd := exec.Command(executable, initCommand, spec.Dir)
	cmd.Dir, cmd.Env = "/", environment
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock, ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // an interrupt at the terminal is not for the machine
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if spec.Network != nil {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	err = cmd.Start()
	_ = ready.Close()
	if err != nil {
		return fmt.Errorf("start the machine's first process (namespaces need root): %w", err)
	}
	go func() { _ = cmd.Wait() }() // only so that no zombie stays while this process lives
	if spec.Network != nil {
		if err := connectHost(spec.Network, cmd.Process.Pid); err != nil {
			return err
		}
	}
	_, err = goAhead.Write([]byte{1})
	return err
}

func (m *Machine) waitForSupervisor(ctx context.Context) error {
	for {
		if _, err := m.Components(ctx); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if running, err := m.Running(); err != nil {
			return err
		} else if !running {
			return fmt.Errorf("the machine ended at once: %s", m.LogTail("machine", 5))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Running says whether the machine's first process lives.
func (m *Machine) Running() (bool, error) {
	if _, err := os.Stat(filepath.Join(m.dir, lockFile)); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock, err := lockFileOf(m.dir, syscall.LOCK_SH)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Close()
}

// Pid returns the host's number of the first process, for entering the
// machine's namespaces. It is ErrNotRunning if there is none.
func (m *Machine) Pid() (int, error) {
	running, err := m.Running()
	if err != nil {
		return 0, err
	}
	if !running {
		return 0, ErrNotRunning
	}
	data, err := os.ReadFile(filepath.Join(m.dir, pidFile))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

// Stop kills everything in the machine and takes back what it had on the host,
// also after a crash. The directory stays. It says what it found.
func (m *Machine) Stop(ctx context.Context) (removed []string, err error) {
	spec, err := loadSpec(m.dir)
	if err != nil || spec == nil {
		return nil, err
	}
	killed, err := m.kill(ctx)
	if err != nil {
		return nil, err
	}
	if killed {
		removed = append(removed, "processes, mounts and network of "+spec.Hostname)
	}
	if spec.Network != nil {
		// The kernel removes the link along with the machine's network, but later.
		if err := removeLink(spec.Network.Link); err != nil {
			return removed, err
		}
	}
	groups, err := removeCgroup(spec.Cgroup, killPatience)
	if groups {
		removed = append(removed, "control groups "+spec.Cgroup)
	}
	return removed, err
}

func (m *Machine) kill(ctx context.Context) (bool, error) {
	// A machine that is just being born has no number yet.
	var pid int
	for {
		var err error
		if pid, err = m.Pid(); errors.Is(err, ErrNotRunning) {
			return false, nil
		} else if err == nil {
			break
		} else if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		if err := pause(ctx); err != nil {
			return false, err
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("kill the machine: %w", err)
	}
	for deadline := time.Now().Add(killPatience); ; {
		running, err := m.Running()
		if err != nil {
			return true, err
		}
		if !running && ended(pid) {
			return true, os.Remove(filepath.Join(m.dir, pidFile))
		}
		if time.Now().After(deadline) {
			return true, fmt.Errorf("process %d does not end", pid)
		}
		if err := pause(ctx); err != nil {
			return true, err
		}
	}
}

// ended says whether the process is gone, or a zombie whose parent does not
// care. The first process of a PID namespace becomes a zombie only when all
// others in it are gone.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func removeLink(name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return nil
	}
	if err := ip("link", "delete", name); err != nil {
		if _, gone := net.InterfaceByName(name); gone != nil {
			return nil
		}
		return err
	}
	return nil
}

// StartComponent starts a component if it does not run.
func (m *Machine) StartComponent(ctx context.Context, name string) error {
	return m.call(ctx, http.MethodPost, "/components/"+name+"/start", nil)
}

// StopComponent stops a component and returns when it has ended.
func (m *Machine) StopComponent(ctx context.Context, name string) error {
	return m.call(ctx, http.MethodPost, "/components/"+name+"/stop", nil)
}

// Components says how every component does, in the order of the spec.
func (m *Machine) Components(ctx context.Context) ([]ComponentStatus, error) {
	var list []ComponentStatus
	return list, m.call(ctx, http.MethodGet, "/components", &list)
}

// CheckComponents returns an error with the last lines of its log for the first
// component that ended by itself.
func (m *Machine) CheckComponents(ctx context.Context) error {
	list, err := m.Components(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.State == Failed {
			return fmt.Errorf("%s ended (%s); its last words in %s:\n%s", c.Name, c.Exit, logPath(m.dir, c.Name), m.LogTail(c.Name, 15))
		}
	}
	return nil
}

func (m *Machine) call(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://machine"+path, nil)
	if err != nil {
		return err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return errors.New(strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Command returns a command that runs inside the machine, with the caller's
// standard streams free to be set.
func (m *Machine) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	pid, err := m.Pid()
	if err != nil {
		return nil, err
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = environment
	return cmd, nil
}

// LogTail returns the last lines of a component's log ("machine" is the
// machine's own), as much as can be read.
func (m *Machine) LogTail(component string, lines int) string {
	data, err := os.ReadFile(logPath(m.dir, component))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var errLocked = errors.New("locked by another process")

// lockFileOf takes the lock that says that the machine in dir runs: exclusive
// to run it, shared only to ask.
func lockFileOf(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// Somebody who asks holds the lock for an instant.
	for range 10 {
		if err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err == nil {
			return f, nil
		}
		if how != syscall.LOCK_EX || !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

// writeEtc adds the files that programs expect in /etc and the spec's owner
// did not write.
func writeEtc(spec *Spec) error {
	files := map[string]string{
		"hosts":         "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + spec.Hostname + "\n",
		"hostname":      spec.Hostname + "\n",
		"resolv.conf":   "",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group":         "root:x:0:\ndocker:x:999:\nnogroup:x:65534:\n",
	}
	for _, name := range []string{"protocols", "services"} {
		if data, err := os.ReadFile(filepath.Join("/etc", name)); err == nil {
			files[name] = string(data)
		}
	}
	for name, content := range files {
		path := filepath.Join(spec.Dir, etcDir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}
