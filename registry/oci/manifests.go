// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

// getManifest serves "Pulling manifests", HEAD and GET, by tag and by digest.
func (h *Handler) getManifest(x *exchange) error {
	ctx := x.r.Context()
	digest := x.req.Reference.Digest
	if digest == "" {
		d, err := h.Catalog.ResolveTag(ctx, x.req.Name, x.req.Reference.Tag)
		if err != nil {
			return err
		}
		if x.req.Kind == route.ManifestHead {
			manifestHeader(x, d.Digest, d.MediaType)
			x.Header().Set("Content-Length", fmt.Sprint(d.Size))
			x.WriteHeader(http.StatusOK)
			return nil
		}
		digest = d.Digest
	}
	m, release, err := h.loadManifest(ctx, x.req.Name, digest)
	if err != nil {
		return err
	}
	defer release()
	record := recordOf(ctx)
	record.Digest, record.Size = m.Digest, int64(len(m.Content))
	manifestHeader(x, m.Digest, m.MediaType)
	if match := x.r.Header.Get("If-None-Match"); match != "" && strings.Contains(match, etag(m.Digest)) {
		x.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeBody(x, http.StatusOK, m.Content)
	return nil
}

func manifestHeader(x *exchange, digest ref.Digest, mediaType string) {
	header := x.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", string(digest))
	header.Set("Etag", etag(digest))
}

// putManifest serves "Pushing Manifests".
func (h *Handler) putManifest(x *exchange) error {
	content, release, err := h.readManifest(x)
	if err != nil {
		return err
	}
	defer release()
	algorithm := ref.SHA256
	if want := x.req.Reference.Digest; want != "" {
		algorithm = want.Algorithm()
	}
	digest := algorithm.FromBytes(content)
	if want := x.req.Reference.Digest; want != "" && want != digest {
		return errcode.New(http.StatusBadRequest, errcode.DigestInvalid, fmt.Sprintf("the manifest's digest is %s, not %s", digest, want))
	}
	parsed, err := h.parseManifest(x, content)
	if err != nil {
		return err
	}
	if parsed.Subject == digest {
		return errcode.New(http.StatusBadRequest, errcode.ManifestInvalid, "subject is the manifest itself")
	}
	var tags []ref.Tag
	if tag := x.req.Reference.Tag; tag != "" {
		tags = append(tags, tag)
	}
	tags = append(tags, x.req.Tags...)
	record := recordOf(x.r.Context())
	record.Digest, record.Size, record.Tags = digest, int64(len(content)), x.req.Tags
	if err := h.authorizeAgain(x); err != nil {
		return err
	}
	blobs, optional, err := references(x.policy.Policy(), parsed)
	if err != nil {
		return err
	}
	err = h.Catalog.PutManifest(x.r.Context(), x.req.Name, catalog.Manifest{
		Digest:       digest,
		MediaType:    parsed.MediaType,
		Content:      content,
		ArtifactType: parsed.ArtifactType,
		Annotations:  parsed.Annotations,
		Subject:      parsed.Subject,
		Blobs:        blobs,
		Manifests:    parsed.Manifests,
		Optional:     optional,
	}, tags)
	if err != nil {
		return err
	}
	warnOfSize(x, parsed.Size)
	header := x.Header()
	header.Set("Location", route.ManifestPath(x.req.Name, ref.Reference{Digest: digest}))
	header.Set("Docker-Content-Digest", string(digest))
	if parsed.Subject != "" {
		header.Set("Oci-Subject", string(parsed.Subject))
	}
	for _, tag := range x.req.Tags {
		header.Add("Oci-Tag", string(tag))
	}
	writeBody(x, http.StatusCreated, nil)
	return nil
}

// deleteManifest serves "Deleting tags" and "Deleting manifests".
func (h *Handler) deleteManifest(x *exchange) error {
	var err error
	if tag := x.req.Reference.Tag; tag != "" {
		err = h.Catalog.DeleteTag(x.r.Context(), x.req.Name, tag)
	} else {
		err = h.Catalog.DeleteManifest(x.r.Context(), x.req.Name, x.req.Reference.Digest)
	}
	if err != nil {
		return err
	}
	writeBody(x, http.StatusAccepted, nil)
	return nil
}
