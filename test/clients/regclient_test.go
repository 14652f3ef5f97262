// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme"
	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/platform"
	"github.com/regclient/regclient/types/ref"

	godigest "github.com/opencontainers/go-digest"
)

// reg is regclient.
type reg struct{}

// open returns a client, and what image refers to.
func (reg) open(as user, image string, settings ...func(*config.Host)) (*regclient.RegClient, ref.Ref, error) {
	r, err := ref.New(image)
	if err != nil {
		return nil, ref.Ref{}, err
	}
	host := config.Host{Name: r.Registry, TLS: config.TLSDisabled, User: as.name, Pass: as.value}
	for _, set := range settings {
		set(&host)
	}
	return regclient.New(regclient.WithConfigHost(host)), r, nil
}

func (g reg) copy(ctx context.Context, as user, from, to, image string) error {
	client, _, err := g.open(as, image)
	if err != nil {
		return err
	}
	source, err := ref.New(from)
	if err != nil {
		return err
	}
	target, err := ref.New(to)
	if err != nil {
		return err
	}
	return errors.Join(client.ImageCopy(ctx, source, target), client.Close(ctx, source), client.Close(ctx, target))
}

func (g reg) push(ctx context.Context, as user, dir, image string) error {
	return g.copy(ctx, as, "ocidir://"+dir+":"+nameInLayout, image, image)
}

func (g reg) pull(ctx context.Context, as user, image, dir string) error {
	return g.copy(ctx, as, image, "ocidir://"+dir+":"+nameInLayout, image)
}

func (g reg) tags(ctx context.Context, as user, repository string) ([]string, error) {
	client, r, err := g.open(as, repository)
	if err != nil {
		return nil, err
	}
	list, err := client.TagList(ctx, r)
	if err != nil {
		return nil, err
	}
	return list.GetTags()
}

func (g reg) remove(ctx context.Context, as user, image string) error {
	client, r, err := g.open(as, image)
	if err != nil {
		return err
	}
	manifest, err := client.ManifestHead(ctx, r)
	if err != nil {
		return err
	}
	return client.ManifestDelete(ctx, r.SetDigest(manifest.GetDescriptor().Digest.String()))
}

func (g reg) referrers(ctx context.Context, as user, image string) ([]string, error) {
	client, r, err := g.open(as, image)
	if err != nil {
		return nil, err
	}
	list, err := client.ReferrerList(ctx, r, scheme.WithReferrerMatchOpt(descriptor.MatchOpt{ArtifactType: artifactType}))
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, d := range list.Descriptors {
		digests = append(digests, d.Digest.String())
	}
	return digests, nil
}

func TestBlobsArePutInChunksMountedAndDeleted(t *testing.T) {
	r, ctx := start(t), t.Context()
	// Chunks, so that the blob comes in many requests.
	client, repository, err := reg{}.open(octocat, r.Image("octocat/octo-app/chunked"), func(h *config.Host) { h.BlobMax, h.BlobChunk = 1, 10_000 })
	if err != nil {
		t.Fatal(err)
	}
	blob := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	want := descriptor.Descriptor{MediaType: "application/octet-stream", Digest: godigest.FromBytes(blob), Size: int64(len(blob))}
	if _, err := client.BlobPut(ctx, repository, want, bytes.NewReader(blob)); err != nil {
		t.Fatal(err)
	}
	other, err := ref.New(r.Image("octocat/octo-app/mounted"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BlobMount(ctx, repository, other, want); err != nil {
		t.Fatal(err)
	}
	for _, place := range []ref.Ref{repository, other} {
		reader, err := client.BlobGet(ctx, place, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(reader)
		if err = errors.Join(err, reader.Close()); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%s: the blob came back with %d bytes, %v", place.CommonName(), len(got), err)
		}
	}
	if err := client.BlobDelete(ctx, repository, want); err != nil {
		t.Fatal(err)
	}
	if _, err := client.BlobHead(ctx, repository, want); err == nil {
		t.Error("the blob is still there")
	}
	if _, err := client.BlobHead(ctx, other, want); err != nil {
		t.Errorf("the other name has lost the blob: %v", err)
	}
}

func TestOneArchitectureOfAnIndexIsChosen(t *testing.T) {
	r, ctx := start(t), t.Context()
	image := r.Image("octocat/octo-app/index:1.0")
	if err := (reg{}).push(ctx, monalisa, writeIndex(t), image); err != nil {
		t.Fatal(err)
	}
	client, reference, err := reg{}.open(hubot, image)
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, architecture := range []string{"linux/amd64", "linux/arm64"} {
		p, err := platform.Parse(architecture)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := client.ManifestGet(ctx, reference, regclient.WithManifestPlatform(p))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, manifest.GetDescriptor().Digest.String())
	}
	if digests[0] == digests[1] {
		t.Errorf("both architectures have %v", digests)
	}
}

func TestATagIsDeletedAlone(t *testing.T) {
	r, ctx := start(t), t.Context()
	layout := writeImage(t, imageOf(t, 1, 100))
	for _, tag := range []string{"1.0", "latest"} {
		if err := (reg{}).push(ctx, monalisa, layout, r.Image("octocat/octo-app/tags:%s", tag)); err != nil {
			t.Fatal(err)
		}
	}
	client, reference, err := reg{}.open(monalisa, r.Image("octocat/octo-app/tags:latest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.TagDelete(ctx, reference); err == nil || !strings.Contains(err.Error(), "deleting needs Admin") {
		t.Errorf("who may write deleted a tag, or was not told why not: %v", err)
	}
	client, reference, err = reg{}.open(octocat, r.Image("octocat/octo-app/tags:latest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.TagDelete(ctx, reference); err != nil {
		t.Fatal(err)
	}
	if got, err := (reg{}).tags(ctx, hubot, r.Image("octocat/octo-app/tags")); err != nil || !slices.Equal(got, []string{"1.0"}) {
		t.Errorf("tags: %v, %v", got, err)
	}
}
