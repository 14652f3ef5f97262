// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// skopeo is the command, from Debian.
type skopeo struct {
	program string
	homes   *homes
}

func skopeoClient() client {
	s := &skopeo{}
	const note = "This version takes every digest for one of SHA-256."
	recomputed := []exception{{contents: []string{sha512}, says: "saved with digest sha256:", note: note}}
	verbs := append([]verb{{name: "login", run: s.logsIn, on: aboutRepositories}}, copierVerbs(s, map[string][]exception{
		"push": recomputed, "pull": recomputed, "copy": recomputed,
		"pull by digest": {{contents: []string{sha512}, says: "Manifest does not match provided manifest digest sha512:", note: note}},
		"delete":         {{contents: []string{sha512}, says: "this name has no such manifest or tag", note: note}},
	})...)
	return client{
		name: "skopeo", about: "Debian 12's 1.9.3, with `--tls-verify=false`.",
		lacks: []string{"list repositories", "list referrers", "attach anything"}, start: s.start,
		verbs: append(verbs,
			verb{name: "inspect", run: s.inspects, on: images, except: []exception{
				{contents: []string{sha512}, says: "does not match expected sha512:", note: note},
			}},
			verb{name: "sync", run: s.syncs, except: recomputed},
		),
		refusals: &refusals{attempt: pushAttempt(s), instead: map[string]string{"wrong token": "invalid username/password"}},
	}
}

func (s *skopeo) start(t *testing.T, _ *bench) {
	program, err := exec.LookPath("skopeo")
	if err != nil {
		t.Fatal("skopeo is not installed; run: hack/apt.sh clients")
	}
	s.program = program
	s.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := s.in(ctx, home, as.token, "login", "--tls-verify=false", "--username", as.name, "--password-stdin", r.addr)
		return err
	})
}

// in runs skopeo with its files in a directory.
func (s *skopeo) in(ctx context.Context, home, stdin string, arguments ...string) (string, error) {
	environment := []string{"REGISTRY_AUTH_FILE=" + filepath.Join(home, "auth.json"), "HOME=" + home, "XDG_DATA_HOME=" + home, "_CONTAINERS_ROOTLESS_UID=1000"}
	// The subcommand's name comes first, to be named in errors.
	arguments = append([]string{arguments[0], "--insecure-policy", "--tmpdir", home}, arguments[1:]...)
	return command(ctx, environment, stdin, s.program, arguments...)
}

// as runs skopeo for somebody who logged in to the registry of an image.
func (s *skopeo) as(j *job, as user, image string, arguments ...string) (string, error) {
	home, err := s.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	return s.in(j, home, "", arguments...)
}

// hostOf is the registry of an image.
func hostOf(image string) *registry {
	addr, _, _ := strings.Cut(image, "/")
	return &registry{addr: addr}
}

func (s *skopeo) logsIn(j *job) error {
	_, err := s.homes.of(j, j.open(), monalisa)
	return err
}

// ociLayout is skopeo's name of an image in a layout.
func ociLayout(dir, tag string) string { return "oci:" + dir + ":" + tag }

func (s *skopeo) push(j *job, as user, p part, image string) error {
	_, err := s.as(j, as, image, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", ociLayout(string(p.layout), p.tag), "docker://"+image)
	return err
}

func (s *skopeo) pull(j *job, as user, image, into string) error {
	_, err := s.as(j, as, image, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+image, ociLayout(into, "pulled"))
	return err
}

func (s *skopeo) copy(j *job, as user, from, to string) error {
	_, err := s.as(j, as, to, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+from, "docker://"+to)
	return err
}

func (s *skopeo) remove(j *job, as user, image string) error {
	_, err := s.as(j, as, image, "delete", "--tls-verify=false", "docker://"+image)
	return err
}

func (s *skopeo) tags(j *job, as user, repository string) ([]string, error) {
	out, err := s.as(j, as, repository, "list-tags", "--tls-verify=false", "docker://"+repository)
	if err != nil {
		return nil, err
	}
	var list struct{ Tags []string }
	err = json.Unmarshal([]byte(out), &list)
	return list.Tags, err
}

func (s *skopeo) inspects(j *job) error {
	p := j.content.parts[0]
	out, err := s.as(j, hubot, j.seeded(p), "inspect", "--tls-verify=false", "docker://"+j.seeded(p))
	if err != nil {
		return err
	}
	var inspected struct {
		Architecture string
		RepoTags     []string
		Layers       []string
	}
	if err := json.Unmarshal([]byte(out), &inspected); err != nil {
		return err
	}
	if inspected.Architecture != "amd64" || len(inspected.RepoTags) != len(j.content.parts) || len(inspected.Layers) == 0 {
		return fmt.Errorf("inspect says %s", out)
	}
	return nil
}

// syncs copies a whole repository, with all its tags, into another.
func (s *skopeo) syncs(j *job) error {
	from, _, _ := strings.Cut(j.seeded(j.content.parts[0]), ":"+j.content.parts[0].tag)
	to := j.open().image(slug(j.client) + "/sync")
	if _, err := s.as(j, monalisa, to, "sync", "--all", "--preserve-digests", "--src", "docker", "--dest", "docker",
		"--src-tls-verify=false", "--dest-tls-verify=false", from, to); err != nil {
		return err
	}
	for _, p := range j.content.parts {
		if err := j.wire().holds(j, to+"/"+j.content.path+":"+p.tag, p); err != nil {
			return err
		}
	}
	return nil
}
