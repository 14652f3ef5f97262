// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// indexed is an image for several platforms.
type indexed struct {
	index  v1.ImageIndex
	digest v1.Hash
	// images are one for each platform, in the index's order.
	images []v1.Image
}

// newImage is the image of one program, as the Dockerfile says.
func newImage(r recipe, p program, s source) (v1.Image, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var text bytes.Buffer
		w := tar.NewWriter(&text)
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(r.to, "/"), Size: int64(len(content)), Mode: 0o755, ModTime: s.time, Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = w.Write(content)
		}
		if err == nil {
			err = w.Close()
		}
		return io.NopCloser(&text), err
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", p.file(), err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: s.time}, CreatedBy: fmt.Sprintf("COPY %s %s", r.from, r.to),
	}})
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", p.file(), err)
	}
	image, err = mutate.ConfigFile(image, configOf(image, r, p, s))
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", p.file(), err)
	}
	return image, nil
}

func configOf(image v1.Image, r recipe, p program, s source) *v1.ConfigFile {
	// The image was made in memory: its configuration is there.
	config, err := image.ConfigFile()
	if err != nil {
		panic(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.platform.OS, p.platform.Architecture, p.platform.Variant
	config.Created = v1.Time{Time: s.time}
	config.Config = v1.Config{User: r.user, Entrypoint: r.entrypoint, Labels: annotations(s)}
	return config
}

// annotations tell where an image comes from, in the words of the OCI image
// specification.
func annotations(s source) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    operator,
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  s.version,
		"org.opencontainers.image.revision": s.revision,
	}
}

// newIndex joins the operator's images of all platforms.
func newIndex(r recipe, programs []program, s source) (indexed, error) {
	one := indexed{index: mutate.IndexMediaType(empty.Index, types.OCIImageIndex)}
	for _, p := range programs {
		if p.name != operator {
			continue
		}
		image, err := newImage(r, p, s)
		if err != nil {
			return indexed{}, err
		}
		platform := p.platform
		one.images = append(one.images, image)
		one.index = mutate.AppendManifests(one.index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	annotated, ok := mutate.Annotations(one.index, annotations(s)).(v1.ImageIndex)
	if !ok {
		return indexed{}, fmt.Errorf("an annotated index is none")
	}
	one.index = annotated
	var err error
	if one.digest, err = one.index.Digest(); err != nil {
		return indexed{}, fmt.Errorf("joining the images: %w", err)
	}
	return one, nil
}
