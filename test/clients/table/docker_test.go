// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker is the docker command with a daemon of its own.
type docker struct {
	daemon *daemon
	homes  *homes
	// store says that the daemon keeps images in containerd's store: as they came.
	store bool
}

var dockerLacks = []string{"copy", "delete", "list tags", "list repositories", "list referrers"}

func dockerClient() client {
	d := &docker{}
	const (
		noImage = "It takes images alone."
	)
	unsupported := []exception{
		{contents: []string{artifact}, says: "unsupported media type application/vnd.oci.empty.v1+json", note: noImage},
		{contents: []string{chart}, says: "unsupported media type application/vnd.cncf.helm.config.v1+json", note: noImage},
	}
	return client{
		name: "docker 20.10", about: "Debian 12's daemon, whose image store is its own. What it pushes is an image as it has it; an index is made with `docker manifest`.",
		lacks: dockerLacks,
		start: d.startDebian,
		verbs: []verb{
			{name: "login, logout", run: d.logsIn, on: aboutRepositories},
			{name: "push", run: d.pushes, on: []string{manyLayers, bigLayer, emptyLayer, signed}},
			{name: "pull", run: d.pulls, except: unsupported},
			{name: "pull by digest", run: d.pullsByDigest, except: unsupported},
			{name: "manifest inspect", run: d.inspects},
			{name: "manifest create, push", run: d.makesIndexes, on: []string{manyLayers, emptyLayer}},
		},
		refusals: &refusals{attempt: d.attempt},
	}
}

// newDockerClient is a daemon that keeps images as they came.
func newDockerClient() client {
	d := &docker{store: true}
	return client{
		name: "docker 29", group: "dockerd", module: "github.com/moby/moby/v2",
		about: ": the daemon, with containerd's image store (that of containerd 2 below). What it pushes is what was loaded.",
		lacks: dockerLacks,
		start: func(t *testing.T, b *bench) {
			program, store := b.tool(t, "dockerd", "dockerd"), filepath.Dir(b.tool(t, "containerd", "containerd"))
			d.start(t, b, daemonSpec{
				name: "docker29", args: []string{program, "--config-file=${DIR}/daemon.json"}, path: []string{filepath.Dir(program), store},
				// A command line as old as Debian's may talk to it.
				files: map[string]string{"daemon.json": `{"features": {"containerd-snapshotter": true}, "min-api-version": "1.40"}`},
			})
		},
		verbs: []verb{
			{name: "login, logout", run: d.logsIn, on: aboutRepositories},
			{name: "push", run: d.pushes, on: images, except: []exception{
				{contents: []string{sha512}, says: "content digest sha512:", note: "`docker load` names by SHA-256 what it reads from a file."},
			}},
			{name: "pull", run: d.pulls},
			{name: "pull by digest", run: d.pullsByDigest},
			{name: "manifest inspect", run: d.inspects},
		},
		refusals: &refusals{attempt: d.attempt},
	}
}

func (d *docker) startDebian(t *testing.T, b *bench) {
	d.start(t, b, daemonSpec{name: "docker", args: []string{"dockerd"}})
}

// start runs a daemon, with what all versions of it are given.
func (d *docker) start(t *testing.T, b *bench, spec daemonSpec) {
	if _, err := exec.LookPath("docker"); err != nil {
		t.Fatal("docker is not installed; run: hack/apt.sh docker")
	}
	spec.args = append(spec.args,
		"--data-root=${DIR}/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--host=unix://${DIR}/docker.sock", "--group=root",
		"--exec-opt=native.cgroupdriver=cgroupfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
	d.daemon = newDaemon(t, b, spec, func(up *daemon) error {
		_, err := command(t.Context(), []string{"DOCKER_HOST=unix://" + up.path("docker.sock")}, "", "docker", "version")
		return err
	})
	d.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := d.in(ctx, home, as.token, "login", r.addr, "-u", as.name, "--password-stdin")
		return err
	})
}

func (d *docker) in(ctx context.Context, home, stdin string, arguments ...string) (string, error) {
	environment := []string{"DOCKER_CONFIG=" + home, "DOCKER_HOST=unix://" + d.daemon.path("docker.sock"), "DOCKER_BUILDKIT=0"}
	return command(ctx, environment, stdin, "docker", arguments...)
}

func (d *docker) as(j *job, as user, image string, arguments ...string) (string, error) {
	home, err := d.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	return d.in(j, home, "", arguments...)
}

func (d *docker) logsIn(j *job) error {
	out, err := d.in(j, j.dir, monalisa.token, "login", j.open().addr, "-u", monalisa.name, "--password-stdin")
	if err := errors.Join(err, contains(out, "Login Succeeded")); err != nil {
		return err
	}
	_, err = d.in(j, j.dir, "", "logout", j.open().addr)
	return err
}

// load brings an image into the daemon without a registry.
func (d *docker) load(j *job, p part, image string) error {
	file := j.path("image.tar")
	write := dockerArchive
	if d.store {
		write = ociArchive
	}
	if err := write(file, p, image); err != nil {
		return err
	}
	_, err := d.in(j, j.dir, "", "load", "--input", file)
	return err
}

func (d *docker) pushes(j *job) error {
	p := j.content.parts[0]
	image := j.own("push", p)
	if err := d.load(j, p, image); err != nil {
		return err
	}
	defer d.forget(j, image)
	for range 2 {
		if _, err := d.as(j, monalisa, image, "push", image); err != nil {
			return err
		}
	}
	if d.store {
		return j.wire().holds(j, image, p)
	}
	return d.arrived(j, p, image)
}

