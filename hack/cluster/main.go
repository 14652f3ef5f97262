// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command cluster runs local Kubernetes clusters; see package localcluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/packages-operator/packages-operator/hack/localcluster"
	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

const usage = `usage: go run ./hack/cluster COMMAND [flags]

  up              bring a cluster up, or check it; --registry-host HOST, repeated,
                  lets its node pull from registries behind its own Traefik
  down            take it down, with its Docker daemon; nothing stays behind
  status          list clusters and how their programs do
  kubeconfig      print the path of the administrator's kubeconfig
  kubectl         print the path of a kubectl of the cluster's version
  load-image      import image archives into the node: load-image --name NAME FILE.tar...
  registry-host   let node (and Docker daemon) know further --registry-host HOSTs
  cert            sign a certificate: cert --name NAME --host HOST... --out DIR
  stop-apiserver  stop the API server; everything else goes on
  start-apiserver start it again
  docker-up       a Docker daemon that knows every --registry-host; prints its environment
  docker-down     take that away

Every command but status takes --name NAME (default "dev"). State is kept in
$PACKAGES_OPERATOR_CACHE, or packages-operator in your cache directory.
`

func main() {
	machine.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	command := args[0]
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, usage) }
	name := flags.String("name", "dev", "")
	out := flags.String("out", ".", "")
	var hosts, certHosts list
	flags.Var(&hosts, "registry-host", "")
	flags.Var(&certHosts, "host", "")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if command == "status" {
		return status(ctx, stdout)
	}
	if flags.NArg() > 0 && command != "load-image" {
		return fmt.Errorf("%s takes no argument %q", command, flags.Arg(0))
	}
	c, err := localcluster.Open(*name)
	if err != nil {
		return err
	}
	c.Log = stderr

	switch command {
	case "up":
		if err := c.Up(ctx, localcluster.UpOptions{RegistryHosts: hosts}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, "export KUBECONFIG="+c.Kubeconfig())
		return err
	case "down":
		return report(stdout, c.Down)(ctx)
	case "kubeconfig":
		if _, err := c.NodeIP(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, c.Kubeconfig())
		return err
	case "kubectl":
		path, err := c.KubectlPath()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, path)
		return err
	case "load-image":
		for _, file := range flags.Args() {
			if err := c.LoadImage(ctx, file); err != nil {
				return err
			}
		}
		return nil
	case "registry-host":
		return c.AddRegistryHosts(ctx, hosts...)
	case "cert":
		return writeCertificate(c, *out, certHosts)
	case "stop-apiserver":
		return c.StopComponent(ctx, localcluster.APIServer)
	case "start-apiserver":
		return c.StartComponent(ctx, localcluster.APIServer)
	case "docker-up":
		return dockerUp(ctx, c, hosts, stdout)
	case "docker-down":
		return report(stdout, c.Docker().Down)(ctx)
	default:
		return fmt.Errorf("unknown command %q; see --help", command)
	}
}

func report(stdout io.Writer, down func(context.Context) ([]string, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		removed, err := down(ctx)
		for _, item := range removed {
			_, _ = fmt.Fprintln(stdout, "removed", item)
		}
		if err == nil && len(removed) == 0 {
			_, _ = fmt.Fprintln(stdout, "nothing to remove")
		}
		return err
	}
}

func dockerUp(ctx context.Context, c *localcluster.Cluster, hosts []string, stdout io.Writer) error {
	options, err := c.DockerOptions(hosts...)
	if err != nil {
		return err
	}
	if err := c.Docker().Up(ctx, options); err != nil {
		return err
	}
	env, err := c.Docker().Env()
	if err != nil {
		return err
	}
	for _, entry := range env {
		if _, err := fmt.Fprintln(stdout, "export", entry); err != nil {
			return err
		}
	}
	return nil
}

func writeCertificate(c *localcluster.Cluster, dir string, hosts []string) error {
	cert, key, err := c.IssueCertificate(hosts...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600)
}

func status(ctx context.Context, stdout io.Writer) error {
	clusters, err := localcluster.List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CLUSTER\tADDRESS\tPROGRAM\tSTATE\tSINCE\tEXIT")
	for _, c := range clusters {
		address := "-"
		if ip, err := c.NodeIP(); err == nil {
			address = ip.String()
		}
		components, err := c.Components(ctx)
		if err != nil {
			_, _ = fmt.Fprintf(w, "%s\t%s\t-\tnot running\t\t\n", c.Name(), address)
			continue
		}
		if daemon, err := c.Docker().Components(ctx); err == nil {
			components = append(components, daemon...)
		}
		for _, p := range components {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name(), address, p.Name, p.State, p.Since.Format("15:04:05"), p.Exit)
		}
	}
	return w.Flush()
}
