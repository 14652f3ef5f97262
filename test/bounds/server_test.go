// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bounds attacks the registry, as the program that is released and in a
// process of its own, by what a client can send. Whatever that is, the process
// stays under its bound of memory and goes on serving others.
package bounds

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// maxMemory is what the registry may take, whatever is done to it: bytes of
// resident memory.
const maxMemory = 256 << 20

const (
	module = "github.com/packages-operator/packages-operator"
	// The samples' user who may push to name, and the value of her token.
	user  = "monalisa"
	value = "sample-only-monalisa-000000000000000000000000000"
	name  = "octocat/octo-app/bounds"
)

// server is a registry with the sample objects.
type server struct {
	addr string
	pid  int
}

// build makes the program as a release does.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "packages-operator")
	cmd := exec.Command("go", "build", "-tags", programTags(t), "-ldflags=-s -w", "-o", path, module+"/cmd/packages-operator")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// programTags are those that make build has.
func programTags(t *testing.T) string {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(makefile), "\nPROGRAM_TAGS = ")
	tags, _, _ := strings.Cut(rest, "\n")
	return tags
}

func start(t *testing.T) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, build(t), "registry", "--standalone", "../../config/samples/standalone",
		"--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, variable := range os.Environ() {
		// The program's own settings are under test.
		if !strings.HasPrefix(variable, "GO") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	serving, failures, ended := make(chan string, 1), make(chan string, 100), make(chan struct{})
	go func() {
		defer close(ended)
		follow(stderr, serving, failures)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the registry ended with: %v", err)
		}
		close(failures)
		for failure := range failures {
			t.Errorf("the registry logged a failure: %s", failure)
		}
	})
	select {
	case addr := <-serving:
		return &server{addr: addr, pid: cmd.Process.Pid}
	case <-ended:
		t.Fatalf("the registry did not start: %s", <-failures)
	}
	return nil
}

// follow reads the registry's log: where it serves, and what it fails to do.
func follow(stderr io.Reader, serving, failures chan<- string) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Level, Msg, Address string
		}
		switch err := json.Unmarshal(lines.Bytes(), &line); {
		case err == nil && line.Msg == "Serving":
			serving <- line.Address
		case err != nil || line.Level == "ERROR":
			select {
			case failures <- lines.Text():
			default:
			}
		}
	}
}

// forgetPeak lets peak count from now on.
func (s *server) forgetPeak(t *testing.T) {
	t.Helper()
	const resetPeak = "5" // proc(5), clear_refs
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte(resetPeak), 0); err != nil {
		t.Fatal(err)
	}
}

// peak is the most resident memory that the process had, in bytes.
func (s *server) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("the process has no VmHWM")
	return 0
}
