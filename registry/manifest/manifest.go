// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads image manifests and indexes, in their OCI and Docker
// forms. It is pure and strict: what two decoders might read differently is
// refused.
package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"reflect"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// MaxSize is the largest manifest in bytes, as OCI Distribution asks a registry
// to support at least.
const MaxSize = 4 << 20

// The media types that are read.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

const emptyConfig = "application/vnd.oci.empty.v1+json"

// Manifest is what a registry needs to know about a manifest.
type Manifest struct {
	MediaType string
	// ArtifactType is the manifest's own, or its config's media type, as the
	// referrers API shows it.
	ArtifactType string
	Annotations  map[string]string
	// Subject is empty without one.
	Subject ref.Digest
	// Blobs are the config and the layers whose bytes belong in the registry, each
	// once; Manifests are an index's children.
	Blobs     []ref.Digest
	Manifests []ref.Digest
	// Foreign are the layers whose bytes are kept elsewhere, in their order. A
	// digest that one of them shares with the config or another layer is in Blobs
	// as well.
	Foreign []ForeignLayer
	// Size is what the config and the layers take together by their descriptors,
	// each digest once, in bytes; at most math.MaxInt64. It is zero for an index.
	Size int64
}

// ForeignLayer is a layer of a non-distributable media type, or with URLs to fetch
// it from.
type ForeignLayer struct {
	// Index into the manifest's layers.
	Index     int
	Digest    ref.Digest
	MediaType string
}

type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

type descriptor struct {
	MediaType string   `json:"mediaType"`
	Digest    string   `json:"digest"`
	Size      *int64   `json:"size"`
	URLs      []string `json:"urls"`
}

// Parse reads content that was sent as contentType. Errors are sentences that
// name the field.
func Parse(content []byte, contentType string) (Manifest, error) {
	sent := ""
	if contentType != "" {
		parsed, _, err := mime.ParseMediaType(contentType)
		if err != nil {
			return Manifest{}, fmt.Errorf("Content-Type %.80q is no media type", contentType)
		}
		sent = parsed
	}
	if err := checkStrict(content); err != nil {
		return Manifest{}, err
	}
	var presence map[string]json.RawMessage
	if err := json.Unmarshal(content, &presence); err != nil {
		return Manifest{}, fmt.Errorf("a manifest is a JSON object: %w", err)
	}
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return Manifest{}, typeError(err)
	}
	mediaType, err := decideMediaType(sent, d, presence)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{MediaType: mediaType, ArtifactType: d.ArtifactType, Annotations: d.Annotations}
	if d.Subject != nil {
		if m.Subject, err = d.Subject.check("subject"); err != nil {
			return Manifest{}, err
		}
	}
	if !isIndex(mediaType) && m.ArtifactType == "" {
		m.ArtifactType = d.Config.MediaType
	}
	if len(m.ArtifactType) > maxArtifactType {
		return Manifest{}, fmt.Errorf("the artifact type %.40q… has %d characters, at most %d are allowed", m.ArtifactType, len(m.ArtifactType), maxArtifactType)
	}
	if isIndex(mediaType) {
		m.Manifests, err = digests("manifests", d.Manifests)
		return m, err
	}
	config, err := d.Config.check("config")
	if err != nil {
		return Manifest{}, err
	}
	m.Blobs, m.Size = []ref.Digest{config}, *d.Config.Size
	counted, here := map[ref.Digest]bool{config: true}, map[ref.Digest]bool{config: true}
	for i, layer := range d.Layers {
		digest, err := layer.check(fmt.Sprintf("layers[%d]", i))
		if err != nil {
			return Manifest{}, err
		}
		if !counted[digest] {
			counted[digest] = true
			m.Size += min(*layer.Size, math.MaxInt64-m.Size)
		}
		switch {
		case foreign(layer):
			m.Foreign = append(m.Foreign, ForeignLayer{Index: i, Digest: digest, MediaType: layer.MediaType})
		case !here[digest]:
			here[digest] = true
			m.Blobs = append(m.Blobs, digest)
		}
	}
	return m, nil
}

