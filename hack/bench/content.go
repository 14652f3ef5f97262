// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// content is bytes that can be read many times. What is large is not kept in
// memory.
type content struct {
	size   int64
	digest string
	// text is the content, unless it is made of noise behind seed.
	text []byte
	seed uint64
}

// noise is what blobs are made of: it cannot be compressed. It is shared by all, so
// that a client reads it at the speed of memory.
var noise = func() []byte {
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(block)
	return block
}()

// seeds make every blob differ from every other, and from those of an earlier run
// on the same data.
var seeds atomic.Uint64

func init() { seeds.Store(uint64(time.Now().UnixNano())) }

// newBlob makes content of a size, at least seedSize, that was never there before.
func newBlob(size int64) *content {
	c := &content{size: size, seed: seeds.Add(1)}
	h := sha256.New()
	_, _ = c.noise().WriteTo(h) // a hash takes everything
	c.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return c
}

func newText(text []byte) *content {
	sum := sha256.Sum256(text)
	return &content{size: int64(len(text)), text: text, digest: "sha256:" + hex.EncodeToString(sum[:])}
}

func (c *content) reader() io.Reader {
	if c.text != nil {
		return bytes.NewReader(c.text)
	}
	return c.noise()
}

func (c *content) noise() *noiseReader { return &noiseReader{seed: c.seed, left: c.size} }

const seedSize = 8

// noiseReader reads a seed, and then noise.
type noiseReader struct {
	seed     uint64
	position int
	left     int64
}

func (r *noiseReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	return r.advance(copy(p, r.next())), nil
}

// WriteTo implements io.WriterTo without a buffer: to make a blob has to cost next to
// nothing beside pushing it.
func (r *noiseReader) WriteTo(w io.Writer) (written int64, err error) {
	for r.left > 0 && err == nil {
		var n int
		n, err = w.Write(r.next())
		written += int64(r.advance(n))
	}
	return written, err
}

// next is what can be read at once.
func (r *noiseReader) next() []byte {
	next := noise[r.position%len(noise):]
	if r.position < seedSize {
		next = binary.BigEndian.AppendUint64(nil, r.seed)[r.position:]
	}
	return next[:min(int64(len(next)), r.left)]
}

func (r *noiseReader) advance(n int) int {
	r.position += n
	r.left -= int64(n)
	return n
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	indexType    = "application/vnd.oci.image.index.v1+json"
	artifactType = "application/vnd.example.signature"
)

// descriptor is OCI's.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

func (c *content) descriptor(mediaType string) descriptor {
	return descriptor{MediaType: mediaType, Digest: c.digest, Size: c.size}
}

// image is a manifest with all that it refers to.
type image struct {
	config   *content
	layers   []*content
	manifest *content
}

// newImage makes an image that was never there before.
func newImage(layers int, layerSize int64) *image {
	img := &image{config: newConfig()}
	for range layers {
		img.layers = append(img.layers, newBlob(layerSize))
	}
	img.manifest = img.manifestWith(nil, nil)
	return img
}

func newConfig() *content {
	return newText(fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Labels":{"seed":"%d"}},"rootfs":{"type":"layers","diff_ids":[]}}`, seeds.Add(1)))
}

// manifestWith is a manifest of the image's config and layers, with annotations,
// that refers to a subject unless that is nil.
func (i *image) manifestWith(annotations map[string]string, subject *descriptor) *content {
	manifest := struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType,omitempty"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Subject       *descriptor       `json:"subject,omitempty"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}{SchemaVersion: 2, MediaType: manifestType, Config: i.config.descriptor(configType), Layers: []descriptor{}, Subject: subject, Annotations: annotations}
	if subject != nil {
		manifest.ArtifactType = artifactType
	}
	for _, layer := range i.layers {
		manifest.Layers = append(manifest.Layers, layer.descriptor(layerType))
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		panic(err) // strings and numbers can be written as JSON
	}
	return newText(text)
}

// blobs are the config and the layers.
func (i *image) blobs() []*content { return append([]*content{i.config}, i.layers...) }

// size in bytes of all of the image.
func (i *image) size() int64 {
	total := i.manifest.size
	for _, blob := range i.blobs() {
		total += blob.size
	}
	return total
}
