// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasgo "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// oras is oras-go.
type oras struct{}

// open returns the repository of an image and its reference.
func (oras) open(as user, image string) (*remote.Repository, string, error) {
	repository, err := remote.NewRepository(image)
	if err != nil {
		return nil, "", err
	}
	repository.PlainHTTP = true
	repository.Client = &auth.Client{Credential: auth.StaticCredential(repository.Reference.Registry, auth.Credential{Username: as.name, Password: as.value})}
	return repository, repository.Reference.Reference, nil
}

func (o oras) push(ctx context.Context, as user, dir, image string) error {
	repository, reference, err := o.open(as, image)
	if err != nil {
		return err
	}
	source, err := oci.New(dir)
	if err != nil {
		return err
	}
	_, err = orasgo.Copy(ctx, source, nameInLayout, repository, reference, orasgo.CopyOptions{CopyGraphOptions: withoutSubject})
	return err
}

func (o oras) pull(ctx context.Context, as user, image, dir string) error {
	repository, reference, err := o.open(as, image)
	if err != nil {
		return err
	}
	target, err := oci.New(dir)
	if err != nil {
		return err
	}
	_, err = orasgo.Copy(ctx, repository, reference, target, nameInLayout, orasgo.CopyOptions{CopyGraphOptions: withoutSubject})
	return err
}

// withoutSubject copies an artifact without what it refers to.
var withoutSubject = orasgo.CopyGraphOptions{
	FindSuccessors: func(ctx context.Context, fetcher content.Fetcher, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		successors, err := content.Successors(ctx, fetcher, d)
		if err != nil || d.MediaType != ocispec.MediaTypeImageManifest {
			return successors, err
		}
		raw, err := content.FetchAll(ctx, fetcher, d)
		if err != nil {
			return nil, err
		}
		var manifest ocispec.Manifest
		if err := json.Unmarshal(raw, &manifest); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(successors, func(s ocispec.Descriptor) bool {
			return manifest.Subject != nil && s.Digest == manifest.Subject.Digest
		}), nil
	},
}

func (o oras) tags(ctx context.Context, as user, repository string) ([]string, error) {
	r, _, err := o.open(as, repository)
	if err != nil {
		return nil, err
	}
	var all []string
	err = r.Tags(ctx, "", func(tags []string) error {
		all = append(all, tags...)
		return nil
	})
	return all, err
}

func (o oras) remove(ctx context.Context, as user, image string) error {
	repository, reference, err := o.open(as, image)
	if err != nil {
		return err
	}
	descriptor, err := repository.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	return repository.Delete(ctx, descriptor)
}

func (o oras) referrers(ctx context.Context, as user, image string) ([]string, error) {
	repository, reference, err := o.open(as, image)
	if err != nil {
		return nil, err
	}
	descriptor, err := repository.Resolve(ctx, reference)
	if err != nil {
		return nil, err
	}
	// No fallback to tags: the registry has the referrers API.
	if err := repository.SetReferrersCapability(true); err != nil {
		return nil, err
	}
	var digests []string
	err = repository.Referrers(ctx, descriptor, artifactType, func(referrers []ocispec.Descriptor) error {
		for _, d := range referrers {
			digests = append(digests, d.Digest.String())
		}
		return nil
	})
	return digests, err
}

func TestAnArtifactIsAttachedAndDeleted(t *testing.T) {
	r, ctx := start(t), t.Context()
	image := r.Image("octocat/octo-app/oras:1.0")
	if err := (oras{}).push(ctx, monalisa, writeImage(t, imageOf(t, 1, 100)), image); err != nil {
		t.Fatal(err)
	}
	repository, reference, err := oras{}.open(monalisa, image)
	if err != nil {
		t.Fatal(err)
	}
	subject := must[ocispec.Descriptor](t)(repository.Resolve(ctx, reference))

	store := memory.New()
	layer := must[ocispec.Descriptor](t)(orasgo.PushBytes(ctx, store, "text/plain", []byte("an attachment")))
	artifact := must[ocispec.Descriptor](t)(orasgo.PackManifest(ctx, store, orasgo.PackManifestVersion1_1, artifactType, orasgo.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: map[string]string{"org.example.kind": "note"},
	}))
	if err := orasgo.CopyGraph(ctx, store, repository, artifact, withoutSubject); err != nil {
		t.Fatal(err)
	}
	var found []ocispec.Descriptor
	if err := repository.Referrers(ctx, subject, "", func(referrers []ocispec.Descriptor) error {
		found = append(found, referrers...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Digest != artifact.Digest || found[0].ArtifactType != artifactType || found[0].Annotations["org.example.kind"] != "note" {
		t.Fatalf("referrers: %+v", found)
	}
	text, err := content.FetchAll(ctx, repository, layer)
	if err != nil || string(text) != "an attachment" {
		t.Errorf("the attachment is %q, %v", text, err)
	}

	if err := repository.Delete(ctx, artifact); err == nil || !strings.Contains(err.Error(), "deleting needs Admin") {
		t.Errorf("who may write deleted: %v", err)
	}
	owned, _, err := oras{}.open(octocat, image)
	if err != nil {
		t.Fatal(err)
	}
	if err := owned.Delete(ctx, artifact); err != nil {
		t.Fatal(err)
	}
	if digests, err := (oras{}).referrers(ctx, hubot, image); err != nil || len(digests) != 0 {
		t.Errorf("referrers after the deletion: %v, %v", digests, err)
	}
}
