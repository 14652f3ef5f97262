// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// crane is go-containerregistry, the library of that command.
type crane struct{}

func (crane) options(ctx context.Context, as user) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: as.name, Password: as.value})}
}

func (c crane) push(ctx context.Context, as user, dir, image string) error {
	reference, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	descriptor, err := rootOf(dir)
	if err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	if descriptor.MediaType.IsIndex() {
		child, err := index.ImageIndex(descriptor.Digest)
		if err != nil {
			return err
		}
		return remote.WriteIndex(reference, child, c.options(ctx, as)...)
	}
	child, err := index.Image(descriptor.Digest)
	if err != nil {
		return err
	}
	return remote.Write(reference, child, c.options(ctx, as)...)
}

func (c crane) pull(ctx context.Context, as user, image, dir string) error {
	reference, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	descriptor, err := remote.Get(reference, c.options(ctx, as)...)
	if err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	annotations := layout.WithAnnotations(map[string]string{nameAnnotation: nameInLayout})
	if descriptor.MediaType.IsIndex() {
		index, err := descriptor.ImageIndex()
		if err != nil {
			return err
		}
		return path.AppendIndex(index, annotations)
	}
	pulled, err := descriptor.Image()
	if err != nil {
		return err
	}
	return path.AppendImage(pulled, annotations)
}

func (c crane) tags(ctx context.Context, as user, repository string) ([]string, error) {
	r, err := name.NewRepository(repository)
	if err != nil {
		return nil, err
	}
	return remote.List(r, c.options(ctx, as)...)
}

func (c crane) remove(ctx context.Context, as user, image string) error {
	reference, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	descriptor, err := remote.Head(reference, c.options(ctx, as)...)
	if err != nil {
		return err
	}
	return remote.Delete(reference.Context().Digest(descriptor.Digest.String()), c.options(ctx, as)...)
}

func (c crane) referrers(ctx context.Context, as user, image string) ([]string, error) {
	digest, err := name.NewDigest(image)
	if err != nil {
		return nil, err
	}
	index, err := remote.Referrers(digest, append(c.options(ctx, as), remote.WithFilter("artifactType", artifactType))...)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, d := range manifest.Manifests {
		digests = append(digests, d.Digest.String())
	}
	return digests, nil
}

func TestDockersOwnFormatsAreTaken(t *testing.T) {
	r := start(t)
	options := crane{}.options(t.Context(), monalisa)
	image := must[v1.Image](t)(random.Image(1000, 3))
	if mediaType, err := image.MediaType(); err != nil || mediaType != types.DockerManifestSchema2 {
		t.Fatalf("not an image in Docker's format: %s, %v", mediaType, err)
	}
	reference := must[name.Reference](t)(name.ParseReference(r.Image("octocat/octo-app/docker:1.0")))
	if err := remote.Write(reference, image, options...); err != nil {
		t.Fatal(err)
	}
	pulled := must[v1.Image](t)(remote.Image(reference, options...))
	want, wantErr := image.Digest()
	got, gotErr := pulled.Digest()
	if want != got || errors.Join(wantErr, gotErr) != nil {
		t.Errorf("pulled %s, pushed %s", got, want)
	}
	layers := must[[]v1.Layer](t)(pulled.Layers())
	if len(layers) != 3 {
		t.Errorf("%d layers", len(layers))
	}
}

func TestALayerIsMountedFromAnotherImage(t *testing.T) {
	r := start(t)
	options := crane{}.options(t.Context(), monalisa)
	image := imageOf(t, 2, 1000)
	first := must[name.Reference](t)(name.ParseReference(r.Image("octocat/octo-app/first:1.0")))
	if err := remote.Write(first, image, options...); err != nil {
		t.Fatal(err)
	}
	pulled := must[v1.Image](t)(remote.Image(first, options...))
	second := must[name.Reference](t)(name.ParseReference(r.Image("octocat/octo-app/second:1.0")))
	if err := remote.Write(second, pulled, options...); err != nil {
		t.Fatal(err)
	}
}

func TestTheCatalogIsListed(t *testing.T) {
	r := start(t)
	layout := writeImage(t, imageOf(t, 1, 100))
	var want []string
	for _, image := range []string{"a", "b/c", "d"} {
		want = append(want, "octocat/octo-app/"+image)
		if err := (crane{}).push(t.Context(), monalisa, layout, r.Image("octocat/octo-app/%s:1", image)); err != nil {
			t.Fatal(err)
		}
	}
	registry := must[name.Registry](t)(name.NewRegistry(r.Addr))
	for u, want := range map[user][]string{hubot: want, stranger: {}} {
		got, err := remote.Catalog(t.Context(), registry, crane{}.options(t.Context(), u)...)
		if err != nil || !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s sees %v, %v; want %v", u.name, got, err, want)
		}
	}
}
