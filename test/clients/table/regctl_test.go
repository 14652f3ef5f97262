// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// regctl is the command of regclient.
type regctl struct {
	program string
	homes   *homes
}

func regctlClient() client {
	c := &regctl{}
	verbs := append([]verb{{name: "registry login", run: c.logsIn, on: aboutRepositories}}, copierVerbs(c, map[string][]exception{})...)
	return client{
		name: "regctl", group: "regctl", module: "github.com/regclient/regclient", about: ", after `regctl registry set --tls disabled`.",
		start: c.start,
		verbs: append(verbs,
			verb{name: "image copy --referrers", run: c.copiesWithReferrers, on: []string{signed}},
			verb{name: "image inspect", run: c.inspects, on: images},
			verb{name: "image export, import", run: c.exports, on: but(contentNames, bigLayer)},
			verb{name: "artifact put, get", run: c.putsArtifacts, on: []string{artifact}},
			verb{name: "artifact list", run: c.listsReferrers},
			verb{name: "tag delete", run: c.deletesTags},
			verb{name: "blob put in chunks", run: c.putsChunks, on: aboutRepositories},
			verb{name: "repo ls", run: c.lists, on: aboutRepositories},
		),
		refusals: &refusals{attempt: pushAttempt(c), instead: map[string]string{
			"wrong token": "failed to ping registry", "over the limit": "unexpected http status code: Request Entity Too Large",
		}},
	}
}

func (c *regctl) start(t *testing.T, b *bench) {
	c.program = b.tool(t, "regctl", "regctl")
	c.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		if _, err := c.in(ctx, home, "", "registry", "set", "--tls", "disabled", "--skip-check", r.addr); err != nil {
			return err
		}
		_, err := c.in(ctx, home, as.token, "registry", "login", r.addr, "--user", as.name, "--pass-stdin")
		return err
	})
}

func (c *regctl) in(ctx context.Context, home, stdin string, arguments ...string) (string, error) {
	environment := []string{"REGCTL_CONFIG=" + filepath.Join(home, "regctl.json"), "DOCKER_CONFIG=" + home, "HOME=" + home}
	return command(ctx, environment, stdin, c.program, arguments...)
}

func (c *regctl) as(j *job, as user, image string, arguments ...string) (string, error) {
	home, err := c.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	return c.in(j, home, "", arguments...)
}

func (c *regctl) logsIn(j *job) error {
	_, err := c.homes.of(j, j.open(), monalisa)
	return err
}

func (c *regctl) push(j *job, as user, p part, image string) error {
	_, err := c.as(j, as, image, "image", "copy", "ocidir://"+string(p.layout)+":"+p.tag, image)
	return err
}

func (c *regctl) pull(j *job, as user, image, into string) error {
	_, err := c.as(j, as, image, "image", "copy", image, "ocidir://"+into+":pulled")
	return err
}

func (c *regctl) copy(j *job, as user, from, to string) error {
	_, err := c.as(j, as, to, "image", "copy", from, to)
	return err
}

func (c *regctl) remove(j *job, as user, image string) error {
	_, err := c.as(j, as, image, "manifest", "delete", "--force-tag-dereference", image)
	return err
}

func (c *regctl) tags(j *job, as user, repository string) ([]string, error) {
	out, err := c.as(j, as, repository, "tag", "ls", repository)
	tags := strings.Fields(out)
	slices.Sort(tags)
	return tags, err
}

func (c *regctl) copiesWithReferrers(j *job) error {
	image, to := j.content.parts[0], j.own("referrers", j.content.parts[0])
	if _, err := c.as(j, monalisa, to, "image", "copy", "--referrers", j.seeded(image), to); err != nil {
		return err
	}
	return errors.Join(j.wire().holds(j, to, image), refersTo(j, j.place("referrers")))
}

func (c *regctl) inspects(j *job) error {
	image := j.seeded(j.content.parts[0])
	out, err := c.as(j, hubot, image, "image", "inspect", "--platform", "linux/amd64", image)
	return errors.Join(err, contains(out, `"architecture": "amd64"`, `"diff_ids"`))
}

func (c *regctl) exports(j *job) error {
	for _, p := range j.content.parts {
		if _, err := c.as(j, hubot, j.seeded(p), "image", "export", j.seeded(p), j.path(p.tag+".tar")); err != nil {
			return err
		}
		image := j.own("import", p)
		if _, err := c.as(j, monalisa, image, "image", "import", image, j.path(p.tag+".tar")); err != nil {
			return err
		}
		if err := j.wire().holds(j, image, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *regctl) putsArtifacts(j *job) error {
	if err := os.WriteFile(j.path("report.txt"), []byte("a report"), 0o644); err != nil {
		return err
	}
	image := j.own("files", j.content.parts[0])
	if _, err := c.as(j, monalisa, image, "artifact", "put", "--artifact-type", "application/vnd.example.report.v1",
		"--file", j.path("report.txt"), "--file-media-type", "text/plain", image); err != nil {
		return err
	}
	out, err := c.as(j, hubot, image, "artifact", "get", image)
	return errors.Join(err, contains(out, "a report"))
}

func (c *regctl) listsReferrers(j *job) error {
	image := j.seeded(j.content.parts[0])
	out, err := c.as(j, hubot, image, "artifact", "list", image)
	if err != nil {
		return err
	}
	for _, p := range j.content.parts[1:] {
		if err := contains(out, p.root.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

// deletesTags takes one tag of two away from a manifest.
func (c *regctl) deletesTags(j *job) error {
	p := j.content.parts[0]
	image, err := j.planted("tags", p)
	if err != nil {
		return err
	}
	other := p
	other.tag = "other"
	otherImage, err := j.planted("tags", other)
	if err != nil {
		return err
	}
	if _, err := c.as(j, octocat, otherImage, "tag", "delete", otherImage); err != nil {
		return err
	}
	return errors.Join(j.wire().gone(j, otherImage), j.wire().holds(j, image, p))
}

// putsChunks sends a blob in many requests.
func (c *regctl) putsChunks(j *job) error {
	name := j.open().image(slug(j.client) + "/chunks")
	blob := strings.Repeat("0123456789", 50_000)
	home, err := c.homes.of(j, hostOf(name), monalisa)
	if err != nil {
		return err
	}
	settings := "reg=" + j.open().addr + ",tls=disabled,user=" + monalisa.name + ",pass=" + monalisa.token + ",blobMax=1,blobChunk=100000"
	out, err := c.in(j, home, blob, "--host", settings, "blob", "put", name)
	if err := errors.Join(err, contains(out, "sha256:"+sha256Of([]byte(blob)))); err != nil {
		return err
	}
	got, err := c.as(j, hubot, name, "blob", "get", name, "sha256:"+sha256Of([]byte(blob)))
	if err == nil && got != blob {
		err = fmt.Errorf("the blob came back with %d bytes", len(got))
	}
	return err
}

func (c *regctl) lists(j *job) error {
	out, err := c.as(j, hubot, j.open().addr, "repo", "ls", j.open().addr)
	return errors.Join(err, contains(out, seedOf(j.bench.contents[artifact]), seedOf(j.bench.contents[chart])))
}
