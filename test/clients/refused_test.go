// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

const (
	overTheCap      = "the layer is larger than the 1Mi that this instance's docker.limits.maxLayerSize allows"
	foreignRejected = "is a foreign layer, whose bytes are kept elsewhere; this instance stores only images that it holds whole: its docker.foreignLayers is Reject"
)

// foreignImage is an image of a layer that must not be distributed.
func foreignImage(t *testing.T) v1.Image {
	t.Helper()
	return imageWith(t, "amd64", must[v1.Layer](t)(random.Layer(1000, types.OCIRestrictedLayer)))
}

func TestClientsShowWhatIsNotTaken(t *testing.T) {
	large, foreign := writeImage(t, imageOf(t, 1, 2<<20)), writeImage(t, foreignImage(t))
	for toolName, newTool := range tools {
		t.Run(toolName, func(t *testing.T) {
			tool, ctx := newTool(t), t.Context()
			p := samplePolicy()
			p.Limits.MaxLayerSize = 1 << 20
			r := registrytest.Start(t, p, registrytest.Options{})
			reasons := map[string]string{large: overTheCap, foreign: foreignRejected}
			if toolName == "regclient" {
				// It tells the status of a blob's refusal alone, after trying for a minute.
				delete(reasons, large)
			}
			for layout, reason := range reasons {
				if err := tool.push(ctx, monalisa, layout, r.Image("octocat/octo-app/image:1")); err == nil || !strings.Contains(err.Error(), reason) {
					t.Errorf("push: %v; want: %s", err, reason)
				}
			}
			p.Limits.MaxLayerSize, p.ForeignLayers = 0, policy.Allow
			r.Publish(t, p)
			for _, layout := range []string{large, foreign} {
				if err := tool.push(ctx, monalisa, layout, r.Image("octocat/octo-app/image:1")); err != nil {
					t.Errorf("push what is allowed: %v", err)
				}
			}
		})
	}
}

// A Docker daemon of Linux makes and pushes no foreign layers, but the docker
// command does when it pushes a manifest list: it puts the images of the list
// beside it.
func TestDockerShowsWhyAForeignLayerIsNotTaken(t *testing.T) {
	ctx, config := t.Context(), t.TempDir()
	docker := func(arguments ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "docker", arguments...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config, "DOCKER_CLI_EXPERIMENTAL=enabled")
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("docker is not installed; run: hack/apt.sh clients")
		}
		return string(out), err
	}
	p := samplePolicy()
	p.ForeignLayers = policy.Allow
	r := registrytest.Start(t, p, registrytest.Options{})
	windows, list := r.Image("octocat/octo-app/windows:1"), r.Image("octocat/octo-app/list:1")
	writeDockerLogin(t, config, r.Addr, monalisa)
	// In Docker's format: of others it does not know that a layer is foreign.
	base := must[v1.Image](t)(mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "windows", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}))
	foreign := must[v1.Image](t)(mutate.AppendLayers(base, must[v1.Layer](t)(random.Layer(1000, types.DockerForeignLayer))))
	if err := (crane{}).push(ctx, monalisa, writeImage(t, foreign), windows); err != nil {
		t.Fatal(err)
	}
	if out, err := docker("manifest", "create", "--insecure", list, windows); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.ForeignLayers = policy.Reject
	r.Publish(t, p)
	if out, err := docker("manifest", "push", "--insecure", list); err == nil || !strings.Contains(out, "manifest invalid: layers[0] (sha256:") || !strings.Contains(out, foreignRejected) {
		t.Errorf("docker says: %v, %s", err, out)
	}
	p.ForeignLayers = policy.Allow
	r.Publish(t, p)
	if out, err := docker("manifest", "push", "--insecure", list); err != nil {
		t.Errorf("docker says: %v, %s", err, out)
	}
}

// writeDockerLogin writes what docker login keeps.
func writeDockerLogin(t *testing.T, config, host string, as user) {
	t.Helper()
	content := must[[]byte](t)(json.Marshal(map[string]any{"auths": map[string]any{host: map[string]any{
		"auth": base64.StdEncoding.EncodeToString([]byte(as.name + ":" + as.value)),
	}}}))
	if err := os.WriteFile(filepath.Join(config, "config.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}
