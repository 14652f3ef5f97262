// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// preferredPort is make run's.
const preferredPort = "127.0.0.1:5000"

// alone is a registry without Kubernetes that runs while the cluster is built.
type alone struct {
	address string
	log     string
	cancel  context.CancelFunc
	done    chan struct{}
}

// startAlone returns when the registry answers.
func startAlone(ctx context.Context, dir string) (*alone, error) {
	address, err := freeAddress(preferredPort)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "alone")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &alone{address: address, log: filepath.Join(dir, "alone.log"), cancel: cancel, done: make(chan struct{})}
	log, err := os.Create(a.log)
	if err != nil {
		cancel()
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "bin/packages-operator", "registry", "--standalone", "config/samples/standalone",
		"--data-dir", data, "--listen", address, "--admin-listen", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	// It must not outlive the demo, even one that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	go func() {
		// The kernel means the thread that started the process, not the whole of it.
		runtime.LockOSThread()
		defer close(a.done)
		if err := cmd.Run(); err != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintln(log, err)
		}
		_ = log.Close()
	}()
	for {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return a, conn.Close()
		}
		select {
		case <-a.done:
			text, _ := os.ReadFile(a.log)
			return nil, fmt.Errorf("the registry alone ended:\n%s", tail(string(text), 10))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *alone) stop() {
	a.cancel()
	<-a.done
}

// freeAddress is the preferred one, or a port that the kernel chooses.
func freeAddress(preferred string) (string, error) {
	var last error
	for _, address := range []string{preferred, "127.0.0.1:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			last = err
			continue
		}
		return listener.Addr().String(), listener.Close()
	}
	return "", last
}

// show prints what to try.
func (a *alone) show(ctx context.Context, p *progress, docker *localcluster.Docker) error {
	env, err := docker.Env()
	if err != nil {
		return err
	}
	text, err := output(ctx, exec.CommandContext(ctx, "hack/try.sh", a.address))
	if err != nil {
		return err
	}
	heading, commands, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
	p.say("Nothing to wait for: the registry already runs alone, without Kubernetes.\n%s\n\n%s\n%s\n\nIt ends when the demo does; \"make run\" starts one that stays.",
		heading, exports(env), commands)
	return nil
}
