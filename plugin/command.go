// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packages-operator/packages-operator/plugin/dockerconfig"
)

// Exit statuses of kubectl packages.
const (
	// ExitWell is for a command that did what it was asked.
	ExitWell = 0
	// ExitFailed is for one that did not, and for a status that shows something
	// wrong.
	ExitFailed = 1
	// ExitUnknown is for a status that could not be found out.
	ExitUnknown = 2
)

// CompletionProgram is the name by which kubectl calls the plugin to complete a
// command line.
const CompletionProgram = "kubectl_complete-packages"

// Environment is what the plugin needs of the process.
type Environment struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Home     func() (string, error)
	// Now is the clock.
	Now func() time.Time
	// Helper reaches docker's credential helpers.
	Helper dockerconfig.Helper
	// Version is the plugin's own.
	Version string
}

// OfProcess is the environment of this process.
func OfProcess(version string) Environment {
	return Environment{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Getenv: os.Getenv, Home: os.UserHomeDir, Now: time.Now,
		Helper: dockerconfig.Programs{}, Version: version,
	}
}

// Run runs the command line, the program's name first, and returns the exit status.
func Run(ctx context.Context, env Environment, args []string) int {
	root := newRoot(&env)
	words := args[1:]
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == CompletionProgram {
		words = append([]string{cobra.ShellCompRequestCmd}, words...)
	}
	root.SetArgs(words)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	var status *statusError
	switch {
	case err == nil:
		return ExitWell
	case errors.As(err, &status):
		if status.err != nil {
			complain(&env, status.err)
		}
		return status.code
	}
	complain(&env, err)
	return ExitFailed
}

func complain(env *Environment, err error) {
	_, _ = fmt.Fprintln(env.Err, "error: "+err.Error())
}

// statusError is an error with an exit status of its own; err may be nil if all was
// said.
type statusError struct {
	code int
	err  error
}

func (s *statusError) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}

func newRoot(env *Environment) *cobra.Command {
	root := &cobra.Command{
		Use:         "kubectl-packages",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl packages"},
		Short:       "Private Docker registries on Kubernetes, from the command line",
		Long: `kubectl packages is for people who use the registries of packages-operator:
it makes tokens, logs docker in with them, and shows how an instance is.`,
		Example: `  # How is the registry of this namespace?
  kubectl packages status

  # A token for monalisa, and docker logged in with it
  kubectl packages token create monalisa --scopes read:packages,write:packages
  kubectl packages login monalisa`,
		Version:       env.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cluster := newCluster(env.Err)
	cluster.addFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("namespace", completions(cluster.namespaces))
	_ = root.RegisterFlagCompletionFunc("context", completions(cluster.contexts))
	token := &cobra.Command{
		Use: "token", Short: "Make tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	token.AddCommand(newTokenCreate(env, cluster))
	root.AddCommand(newStatus(env, cluster), newLogin(env, cluster), newLogout(env, cluster), token, newVersion(env))
	return root
}

func newVersion(env *Environment) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.Out, env.Version)
			return err
		},
	}
}

// completions completes a word with what the cluster has, and with nothing if that
// cannot be found out.
func completions(list func(context.Context) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var found []string
		for _, name := range list(cmd.Context()) {
			if strings.HasPrefix(name, prefix) {
				found = append(found, name)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// firstArgument completes the first argument alone.
func firstArgument(list func(context.Context) []string) cobra.CompletionFunc {
	complete := completions(list)
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, prefix)
	}
}
