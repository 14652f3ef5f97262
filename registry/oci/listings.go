// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

const (
	// pageEntries bounds a page that the client sets no limit for.
	pageEntries = route.MaxLimit
	// referrerEntries and catalog.ReferrersSize bound a page of referrers.
	referrerEntries = 1000
	// minScan and maxScan are how many names a catalog request reads at a time:
	// few where it has just jumped over hidden ones, more while it sees what it
	// reads.
	minScan = 16
	maxScan = 1024
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
	return h.list(x, func() ([]byte, error) { return h.tagPage(x) })
}

func (h *Handler) tagPage(x *exchange) ([]byte, error) {
	limit := pageSize(x.req.Limit, pageEntries)
	tags, err := h.Catalog.Tags(x.r.Context(), x.req.Name, x.req.Last, limit+1)
	if err != nil {
		return nil, err
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
	return json.Marshal(tagList{Name: x.req.Name, Tags: tags})
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
	return h.list(x, func() ([]byte, error) {
		limit := pageSize(x.req.Limit, pageEntries)
		found, more, err := h.visibleNames(x, limit)
		if err != nil {
			return nil, err
		}
		if more && limit > 0 {
			linkNext(x, route.CatalogPath(string(found[limit-1]), limit))
		}
		return json.Marshal(nameList{Repositories: found})
	})
}

// visibleNames finds at most limit names that the actor may see, and tells whether
// there are more. Hidden names are jumped over by repository: what the request
// costs grows with what is declared and shown, and where a page ends tells nothing
// about what it leaves out.
func (h *Handler) visibleNames(x *exchange, limit int) (found []ref.Name, more bool, err error) {
	found = []ref.Name{}
	last, scan := x.req.Last, minScan
	for {
		page, err := h.Catalog.Names(x.r.Context(), last, scan)
		if err != nil {
			return nil, false, err
		}
		hidden := false
		for _, name := range page {
			if hidden = !access.Visible(x.policy, x.actor, name.Repository()); hidden {
				if last = nextVisible(x, name); last == "" {
					return found, false, nil
				}
				break
			}
			if len(found) == limit {
				return found, true, nil
			}
			found, last = append(found, name), string(name)
		}
		switch {
		case hidden:
			scan = minScan
		case len(page) < scan:
			return found, false, nil
		default:
			scan = min(2*scan, maxScan)
		}
	}
}

// nextVisible is the prefix of the first repository behind name that the actor may
// see, empty for none.
func nextVisible(x *exchange, name ref.Name) string {
	for _, prefix := range x.policy.PrefixesFrom(string(name)) {
		if access.Visible(x.policy, x.actor, strings.TrimSuffix(prefix, "/")) {
			return prefix
		}
	}
	return ""
}

// An index's document is put together by hand: its entries may take megabytes, and
// are not copied more often than they must be.
const (
	indexBegin = `{"schemaVersion":2,"mediaType":"` + manifest.OCIIndex + `","manifests":[`
	indexEnd   = `]}`
)

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
	return h.list(x, func() ([]byte, error) { return h.referrerPage(x) })
}

func (h *Handler) referrerPage(x *exchange) ([]byte, error) {
	limit := pageSize(x.req.Limit, referrerEntries)
	found, err := h.Catalog.Referrers(x.r.Context(), x.req.Name, x.req.Digest, x.req.ArtifactType, ref.Digest(x.req.Last), limit+1)
	if err != nil {
		return nil, err
	}
	document := bytes.NewBufferString(indexBegin)
	entries := json.NewEncoder(document)
	for i, d := range found {
		before := document.Len()
		if i > 0 {
			document.WriteByte(',')
		}
		if err := entries.Encode(indexEntry(d)); err != nil {
			return nil, err
		}
		// This is true of the last entry at least, when the catalog's list ended
		// early by its size.
		if i == limit || i > 0 && document.Len()-len(indexBegin) > catalog.ReferrersSize {
			document.Truncate(before)
			// Without an entry, n was 0: there is nothing to go on behind.
			if i > 0 {
				linkNext(x, route.ReferrersPath(x.req.Name, x.req.Digest, x.req.ArtifactType, found[i-1].Digest, x.req.Limit))
			}
			break
		}
	}
	document.WriteString(indexEnd)
	if x.req.ArtifactType != "" {
		x.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	x.Header().Set("Content-Type", manifest.OCIIndex)
	return document.Bytes(), nil
}
