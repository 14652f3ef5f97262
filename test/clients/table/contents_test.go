// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The contents are the columns of the table.
const (
	attestedIndex = "index with attestations"
	manyLayers    = "60 layers"
	bigLayer      = "2 GiB layer"
	emptyLayer    = "empty layer"
	artifact      = "artifact"
	chart         = "Helm chart"
	signed        = "signature and SBOM"
	sha512        = "SHA-512"
)

var contentNames = []string{attestedIndex, manyLayers, bigLayer, emptyLayer, artifact, chart, signed, sha512}

// images are the contents that a container can be made of.
var images = []string{attestedIndex, manyLayers, bigLayer, emptyLayer, signed, sha512}

// but lists names without some.
func but(names []string, without ...string) []string {
	var rest []string
	for _, name := range names {
		keep := true
		for _, w := range without {
			keep = keep && w != name
		}
		if keep {
			rest = append(rest, name)
		}
	}
	return rest
}

// content is something to push and pull, in parts that have a tag each.
type content struct {
	name string
	// path is the content's name in repositories.
	path  string
	parts []part
}

// part is a tagged manifest or index in a layout of its own.
type part struct {
	layout layout
	tag    string
	root   ocispec.Descriptor
}

const gibibyte = 1 << 30

// makers has, by name, the path of a content and what makes it in a directory.
var makers = map[string]struct {
	path string
	make func(dir string) ([]part, error)
}{
	attestedIndex: {"index", single(makeAttestedIndex)},
	manyLayers:    {"many-layers", single(func(l layout) (ocispec.Descriptor, error) { return imageOf(l, digest.SHA256, 60, 500) })},
	bigLayer:      {"big-layer", single(makeBigLayer)},
	emptyLayer:    {"empty-layer", single(makeEmptyLayer)},
	artifact: {"artifact", single(func(l layout) (ocispec.Descriptor, error) {
		return l.putArtifact("application/vnd.example.report.v1+json", "application/json", []byte(`{"passed":true}`), nil)
	})},
	chart:  {"octo-chart", single(makeChart)}, // a chart's repository has the chart's name
	signed: {"signed", makeSigned},
	sha512: {"sha512", single(func(l layout) (ocispec.Descriptor, error) { return imageOf(l, digest.SHA512, 3, 100_000) })},
}

// makeContent makes a content in dir.
func makeContent(dir, name string) (content, error) {
	parts, err := makers[name].make(dir)
	if err != nil {
		return content{}, fmt.Errorf("make %s: %w", name, err)
	}
	return content{name: name, path: makers[name].path, parts: parts}, nil
}

// single makes a content of one part.
func single(fill func(layout) (ocispec.Descriptor, error)) func(string) ([]part, error) {
	return func(dir string) ([]part, error) {
		l, err := newLayout(dir)
		if err != nil {
			return nil, err
		}
		root, err := fill(l)
		if err != nil {
			return nil, err
		}
		return []part{{l, chartVersion, root}}, l.tag(root, chartVersion)
	}
}

