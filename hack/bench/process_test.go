// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseCPU(t *testing.T) {
	const stat = "4242 (a name) with (parens)) S 1 4242 4242 0 -1 4194560 2381 0 3 0 1234 66 7 8 20 0 9 0 5555 1 2 3"
	got, err := parseCPU(stat)
	if err != nil || got != 13*time.Second {
		t.Errorf("got %v and the error %v, want 13s", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", strings.Replace(stat, "1234", "many", 1)} {
		if got, err := parseCPU(bad); err == nil {
			t.Errorf("parseCPU(%q) gives %v and no error", bad, got)
		}
	}
}

func TestParseMemory(t *testing.T) {
	now, most, err := parseMemory("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    20 kB\nVmRSS:\t    10 kB\nThreads:\t1\n")
	if err != nil || now != 10<<10 || most != 20<<10 {
		t.Errorf("got %d and %d bytes and the error %v, want 10 and 20 KiB", now, most, err)
	}
	if _, _, err := parseMemory("Name:\tx\nVmHWM:\t20 kB\n"); err == nil || !strings.Contains(err.Error(), "VmRSS") {
		t.Errorf("got the error %v, want one that names VmRSS", err)
	}
}

func TestAProgramThatEndsAtOnceIsReportedWithItsOutput(t *testing.T) {
	p := &process{
		command: func() *exec.Cmd { return exec.Command("sh", "-c", "echo the port is taken; exit 1") },
		ready:   func(context.Context) error { return os.ErrDeadlineExceeded },
		logPath: filepath.Join(t.TempDir(), "log"),
	}
	if err := p.start(t.Context()); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got the error %v, want what the program said", err)
	}
}

func TestUsageOfARunningProgram(t *testing.T) {
	p := &process{
		command: func() *exec.Cmd {
			return exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 60")
		},
		ready:   func(context.Context) error { return nil },
		logPath: filepath.Join(t.TempDir(), "log"),
	}
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	s := &server{process: p}
	deadline := time.Now().Add(time.Minute)
	for {
		used, err := s.usage()
		if err != nil {
			t.Fatal(err)
		}
		if used.cpu > 0 && used.rss > 0 && used.pid == p.running.Process.Pid {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a program that counted has %+v", used)
		}
	}
}