// forget removes an image from the daemon, and its layers.
func (d *docker) forget(j *job, image string) {
	_, _ = d.in(context.WithoutCancel(j), j.dir, "", "image", "rm", "--force", image) // what stays only takes room
}

// arrived checks an image that the daemon wrote anew: config and layers are the
// same, though compressed again.
func (d *docker) arrived(j *job, p part, image string) error {
	before, err := p.layout.read(p.root)
	if err != nil {
		return err
	}
	var after ocispec.Manifest
	if _, err := j.wire().manifest(j, image, &after); err != nil {
		return err
	}
	if after.Config.Digest != before.Config.Digest || len(after.Layers) != len(before.Layers) {
		return fmt.Errorf("config %s and %d layers came of %s and %d", after.Config.Digest, len(after.Layers), before.Config.Digest, len(before.Layers))
	}
	name, _ := splitImage(image)
	for _, l := range after.Layers {
		if err := j.wire().has(j, name, node{l, false}); err != nil {
			return err
		}
	}
	return nil
}

func (d *docker) pulls(j *job) error {
	p := j.content.parts[0]
	return d.pull(j, p, j.seeded(p))
}

func (d *docker) pullsByDigest(j *job) error {
	p := j.content.parts[0]
	return d.pull(j, p, strings.TrimSuffix(j.seeded(p), ":"+p.tag)+"@"+p.root.Digest.String())
}

// pull pulls an image, and checks which one the daemon says it has.
func (d *docker) pull(j *job, p part, image string) error {
	if _, err := d.as(j, hubot, image, "pull", image); err != nil {
		return err
	}
	defer d.forget(j, image)
	out, err := d.in(j, j.dir, "", "image", "inspect", image)
	if err != nil {
		return err
	}
	var inspected []struct {
		ID          string `json:"Id"`
		RepoDigests []string
		RootFS      struct{ Layers []digest.Digest }
	}
	if err := json.Unmarshal([]byte(out), &inspected); err != nil || len(inspected) != 1 {
		return fmt.Errorf("docker image inspect says %s: %w", out, err)
	}
	// Its own store names by SHA-256 whatever the registry does, but for what was
	// asked for; containerd's takes the registry's names.
	manifest, err := p.layout.blob(p.root)
	if err != nil {
		return err
	}
	diffIDs, config, err := p.forAMD64()
	if err != nil {
		return err
	}
	name, asked, found := strings.Cut(strings.TrimSuffix(image, ":"+p.tag), "@")
	if !found {
		asked = digest.FromBytes(manifest).String()
	}
	id := digest.FromBytes(config).String()
	if d.store {
		asked, id = p.root.Digest.String(), p.root.Digest.String()
	}
	if inspected[0].ID != id || !slices.Equal(inspected[0].RootFS.Layers, diffIDs) || !slices.Contains(inspected[0].RepoDigests, name+"@"+asked) {
		return fmt.Errorf("pulled was %+v, not %s@%s, %s with %s", inspected[0], name, asked, id, diffIDs)
	}
	return nil
}

// forAMD64 has the uncompressed digests of the layers, and the config, of an image,
// or of the image for amd64 in an index.
func (p part) forAMD64() (diffIDs []digest.Digest, config []byte, err error) {
	root, err := p.amd64()
	if err != nil {
		return nil, nil, err
	}
	m, err := p.layout.read(root)
	if err != nil {
		return nil, nil, err
	}
	if config, err = p.layout.blob(*m.Config); err != nil {
		return nil, nil, err
	}
	var image ocispec.Image
	err = json.Unmarshal(config, &image)
	return image.RootFS.DiffIDs, config, err
}

// amd64 is the manifest that this machine would choose.
func (p part) amd64() (ocispec.Descriptor, error) {
	m, err := p.layout.read(p.root)
	if err != nil || len(m.Manifests) == 0 {
		return p.root, err
	}
	return m.Manifests[0], nil
}

func (d *docker) inspects(j *job) error {
	for _, p := range j.content.parts {
		root, err := p.amd64()
		if err != nil {
			return err
		}
		manifest, err := p.layout.blob(root)
		if err != nil {
			return err
		}
		out, err := d.as(j, hubot, j.seeded(p), "manifest", "inspect", "--insecure", "--verbose", j.seeded(p))
		if err := errors.Join(err, contains(out, digest.FromBytes(manifest).String())); err != nil {
			return err
		}
	}
	return nil
}

// makesIndexes makes an index of the one image, and pushes it.
func (d *docker) makesIndexes(j *job) error {
	p := j.content.parts[0]
	image, err := j.planted("list", p)
	if err != nil {
		return err
	}
	list := strings.TrimSuffix(image, p.tag) + "list"
	if _, err := d.as(j, monalisa, image, "manifest", "create", "--insecure", list, image); err != nil {
		return err
	}
	if _, err := d.as(j, monalisa, image, "manifest", "push", "--insecure", "--purge", list); err != nil {
		return err
	}
	var index ocispec.Index
	if _, err := j.wire().manifest(j, list, &index); err != nil {
		return err
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != p.root.Digest {
		return fmt.Errorf("the index has %v", index.Manifests)
	}
	return nil
}

// attempt pushes an image.
func (d *docker) attempt(j *job, _ *registry, as user, image string) error {
	if err := d.load(j, j.bench.tooLarge, image); err != nil {
		return err
	}
	defer d.forget(j, image)
	_, err := d.as(j, as, image, "push", image)
	return err
}
