// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// oras is the command of the ORAS project.
type oras struct {
	program string
	homes   *homes
}

func orasClient() client {
	o := &oras{}
	byTag := []exception{{
		contents: []string{sha512}, says: "digest mismatch in Docker-Content-Digest",
		note: "It pushes a manifest by its tag alone, which names it by SHA-256, and then wants it named by SHA-512.",
	}}
	verbs := append([]verb{{name: "login", run: o.logsIn, on: aboutRepositories}}, copierVerbs(o, map[string][]exception{"push": byTag, "copy": byTag})...)
	return client{
		name: "oras", group: "oras", module: "oras.land/oras", about: ", with `--plain-http`. Push and pull are `oras cp` from and to an OCI layout.",
		start: o.start,
		verbs: append(verbs,
			verb{name: "attach", run: o.attaches},
			verb{name: "discover", run: o.discovers},
			verb{name: "cp --recursive", run: o.copiesWithReferrers, on: []string{signed}},
			verb{name: "push, pull of files", run: o.pushesFiles, on: []string{artifact}},
			verb{name: "manifest fetch", run: o.fetchesManifests},
			verb{name: "blob push, fetch, delete", run: o.movesBlobs, on: aboutRepositories},
			verb{name: "tag", run: o.tagsAgain, except: byTag},
			verb{name: "repo ls", run: o.lists, on: aboutRepositories},
		),
		refusals: &refusals{attempt: pushAttempt(o)},
	}
}

func (o *oras) start(t *testing.T, b *bench) {
	o.program = b.tool(t, "oras", "oras")
	o.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := command(ctx, nil, as.token, o.program, "login", "--plain-http", "--registry-config", filepath.Join(home, "config.json"), "--username", as.name, "--password-stdin", r.addr)
		return err
	})
}

// as runs oras for somebody who logged in to the registry of an image; words are
// the subcommand, and the rest its flags and arguments.
func (o *oras) as(j *job, as user, image string, words []string, rest ...string) (string, error) {
	home, err := o.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	arguments := append(slices.Clone(words), "--plain-http", "--registry-config", filepath.Join(home, "config.json"))
	return command(j, []string{"HOME=" + home}, "", o.program, append(arguments, rest...)...)
}

// cp runs oras cp, where every flag says which side it is for.
func (o *oras) cp(j *job, as user, image string, rest ...string) error {
	home, err := o.homes.of(j, hostOf(image), as)
	if err != nil {
		return err
	}
	config := filepath.Join(home, "config.json")
	for i, argument := range rest {
		rest[i] = strings.ReplaceAll(argument, "CONFIG", config)
	}
	_, err = command(j, []string{"HOME=" + home}, "", o.program, append([]string{"cp", "--no-tty"}, rest...)...)
	return err
}

func (o *oras) logsIn(j *job) error {
	_, err := o.homes.of(j, j.open(), monalisa)
	return err
}

func (o *oras) push(j *job, as user, p part, image string) error {
	return o.cp(j, as, image, "--to-plain-http", "--to-registry-config=CONFIG", "--from-oci-layout", string(p.layout)+":"+p.tag, image)
}

func (o *oras) pull(j *job, as user, image, into string) error {
	return o.cp(j, as, image, "--from-plain-http", "--from-registry-config=CONFIG", "--to-oci-layout", image, into+":pulled")
}

func (o *oras) copy(j *job, as user, from, to string) error {
	return o.cp(j, as, to, "--from-plain-http", "--from-registry-config=CONFIG", "--to-plain-http", "--to-registry-config=CONFIG", from, to)
}

func (o *oras) remove(j *job, as user, image string) error {
	_, err := o.as(j, as, image, []string{"manifest", "delete"}, "--force", image)
	return err
}

func (o *oras) tags(j *job, as user, repository string) ([]string, error) {
	out, err := o.as(j, as, repository, []string{"repo", "tags"}, repository)
	tags := strings.Fields(out)
	slices.Sort(tags)
	return tags, err
}