// imageOf is an image of so many layers with a file of size bytes each.
func imageOf(l layout, algorithm digest.Algorithm, count int, size int64) (ocispec.Descriptor, error) {
	layers := make([]layer, count)
	for i := range layers {
		var err error
		if layers[i], err = l.putLayer(algorithm, gzip.DefaultCompression, entry{fmt.Sprintf("file-%d", i), size}); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	return l.putImage(algorithm, "amd64", layers...)
}

// makeBigLayer stores without compressing: random bytes only take time.
func makeBigLayer(l layout) (ocispec.Descriptor, error) {
	big, err := l.putLayer(digest.SHA256, gzip.NoCompression, entry{"file-0", 2 * gibibyte})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.putImage(digest.SHA256, "amd64", big)
}

// makeEmptyLayer is an image with a layer without files, twice.
func makeEmptyLayer(l layout) (ocispec.Descriptor, error) {
	file, err := l.putLayer(digest.SHA256, gzip.DefaultCompression, entry{"file-0", 1000})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	empty, err := l.putLayer(digest.SHA256, gzip.DefaultCompression)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.putImage(digest.SHA256, "amd64", file, empty, empty)
}

// makeAttestedIndex is an index as BuildKit writes it: two architectures, and for
// each a manifest that attests where it comes from.
func makeAttestedIndex(l layout) (ocispec.Descriptor, error) {
	var architectures, attestations []ocispec.Descriptor
	for _, architecture := range []string{"amd64", "arm64"} {
		file, err := l.putLayer(digest.SHA256, gzip.DefaultCompression, entry{"file-0", 5000})
		if err != nil {
			return file.Descriptor, err
		}
		image, err := l.putImage(digest.SHA256, architecture, file)
		if err != nil {
			return image, err
		}
		image.Platform = &ocispec.Platform{Architecture: architecture, OS: linux}
		architectures = append(architectures, image)
		statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2",`+
			`"subject":[{"name":"file-0","digest":{"sha256":%q}}],"predicate":{}}`, image.Digest.Encoded())
		attestation, err := l.putBytes(digest.SHA256, "application/vnd.in-toto+json", statement)
		if err != nil {
			return attestation, err
		}
		attestation.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
		manifest, err := l.putImage(digest.SHA256, unknown, layer{attestation, digest.FromBytes(statement)})
		if err != nil {
			return manifest, err
		}
		manifest.Platform = &ocispec.Platform{Architecture: unknown, OS: unknown}
		manifest.Annotations = map[string]string{
			"vnd.docker.reference.digest": image.Digest.String(), "vnd.docker.reference.type": "attestation-manifest",
		}
		attestations = append(attestations, manifest)
	}
	return l.putJSON(digest.SHA256, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: append(architectures, attestations...),
	})
}

const (
	chartName = "octo-chart"
	// chartVersion is also the tag of all other contents: a chart's is its version.
	chartVersion = "1.0.0"
	chartFile    = "chart.tgz"
)

// makeChart is what helm push makes of a chart. The chart itself lies beside the
// layout's blobs.
func makeChart(l layout) (ocispec.Descriptor, error) {
	archive, err := chartArchive(nil)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := os.WriteFile(filepath.Join(string(l), chartFile), archive, 0o644); err != nil {
		return ocispec.Descriptor{}, err
	}
	config, err := l.putBytes(digest.SHA256, "application/vnd.cncf.helm.config.v1+json",
		[]byte(`{"name":"`+chartName+`","version":"`+chartVersion+`","apiVersion":"v2"}`))
	if err != nil {
		return config, err
	}
	d, err := l.putBytes(digest.SHA256, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)
	if err != nil {
		return d, err
	}
	return l.putJSON(digest.SHA256, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{d},
	})
}

// chartArchive is what helm package makes of a chart, with some more text.
func chartArchive(more []byte) ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	for _, file := range []struct {
		name string
		text []byte
	}{
		{"Chart.yaml", []byte("apiVersion: v2\nname: " + chartName + "\nversion: " + chartVersion + "\n")},
		{"templates/configmap.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  answer: {{ .Values.answer | quote }}\n")},
		{"values.yaml", []byte("answer: from the registry\n")},
		{"README.md", append([]byte("A chart has a readme.\n"), more...)},
	} {
		header := &tar.Header{Name: chartName + "/" + file.name, Size: int64(len(file.text)), Mode: 0o644}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(file.text); err != nil {
			return nil, err
		}
	}
	err := errors.Join(archive.Close(), compressed.Close())
	return out.Bytes(), err
}

// makeSigned is an image, an SBOM and a signature that refer to it. The shapes are
// those of common tools; the signature is of nobody.
func makeSigned(dir string) ([]part, error) {
	whole, err := newLayout(filepath.Join(dir, "image"))
	if err != nil {
		return nil, err
	}
	image, err := imageOf(whole, digest.SHA256, 2, 10_000)
	if err != nil {
		return nil, err
	}
	parts := []part{{whole, chartVersion, image}}
	for _, about := range []struct{ tag, artifactType, blobType, blob string }{
		{"sbom", "application/spdx+json", "application/spdx+json", `{"spdxVersion":"SPDX-2.3","name":"image"}`},
		{"signature", "application/vnd.example.signature.v1", "application/octet-stream", "signed by nobody"},
	} {
		l, err := newLayout(filepath.Join(dir, about.tag))
		if err != nil {
			return nil, err
		}
		root, err := l.putArtifact(about.artifactType, about.blobType, []byte(about.blob), &image)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{l, about.tag, root})
	}
	for _, p := range parts {
		if err := p.layout.tag(p.root, p.tag); err != nil {
			return nil, err
		}
	}
	return parts, nil
}
