// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// rebuild writes a request that means q, with the builders of this package.
func rebuild(t *testing.T, q Request) *http.Request {
	t.Helper()
	query := url.Values{}
	set := func(key, value string) {
		if value != "" {
			query.Set(key, value)
		}
	}
	var method, target string
	switch q.Kind {
	case Version:
		method, target = "GET", VersionPath
	case Token:
		method, target = "GET", TokenPath
	case Catalog:
		method, target = "GET", CatalogPath(q.Last, q.Limit)
	case TagsList:
		method, target = "GET", TagsPath(q.Name, q.Last, q.Limit)
	case Referrers:
		method, target = "GET", ReferrersPath(q.Name, q.Digest, q.ArtifactType, ref.Digest(q.Last), q.Limit)
	case BlobHead:
		method, target = "HEAD", BlobPath(q.Name, q.Digest)
	case BlobGet:
		method, target = "GET", BlobPath(q.Name, q.Digest)
	case BlobDelete:
		method, target = "DELETE", BlobPath(q.Name, q.Digest)
	case UploadStart:
		method, target = "POST", UploadStartPath(q.Name)
		set("digest", string(q.Digest))
		set("mount", string(q.Mount))
		set("from", string(q.From))
		set("digest-algorithm", string(q.Algorithm))
	case UploadStatus:
		method, target = "GET", UploadPath(q.Name, q.UploadID)
	case UploadChunk:
		method, target = "PATCH", UploadPath(q.Name, q.UploadID)
	case UploadFinish:
		method, target = "PUT", UploadPath(q.Name, q.UploadID)
		set("digest", string(q.Digest))
	case UploadCancel:
		method, target = "DELETE", UploadPath(q.Name, q.UploadID)
	case ManifestHead:
		method, target = "HEAD", ManifestPath(q.Name, q.Reference)
	case ManifestGet:
		method, target = "GET", ManifestPath(q.Name, q.Reference)
	case ManifestPut:
		method, target = "PUT", ManifestPath(q.Name, q.Reference)
		for _, tag := range q.Tags {
			query.Add("tag", string(tag))
		}
	case ManifestDelete:
		method, target = "DELETE", ManifestPath(q.Name, q.Reference)
	default:
		t.Fatalf("no endpoint is of kind %s", q.Kind)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r := request(t, method, target)
	if q.ContentRange != nil {
		r.Header.Set("Content-Range", strconv.FormatInt(q.ContentRange.Start, 10)+"-"+strconv.FormatInt(q.ContentRange.End, 10))
	}
	return r
}

// FuzzParse: nothing makes Parse panic, a refusal is always a client's error with
// a sentence of bounded length, and what is accepted is within its bounds and
// means the same when written again.
func FuzzParse(f *testing.F) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		for _, target := range []string{
			"/v2/", "/token", "/v2/_catalog?n=3&last=x",
			base + "/manifests/1.0", base + "/manifests/" + digest256 + "?tag=a&tag=b",
			base + "/blobs/" + digest512, base + "/tags/list?n=20000&last=%41",
			base + "/blobs/uploads/?mount=" + digest256 + "&from=a/b/c&digest-algorithm=sha512",
			base + "/blobs/uploads/x?digest=" + digest256,
			base + "/referrers/" + digest256 + "?artifactType=a/b+c&last=" + digest512,
			"/v2/a/..%2f/c/manifests/%2e", "/v2/A//c/blobs/uploads/",
		} {
			f.Add(method, target, "0-5", int64(6))
		}
	}
	f.Fuzz(func(t *testing.T, method, target, contentRange string, length int64) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, ContentLength: length}
		if contentRange != "" {
			r.Header.Set("Content-Range", contentRange)
		}
		q, refused := Parse(r)
		if refused != nil {
			if refused.Status < 400 || refused.Status > 499 || refused.Code == "" || refused.Message == "" {
				t.Errorf("refused with %+v", refused)
			}
			if len(refused.Message) > 2048 {
				t.Errorf("the refusal of %d characters has %d", len(target), len(refused.Message))
			}
			return
		}
		if q.Limit < NoLimit || q.Limit > MaxLimit || len(q.Last) > ref.MaxNameLength ||
			len(q.Tags) > MaxTags || len(q.UploadID) > MaxUploadIDLength || len(q.ArtifactType) > maxArtifactTypeLength {
			t.Errorf("%+v is out of bounds", q)
		}
		if c := q.ContentRange; c != nil && (c.Start < 0 || c.Length() < 1) {
			t.Errorf("the range is %+v", *c)
		}
		again, refused := Parse(rebuild(t, q))
		if refused != nil {
			t.Fatalf("%+v is refused when written again: %v", q, refused)
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Errorf("written again it means something else (-first +again)\n%s", diff)
		}
	})
}

func BenchmarkParseManifest(b *testing.B) {
	u, err := url.ParseRequestURI(base + "/manifests/" + digest256)
	if err != nil {
		b.Fatal(err)
	}
	r := &http.Request{Method: "GET", URL: u}
	b.ReportAllocs()
	for b.Loop() {
		if _, refused := Parse(r); refused != nil {
			b.Fatal(refused)
		}
	}
}
