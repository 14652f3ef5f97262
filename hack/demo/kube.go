// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// kube runs kubectl against the target, and never against another context.
type kube struct {
	path       string
	kubeconfig string
	cache      string
}

func newKube(ctx context.Context, t target) (*kube, error) {
	path, err := t.kubectl(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := stateDir()
	return &kube{path: path, kubeconfig: t.kubeconfig(), cache: filepath.Join(dir, "kubectl")}, err
}

func (k *kube) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig", k.kubeconfig}, args...)...)
	cmd.Env = append(localcluster.WithoutProxies(os.Environ()), "KUBECACHEDIR="+k.cache)
	return cmd
}

func (k *kube) run(ctx context.Context, args ...string) (string, error) {
	return output(ctx, k.command(ctx, args...))
}

func (k *kube) apply(ctx context.Context, objects string, args ...string) error {
	cmd := k.command(ctx, append([]string{"apply", "--server-side", "--force-conflicts", "--filename", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(objects)
	_, err := output(ctx, cmd)
	return err
}

// object is what the demo reads of any Kubernetes object.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name       string `json:"name"`
		Generation int64  `json:"generation"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Conditions         []condition `json:"conditions"`
		Phase              string      `json:"phase"`
	} `json:"status"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// ready says whether the object's Ready condition is true for what is declared
// now, and a line on how it stands.
func (o *object) ready() (bool, string) {
	line := strings.ToLower(o.Kind) + "/" + o.Metadata.Name + ": "
	i := slices.IndexFunc(o.Status.Conditions, func(c condition) bool { return c.Type == "Ready" })
	if i < 0 || o.Status.ObservedGeneration != o.Metadata.Generation {
		return false, line + "not looked at yet"
	}
	c := o.Status.Conditions[i]
	text := fmt.Sprintf("%sReady=%s %s", line, c.Status, c.Reason)
	if c.Status != "True" && c.Message != "" {
		text += ": " + c.Message
	}
	return c.Status == "True", text
}

func (k *kube) list(ctx context.Context, args ...string) ([]object, error) {
	out, err := k.run(ctx, append([]string{"get", "--output=json"}, args...)...)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []object }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read kubectl's list: %w", err)
	}
	return list.Items, nil
}

// waitReady waits until all of the demo's objects are Ready, and shows every
// change on the way.
func (k *kube) waitReady(ctx context.Context, p *progress, patience time.Duration) error {
	shown := map[string]string{}
	for deadline := time.Now().Add(patience); ; {
		items, err := k.list(ctx, "pkgi,pkgorg,pkgrepo,pkgtoken", "--namespace", namespace)
		if err != nil {
			return err
		}
		all := len(items) > 0
		for i := range items {
			ok, line := items[i].ready()
			all = all && ok
			key := items[i].Kind + "/" + items[i].Metadata.Name
			if shown[key] != line {
				shown[key] = line
				p.say("%s", line)
			}
		}
		if all {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not everything is Ready after %s", patience)
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// diagnosis gathers what a person would look at first. What cannot be read is
// left out: it is context for another error.
func (k *kube) diagnosis(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	var b strings.Builder
	for _, part := range []struct {
		title string
		lines int
		args  []string
	}{
		{"What is declared", 20, []string{"get", "pkgi,pkgorg,pkgrepo,pkgtoken", "--namespace", namespace, "--output=wide"}},
		{"Conditions that are not True", 20, []string{"get", "pkgi,pkgorg,pkgrepo,pkgtoken", "--namespace", namespace, "--output",
			`jsonpath={range .items[*]}{.kind}/{.metadata.name}: {range .status.conditions[?(@.status!="True")]}{.type}={.status} {.reason}: {.message}; {end}{"\n"}{end}`}},
		{"Pods", 20, []string{"get", "pods", "--all-namespaces", "--output=wide"}},
		{"Last events of " + namespace, 20, []string{"get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp"}},
		{"Last events of " + operatorNamespace, 10, []string{"get", "events", "--namespace", operatorNamespace, "--sort-by=.lastTimestamp"}},
		{"Operator's log", 12, []string{"logs", "--namespace", operatorNamespace, "--selector", "app.kubernetes.io/name=packages-operator", "--tail=12"}},
		{"Registry's log", 12, []string{"logs", "--namespace", namespace, "--selector", "packages-operator.io/instance=" + instance, "--tail=12"}},
	} {
		if out, err := k.run(ctx, part.args...); err == nil && strings.TrimSpace(out) != "" {
			fmt.Fprintf(&b, "--- %s\n%s\n\n", part.title, shorten(tail(out, part.lines), 300))
		}
	}
	return b.String()
}

// shorten cuts lines that are longer than width.
func shorten(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if runes := []rune(line); len(runes) > width {
			lines[i] = string(runes[:width]) + " …"
		}
	}
	return strings.Join(lines, "\n")
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
