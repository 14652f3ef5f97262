// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// buildkit is buildctl, with a daemon of its own.
type buildkit struct {
	program string
	daemon  *daemon
	homes   *homes
}

func buildkitClient() client {
	k := &buildkit{}
	return client{
		name: "buildkit", group: "buildkit", module: "github.com/moby/buildkit", about: ": `buildkitd` with its OCI worker, and `buildctl build` with the Dockerfile frontend. It uses docker's logins.",
		lacks: []string{"log in", "copy", "delete", "list tags", "list repositories", "list referrers"},
		start: k.start,
		verbs: []verb{
			{name: "build and push", run: k.builds, on: []string{attestedIndex, manyLayers, bigLayer}},
			{name: "build FROM", run: k.buildsFrom, on: images},
			{name: "cache export, import", run: k.caches, on: []string{attestedIndex, manyLayers}},
		},
		refusals: &refusals{attempt: k.attempt},
	}
}

func (k *buildkit) start(t *testing.T, b *bench) {
	k.program = b.tool(t, "buildkit", "buildctl")
	config := "root = \"${DIR}/data\"\n[worker.containerd]\n  enabled = false\n[worker.oci]\n  enabled = true\n"
	for _, r := range b.registries {
		config += fmt.Sprintf("[registry.%q]\n  http = true\n", r.addr)
	}
	k.daemon = newDaemon(t, b, daemonSpec{
		name:  "buildkitd",
		args:  []string{filepath.Join(filepath.Dir(k.program), "buildkitd"), "--config=${DIR}/buildkitd.toml", "--addr=unix://${DIR}/buildkitd.sock", "--group=root"},
		path:  []string{filepath.Dir(k.program)},
		files: map[string]string{"buildkitd.toml": config},
	}, func(d *daemon) error {
		_, err := command(t.Context(), nil, "", k.program, "--addr", "unix://"+d.path("buildkitd.sock"), "debug", "workers")
		return err
	})
	k.homes = newHomes(t, func(_ context.Context, home string, r *registry, as user) error { return writeDockerLogin(home, r, as) })
}

// writeDockerLogin writes the file that docker login writes.
func writeDockerLogin(home string, r *registry, as user) error {
	auth := base64.StdEncoding.EncodeToString([]byte(as.name + ":" + as.token))
	return os.WriteFile(filepath.Join(home, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, r.addr, auth), 0o600)
}

// build builds the Dockerfile in the job's directory and pushes what comes out. It
// returns the log.
func (k *buildkit) build(j *job, as user, image, output string, flags ...string) (string, error) {
	home, err := k.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	// The log is on standard error: one line can carry both, for a shell.
	arguments := append([]string{"--addr", "unix://" + k.daemon.path("buildkitd.sock"), "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--local", "context=" + j.dir, "--local", "dockerfile=" + j.dir, "--output", "type=image,name=" + image + ",push=true,oci-mediatypes=true" + output}, flags...)
	return command(j, []string{"DOCKER_CONFIG=" + home}, "", "sh", append([]string{"-c", `exec "$0" "$@" 2>&1`, k.program}, arguments...)...)
}

// dockerfile writes a Dockerfile, and count files of size random bytes to copy.
func dockerfile(j *job, from string, count int, size int64) error {
	text := "FROM " + from + "\n"
	l, err := newLayout(j.path("layout"))
	if err != nil {
		return err
	}
	for i := range count {
		d, err := l.put(digest.SHA256, "", randomBytes(size))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("file-%d", i)
		if err := os.Rename(l.path(d.Digest), j.path(name)); err != nil {
			return err
		}
		text += "COPY " + name + " /\n"
	}
	return errors.Join(os.RemoveAll(string(l)), os.WriteFile(j.path("Dockerfile"), []byte(text+"CMD [\"/file-0\"]\n"), 0o644))
}

// twoArchitectures and their provenance make an index.
var twoArchitectures = []string{"--opt", "platform=linux/amd64,linux/arm64", "--opt", "attest:provenance=mode=max"}

// builds content of its own of each kind.
func (k *buildkit) builds(j *job) error {
	image := j.own("build", j.content.parts[0])
	switch j.content.name {
	case attestedIndex:
		if _, err := k.buildFiles(j, image, "", 1, 1000, twoArchitectures...); err != nil {
			return err
		}
		var index ocispec.Index
		if _, err := j.wire().manifest(j, image, &index); err != nil {
			return err
		}
		if len(index.Manifests) != 4 || index.Manifests[3].Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
			return fmt.Errorf("the index has %v", index.Manifests)
		}
	case manyLayers:
		if _, err := k.buildFiles(j, image, "", 60, 500); err != nil {
			return err
		}
	case bigLayer:
		if _, err := k.buildFiles(j, image, ",compression=uncompressed", 1, 2*gibibyte); err != nil {
			return err
		}
	}
	return j.wire().complete(j, image)
}

func (k *buildkit) buildFiles(j *job, image, output string, count int, size int64, flags ...string) (string, error) {
	if err := dockerfile(j, "scratch", count, size); err != nil {
		return "", err
	}
	log, err := k.build(j, monalisa, image, output, flags...)
	return log, errors.Join(err, k.prune(j))
}

// prune makes the daemon forget all it has.
func (k *buildkit) prune(j *job) error {
	_, err := command(j, nil, "", k.program, "--addr", "unix://"+k.daemon.path("buildkitd.sock"), "prune", "--all")
	return err
}

// buildsFrom adds a layer to a content.
func (k *buildkit) buildsFrom(j *job) error {
	p := j.content.parts[0]
	image := j.own("from", p)
	if err := dockerfile(j, j.seeded(p), 1, 1000); err != nil {
		return err
	}
	if _, err := k.build(j, monalisa, image, ""); err != nil {
		return err
	}
	root, err := p.amd64()
	if err != nil {
		return err
	}
	before, err := p.layout.read(root)
	if err != nil {
		return err
	}
	var after ocispec.Manifest
	if _, err := j.wire().manifest(j, image, &after); err != nil {
		return err
	}
	if len(after.Layers) != len(before.Layers)+1 {
		return fmt.Errorf("%d layers came of %d", len(after.Layers), len(before.Layers))
	}
	return errors.Join(j.wire().complete(j, image), k.prune(j))
}

// caches builds twice; the second time with nothing but the registry's cache.
func (k *buildkit) caches(j *job) error {
	image := j.own("cached", j.content.parts[0])
	cache := "type=registry,ref=" + strings.TrimSuffix(image, chartVersion) + "cache"
	count, flags := 60, []string{}
	if j.content.name == attestedIndex {
		count, flags = 2, twoArchitectures
	}
	if _, err := k.buildFiles(j, image, "", count, 500, append(flags, "--export-cache", cache+",mode=max,image-manifest=true,oci-mediatypes=true")...); err != nil {
		return err
	}
	if err := j.wire().complete(j, strings.TrimSuffix(image, chartVersion)+"cache"); err != nil {
		return err
	}
	log, err := k.build(j, monalisa, image, "", append(flags, "--import-cache", cache)...)
	if err != nil {
		return err
	}
	if cached := strings.Count(log, " CACHED"); cached < count {
		return fmt.Errorf("%d steps came from the cache, not %d: %s", cached, count, log)
	}
	return k.prune(j)
}

func (k *buildkit) attempt(j *job, _ *registry, as user, image string) error {
	if err := dockerfile(j, "scratch", 1, overLimit); err != nil {
		return err
	}
	_, err := k.build(j, as, image, "")
	return errors.Join(err, k.prune(j))
}
