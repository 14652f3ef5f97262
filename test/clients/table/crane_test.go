// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// crane is the command of go-containerregistry.
type crane struct {
	program string
	homes   *homes
}

func craneClient() client {
	c := &crane{}
	const note = "It names configs by SHA-256 whatever the manifest says, and checks layers by that alone."
	unnamed := []exception{{contents: []string{sha512}, says: "blobs/sha512/", note: note}}
	verbs := append([]verb{{name: "auth login", run: c.logsIn, on: aboutRepositories}}, copierVerbs(c, map[string][]exception{
		"push": {{contents: []string{sha512}, says: "push what the manifest refers to first", note: note}},
		"pull": unnamed, "pull by digest": unnamed,
	})...)
	return client{
		name: "crane", group: "crane", module: "github.com/google/go-containerregistry", about: "; it speaks plain HTTP to loopback by itself.",
		lacks: []string{"list referrers", "copy an image with its referrers"}, start: c.start,
		verbs: append(verbs,
			verb{name: "digest, manifest", run: c.describes},
			verb{name: "validate --remote", run: c.validates, on: images, except: []exception{
				{contents: []string{sha512}, says: "SHA256(Compressed())", note: note},
				{contents: []string{attestedIndex}, says: "mismatched number of diffids", note: "It takes an attestation for an image that lacks its layers."},
			}},
			verb{name: "append", run: c.appends, on: []string{manyLayers, emptyLayer, signed}},
			verb{name: "mutate", run: c.mutates, on: []string{manyLayers, emptyLayer, signed}},
			verb{name: "index append", run: c.appendsToIndex, on: []string{attestedIndex, manyLayers}},
			verb{name: "tag", run: c.tagsAgain},
			verb{name: "catalog", run: c.lists, on: aboutRepositories},
		),
		refusals: &refusals{attempt: pushAttempt(c)},
	}
}

func (c *crane) start(t *testing.T, b *bench) {
	c.program = b.tool(t, "crane", "crane")
	c.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := command(ctx, []string{"DOCKER_CONFIG=" + home}, as.token, c.program, "auth", "login", r.addr, "--username", as.name, "--password-stdin")
		return err
	})
}

func (c *crane) as(j *job, as user, image string, arguments ...string) (string, error) {
	home, err := c.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	return command(j, []string{"DOCKER_CONFIG=" + home}, "", c.program, arguments...)
}

func (c *crane) logsIn(j *job) error {
	_, err := c.homes.of(j, j.open(), monalisa)
	return err
}

func (c *crane) push(j *job, as user, p part, image string) error {
	_, err := c.as(j, as, image, "push", string(p.layout), image)
	return err
}

func (c *crane) pull(j *job, as user, image, into string) error {
	_, err := c.as(j, as, image, "pull", "--format=oci", image, into)
	return err
}

func (c *crane) copy(j *job, as user, from, to string) error {
	_, err := c.as(j, as, to, "copy", from, to)
	return err
}

func (c *crane) remove(j *job, as user, image string) error {
	digest, err := c.as(j, as, image, "digest", image)
	if err != nil {
		return err
	}
	name, _ := splitImage(image)
	_, err = c.as(j, as, image, "delete", hostOf(image).addr+"/"+name+"@"+strings.TrimSpace(digest))
	return err
}

func (c *crane) tags(j *job, as user, repository string) ([]string, error) {
	out, err := c.as(j, as, repository, "ls", repository)
	tags := strings.Fields(out)
	slices.Sort(tags)
	return tags, err
}

func (c *crane) describes(j *job) error {
	for _, p := range j.content.parts {
		digest, err := c.as(j, hubot, j.seeded(p), "digest", j.seeded(p))
		if err != nil {
			return err
		}
		manifest, err := c.as(j, hubot, j.seeded(p), "manifest", j.seeded(p))
		if err != nil {
			return err
		}
		if err := errors.Join(contains(digest, p.root.Digest.String()), contains(manifest, `"schemaVersion":2`)); err != nil {
			return err
		}
	}
	return nil
}

// validates fetches all of it and checks every digest.
func (c *crane) validates(j *job) error {
	p := j.content.parts[0]
	out, err := c.as(j, hubot, j.seeded(p), "validate", "--remote", j.seeded(p))
	return errors.Join(err, contains(out, "PASS"))
}

// appends adds a layer to an image that is only in the registry.
func (c *crane) appends(j *job) error {
	p := j.content.parts[0]
	l, err := newLayout(j.path("layer"))
	if err != nil {
		return err
	}
	added, err := l.putLayer("sha256", 6, entry{"added", 1000})
	if err != nil {
		return err
	}
	image := j.own("append", p)
	if _, err := c.as(j, monalisa, image, "append", "--base", j.seeded(p), "--new_layer", l.path(added.Digest), "--new_tag", image); err != nil {
		return err
	}
	return c.hasOneMore(j, p, image)
}

// hasOneMore checks that an image has a part's layers and one more.
func (c *crane) hasOneMore(j *job, p part, image string) error {
	before, err := p.layout.read(p.root)
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
	return nil
}

func (c *crane) mutates(j *job) error {
	p := j.content.parts[0]
	image := j.own("mutate", p)
	if _, err := c.as(j, monalisa, image, "mutate", j.seeded(p), "--annotation", "org.example.reviewed=yes", "--tag", image); err != nil {
		return err
	}
	var after ocispec.Manifest
	_, err := j.wire().manifest(j, image, &after)
	if err == nil && after.Annotations["org.example.reviewed"] != "yes" {
		err = fmt.Errorf("the annotations are %v", after.Annotations)
	}
	return err
}

// appendsToIndex makes an index of two contents.
func (c *crane) appendsToIndex(j *job) error {
	p, other := j.content.parts[0], j.bench.contents[signed].parts[0]
	image := j.own("index", p)
	if _, err := c.as(j, monalisa, image, "index", "append", "--flatten=false", "-m", j.seeded(p), "-m", hostOf(image).addr+"/"+seedOf(j.bench.contents[signed])+":"+other.tag, "-t", image); err != nil {
		return err
	}
	var index ocispec.Index
	if _, err := j.wire().manifest(j, image, &index); err != nil {
		return err
	}
	if len(index.Manifests) != 2 || index.Manifests[0].Digest != p.root.Digest || index.Manifests[1].Digest != other.root.Digest {
		return fmt.Errorf("the index has %v", index.Manifests)
	}
	return nil
}

func (c *crane) tagsAgain(j *job) error {
	for _, p := range j.content.parts {
		image, err := j.planted("tag", p)
		if err != nil {
			return err
		}
		if _, err := c.as(j, monalisa, image, "tag", image, "again-"+p.tag); err != nil {
			return err
		}
		again := p
		again.tag = "again-" + p.tag
		if err := j.wire().holds(j, j.own("tag", again), p); err != nil {
			return err
		}
	}
	return nil
}

func (c *crane) lists(j *job) error {
	out, err := c.as(j, hubot, j.open().addr, "catalog", j.open().addr)
	return errors.Join(err, contains(out, seedOf(j.bench.contents[artifact]), seedOf(j.bench.contents[chart])))
}
