// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/check"
	"github.com/packages-operator/packages-operator/controllers"
)

// checkOptions are the flags of the check subcommand.
type checkOptions struct {
	kubeconfig   string
	target       check.Target
	passwordFile string
	caFile       string
	timeout      time.Duration
}

func newCheckCommand() *cobra.Command {
	var options checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Log in to an instance, push and pull, and say what is wrong",
		Long: `check waits until an instance and one of its tokens are ready, logs in as docker
does, pushes an image of 64 KiB, pulls it again, compares, and deletes it if the
token may. If the instance does not become ready, it says why.

Without --instance it only waits until the cluster serves the operator's kinds.`,
		Example: `  # From where docker runs: through the ingress controller.
  packages-operator check --kubeconfig ~/.kube/config --namespace packages --instance acme \
    --token monalisa --repository octocat/octo-app

  # In a pod: past the ingress controller, with the token's Secret mounted.
  packages-operator check --namespace packages --instance acme --token monalisa \
    --repository octocat/octo-app --via-service --password-file /token/password`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), options.timeout)
			defer cancel()
			return options.run(ctx, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&options.kubeconfig, "kubeconfig", "", "path of a kubeconfig file; without it the command expects to run in a pod")
	f.StringVar(&options.target.Namespace, "namespace", "", "the namespace of the instance")
	f.StringVar(&options.target.Instance, "instance", "", "the name of the PackagesInstance")
	f.StringVar(&options.target.Token, "token", "", "the name of the PackagesToken")
	f.StringVar(&options.target.Repository, "repository", "", "the OWNER/REPOSITORY to push to (default: the first that the token is narrowed to)")
	f.BoolVar(&options.target.ViaService, "via-service", false, "go to the instance's Service, from within the cluster, rather than to its URL")
	f.StringVar(&options.passwordFile, "password-file", "", "a file with the token's value (default: its Secret, read from the cluster)")
	f.StringVar(&options.caFile, "ca-file", "", "a file with PEM certificates of authorities to trust beside the system's")
	f.DurationVar(&options.timeout, "timeout", 2*time.Minute, "how long all of it may take")
	return cmd
}

func (o *checkOptions) run(ctx context.Context, stdout io.Writer) error {
	report := func(text string) { _, _ = fmt.Fprintln(stdout, text) }
	if err := o.complete(); err != nil {
		return err
	}
	transport, err := o.transport()
	if err != nil {
		return err
	}
	cluster, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	if err := waitForKinds(ctx, cluster); err != nil {
		return err
	}
	report("the cluster serves the kinds of packages-operator")
	if o.target.Instance == "" {
		return nil
	}
	scheme, err := controllers.NewScheme()
	if err != nil {
		return err
	}
	reader, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	registry, err := o.target.Find(ctx, reader, report)
	if err != nil {
		return err
	}
	if o.target.ViaService {
		if err := registry.Reach(ctx); err != nil {
			return err
		}
	}
	registry.Transport, registry.Random = transport, rand.Reader
	return registry.Round(ctx)
}

// complete refuses flags that miss something, and reads the password.
func (o *checkOptions) complete() error {
	if o.target.Instance == "" {
		if o.target.Namespace+o.target.Token+o.target.Repository+o.passwordFile+o.caFile != "" || o.target.ViaService {
			return errors.New("without --instance there is nothing to log in to: write --instance, or --kubeconfig and --timeout alone")
		}
		return nil
	}
	if o.target.Namespace == "" || o.target.Token == "" {
		return errors.New("--instance needs --namespace and --token")
	}
	if o.passwordFile == "" {
		return nil
	}
	content, err := os.ReadFile(o.passwordFile)
	if err != nil {
		return fmt.Errorf("read --password-file: %w", err)
	}
	if o.target.Password = strings.TrimSpace(string(content)); o.target.Password == "" {
		return fmt.Errorf("--password-file %s is empty", o.passwordFile)
	}
	return nil
}

func (o *checkOptions) transport() (http.RoundTripper, error) {
	if o.caFile == "" {
		return http.DefaultTransport, nil
	}
	content, err := os.ReadFile(o.caFile)
	if err != nil {
		return nil, fmt.Errorf("read --ca-file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("--ca-file %s has no certificate", o.caFile)
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, nil
}

// waitForKinds waits for CustomResourceDefinitions that were applied a moment ago.
func waitForKinds(ctx context.Context, cluster *rest.Config) error {
	finder, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		err := controllers.Preflight(finder)
		if err == nil || errors.Is(err, controllers.ErrOldKubernetes) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
