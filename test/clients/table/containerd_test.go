// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerd is its command ctr, with a daemon of its own.
type containerd struct {
	program, hosts string
	daemon         *daemon
}

const containerdAbout = " `ctr` with a hosts directory; it logs in with every command. Docker and Kubernetes use the same library."

const (
	notNamed = "`ctr images import` names by SHA-256 what it reads from a file."
	noToken  = "failed to authorize: failed to fetch oauth token"
)

var containerdLacks = []string{"copy", "delete", "list tags", "list repositories", "list referrers"}

func containerdClient() client {
	c := &containerd{}
	notUnpacked := exception{
		contents: []string{artifact, chart}, says: "mismatched image rootfs and manifest layers",
		note: "It fetches an artifact, but then wants to unpack it as an image; `content fetch` does not.",
	}
	notTaken := exception{contents: []string{sha512}, says: "unexpected commit digest sha256", note: "This version's store has SHA-256 alone."}
	return client{
		name: "containerd 1.6", about: "Debian 12's daemon and" + containerdAbout, lacks: containerdLacks,
		start: func(t *testing.T, b *bench) {
			program, err := exec.LookPath("containerd")
			if err != nil {
				t.Fatal("containerd is not installed; run: hack/apt.sh node")
			}
			c.start(t, b, daemonSpec{name: "containerd1", args: []string{program}})
		},
		verbs: c.verbs(map[string][]exception{
			"images push": {{contents: []string{sha512}, says: "content digest sha512:", note: notNamed}},
			"images pull": {notUnpacked, notTaken}, "images pull by digest": {notUnpacked, notTaken}, "content fetch": {notTaken},
		}),
		refusals: &refusals{attempt: c.attempt, instead: map[string]string{
			"wrong token": noToken, "no right": "unexpected status: 403 Forbidden", "no such repository": "unexpected status: 404 Not Found",
			"read-only": "unexpected status: 405 Method Not Allowed", "over the limit": "io: read/write on closed pipe",
		}},
	}
}

func newContainerdClient() client {
	c := &containerd{}
	return client{
		name: "containerd 2", group: "containerd", module: "github.com/containerd/containerd/v2", about: ": the daemon and" + containerdAbout, lacks: containerdLacks,
		start: func(t *testing.T, b *bench) {
			program := b.tool(t, "containerd", "containerd")
			c.start(t, b, daemonSpec{name: "containerd2", args: []string{program}, path: []string{filepath.Dir(program)}})
		},
		verbs:    c.verbs(map[string][]exception{"images push": {{contents: []string{sha512}, says: "content digest sha512:", note: notNamed}}}),
		refusals: &refusals{attempt: c.attempt, instead: map[string]string{"wrong token": noToken}},
	}
}

func (c *containerd) verbs(except map[string][]exception) []verb {
	verbs := []verb{
		{name: "images push", run: c.pushes},
		{name: "images pull", run: func(j *job) error { return c.pulls(j, false) }},
		{name: "images pull by digest", run: func(j *job) error { return c.pulls(j, true) }},
		{name: "content fetch", run: c.fetches},
	}
	for i := range verbs {
		verbs[i].except = except[verbs[i].name]
	}
	return verbs
}

// Content that a namespace of containerd has is hidden from the others, so that
// every job fetches all it needs.
const containerdConfig = `version = 2
root = "${DIR}/data"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = "${DIR}/containerd.sock"
[ttrpc]
  address = "${DIR}/containerd.sock.ttrpc"
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
`

func (c *containerd) start(t *testing.T, b *bench, spec daemonSpec) {
	c.program = filepath.Join(filepath.Dir(spec.args[0]), "ctr")
	spec.args = append(spec.args, "--config=${DIR}/config.toml")
	spec.files = map[string]string{"config.toml": containerdConfig}
	for _, r := range b.registries {
		spec.files["hosts/"+r.addr+"/hosts.toml"] = fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n", "http://"+r.addr)
	}
	c.daemon = newDaemon(t, b, spec, func(d *daemon) error {
		_, err := command(t.Context(), nil, "", c.program, "--address", d.path("containerd.sock"), "version")
		return err
	})
	c.hosts = c.daemon.path("hosts")
}

// in runs ctr in a namespace of the job's.
func (c *containerd) in(j *job, arguments ...string) (string, error) {
	all := append([]string{"--address", c.daemon.path("containerd.sock"), "--namespace", filepath.Base(j.dir)}, arguments...)
	out, err := command(j, nil, "", c.program, all...)
	if err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(arguments[:2], " "), err)
	}
	return out, err
}

// as runs ctr images or ctr content for somebody, on an image.
func (c *containerd) as(j *job, as user, words []string, flags ...string) (string, error) {
	return c.in(j, append(append(words, "--hosts-dir", c.hosts, "--user", as.name+":"+as.token), flags...)...)
}

// clean makes containerd forget what the job brought.
func (c *containerd) clean(j *job) error {
	names, err := c.in(j, "images", "list", "--quiet")
	for _, name := range strings.Fields(names) {
		_, one := c.in(j, "images", "remove", "--sync", name)
		err = errors.Join(err, one)
	}
	return err
}

// load brings a part into containerd without a registry.
func (c *containerd) load(j *job, p part, image string) error {
	file := j.path(p.tag + ".tar")
	if err := ociArchive(file, p, image); err != nil {
		return err
	}
	_, err := c.in(j, "images", "import", "--all-platforms", "--no-unpack", file)
	return errors.Join(err, os.Remove(file))
}

func (c *containerd) pushes(j *job) error {
	for _, p := range j.content.parts {
		image := j.own("push", p)
		if err := c.load(j, p, image); err != nil {
			return err
		}
		for range 2 {
			if _, err := c.as(j, monalisa, []string{"images", "push"}, image); err != nil {
				return err
			}
		}
		if err := j.wire().holds(j, image, p); err != nil {
			return err
		}
	}
	return errors.Join(refersTo(j, j.place("push")), c.clean(j))
}

// pulls an image for this machine's architecture.
func (c *containerd) pulls(j *job, byDigest bool) error {
	p := j.content.parts[0]
	image := j.seeded(p)
	if byDigest {
		image = strings.TrimSuffix(image, ":"+p.tag) + "@" + p.root.Digest.String()
	}
	if _, err := c.as(j, hubot, []string{"images", "pull"}, image); err != nil {
		return err
	}
	root, err := p.amd64()
	if err != nil {
		return err
	}
	return errors.Join(c.has(j, p.layout, root), c.clean(j))
}

// fetches everything, whatever it is.
func (c *containerd) fetches(j *job) error {
	for _, p := range j.content.parts {
		if _, err := c.as(j, hubot, []string{"content", "fetch"}, "--all-platforms", j.seeded(p)); err != nil {
			return err
		}
		if err := c.has(j, p.layout, p.root); err != nil {
			return err
		}
	}
	return c.clean(j)
}

// has is nil if containerd has all of root. It checked the digests as it wrote.
func (c *containerd) has(j *job, l layout, root ocispec.Descriptor) error {
	nodes, err := l.graph(root)
	if err != nil {
		return err
	}
	out, err := c.in(j, "content", "list", "--quiet")
	if err != nil {
		return err
	}
	var want []string
	for _, n := range nodes {
		want = append(want, n.Digest.String())
	}
	return contains(out, want...)
}

func (c *containerd) attempt(j *job, _ *registry, as user, image string) error {
	if err := c.load(j, j.bench.tooLarge, image); err != nil {
		return err
	}
	_, err := c.as(j, as, []string{"images", "push"}, image)
	return errors.Join(err, c.clean(j))
}
