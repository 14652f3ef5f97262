// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"sigs.k8s.io/yaml"
)

// Media types of Helm's packages in a registry.
const (
	helmConfig types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	helmChart  types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	ociEmpty   types.MediaType = "application/vnd.oci.empty.v1+json"
)

func emptyIndex() v1.ImageIndex { return mutate.IndexMediaType(empty.Index, types.OCIImageIndex) }

// push sends the image with the bills of materials as its referrers, and the chart to
// charts/ beside it, with docker's logins. It returns what was pushed.
func (r *release) push(ctx context.Context, to string) ([]string, error) {
	repository, err := name.NewRepository(to)
	if err != nil {
		return nil, fmt.Errorf("pushing to %q: %w", to, err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	tag := repository.Tag(tagOf(r.source.version))
	if err := remote.WriteIndex(tag, r.index.index, options...); err != nil {
		return nil, fmt.Errorf("pushing %s: %w", tag, err)
	}
	pushed := []string{tag.String() + "@" + r.index.digest.String()}

	index, err := partial.Descriptor(r.index.index)
	if err != nil {
		return pushed, fmt.Errorf("pushing the bills of materials: %w", err)
	}
	at := 0
	for i, p := range r.programs {
		if p.name != operator {
			continue
		}
		image, err := partial.Descriptor(r.index.images[at])
		if err != nil {
			return pushed, fmt.Errorf("pushing the bills of materials: %w", err)
		}
		at++
		for _, subject := range []*v1.Descriptor{image, index} {
			bill := &artifact{kind: spdxType, config: []byte("{}"), configType: ociEmpty,
				content: static.NewLayer(r.bills[i], spdxType), subject: subject,
				annotations: map[string]string{
					"org.opencontainers.image.title":   p.file() + spdxFile,
					"org.opencontainers.image.created": r.source.time.Format(time.RFC3339),
				}}
			digest, err := bill.write(repository, "", options)
			if err != nil {
				return pushed, fmt.Errorf("pushing the bill of materials of %s: %w", p.file(), err)
			}
			pushed = append(pushed, repository.Digest(digest.String()).String())
		}
	}
	if r.chartPackage == nil {
		return pushed, nil
	}
	chart, err := r.pushChart(to, options)
	if err != nil {
		return pushed, fmt.Errorf("pushing the chart: %w", err)
	}
	return append(pushed, chart), nil
}

// pushChart sends the chart as helm push does.
func (r *release) pushChart(to string, options []remote.Option) (string, error) {
	files, err := untar(r.chartPackage.content)
	if err != nil {
		return "", err
	}
	var metadata map[string]any
	for _, file := range files {
		if strings.Count(file.name, "/") == 1 && path.Base(file.name) == "Chart.yaml" {
			if err := yaml.Unmarshal(file.content, &metadata); err != nil {
				return "", err
			}
		}
	}
	config, err := json.Marshal(metadata)
	if err != nil {
		return "", err
	}
	chart, version := fmt.Sprint(metadata["name"]), fmt.Sprint(metadata["version"])
	repository, err := name.NewRepository(path.Join(path.Dir(to), "charts", chart))
	if err != nil {
		return "", err
	}
	one := &artifact{config: config, configType: helmConfig, content: static.NewLayer(r.chartPackage.content, helmChart),
		annotations: map[string]string{
			"org.opencontainers.image.title":   chart,
			"org.opencontainers.image.version": version,
			"org.opencontainers.image.created": r.source.time.Format(time.RFC3339),
		}}
	digest, err := one.write(repository, tagOf(version), options)
	if err != nil {
		return "", err
	}
	return repository.Tag(tagOf(version)).String() + "@" + digest.String(), nil
}

// artifact is one file in a registry.
type artifact struct {
	kind        string
	config      []byte
	configType  types.MediaType
	content     v1.Layer
	subject     *v1.Descriptor
	annotations map[string]string
}

// write pushes the artifact, by its digest without a tag.
func (a *artifact) write(repository name.Repository, tag string, options []remote.Option) (v1.Hash, error) {
	image, err := partial.CompressedToImage(a)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	var to name.Reference = repository.Digest(digest.String())
	if tag != "" {
		to = repository.Tag(tag)
	}
	return digest, remote.Write(to, image, options...)
}

// MediaType implements partial.CompressedImageCore.
func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawConfigFile implements partial.CompressedImageCore.
func (a *artifact) RawConfigFile() ([]byte, error) { return a.config, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (a *artifact) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	if own, err := a.content.Digest(); err != nil || own == digest {
		return a.content, err
	}
	return partial.ConfigLayer(a)
}

// RawManifest implements partial.CompressedImageCore.
func (a *artifact) RawManifest() ([]byte, error) {
	config, size, err := v1.SHA256(bytes.NewReader(a.config))
	if err != nil {
		return nil, err
	}
	content, err := partial.Descriptor(a.content)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.kind,
		Config: v1.Descriptor{MediaType: a.configType, Size: size, Digest: config},
		Layers: []v1.Descriptor{*content}, Subject: a.subject, Annotations: a.annotations,
	})
}

// untar reads a package.
func untar(archive []byte) ([]packed, error) {
	var files []packed
	err := eachFile(archive, func(name string, content io.Reader) error {
		text, err := io.ReadAll(content)
		files = append(files, packed{name, text})
		return err
	})
	return files, err
}
