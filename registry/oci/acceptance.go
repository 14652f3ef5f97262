// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// references are the blobs that a manifest refers to, and which of them and of its
// children need not be in its name, by what the policy accepts.
func references(p *policy.Policy, m manifest.Manifest) (blobs, optional []ref.Digest, err error) {
	if p.ForeignLayers != policy.Allow && len(m.Foreign) > 0 {
		layer := m.Foreign[0]
		return nil, nil, errcode.New(http.StatusBadRequest, errcode.ManifestInvalid, fmt.Sprintf(
			"layers[%d] (%s, %.100s) is a foreign layer, whose bytes are kept elsewhere; this instance stores only images that it holds whole: its docker.foreignLayers is Reject",
			layer.Index, layer.Digest, layer.MediaType))
	}
	listed := make(map[ref.Digest]bool, len(m.Blobs))
	for _, digest := range m.Blobs {
		listed[digest] = true
	}
	blobs = m.Blobs
	for _, layer := range m.Foreign {
		if !listed[layer.Digest] {
			listed[layer.Digest] = true
			blobs, optional = append(blobs, layer.Digest), append(optional, layer.Digest)
		}
	}
	if p.MissingReferences == policy.Allow {
		optional = slices.Concat(blobs, m.Manifests)
	}
	return blobs, optional, nil
}

// warnOfSize tells whoever pushed an image when it is larger than the instance
// likes, in the form of OCI Distribution, section "Warnings".
func warnOfSize(x *exchange, size int64) {
	limit := x.policy.Policy().Limits.ImageSize()
	if size <= limit {
		return
	}
	warning := fmt.Sprintf("the image is stored, but its configuration and layers have %d bytes, more than the %s of this instance's docker.limits.warnImageSize: pushing and pulling it takes long",
		size, sizeText(limit))
	x.Header().Set("Warning", `299 - "`+warning+`"`)
	recordOf(x.r.Context()).Warning = warning
}

// layerTooLarge refuses a blob over the limit; size is what it would have, or less
// than zero if that is not known.
func layerTooLarge(size, limit int64) error {
	message := "the layer is larger than the " + sizeText(limit) + " that this instance's docker.limits.maxLayerSize allows"
	if size >= 0 {
		message += fmt.Sprintf(": it has %d bytes", size)
	}
	return tooLarge(message)
}

// tooLarge says DENIED, where SIZE_INVALID would do as well: a Docker daemon that
// reads SIZE_INVALID sends the whole layer again, four times, before it tells why.
func tooLarge(message string) *errcode.Error {
	return errcode.New(http.StatusRequestEntityTooLarge, errcode.Denied, message)
}

// sizeText writes bytes as an instance's spec does.
func sizeText(n int64) string {
	for _, unit := range []struct {
		suffix string
		size   int64
	}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprint(n/unit.size, unit.suffix)
		}
	}
	return fmt.Sprint(n, " bytes")
}
