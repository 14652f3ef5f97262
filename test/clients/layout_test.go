// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	nameAnnotation = "org.opencontainers.image.ref.name"
	nameInLayout   = "v1"
	artifactType   = "application/vnd.example.sbom.v1+json"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// imageOf is an OCI image of so many layers of about size bytes each.
func imageOf(t *testing.T, layers int, size int64) v1.Image {
	t.Helper()
	list := make([]v1.Layer, layers)
	for i := range list {
		list[i] = must[v1.Layer](t)(random.Layer(size, types.OCILayer))
	}
	return imageWith(t, "amd64", list...)
}

// repeated is an image that has one layer at two places.
func repeated(t *testing.T) v1.Image {
	t.Helper()
	layer := must[v1.Layer](t)(random.Layer(1000, types.OCILayer))
	return imageWith(t, "amd64", layer, layer)
}

func imageWith(t *testing.T, architecture string, layers ...v1.Layer) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base = must[v1.Image](t)(mutate.ConfigFile(base, &v1.ConfigFile{OS: "linux", Architecture: architecture, RootFS: v1.RootFS{Type: "layers"}}))
	return must[v1.Image](t)(mutate.AppendLayers(base, layers...))
}

// writeIndex writes an index of images for two architectures. Its fields are in
// the order of image-spec's types: skopeo writes indexes anew, and so must come
// to the same bytes.
func writeIndex(t *testing.T) string {
	t.Helper()
	path := must[layout.Path](t)(layout.Write(t.TempDir(), empty.Index))
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, architecture := range []string{"amd64", "arm64"} {
		image := imageWith(t, architecture, must[v1.Layer](t)(random.Layer(1000, types.OCILayer)))
		if err := path.WriteImage(image); err != nil {
			t.Fatal(err)
		}
		d := must[*v1.Descriptor](t)(partial.Descriptor(image))
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size,
			Platform: &ocispec.Platform{OS: "linux", Architecture: architecture},
		})
	}
	content := must[[]byte](t)(json.Marshal(index))
	hash, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		path.WriteBlob(hash, io.NopCloser(bytes.NewReader(content))),
		path.AppendDescriptor(v1.Descriptor{
			MediaType: types.OCIImageIndex, Digest: hash, Size: size, Annotations: map[string]string{nameAnnotation: nameInLayout},
		}),
	); err != nil {
		t.Fatal(err)
	}
	return string(path)
}

// artifactOf is an artifact that refers to an image.
func artifactOf(t *testing.T, subject v1.Image) v1.Image {
	t.Helper()
	descriptor := *must[*v1.Descriptor](t)(partial.Descriptor(subject))
	artifact := mutate.ConfigMediaType(imageOf(t, 1, 200), artifactType)
	return mutate.Subject(artifact, descriptor).(v1.Image)
}

func writeImage(t *testing.T, image v1.Image) string {
	t.Helper()
	path := must[layout.Path](t)(layout.Write(t.TempDir(), empty.Index))
	if err := path.AppendImage(image, layout.WithAnnotations(map[string]string{nameAnnotation: nameInLayout})); err != nil {
		t.Fatal(err)
	}
	return string(path)
}

// rootOf is the descriptor that the layout names.
func rootOf(dir string) (v1.Descriptor, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range manifest.Manifests {
		if d.Annotations[nameAnnotation] == nameInLayout {
			return d, nil
		}
	}
	return v1.Descriptor{}, errors.New("the layout names no image " + nameInLayout)
}

func root(t *testing.T, dir string) v1.Descriptor {
	t.Helper()
	return must[v1.Descriptor](t)(rootOf(dir))
}

// sameContent fails the test unless two layouts name the same image and hold all
// of it.
func sameContent(t *testing.T, want, got string) {
	t.Helper()
	w, g := root(t, want), root(t, got)
	if w.Digest != g.Digest || w.MediaType != g.MediaType || w.Size != g.Size {
		t.Errorf("pulled %s %s %d, pushed %s %s %d", g.Digest, g.MediaType, g.Size, w.Digest, w.MediaType, w.Size)
	}
	containsBlobs(t, want, got)
}

// containsBlobs fails the test unless got holds every blob of want, whole.
func containsBlobs(t *testing.T, want, got string) {
	t.Helper()
	blobs := 0
	err := fs.WalkDir(os.DirFS(filepath.Join(want, "blobs")), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		blobs++
		file, err := os.Open(filepath.Join(got, "blobs", path))
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		digest, _, err := v1.SHA256(file)
		if err == nil && digest.Hex != filepath.Base(path) {
			err = errors.New("blob " + path + " came back changed")
		}
		return err
	})
	if err != nil || blobs == 0 {
		t.Errorf("of %d blobs, one is missing or damaged: %v", blobs, err)
	}
}
