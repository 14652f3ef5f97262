// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-packages is a plugin of kubectl: kubectl packages. Under the name
// kubectl_complete-packages, a link to it, it completes command lines for kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/packages-operator/packages-operator/plugin"
)

// version is set by the linker for releases.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(plugin.Run(ctx, plugin.OfProcess(buildVersion()), os.Args))
}

// buildVersion falls back to what the Go toolchain recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
