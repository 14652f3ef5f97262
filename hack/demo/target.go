// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// target is the Kubernetes that the demo runs on.
type target interface {
	// up brings it up, or checks it.
	up(ctx context.Context) error
	// loadImage makes the image in a docker archive available to the nodes.
	loadImage(ctx context.Context, archive string) error
	// ingress is the class and address of its ingress controller.
	ingress(ctx context.Context) (class string, address netip.Addr, err error)
	// trust lets the nodes resolve the registry's hosts and trust its authority.
	trust(ctx context.Context, hosts []string) error
	// kubectl and kubeconfig are paths.
	kubectl(ctx context.Context) (string, error)
	kubeconfig() string
	// down takes it away, or what the demo did to it.
	down(ctx context.Context) (removed []string, err error)
}

// record is what demo-down has to know, kept in a file between the two.
type record struct {
	Cluster    string `json:"cluster"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
}

// stateDir holds the demo's own files.
func stateDir() (string, error) {
	root, err := localcluster.Root()
	return filepath.Join(root, name), err
}

func recordFile() (string, error) {
	dir, err := stateDir()
	return filepath.Join(dir, "demo.json"), err
}

// loadRecord returns nil without an error if no demo is up.
func loadRecord() (*record, error) {
	file, err := recordFile()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	return r, json.Unmarshal(data, r)
}

func (r *record) save() error {
	file, err := recordFile()
	if err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

// choose decides on the cluster and keeps to it until demo-down.
func choose(ctx context.Context, s settings, kindIsUsable func(context.Context) bool) (*record, error) {
	r := &record{Cluster: s.cluster}
	if s.cluster == external {
		path, err := filepath.Abs(s.kubeconfig)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("DEMO_KUBECONFIG: %w", err)
		}
		r.Kubeconfig = path
	}
	old, err := loadRecord()
	if err != nil {
		return nil, err
	}
	switch {
	case old != nil && r.Cluster == auto:
		return old, nil
	case old != nil && *old != *r:
		return nil, &failure{
			err:  fmt.Errorf("the demo is up on another cluster (%s %s)", old.Cluster, old.Kubeconfig),
			next: "make demo-down, then make demo again.",
		}
	case r.Cluster == auto:
		r.Cluster = local
		if kindIsUsable(ctx) {
			r.Cluster = kind
		}
	}
	return r, r.save()
}

func kindIsUsable(ctx context.Context) bool {
	if _, err := exec.LookPath("kind"); err != nil {
		return false
	}
	return exec.CommandContext(ctx, "docker", "info").Run() == nil
}

// targetOf makes the target that the record names.
func targetOf(r *record, s settings, c *localcluster.Cluster, p *progress) (target, error) {
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	switch r.Cluster {
	case local:
		return &localTarget{cluster: c}, nil
	case kind:
		return &kindTarget{cluster: c, dir: dir, progress: p}, nil
	case external:
		return &externalTarget{cluster: c, settings: s, path: r.Kubeconfig, progress: p}, nil
	}
	return nil, fmt.Errorf("unknown kind of cluster %q in the demo's record", r.Cluster)
}

// output runs a command and returns what it printed; an error has the last lines.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err,
			tail(stdout.String()+stderr.String(), 20))
	}
	return stdout.String(), nil
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// tool returns the directory of a group of hack/tools.sh, which shows its progress.
func tool(ctx context.Context, p *progress, group string) (string, error) {
	cmd := exec.CommandContext(ctx, "hack/tools.sh", group)
	cmd.Stderr = p
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("hack/tools.sh %s: %w", group, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// localTarget is a node of its own on this machine.
type localTarget struct {
	cluster *localcluster.Cluster
}

func (t *localTarget) up(ctx context.Context) error {
	return advise(t.cluster.Up(ctx, localcluster.UpOptions{}),
		"the last lines above say which part failed. \"make demo-down\" and \"make demo\" start afresh.")
}

func (t *localTarget) loadImage(ctx context.Context, archive string) error {
	return t.cluster.LoadImage(ctx, archive)
}

func (t *localTarget) ingress(context.Context) (string, netip.Addr, error) {
	ip, err := t.cluster.NodeIP()
	return localcluster.IngressClass, ip, err
}

func (t *localTarget) trust(ctx context.Context, hosts []string) error {
	return t.cluster.AddRegistryHosts(ctx, hosts...)
}

func (t *localTarget) kubectl(context.Context) (string, error) { return t.cluster.KubectlPath() }
func (t *localTarget) kubeconfig() string                      { return t.cluster.Kubeconfig() }

func (t *localTarget) down(ctx context.Context) ([]string, error) { return t.cluster.Down(ctx) }

// externalTarget is a cluster that somebody else runs.
type externalTarget struct {
	cluster  *localcluster.Cluster // for the Docker daemon and the authority
	settings settings
	path     string
	progress *progress
}

func (t *externalTarget) up(ctx context.Context) error {
	if err := t.cluster.EnsureAuthority(); err != nil {
		return err
	}
	path, err := t.kubectl(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "--kubeconfig", t.path, "get", "ingressclass", t.settings.ingressClass, "--output=name")
	_, err = output(ctx, cmd)
	return advise(err, "DEMO_KUBECONFIG must lead to a cluster that has the ingress class of DEMO_INGRESS_CLASS.")
}

// The image comes from where DEMO_IMAGE says.
func (t *externalTarget) loadImage(context.Context, string) error { return nil }

func (t *externalTarget) ingress(context.Context) (string, netip.Addr, error) {
	return t.settings.ingressClass, t.settings.ingressAddress, nil
}

func (t *externalTarget) trust(_ context.Context, hosts []string) error {
	t.progress.say("The nodes of this cluster are not ours to change. For the last step they must resolve\n  %s to %s\nand trust the authority in\n  %s",
		strings.Join(hosts, ", "), t.settings.ingressAddress, t.cluster.CACert())
	return nil
}

func (t *externalTarget) kubectl(ctx context.Context) (string, error) {
	dir, err := tool(ctx, t.progress, "kubectl")
	return filepath.Join(dir, "kubectl"), err
}

func (t *externalTarget) kubeconfig() string { return t.path }

func (t *externalTarget) down(ctx context.Context) ([]string, error) {
	removed, err := t.cluster.Down(ctx)
	if err != nil {
		return removed, err
	}
	path, err := t.kubectl(ctx)
	if err != nil {
		return removed, err
	}
	// The operator goes last: it answers for the finalizers of the instance.
	for _, args := range [][]string{
		{"delete", "namespace", namespace, "--ignore-not-found"},
		{"delete", "--kustomize", "config/default", "--ignore-not-found"},
	} {
		out, err := output(ctx, exec.CommandContext(ctx, path, append([]string{"--kubeconfig", t.path, "--wait", "--timeout=120s"}, args...)...))
		for line := range strings.Lines(out) {
			removed = append(removed, strings.TrimSpace(line))
		}
		if err != nil {
			file, _ := recordFile()
			return removed, &failure{err: err, next: fmt.Sprintf("make demo-down again, or remove %s if the cluster of %s is gone.", file, t.path)}
		}
	}
	return removed, nil
}
