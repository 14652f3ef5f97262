// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/errcode"
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

// endpoint is one row of OCI Distribution's table "Endpoints", written once more:
// an expression over the path as it was sent, whose first group is the name and
// whose second is the last component, and what that must be once decoded.
type endpoint struct {
	path  *regexp.Regexp
	last  *regexp.Regexp
	kinds map[string]Kind
}

var endpoints = func() []endpoint {
	const component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	const name = `^/v2/(` + component + `/` + component + `(?:/` + component + `)+)`
	anything := regexp.MustCompile(`^`)
	digest := regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
	reference := regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})$`)
	row := func(path string, last *regexp.Regexp, kinds map[string]Kind) endpoint {
		return endpoint{path: regexp.MustCompile(path), last: last, kinds: kinds}
	}
	return []endpoint{
		row(`^/v2/?()()$`, anything, map[string]Kind{"GET": Version, "HEAD": Version}),
		row(`^/token()()$`, anything, map[string]Kind{"GET": Token, "POST": Token}),
		row(`^/v2/_catalog()()$`, anything, map[string]Kind{"GET": Catalog, "HEAD": Catalog}),
		row(name+`/tags/list()$`, anything, map[string]Kind{"GET": TagsList, "HEAD": TagsList}),
		row(name+`/referrers/([^/]+)$`, digest, map[string]Kind{"GET": Referrers, "HEAD": Referrers}),
		row(name+`/blobs/([^/]+)$`, digest, map[string]Kind{"GET": BlobGet, "HEAD": BlobHead, "DELETE": BlobDelete}),
		row(name+`/blobs/uploads/?()$`, anything, map[string]Kind{"POST": UploadStart}),
		row(name+`/blobs/uploads/([a-zA-Z0-9_-]{1,128})$`, anything,
			map[string]Kind{"GET": UploadStatus, "HEAD": UploadStatus, "PATCH": UploadChunk, "PUT": UploadFinish, "DELETE": UploadCancel}),
		row(name+`/manifests/([^/]+)$`, reference,
			map[string]Kind{"GET": ManifestGet, "HEAD": ManifestHead, "PUT": ManifestPut, "DELETE": ManifestDelete}),
	}
}()

// byTable lists the endpoints that a request is for, with its name.
func byTable(r *http.Request) (kinds []Kind, name string) {
	for _, e := range endpoints {
		match := e.path.FindStringSubmatch(r.URL.EscapedPath())
		if match == nil || len(match[1]) > ref.MaxNameLength {
			continue
		}
		last, err := url.PathUnescape(match[2])
		if kind, found := e.kinds[r.Method]; found && err == nil && e.last.MatchString(last) {
			kinds, name = append(kinds, kind), match[1]
		}
	}
	return kinds, name
}

// FuzzParse: a request is for the one endpoint that the specification's table has
// for it, and for none otherwise; what is accepted is within its bounds and means
// the same when written again; a refusal is always a client's error with a
// sentence of bounded length, and brings nothing to a handler.
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
			"/v2/a/blobs/uploads/blobs/uploads/manifests", "/v2/a/b/c/manifests/%31.0", "/v2/a/b/tags/list/tags/list",
			"/v2/../../token", "/v2/a/b/c/blobs/" + strings.Replace(digest256, ":", "%3a", 1),
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
		kinds, name := byTable(r)
		if len(kinds) > 1 {
			t.Fatalf("%s %s is for all of %v", method, target, kinds)
		}
		q, refused := Parse(r)
		if refused != nil {
			wantRefusal(t, q, refused)
			// Beside method and path, only parameters and the range may be wrong.
			if u.RawQuery == "" && contentRange == "" && len(kinds) == 1 && kinds[0] != UploadFinish {
				t.Errorf("%s %s is for %s, but refused: %v", method, target, kinds[0], refused)
			}
			return
		}
		if len(kinds) == 0 || kinds[0] != q.Kind || name != string(q.Name) {
			t.Errorf("%s %s is for %s of %q; by the specification for %v of %q", method, target, q.Kind, q.Name, kinds, name)
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

func wantRefusal(t *testing.T, q Request, refused *errcode.Error) {
	t.Helper()
	if refused.Status < 400 || refused.Status > 499 || refused.Code == "" || refused.Message == "" {
		t.Errorf("refused with %+v", refused)
	}
	if len(refused.Message) > 2048 {
		t.Errorf("the refusal has %d characters", len(refused.Message))
	}
	if diff := cmp.Diff(Request{}, q); diff != "" {
		t.Errorf("refused, and still something is asked for (-want +got)\n%s", diff)
	}
}

// FuzzContentRange: Parse agrees with whole numbers of any length about a chunk's
// position.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{
		"0-0", "0-5", "10-19", "19-10", "00-05", "0-4611686018427387903", "0-4611686018427387904", "4611686018427387903-4611686018427387903",
		"0-9223372036854775807", "9223372036854775807-9223372036854775808", "0-18446744073709551616", "18446744073709551616-18446744073709551617",
		"", "-", "-5", "0-", "+0-5", "0--5", "0-5/6", "bytes 0-5/*", "bytes=0-5", "0_0-5", "0x0-5", " 0-5", "0-5\n", "٣-٥",
	} {
		f.Add(seed, int64(6))
		f.Add(seed, int64(-1))
	}
	form := regexp.MustCompile(`^[0-9]+-[0-9]+$`)
	f.Fuzz(func(t *testing.T, header string, length int64) {
		wantStatus, start, end := 0, new(big.Int), new(big.Int)
		if first, second, _ := strings.Cut(header, "-"); !form.MatchString(header) {
			wantStatus = http.StatusBadRequest
		} else {
			start.SetString(first, 10)
			end.SetString(second, 10)
			covered := new(big.Int).Sub(end, start)
			covered.Add(covered, big.NewInt(1))
			switch {
			case start.BitLen() > 62 || end.BitLen() > 62:
				wantStatus = http.StatusBadRequest
			case start.Cmp(end) > 0:
				wantStatus = http.StatusRequestedRangeNotSatisfiable
			case length >= 0 && covered.Cmp(big.NewInt(length)) != 0:
				wantStatus = http.StatusBadRequest
			}
		}
		for _, method := range []string{"PATCH", "PUT"} {
			r := request(t, method, base+"/blobs/uploads/x?digest="+digest256)
			r.ContentLength = length
			r.Header["Content-Range"] = []string{header}
			q, refused := Parse(r)
			if refused != nil {
				wantRefusal(t, q, refused)
				if refused.Status != wantStatus {
					t.Errorf("%s %q of %d bytes: refused with %v, want %d", method, header, length, refused, wantStatus)
				}
				continue
			}
			if wantStatus != 0 || big.NewInt(q.ContentRange.Start).Cmp(start) != 0 || big.NewInt(q.ContentRange.End).Cmp(end) != 0 {
				t.Errorf("%s %q of %d bytes: accepted as %+v, want %v to %v and status %d", method, header, length, *q.ContentRange, start, end, wantStatus)
			}
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
