// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"archive/tar"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	// Digests of both algorithms are made and checked here.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is a directory with an OCI image layout. It is written here without a
// library, so that no client is tested with its own.
type layout string

func newLayout(dir string) (layout, error) {
	return layout(dir), os.MkdirAll(filepath.Join(dir, "blobs"), 0o755)
}

func (l layout) path(d digest.Digest) string {
	return filepath.Join(string(l), "blobs", d.Algorithm().String(), d.Encoded())
}

// put writes a blob. Its media type is for the descriptor alone.
func (l layout) put(algorithm digest.Algorithm, mediaType string, write func(io.Writer) error) (ocispec.Descriptor, error) {
	dir := filepath.Join(string(l), "blobs", algorithm.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ocispec.Descriptor{}, err
	}
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	digester := algorithm.Digester()
	if err := errors.Join(write(io.MultiWriter(file, digester.Hash())), file.Chmod(0o644)); err != nil {
		return ocispec.Descriptor{}, errors.Join(err, file.Close())
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err = errors.Join(err, file.Close()); err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digester.Digest(), Size: size}
	return d, os.Rename(file.Name(), l.path(d.Digest))
}

func (l layout) putBytes(algorithm digest.Algorithm, mediaType string, data []byte) (ocispec.Descriptor, error) {
	return l.put(algorithm, mediaType, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (l layout) putJSON(algorithm digest.Algorithm, mediaType string, value any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.putBytes(algorithm, mediaType, data)
}

// randomBytes writes size bytes that cannot be compressed.
func randomBytes(size int64) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.CopyN(w, rand.Reader, size)
		return err
	}
}

// layer is a layer of an image, and the digest of it uncompressed.
type layer struct {
	ocispec.Descriptor
	diffID digest.Digest
}

// entry is a file in a layer. Its content is random, so that it cannot shrink.
type entry struct {
	name string
	size int64
}

// putLayer writes a tar archive, with gzip at the level, as a layer.
func (l layout) putLayer(algorithm digest.Algorithm, level int, entries ...entry) (layer, error) {
	plain := digest.SHA256.Digester()
	d, err := l.put(algorithm, ocispec.MediaTypeImageLayerGzip, func(w io.Writer) error {
		compressed, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(io.MultiWriter(compressed, plain.Hash()))
		for _, e := range entries {
			if err := archive.WriteHeader(&tar.Header{Name: e.name, Size: e.size, Mode: 0o644, Format: tar.FormatPAX}); err != nil {
				return err
			}
			if err := randomBytes(e.size)(archive); err != nil {
				return err
			}
		}
		return errors.Join(archive.Close(), compressed.Close())
	})
	return layer{d, plain.Digest()}, err
}

const (
	linux = "linux"
	// unknown is what an attestation has for its system and architecture.
	unknown = "unknown"
)

// putImage writes the config and the manifest of a Linux image, or those of an
// attestation.
func (l layout) putImage(algorithm digest.Algorithm, architecture string, layers ...layer) (ocispec.Descriptor, error) {
	system := linux
	if architecture == unknown {
		system = unknown
	}
	image := ocispec.Image{Platform: ocispec.Platform{OS: system, Architecture: architecture}, RootFS: ocispec.RootFS{Type: "layers"}}
	// A command, since some daemons refuse to make a container without.
	image.Config.Cmd = []string{"/file-0"}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, one := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, one.diffID)
		image.History = append(image.History, ocispec.History{CreatedBy: fmt.Sprintf("layer %d", i)})
		manifest.Layers = append(manifest.Layers, one.Descriptor)
	}
	config, err := l.putJSON(algorithm, ocispec.MediaTypeImageConfig, image)
	if err != nil {
		return config, err
	}
	manifest.Config = config
	return l.putJSON(algorithm, ocispec.MediaTypeImageManifest, manifest)
}

// putArtifact writes a manifest of some type with one blob, about a subject if
// there is one.
func (l layout) putArtifact(artifactType, blobType string, blob []byte, subject *ocispec.Descriptor) (ocispec.Descriptor, error) {
	config, err := l.putBytes(digest.SHA256, ocispec.MediaTypeEmptyJSON, []byte("{}"))
	if err != nil {
		return config, err
	}
	d, err := l.putBytes(digest.SHA256, blobType, blob)
	if err != nil {
		return d, err
	}
	// The title is the file that the blob becomes for who pulls it.
	d.Annotations = map[string]string{ocispec.AnnotationTitle: "artifact.json"}
	return l.putJSON(digest.SHA256, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: config, Layers: []ocispec.Descriptor{d}, Subject: subject,
	})
}

// tag makes the layout one of a single manifest or index with a name.
func (l layout) tag(root ocispec.Descriptor, tag string) error {
	root.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{root},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(string(l), "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(string(l), "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
	)
}

// node is a manifest, an index or a blob, and what it consists of.
type node struct {
	ocispec.Descriptor
	isManifest bool
}

// read decodes a manifest or index, as far as its parts are concerned.
func (l layout) read(d ocispec.Descriptor) (m struct {
	Config            *ocispec.Descriptor
	Layers, Manifests []ocispec.Descriptor
	Subject           *ocispec.Descriptor
}, err error) {
	data, err := os.ReadFile(l.path(d.Digest))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

// graph lists everything that root consists of, parts first, each once.
func (l layout) graph(root ocispec.Descriptor) ([]node, error) {
	m, err := l.read(root)
	if err != nil {
		return nil, err
	}
	var all []node
	for _, child := range m.Manifests {
		below, err := l.graph(child)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	if m.Config != nil {
		all = append(all, node{*m.Config, false})
	}
	for _, d := range m.Layers {
		all = append(all, node{d, false})
	}
	all = append(all, node{root, true})
	seen := map[digest.Digest]bool{}
	return slices.DeleteFunc(all, func(n node) bool {
		before := seen[n.Digest]
		seen[n.Digest] = true
		return before
	}), nil
}

// blob reads a blob that is not large.
func (l layout) blob(d ocispec.Descriptor) ([]byte, error) { return os.ReadFile(l.path(d.Digest)) }

// holds is nil if the layout has all of root, undamaged.
func (l layout) holds(source layout, root ocispec.Descriptor) error {
	nodes, err := source.graph(root)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := l.intact(n.Descriptor); err != nil {
			return fmt.Errorf("after the pull: %w", err)
		}
	}
	return nil
}

func (l layout) intact(d ocispec.Descriptor) error {
	file, err := os.Open(l.path(d.Digest))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	got, err := d.Digest.Algorithm().FromReader(file)
	if err == nil && got != d.Digest {
		err = fmt.Errorf("%s has the digest %s", file.Name(), got)
	}
	return err
}