// attaches a file to the content's first part.
func (o *oras) attaches(j *job) error {
	p := j.content.parts[0]
	image, err := j.planted("attach", p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(j.path("scan.json"), []byte(`{"findings":0}`), 0o644); err != nil {
		return err
	}
	manifest := j.path("manifest.json")
	if _, err := o.as(j, monalisa, image, []string{"attach"}, "--disable-path-validation", "--artifact-type", "application/vnd.example.scan.v1",
		"--export-manifest", manifest, image, j.path("scan.json")+":application/json"); err != nil {
		return err
	}
	data, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	digests, err := j.wire().referrers(j, repository+"/"+j.place("attach"), p.root.Digest)
	if want := []string{p.root.Digest.Algorithm().FromBytes(data).String()}; err == nil && !slices.Equal(digests, want) {
		// An artifact is known by SHA-256, whatever its subject is known by.
		if want = []string{"sha256:" + sha256Of(data)}; !slices.Equal(digests, want) {
			err = fmt.Errorf("the referrers are %v, not %v", digests, want)
		}
	}
	return err
}

func (o *oras) discovers(j *job) error {
	image := j.seeded(j.content.parts[0])
	out, err := o.as(j, hubot, image, []string{"discover"}, "--format", "json", image)
	if err != nil {
		return err
	}
	var found struct {
		Referrers []struct{ Digest string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return err
	}
	if len(found.Referrers) != len(j.content.parts)-1 {
		return fmt.Errorf("discover says %s", out)
	}
	for _, p := range j.content.parts[1:] {
		if err := contains(out, p.root.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

func (o *oras) copiesWithReferrers(j *job) error {
	image, to := j.content.parts[0], j.own("recursive", j.content.parts[0])
	if err := o.cp(j, monalisa, to, "--recursive", "--from-plain-http", "--from-registry-config=CONFIG", "--to-plain-http", "--to-registry-config=CONFIG", j.seeded(image), to); err != nil {
		return err
	}
	return errors.Join(j.wire().holds(j, to, image), refersTo(j, j.place("recursive")))
}

func (o *oras) pushesFiles(j *job) error {
	text := []byte("a report")
	if err := os.WriteFile(j.path("report.txt"), text, 0o644); err != nil {
		return err
	}
	image := j.own("files", j.content.parts[0])
	if _, err := o.as(j, monalisa, image, []string{"push"}, "--disable-path-validation", "--artifact-type", "application/vnd.example.report.v1",
		"--annotation", "org.example.kind=report", image, j.path("report.txt")+":text/plain"); err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if _, err := j.wire().manifest(j, image, &manifest); err != nil {
		return err
	}
	if manifest.ArtifactType != "application/vnd.example.report.v1" || manifest.Annotations["org.example.kind"] != "report" || len(manifest.Layers) != 1 {
		return fmt.Errorf("the manifest is %+v", manifest)
	}
	// Pulled is the artifact with a file's plain name in it.
	seed := j.seeded(j.content.parts[0])
	if _, err := o.as(j, hubot, seed, []string{"pull"}, "--output", j.path("files"), seed); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(j.path("files"), "artifact.json"))
	if err == nil {
		err = contains(string(got), `{"passed":true}`)
	}
	return err
}

func (o *oras) fetchesManifests(j *job) error {
	for _, p := range j.content.parts {
		out, err := o.as(j, hubot, j.seeded(p), []string{"manifest", "fetch"}, "--descriptor", j.seeded(p))
		if err := errors.Join(err, contains(out, p.root.MediaType, fmt.Sprint(p.root.Size))); err != nil {
			return err
		}
	}
	return nil
}

func (o *oras) movesBlobs(j *job) error {
	if err := os.WriteFile(j.path("blob"), []byte("a blob of its own"), 0o644); err != nil {
		return err
	}
	name := j.open().image(slug(j.client) + "/blobs")
	blob := name + "@sha256:" + sha256Of([]byte("a blob of its own"))
	if _, err := o.as(j, monalisa, name, []string{"blob", "push"}, "--no-tty", blob, j.path("blob")); err != nil {
		return err
	}
	out, err := o.as(j, hubot, name, []string{"blob", "fetch"}, "--output", "-", blob)
	if err := errors.Join(err, contains(out, "a blob of its own")); err != nil {
		return err
	}
	if _, err := o.as(j, octocat, name, []string{"blob", "delete"}, "--force", blob); err != nil {
		return err
	}
	if _, err := o.as(j, hubot, name, []string{"blob", "fetch"}, "--output", "-", blob); err == nil {
		return errors.New("the blob is still there")
	}
	return nil
}

func (o *oras) tagsAgain(j *job) error {
	for _, p := range j.content.parts {
		image, err := j.planted("tag", p)
		if err != nil {
			return err
		}
		if _, err := o.as(j, monalisa, image, []string{"tag"}, image, "again-"+p.tag); err != nil {
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

func (o *oras) lists(j *job) error {
	out, err := o.as(j, hubot, j.open().addr, []string{"repo", "ls"}, j.open().addr)
	return errors.Join(err, contains(out, seedOf(j.bench.contents[artifact]), seedOf(j.bench.contents[chart])))
}