// decideMediaType brings together what the client sent, what the document says
// of itself and what it is made of.
func decideMediaType(sent string, d document, presence map[string]json.RawMessage) (string, error) {
	if d.SchemaVersion == 1 || presence["fsLayers"] != nil {
		return "", fmt.Errorf("schemaVersion 1 is no longer accepted; push with a client that writes schemaVersion 2")
	}
	if d.SchemaVersion != 2 {
		return "", fmt.Errorf("schemaVersion must be 2")
	}
	mediaType := d.MediaType
	switch {
	case mediaType == "" && sent == "":
		return "", fmt.Errorf("mediaType is missing, and so is the Content-Type")
	case mediaType == "":
		mediaType = sent
	case sent != "" && sent != mediaType:
		return "", fmt.Errorf("mediaType is %.100q, but the Content-Type is %.100q", mediaType, sent)
	}
	hasConfig, hasLayers, hasManifests := presence["config"] != nil, presence["layers"] != nil, presence["manifests"] != nil
	switch mediaType {
	case OCIManifest, DockerManifest:
		if hasManifests {
			return "", fmt.Errorf("manifests does not belong in a %s", mediaType)
		}
		if !hasConfig || d.Config == nil {
			return "", fmt.Errorf("config is missing")
		}
		if !hasLayers || d.Layers == nil {
			return "", fmt.Errorf("layers is missing; an artifact without content uses one layer of type %s", emptyConfig)
		}
	case OCIIndex, DockerList:
		if hasConfig || hasLayers {
			return "", fmt.Errorf("config and layers do not belong in a %s", mediaType)
		}
		if !hasManifests || d.Manifests == nil {
			return "", fmt.Errorf("manifests is missing")
		}
	default:
		return "", fmt.Errorf("mediaType %.100q is none that this registry stores: use %s or %s, or their Docker forms", mediaType, OCIManifest, OCIIndex)
	}
	return mediaType, nil
}

// typeError says which field holds another kind of value than the specification
// has for it. The decoder's own words would repeat a number of any length.
func typeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("not a manifest: %w", err)
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.Int, reflect.Int64:
		want = "a whole number"
	case reflect.String:
		want = "a string"
	case reflect.Slice:
		want = "a list"
	}
	return fmt.Errorf("not a manifest: %s must be %s, and is the %.40s", cmp.Or(wrong.Field, "it"), want, wrong.Value)
}

func isIndex(mediaType string) bool { return mediaType == OCIIndex || mediaType == DockerList }

// check validates one descriptor and returns its digest.
func (d descriptor) check(field string) (ref.Digest, error) {
	digest, err := ref.ParseDigest(d.Digest)
	if err != nil {
		return "", fmt.Errorf("%s.digest: %w", field, err)
	}
	if d.Size == nil {
		return "", fmt.Errorf("%s.size is missing", field)
	}
	if *d.Size < 0 {
		return "", fmt.Errorf("%s.size is negative", field)
	}
	if d.MediaType == "" {
		return "", fmt.Errorf("%s.mediaType is missing", field)
	}
	return digest, nil
}

// digests validates a list of descriptors and returns each digest once.
func digests(field string, list []descriptor) ([]ref.Digest, error) {
	seen := make(map[ref.Digest]struct{}, len(list))
	result := make([]ref.Digest, 0, len(list))
	for i, d := range list {
		digest, err := d.check(fmt.Sprintf("%s[%d]", field, i))
		if err != nil {
			return nil, err
		}
		if _, twice := seen[digest]; !twice {
			seen[digest] = struct{}{}
			result = append(result, digest)
		}
	}
	return result, nil
}

// foreign reports a layer of Docker's or OCI's non-distributable kind.
func foreign(d descriptor) bool {
	switch d.MediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return len(d.URLs) > 0
}
