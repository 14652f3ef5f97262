// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

const (
	release   = "packages-operator"
	chartPath = repositoryRoot + "/charts/packages-operator"
)

// helm is one version of helm, as somebody who installs the operator uses it.
type helm struct{ path string }

func helm3(ctx context.Context) helm { return helm{toolPath(ctx, "helm3", "helm")} }
func helm4(ctx context.Context) helm { return helm{toolPath(ctx, "helm4", "helm")} }

// toolPath is where hack/tools.sh has a program.
func toolPath(ctx context.Context, group, name string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, filepath.Join(repositoryRoot, "hack/tools.sh"), group)
	cmd.Stderr = GinkgoWriter
	out, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), "hack/tools.sh %s", group)
	return filepath.Join(strings.TrimSpace(string(out)), name)
}

// run returns standard output and what standard error says if it fails.
func (h helm) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	home := filepath.Join(env.work, "helm")
	cmd := exec.CommandContext(ctx, h.path, args...)
	cmd.Env = append(localcluster.WithoutProxies(os.Environ()), "KUBECONFIG="+env.cluster.Kubeconfig(),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "HELM_NAMESPACE="+operatorNamespace)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	err = cmd.Run()
	return out.String(), errors.String(), err
}

func (h helm) must(ctx context.Context, args ...string) string {
	GinkgoHelper()
	stdout, stderr, err := h.run(ctx, args...)
	Expect(err).NotTo(HaveOccurred(), "helm %s: %s%s", strings.Join(args, " "), stdout, stderr)
	return stdout
}

// operatorImage is the image that the run installs, without and with its tag.
func (e *environment) imageFlags() []string {
	repository, tag, _ := strings.Cut(e.image, ":")
	return []string{"--set", "image.repository=" + repository, "--set", "image.tag=" + tag}
}

// install installs the operator for all namespaces, or upgrades it to that.
func (h helm) install(ctx context.Context, args ...string) {
	GinkgoHelper()
	args = append([]string{"upgrade", "--install", release, chartPath, "--reset-values"}, args...)
	h.must(ctx, append(args, env.imageFlags()...)...)
	eventuallyRolledOut(ctx)
}

// declared is an instance that the chart declares when the suite installs it, in a
// cluster that has not heard of its kind if it is a new one.
func declared() place {
	return place{sharedNamespace + "-declared", "declared", "declared." + env.domain}
}

func declaredInstance() []string {
	at := declared()
	return []string{
		"--set", "instances[0].name=" + at.instance,
		"--set", "instances[0].namespace=" + at.namespace,
		"--set", "instances[0].spec.hostname=" + at.hostname,
		"--set", "instances[0].spec.storage.filesystem.size=1Gi",
		"--set", "instances[0].spec.deletionPolicy=Delete",
	}
}
