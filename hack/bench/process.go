// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 40 * time.Second
	// ticksPerSecond is USER_HZ, the unit of CPU times in /proc/PID/stat (proc(5)).
	ticksPerSecond = 100
)

// process is a server's program. It can be started again, at the same address.
type process struct {
	// command makes what to run; it is called for every start.
	command func() *exec.Cmd
	// ready fails until the server serves.
	ready func(ctx context.Context) error
	// logPath is the file that its output is appended to.
	logPath string

	running *exec.Cmd
	ended   chan struct{}
}

// start runs the program and returns once it answers.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	// Whatever happens to this program, the servers end. The kernel goes by the
	// thread, which is why main holds on to its own.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err = errors.Join(cmd.Start(), log.Close())
	if err != nil {
		return err
	}
	p.running, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // why it ended is in its log
		close(ended)
	}(p.ended)
	if err := p.wait(ctx); err != nil {
		p.kill()
		return fmt.Errorf("%s: %w; its last words:\n%s", filepath.Base(cmd.Path), err, tail(p.logPath))
	}
	return nil
}

// answers is ready for a server that answers HTTP, with whatever status.
func answers(url string) func(context.Context) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
}

// wait returns when the server is ready.
func (p *process) wait(ctx context.Context) error {
	deadline := time.After(startTimeout)
	for {
		if p.ready(ctx) == nil {
			return nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-p.ended:
			return errors.New("ended when it had just been started")
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("is not ready within %s", startTimeout)
		}
	}
}

// tail is the end of a file, for people.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content[max(0, len(content)-2000):]))
}

// stop ends the program as an operating system does: it is asked first.
func (p *process) stop() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
	}
	p.kill()
}

func (p *process) kill() {
	_ = p.running.Process.Kill() // it may have ended
	<-p.ended
	p.running = nil
}

func (p *process) proc(file string) (string, error) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.running.Process.Pid), file))
	return string(content), err
}

// cpu is the processor time that the program has taken.
func (p *process) cpu() (time.Duration, error) {
	stat, err := p.proc("stat")
	if err != nil {
		return 0, err
	}
	return parseCPU(stat)
}

// parseCPU reads /proc/PID/stat: user and system time of all threads.
func parseCPU(stat string) (time.Duration, error) {
	// The program's name, in parentheses, may hold anything.
	_, rest, found := cutLast(stat, ")")
	fields := strings.Fields(rest)
	const user, system = 14 - 3, 15 - 3
	if !found || len(fields) <= system {
		return 0, fmt.Errorf("/proc/PID/stat is %q", stat)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// memory is what the program keeps in memory now, and the most that it ever did
// since it was started, in bytes.
func (p *process) memory() (now, most int64, err error) {
	status, err := p.proc("status")
	if err != nil {
		return 0, 0, err
	}
	return parseMemory(status)
}

// parseMemory reads /proc/PID/status.
func parseMemory(status string) (now, most int64, err error) {
	for _, field := range []struct {
		name  string
		value *int64
	}{{"VmRSS:", &now}, {"VmHWM:", &most}} {
		_, rest, found := strings.Cut(status, "\n"+field.name)
		line, _, _ := strings.Cut(rest, "\n")
		kilobytes, parseErr := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
		if !found || parseErr != nil {
			return 0, 0, fmt.Errorf("/proc/PID/status has no %s", field.name)
		}
		*field.value = kilobytes << 10
	}
	return now, most, nil
}
