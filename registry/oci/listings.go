// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"net/http"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

const (
	// pageEntries bounds a page that the client sets no limit for.
	pageEntries = route.MaxLimit
	// referrerEntries and referrerBytes bound a page of referrers.
	referrerEntries = 1000
	referrerBytes   = 4 << 20
	// scanEntries is how many names a catalog request reads at a time, and
	// scanLimit how many at most when most of them are hidden from the actor.
	scanEntries = 1000
	scanLimit   = 100_000
)

// linkNext announces the next page, per "Listing Tags" of OCI Distribution.
func linkNext(x *exchange, path string) {
	x.Header().Set("Link", "<"+path+`>; rel="next"`)
}

// pageSize is the client's limit, or most where it sets none or a larger one.
func pageSize(limit, most int) int {
	if limit < 0 || limit > most {
		return most
	}
	return limit
}

type tagList struct {
	Name ref.Name  `json:"name"`
	Tags []ref.Tag `json:"tags"`
}

// tags serves "Listing Tags".
func (h *Handler) tags(x *exchange) error {
	limit := pageSize(x.req.Limit, pageEntries)
	tags, err := h.Catalog.Tags(x.r.Context(), x.req.Name, x.req.Last, limit+1)
	if err != nil {
		return err
	}
	if len(tags) > limit {
		tags = tags[:limit]
		if limit > 0 {
			linkNext(x, route.TagsPath(x.req.Name, string(tags[limit-1]), limit))
		}
	}
	if tags == nil {
		tags = []ref.Tag{}
	}
	return writeJSON(x, http.StatusOK, tagList{Name: x.req.Name, Tags: tags})
}

type nameList struct {
	Repositories []ref.Name `json:"repositories"`
}

// names serves _catalog: the names with content in repositories that the actor
// may pull from.
func (h *Handler) names(x *exchange) error {
	if err := h.decided(x, access.AuthorizeCatalog(x.policy, x.actor), neededScope(x.req)); err != nil {
		return err
	}
	limit := pageSize(x.req.Limit, pageEntries)
	found, last, more, err := h.visibleNames(x, limit)
	if err != nil {
		return err
	}
	if more && limit > 0 {
		linkNext(x, route.CatalogPath(last, limit))
	}
	return writeJSON(x, http.StatusOK, nameList{Repositories: found})
}

// visibleNames scans until it has limit names, and tells where it stopped.
func (h *Handler) visibleNames(x *exchange, limit int) (found []ref.Name, last string, more bool, err error) {
	found, last = []ref.Name{}, x.req.Last
	for scanned := 0; scanned < scanLimit; scanned += scanEntries {
		page, err := h.Catalog.Names(x.r.Context(), last, scanEntries)
		if err != nil {
			return nil, "", false, err
		}
		for _, name := range page {
			if access.Visible(x.policy, x.actor, name.Repository()) {
				if len(found) == limit {
					return found, last, true, nil
				}
				found = append(found, name)
			}
			last = string(name)
		}
		if len(page) < scanEntries {
			return found, last, false, nil
		}
	}
	return found, last, true, nil
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []json.RawMessage `json:"manifests"`
}

type indexEntry struct {
	Digest       ref.Digest        `json:"digest"`
	MediaType    string            `json:"mediaType"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrers serves "Listing Referrers". A subject that nobody refers to, or that
// does not exist, has an empty list.
func (h *Handler) referrers(x *exchange) error {
	limit := pageSize(x.req.Limit, referrerEntries)
	found, err := h.Catalog.Referrers(x.r.Context(), x.req.Name, x.req.Digest, x.req.ArtifactType, ref.Digest(x.req.Last), limit+1)
	if err != nil {
		return err
	}
	document := index{SchemaVersion: 2, MediaType: manifest.OCIIndex, Manifests: []json.RawMessage{}}
	size := 0
	for i, d := range found {
		entry, err := json.Marshal(indexEntry(d))
		if err != nil {
			return err
		}
		if i == limit || i > 0 && size+len(entry) > referrerBytes {
			linkNext(x, route.ReferrersPath(x.req.Name, x.req.Digest, x.req.ArtifactType, found[i-1].Digest, x.req.Limit))
			break
		}
		size += len(entry)
		document.Manifests = append(document.Manifests, entry)
	}
	if x.req.ArtifactType != "" {
		x.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	x.Header().Set("Content-Type", manifest.OCIIndex)
	return writeJSON(x, http.StatusOK, document)
}
