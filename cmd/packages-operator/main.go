// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command packages-operator is the operator and the registry that it deploys.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker for releases.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := newCommand().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "packages-operator: "+err.Error())
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "packages-operator",
		Short: "Private Docker registries on Kubernetes, shaped like GitHub Packages",
		Long: `packages-operator gives a team its own private Docker registry, shaped like
GitHub Packages on GitHub Enterprise Server.

The manager reconciles PackagesInstances, PackagesOrganizations,
PackagesRepositories and PackagesTokens in a Kubernetes cluster. The registry serves docker; the manager
deploys it, and it also runs alone from YAML files.`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(newManagerCommand(), newRegistryCommand(), newCheckCommand())
	return cmd
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

// programIdentity differs between two builds, also of the same version.
func programIdentity() string {
	identity := buildVersion()
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			identity = fmt.Sprint(identity, " ", info.Size(), " ", info.ModTime().UnixNano())
		}
	}
	return identity
}

// logOptions are the flags of both subcommands.
type logOptions struct {
	format string
	level  string
}

func (o *logOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.format, "log-format", "json", "how log lines are written to standard error: json or text")
	flags.StringVar(&o.level, "log-level", "info", "what is logged: error, info, or debug, which adds every successful read and step of an upload")
}

func (o *logOptions) logger(w io.Writer) (logr.Logger, error) {
	var level slog.Level
	switch o.level {
	case "error":
		level = slog.LevelError
	case "info":
		level = slog.LevelInfo
	case "debug":
		// logr's verbosity 1 is slog's level -1.
		level = slog.Level(-1)
	default:
		return logr.Logger{}, fmt.Errorf("--log-level is %q; write error, info or debug", o.level)
	}
	handlerOptions := &slog.HandlerOptions{Level: level}
	switch o.format {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, handlerOptions)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, handlerOptions)), nil
	}
	return logr.Logger{}, fmt.Errorf("--log-format is %q; write json or text", o.format)
}
