// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"net/url"
	"strconv"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// The builders return a path, with a query where they take parameters for one.
// It is relative to the host, so that it holds behind any proxy, and it parses
// back to its arguments.

// BlobPath is where a blob is read.
func BlobPath(name ref.Name, digest ref.Digest) string {
	return VersionPath + string(name) + "/blobs/" + string(digest)
}

// ManifestPath is where a manifest is read and written.
func ManifestPath(name ref.Name, reference ref.Reference) string {
	return VersionPath + string(name) + "/manifests/" + reference.String()
}

// UploadStartPath is where an upload begins.
func UploadStartPath(name ref.Name) string {
	return VersionPath + string(name) + "/blobs/uploads/"
}

// UploadPath is where an upload goes on.
func UploadPath(name ref.Name, id string) string {
	return UploadStartPath(name) + id
}

// TagsPath is the page of at most limit tags behind last; NoLimit and an empty
// last leave their parameters out.
func TagsPath(name ref.Name, last string, limit int) string {
	return page(VersionPath+string(name)+"/tags/list", last, limit, "")
}

// CatalogPath is the page of at most limit names behind last.
func CatalogPath(last string, limit int) string {
	return page("/v2/_catalog", last, limit, "")
}

// ReferrersPath is the page of at most limit referrers of the subject behind
// last, of one artifact type unless it is empty.
func ReferrersPath(name ref.Name, subject ref.Digest, artifactType string, last ref.Digest, limit int) string {
	return page(VersionPath+string(name)+"/referrers/"+string(subject), string(last), limit, artifactType)
}

func page(path, last string, limit int, artifactType string) string {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	if last != "" {
		query.Set("last", last)
	}
	if limit >= 0 {
		query.Set("n", strconv.Itoa(limit))
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
