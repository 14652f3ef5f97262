// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cosign is the command, with a pair of keys and without a network: its signing
// configuration and its trusted root name no service.
type cosign struct {
	program string
	homes   *homes
	// keys is a directory with cosign.key, cosign.pub, signing.json and trusted.json.
	keys string
}

func cosignClient() client {
	c := &cosign{}
	unnamed := []exception{{contents: []string{sha512}, says: "could not parse reference", note: "It takes a digest of SHA-256 alone, as crane's library does."}}
	return client{
		name: "cosign", group: "cosign", module: "github.com/sigstore/cosign/v3",
		about: ", with a pair of keys, and a signing configuration and a trusted root without services: no network and no transparency log.",
		lacks: []string{"copy a signature that refers to the image", "list tags", "list repositories"},
		start: c.start,
		verbs: []verb{
			{name: "login", run: c.logsIn, on: aboutRepositories},
			{name: "sign, verify", run: c.signs, except: unnamed},
			{name: "sign, verify with tags", run: c.signsWithTags, except: unnamed},
			{name: "attest, verify-attestation", run: c.attests, except: unnamed},
			{name: "attach sbom", run: c.attachesSBOM, except: unnamed},
			{name: "tree", run: c.showsTree},
			{name: "copy", run: c.copies, except: unnamed},
			{name: "clean", run: c.cleans, except: unnamed},
		},
		refusals: &refusals{attempt: c.attempt},
	}
}

