// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command demo shows the whole product on one machine: a Kubernetes, the
// operator, and a registry that a real Docker daemon pushes to and a pod pulls
// from.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: go run ./hack/demo up|down

Settings, from the environment:
  DEMO_CLUSTER=auto      kind if it is installed with a Docker daemon, else a
                         single node built from Go modules; or kind, or local
  DEMO_KUBECONFIG=FILE   use this cluster instead. It needs as well:
    DEMO_IMAGE             an image of the operator that the cluster can pull
    DEMO_INGRESS_CLASS     the class of the cluster's ingress controller
    DEMO_INGRESS_ADDRESS   the IP address at which the controller answers on 443
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) != 1 || (args[0] != "up" && args[0] != "down") {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	progress := newProgress(os.Stdout)
	var err error
	if args[0] == "down" {
		err = down(ctx, progress)
	} else {
		s, wrong := settingsFrom(os.Getenv)
		if wrong != nil {
			fmt.Fprintf(os.Stderr, "demo: %v\n\n%s", wrong, usage)
			return 2
		}
		err = up(ctx, s, progress)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\nInterrupted. \"make demo\" goes on from here, \"make demo-down\" removes everything.")
		return 130
	default:
		progress.fail(err)
		return 1
	}
}

// failure is an error with what helps to understand it and what to do next.
type failure struct {
	err    error
	detail string // log lines, conditions, events
	next   string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// advise adds what to do next, unless the error knows better already.
func advise(err error, next string) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	return &failure{err: err, next: next}
}
