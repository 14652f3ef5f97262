// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// helm is the command, of one of its two living versions.
type helm struct {
	program string
	homes   *homes
	// kubeconfig is a cluster's to install to: an API server and no node.
	kubeconfig string
	tooLarge   string // a chart that no registry has
}

func helmClient(version int) client {
	h := &helm{}
	onChart, group := []string{chart}, fmt.Sprintf("helm%d", version)
	return client{
		name: fmt.Sprintf("helm %d", version), group: group, module: fmt.Sprintf("helm.sh/helm/v%d", version),
		about: ", with `--plain-http`; it installs to an API server without nodes.",
		lacks: []string{"copy", "delete", "list tags", "list repositories"},
		start: func(t *testing.T, b *bench) { h.start(t, b, group) },
		verbs: []verb{
			{name: "registry login, logout", run: h.logsIn, on: aboutRepositories},
			{name: "push", run: h.pushes, on: onChart},
			{name: "pull", run: func(j *job) error { return h.pulls(j, ":"+chartVersion) }, on: onChart},
			{name: "pull by digest", run: func(j *job) error { return h.pulls(j, "@"+j.content.parts[0].root.Digest.String()) }, on: onChart},
			{name: "show", run: h.shows, on: onChart},
			{name: "template", run: h.templates, on: onChart},
			{name: "dependency update", run: h.updatesDependencies, on: onChart},
			{name: "install, upgrade, uninstall", run: h.installs, on: onChart},
		},
		refusals: &refusals{attempt: h.attempt},
	}
}

func (h *helm) start(t *testing.T, b *bench, group string) {
	h.program = b.tool(t, group, "helm")
	h.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := h.in(ctx, home, as.token, "registry", "login", "--plain-http", r.addr, "--username", as.name, "--password-stdin")
		return err
	})
	log.SetLogger(logr.Discard())
	cluster := &envtest.Environment{
		BinaryAssetsDirectory:    filepath.Dir(b.tool(t, "control-plane", "kube-apiserver")),
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}
	if _, err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	filler := make([]byte, overLimit)
	if _, err := rand.Read(filler); err != nil {
		t.Fatal(err)
	}
	large, err := chartArchive(filler)
	if err != nil {
		t.Fatal(err)
	}
	h.tooLarge = filepath.Join(t.TempDir(), chartFile)
	if err := os.WriteFile(h.tooLarge, large, 0o600); err != nil {
		t.Fatal(err)
	}
	h.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(h.kubeconfig, cluster.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *helm) in(ctx context.Context, home, stdin string, arguments ...string) (string, error) {
	environment := []string{"HELM_CONFIG_HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_DATA_HOME=" + home, "HELM_REGISTRY_CONFIG=" + filepath.Join(home, "registry.json"), "KUBECONFIG=" + h.kubeconfig}
	return command(ctx, environment, stdin, h.program, arguments...)
}

func (h *helm) as(j *job, as user, arguments ...string) (string, error) {
	home, err := h.homes.of(j, j.open(), as)
	if err != nil {
		return "", err
	}
	return h.in(j, home, "", arguments...)
}

func (h *helm) logsIn(j *job) error {
	if _, err := h.in(j, j.dir, monalisa.token, "registry", "login", "--plain-http", j.open().addr, "--username", monalisa.name, "--password-stdin"); err != nil {
		return err
	}
	_, err := h.in(j, j.dir, "", "registry", "logout", j.open().addr)
	return err
}

// packed is the path of the chart that helm package would make.
func packed(c content) string { return filepath.Join(string(c.parts[0].layout), chartFile) }

// chartOf is an image's name as helm writes a chart's.
func chartOf(image string) string { return "oci://" + strings.TrimSuffix(image, ":"+chartVersion) }

func (h *helm) pushes(j *job) error {
	image := j.own("push", j.content.parts[0])
	parent := strings.TrimSuffix(chartOf(image), "/"+chartName)
	for range 2 {
		if _, err := h.as(j, monalisa, "push", "--plain-http", packed(j.content), parent); err != nil {
			return err
		}
	}
	archive, err := os.ReadFile(packed(j.content))
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if _, err := j.wire().manifest(j, image, &manifest); err != nil {
		return err
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].Digest != digest.FromBytes(archive) {
		return fmt.Errorf("the chart is %v", manifest.Layers)
	}
	name, _ := splitImage(image)
	return errors.Join(j.wire().has(j, name, node{manifest.Layers[0], false}), j.wire().has(j, name, node{manifest.Config, false}))
}

func (h *helm) pulls(j *job, reference string) error {
	if _, err := h.as(j, hubot, "pull", "--plain-http", "--destination", j.dir, chartOf(j.seeded(j.content.parts[0]))+reference); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(j.dir, "*.tgz"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("pulled were the files %v: %w", files, err)
	}
	got, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	want, err := os.ReadFile(packed(j.content))
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("the chart came back changed")
	}
	return err
}

func (h *helm) shows(j *job) error {
	seed := chartOf(j.seeded(j.content.parts[0]))
	metadata, err := h.as(j, hubot, "show", "chart", "--plain-http", seed, "--version", chartVersion)
	if err != nil {
		return err
	}
	values, err := h.as(j, hubot, "show", "values", "--plain-http", seed) // the newest version
	return errors.Join(err, contains(metadata, "name: "+chartName), contains(values, "answer: from the registry"))
}

func (h *helm) templates(j *job) error {
	out, err := h.as(j, hubot, "template", "release", chartOf(j.seeded(j.content.parts[0])), "--plain-http", "--version", chartVersion)
	return errors.Join(err, contains(out, `answer: "from the registry"`))
}

// updatesDependencies fetches what a chart depends on.
func (h *helm) updatesDependencies(j *job) error {
	repository := strings.TrimSuffix(chartOf(j.seeded(j.content.parts[0])), "/"+chartName)
	parent := "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- {name: " + chartName + ", version: ^1.0.0, repository: '" + repository + "'}\n"
	if err := os.WriteFile(j.path("Chart.yaml"), []byte(parent), 0o644); err != nil {
		return err
	}
	if _, err := h.as(j, hubot, "dependency", "update", "--plain-http", j.dir); err != nil {
		return err
	}
	_, err := os.Stat(j.path("charts/" + chartName + "-" + chartVersion + ".tgz"))
	return err
}

func (h *helm) installs(j *job) error {
	seed := chartOf(j.seeded(j.content.parts[0]))
	for _, arguments := range [][]string{
		{"install", "release", seed, "--plain-http", "--version", chartVersion},
		{"upgrade", "release", seed, "--plain-http", "--version", chartVersion, "--set", "answer=changed"},
		{"get", "manifest", "release"},
		{"uninstall", "release"},
	} {
		out, err := h.as(j, hubot, arguments...)
		if err != nil {
			return err
		}
		if arguments[0] == "get" {
			if err := contains(out, `answer: "changed"`); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *helm) attempt(j *job, r *registry, as user, image string) error {
	home, err := h.homes.of(j, r, as)
	if err != nil {
		return err
	}
	_, err = h.in(j, home, "", "push", "--plain-http", h.tooLarge, chartOf(image))
	return err
}