func (c *cosign) start(t *testing.T, b *bench) {
	c.program, c.keys = b.tool(t, "cosign", "cosign"), t.TempDir()
	c.homes = newHomes(t, func(ctx context.Context, home string, r *registry, as user) error {
		_, err := c.in(ctx, home, as.token, "login", r.addr, "--username", as.name, "--password-stdin")
		return err
	})
	for _, arguments := range [][]string{
		{"generate-key-pair", "--output-key-prefix", filepath.Join(c.keys, "cosign")},
		{"signing-config", "create", "--out", filepath.Join(c.keys, "signing.json")},
		{"trusted-root", "create", "--out", filepath.Join(c.keys, "trusted.json")},
	} {
		if _, err := c.in(t.Context(), c.keys, "", arguments...); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cosign) in(ctx context.Context, home, stdin string, arguments ...string) (string, error) {
	environment := []string{"DOCKER_CONFIG=" + home, "HOME=" + home, "TUF_ROOT=" + filepath.Join(home, "tuf"), "COSIGN_PASSWORD=", "COSIGN_YES=true"}
	return command(ctx, environment, stdin, c.program, arguments...)
}

func (c *cosign) as(j *job, as user, image string, arguments ...string) (string, error) {
	home, err := c.homes.of(j, hostOf(image), as)
	if err != nil {
		return "", err
	}
	return c.in(j, home, "", arguments...)
}

func (c *cosign) logsIn(j *job) error {
	_, err := c.homes.of(j, j.open(), monalisa)
	return err
}

// signing are flags for a signature in a bundle that refers to the image.
func (c *cosign) signing() []string {
	return []string{"--key", filepath.Join(c.keys, "cosign.key"), "--signing-config", filepath.Join(c.keys, "signing.json"), "--trusted-root", filepath.Join(c.keys, "trusted.json")}
}

func (c *cosign) verifying() []string {
	return []string{"--key", filepath.Join(c.keys, "cosign.pub"), "--insecure-ignore-tlog=true"}
}

// planted is an image of the client's own, by digest: that is what is signed.
func (c *cosign) planted(j *job, use string) (string, error) {
	p := j.content.parts[0]
	image, err := j.planted(use, p)
	return strings.TrimSuffix(image, ":"+p.tag) + "@" + p.root.Digest.String(), err
}

func (c *cosign) signs(j *job) error {
	image, err := c.planted(j, "sign")
	if err != nil {
		return err
	}
	if _, err := c.as(j, monalisa, image, append(append([]string{"sign"}, c.signing()...), image)...); err != nil {
		return err
	}
	if _, err := c.as(j, hubot, image, append(append([]string{"verify"}, c.verifying()...), image)...); err != nil {
		return err
	}
	return c.referrers(j, "sign", 1)
}

// referrers checks how many manifests refer to the content in a place.
func (c *cosign) referrers(j *job, use string, want int) error {
	found, err := j.wire().referrers(j, repository+"/"+j.place(use), j.content.parts[0].root.Digest)
	if err == nil && len(found) != want {
		err = fmt.Errorf("the referrers are %v", found)
	}
	return err
}

func (c *cosign) signsWithTags(j *job) error {
	image, err := c.planted(j, "tags")
	if err != nil {
		return err
	}
	if err := errors.Join(c.signWithTag(j, image), c.verifyTag(j, image)); err != nil {
		return err
	}
	tag := strings.Replace(j.content.parts[0].root.Digest.String(), ":", "-", 1) + ".sig"
	return j.wire().complete(j, j.open().image(j.place("tags"))+":"+tag)
}

// signWithTag keeps the signature under a tag beside the image, as older versions do.
func (c *cosign) signWithTag(j *job, image string) error {
	_, err := c.as(j, monalisa, image, "sign", "--key", filepath.Join(c.keys, "cosign.key"),
		"--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false", image)
	return err
}

func (c *cosign) verifyTag(j *job, image string) error {
	_, err := c.as(j, hubot, image, append(append([]string{"verify", "--new-bundle-format=false"}, c.verifying()...), image)...)
	return err
}

func (c *cosign) attests(j *job) error {
	image, err := c.planted(j, "attest")
	if err != nil {
		return err
	}
	if err := os.WriteFile(j.path("predicate.json"), []byte(`{"scanned":true}`), 0o644); err != nil {
		return err
	}
	flags := []string{"--type", "https://example.org/scan"}
	if _, err := c.as(j, monalisa, image, append(append(append([]string{"attest", "--predicate", j.path("predicate.json")}, c.signing()...), flags...), image)...); err != nil {
		return err
	}
	if _, err := c.as(j, hubot, image, append(append(append([]string{"verify-attestation"}, c.verifying()...), flags...), image)...); err != nil {
		return err
	}
	return c.referrers(j, "attest", 1)
}

func (c *cosign) attachesSBOM(j *job) error {
	image, err := c.planted(j, "sbom")
	if err != nil {
		return err
	}
	if err := os.WriteFile(j.path("sbom.json"), []byte(`{"spdxVersion":"SPDX-2.3"}`), 0o644); err != nil {
		return err
	}
	if _, err := c.as(j, monalisa, image, "attach", "sbom", "--sbom", j.path("sbom.json"), "--type", "spdx", image); err != nil {
		return err
	}
	tag := strings.Replace(j.content.parts[0].root.Digest.String(), ":", "-", 1) + ".sbom"
	return j.wire().complete(j, j.open().image(j.place("sbom"))+":"+tag)
}

func (c *cosign) showsTree(j *job) error {
	image := j.seeded(j.content.parts[0])
	out, err := c.as(j, hubot, image, "tree", image)
	if err != nil {
		return err
	}
	for _, p := range j.content.parts[1:] {
		err = errors.Join(err, contains(out, p.root.Digest.String()))
	}
	return err
}

// copies an image with its signature, if that has a tag.
func (c *cosign) copies(j *job) error {
	image, err := c.planted(j, "from")
	if err != nil {
		return err
	}
	if err := c.signWithTag(j, image); err != nil {
		return err
	}
	to := j.own("copy", j.content.parts[0])
	if _, err := c.as(j, monalisa, image, "copy", image, to); err != nil {
		return err
	}
	return errors.Join(j.wire().holds(j, to, j.content.parts[0]), c.verifyTag(j, to))
}

// cleans takes the signature away again.
func (c *cosign) cleans(j *job) error {
	image, err := c.planted(j, "clean")
	if err != nil {
		return err
	}
	if _, err := c.as(j, monalisa, image, append(append([]string{"sign"}, c.signing()...), image)...); err != nil {
		return err
	}
	if _, err := c.as(j, octocat, image, "clean", "--force", "--type", "all", image); err != nil {
		return err
	}
	return c.referrers(j, "clean", 0)
}

// attempt attaches something: unlike sign, that does not need the image.
func (c *cosign) attempt(j *job, _ *registry, as user, image string) error {
	blob := strings.Repeat("an SBOM ", overLimit/8)
	if err := os.WriteFile(j.path("sbom.json"), []byte(blob), 0o644); err != nil {
		return err
	}
	name, _, _ := strings.Cut(image, ":"+chartVersion)
	_, err := c.as(j, as, image, "attach", "sbom", "--sbom", j.path("sbom.json"), "--type", "spdx", name+"@"+j.bench.tooLarge.root.Digest.String())
	return err
}
