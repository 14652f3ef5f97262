// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// archiver writes a tar archive of files and short texts.
type archiver struct {
	tar *tar.Writer
	err error
}

func (a *archiver) text(name string, value any) {
	data, err := json.Marshal(value)
	a.err = errors.Join(a.err, err, a.tar.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}))
	if a.err == nil {
		_, a.err = a.tar.Write(data)
	}
}

func (a *archiver) file(name, path string) {
	file, err := os.Open(path)
	if err != nil {
		a.err = errors.Join(a.err, err)
		return
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err == nil {
		err = a.tar.WriteHeader(&tar.Header{Name: name, Size: info.Size(), Mode: 0o644, Format: tar.FormatPAX})
	}
	if err == nil {
		_, err = io.Copy(a.tar, file)
	}
	a.err = errors.Join(a.err, err)
}

// archive writes a tar archive.
func archive(path string, fill func(*archiver)) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	a := &archiver{tar: tar.NewWriter(file)}
	fill(a)
	return errors.Join(a.err, a.tar.Close(), file.Close())
}

// dockerArchive writes an image in the form that docker save has.
func dockerArchive(path string, p part, image string) error {
	m, err := p.layout.read(p.root)
	if err != nil {
		return err
	}
	if m.Config == nil {
		return fmt.Errorf("%s is no image", image)
	}
	return archive(path, func(a *archiver) {
		config := m.Config.Digest.Encoded() + ".json"
		a.file(config, p.layout.path(m.Config.Digest))
		var layers []string
		for i, d := range m.Layers {
			name := fmt.Sprintf("layer-%d/layer.tar", i)
			a.file(name, p.layout.path(d.Digest))
			layers = append(layers, name)
		}
		a.text("manifest.json", []any{map[string]any{"Config": config, "RepoTags": []string{image}, "Layers": layers}})
	})
}

// ociArchive writes a layout as one file, in which the manifest has an image's name.
func ociArchive(path string, p part, image string) error {
	data, err := os.ReadFile(filepath.Join(string(p.layout), "index.json"))
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return err
	}
	index.Manifests[0].Annotations["io.containerd.image.name"] = image
	nodes, err := p.layout.graph(p.root)
	if err != nil {
		return err
	}
	return archive(path, func(a *archiver) {
		a.text(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
		a.text(ocispec.ImageIndexFile, index)
		for _, n := range nodes {
			a.file("blobs/"+n.Digest.Algorithm().String()+"/"+n.Digest.Encoded(), p.layout.path(n.Digest))
		}
	})
}
