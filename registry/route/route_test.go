// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	digest256 = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
	digest512 = "sha512:309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f"
	image     = ref.Name("octocat/octo-app/monalisa")
	base      = "/v2/octocat/octo-app/monalisa"
)

func request(t *testing.T, method, target string) *http.Request {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("no server would see this target: %v", err)
	}
	return &http.Request{Method: method, URL: u, Header: http.Header{}, ContentLength: -1}
}

func TestEndpoints(t *testing.T) {
	tag := ref.Reference{Tag: "1.0"}
	pinned := ref.Reference{Digest: digest256}
	for _, test := range []struct {
		method, target string
		want           Request
	}{
		{"GET", "/v2/", Request{Kind: Version}},
		{"HEAD", "/v2/", Request{Kind: Version}},
		{"GET", "/v2", Request{Kind: Version}},
		{"GET", "/token?service=x&scope=y", Request{Kind: Token}},
		{"POST", "/token", Request{Kind: Token}},
		{"GET", "/v2/_catalog", Request{Kind: Catalog}},
		{"HEAD", "/v2/_catalog", Request{Kind: Catalog}},

		{"HEAD", base + "/blobs/" + digest256, Request{Kind: BlobHead, Name: image, Digest: digest256}},
		{"GET", base + "/blobs/" + digest512, Request{Kind: BlobGet, Name: image, Digest: digest512}},
		{"DELETE", base + "/blobs/" + digest256, Request{Kind: BlobDelete, Name: image, Digest: digest256}},
		{"GET", base + "/blobs/" + digest256 + "?ns=docker.io", Request{Kind: BlobGet, Name: image, Digest: digest256}},
		{"GET", base + "/blobs/" + strings.Replace(digest256, ":", "%3A", 1), Request{Kind: BlobGet, Name: image, Digest: digest256}},

		{"POST", base + "/blobs/uploads/", Request{Kind: UploadStart, Name: image}},
		{"POST", base + "/blobs/uploads", Request{Kind: UploadStart, Name: image}},
		{"POST", base + "/blobs/uploads/?digest=" + digest256, Request{Kind: UploadStart, Name: image, Digest: digest256}},
		{"POST", base + "/blobs/uploads/?digest-algorithm=sha512", Request{Kind: UploadStart, Name: image, Algorithm: ref.SHA512}},
		{"POST", base + "/blobs/uploads/?mount=" + digest256, Request{Kind: UploadStart, Name: image, Mount: digest256}},
		{
			"POST", base + "/blobs/uploads/?mount=" + digest256 + "&from=hubot/tools/cli",
			Request{Kind: UploadStart, Name: image, Mount: digest256, From: "hubot/tools/cli"},
		},
		{"GET", base + "/blobs/uploads/aZ09-_", Request{Kind: UploadStatus, Name: image, UploadID: "aZ09-_"}},
		{"HEAD", base + "/blobs/uploads/x", Request{Kind: UploadStatus, Name: image, UploadID: "x"}},
		{"PATCH", base + "/blobs/uploads/x", Request{Kind: UploadChunk, Name: image, UploadID: "x"}},
		{"PUT", base + "/blobs/uploads/x?digest=" + digest256, Request{Kind: UploadFinish, Name: image, UploadID: "x", Digest: digest256}},
		{"DELETE", base + "/blobs/uploads/x", Request{Kind: UploadCancel, Name: image, UploadID: "x"}},

		{"HEAD", base + "/manifests/1.0", Request{Kind: ManifestHead, Name: image, Reference: tag}},
		{"GET", base + "/manifests/" + digest256, Request{Kind: ManifestGet, Name: image, Reference: pinned}},
		{"PUT", base + "/manifests/1.0", Request{Kind: ManifestPut, Name: image, Reference: tag}},
		{"DELETE", base + "/manifests/" + digest256, Request{Kind: ManifestDelete, Name: image, Reference: pinned}},
		{
			"PUT", base + "/manifests/" + digest256 + "?tag=1&tag=1.0&tag=1",
			Request{Kind: ManifestPut, Name: image, Reference: pinned, Tags: []ref.Tag{"1", "1.0"}},
		},

		{"GET", base + "/tags/list", Request{Kind: TagsList, Name: image}},
		{"HEAD", base + "/tags/list", Request{Kind: TagsList, Name: image}},
		{"GET", base + "/referrers/" + digest256, Request{Kind: Referrers, Name: image, Digest: digest256}},
		{
			"GET", base + "/referrers/" + digest256 + "?artifactType=application/spdx%2Bjson",
			Request{Kind: Referrers, Name: image, Digest: digest256, ArtifactType: "application/spdx+json"},
		},
		{
			"GET", base + "/referrers/" + digest256 + "?artifactType=application/spdx+json",
			Request{Kind: Referrers, Name: image, Digest: digest256, ArtifactType: "application/spdx+json"},
		},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			test.want.Limit = NoLimit
			got, refused := Parse(request(t, test.method, test.target))
			if refused != nil {
				t.Fatalf("refused with %v", refused)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPages(t *testing.T) {
	for _, test := range []struct {
		query string
		limit int
		last  string
	}{
		{"", NoLimit, ""},
		{"n=0", 0, ""},
		{"n=1", 1, ""},
		{"n=007", 7, ""},
		{"n=10000", 10000, ""},
		{"n=10001", 10000, ""},
		{"n=9223372036854775807", 10000, ""},
		{"last=", NoLimit, ""},
		{"n=5&last=1.0", 5, "1.0"},
		{"last=not/a~tag", NoLimit, "not/a~tag"},
		{"unknown=x&unknown=y&n=2", 2, ""},
	} {
		t.Run(test.query, func(t *testing.T) {
			for _, path := range []string{base + "/tags/list?", "/v2/_catalog?"} {
				got, refused := Parse(request(t, "GET", path+test.query))
				if refused != nil {
					t.Fatalf("%s: refused with %v", path, refused)
				}
				if got.Limit != test.limit || got.Last != test.last {
					t.Errorf("%s: page of %d behind %q, want %d behind %q", path, got.Limit, got.Last, test.limit, test.last)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		method, target string
		status         int
		code           errcode.Code
		message        string
	}{
		{"GET", "/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v1/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v2x", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/token/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v2/_catalog/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", base, 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", base + "/tags", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", base + "/tags/list/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", base + "/manifests", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", base + "/uploads/x", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v2//", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v2/manifests/1.0", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "//v2/", 404, errcode.Unknown, "no endpoint has this path"},
		{"GET", "/v2/..%2f..%2fetc/passwd", 404, errcode.Unknown, "no endpoint has this path"},

		{"GET", "/v2/octocat/monalisa/manifests/1.0", 404, errcode.NameUnknown, "name has fewer than three components: write OWNER/REPOSITORY/IMAGE_NAME"},
		{"GET", "/v2/Octocat/octo-app/monalisa/manifests/1.0", 400, errcode.NameInvalid, `names are lower case: write "Octocat" as "octocat"`},
		{"POST", "/v2/octocat/octo-app/MonaLisa/blobs/uploads/", 400, errcode.NameInvalid, `names are lower case: write "MonaLisa" as "monalisa"`},
		{"GET", "/v2/octocat//monalisa/tags/list", 400, errcode.NameInvalid, "name has an empty component"},
		{"GET", "/v2/octocat/../monalisa/tags/list", 400, errcode.NameInvalid, `name component ".." must begin and end with a lower-case letter or a digit`},
		{"GET", "/v2/octocat%2Focto-app/x/monalisa/tags/list", 400, errcode.NameInvalid,
			`name component "octocat%2Focto-app" has the character '%'; only a-z, 0-9 and the separators . _ __ - are allowed`},
		{"GET", "/v2/octocat/octo-app/%6donalisa/tags/list", 400, errcode.NameInvalid,
			`name component "%6donalisa" has the character '%'; only a-z, 0-9 and the separators . _ __ - are allowed`},

		{"GET", base + "/manifests/.1", 404, errcode.ManifestUnknown, `tag ".1" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"DELETE", base + "/manifests/a%2Fb", 404, errcode.ManifestUnknown, `tag "a/b" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"PUT", base + "/manifests/.1", 400, errcode.TagInvalid, `tag ".1" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"PUT", base + "/manifests/", 400, errcode.TagInvalid, "tag is empty"},
		{"GET", base + "/manifests/sha256:baddigeststring", 400, errcode.DigestInvalid, `digest has 15 characters behind "sha256:", 64 are needed`},
		{"PUT", base + "/manifests/sha256:baddigeststring", 400, errcode.DigestInvalid, `digest has 15 characters behind "sha256:", 64 are needed`},
		{"PUT", base + "/manifests/1.0?tag=2", 400, errcode.TagInvalid, "parameter tag goes with a manifest that is pushed by digest"},
		{"PUT", base + "/manifests/" + digest256 + "?tag=-", 400, errcode.TagInvalid, `tag "-" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"PUT", base + "/manifests/" + digest256 + "?tag=", 400, errcode.TagInvalid, "tag is empty"},
		{"PUT", base + "/manifests/" + digest256 + "?" + strings.Repeat("tag=a&", 101), 414, errcode.TagInvalid, "at most 100 tags can be set at once"},
		{"GET", base + "/blobs/latest", 400, errcode.DigestInvalid, `digest "latest" is not of the form ALGORITHM:HEX`},
		{"GET", base + "/blobs/md5:00", 400, errcode.DigestInvalid, `digest algorithm is not supported; use sha256 or sha512: "md5"`},
		{"GET", base + "/referrers/x", 400, errcode.DigestInvalid, `digest "x" is not of the form ALGORITHM:HEX`},

		{"GET", base + "/blobs/uploads/a.b", 404, errcode.BlobUploadUnknown, "no upload has this id"},
		{"GET", base + "/blobs/uploads/" + strings.Repeat("a", 129), 404, errcode.BlobUploadUnknown, "no upload has this id"},
		{"GET", base + "/blobs/uploads/%61", 404, errcode.BlobUploadUnknown, "no upload has this id"},
		{"PUT", base + "/blobs/uploads/x", 400, errcode.DigestInvalid, "closing an upload needs the parameter digest"},
		{"PUT", base + "/blobs/uploads/x?digest=", 400, errcode.DigestInvalid, "closing an upload needs the parameter digest"},
		{"PUT", base + "/blobs/uploads/x?digest=sha256:0", 400, errcode.DigestInvalid, `digest has 1 characters behind "sha256:", 64 are needed`},
		{"PUT", base + "/blobs/uploads/x?digest=" + digest256 + "&digest=" + digest512, 400, errcode.DigestInvalid, "parameter digest occurs 2 times"},
		{"POST", base + "/blobs/uploads/?mount=x", 400, errcode.DigestInvalid, `digest "x" is not of the form ALGORITHM:HEX`},
		{"POST", base + "/blobs/uploads/?mount=" + digest256 + "&mount=" + digest256, 400, errcode.DigestInvalid, "parameter mount occurs 2 times"},
		{"POST", base + "/blobs/uploads/?from=a/b/c&from=a/b/d", 400, errcode.NameInvalid, "parameter from occurs 2 times"},
		{"POST", base + "/blobs/uploads/?digest-algorithm=md5", 400, errcode.DigestInvalid, `digest algorithm is not supported; use sha256 or sha512: "md5"`},
		{"POST", base + "/blobs/uploads/?digest=%zz", 400, errcode.Unsupported, "the query cannot be read: write it as KEY=VALUE&KEY=VALUE, percent-encoded"},
		{"POST", base + "/blobs/uploads/?digest=" + digest256 + ";x=y", 400, errcode.Unsupported, "the query cannot be read: write it as KEY=VALUE&KEY=VALUE, percent-encoded"},

		{"GET", base + "/tags/list?n=", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", base + "/tags/list?n=-1", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", base + "/tags/list?n=%2B1", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", base + "/tags/list?n=1e3", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", base + "/tags/list?n=0x10", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", "/v2/_catalog?n=9223372036854775808", 400, errcode.PaginationInvalid, "parameter n must be a number that is not negative"},
		{"GET", "/v2/_catalog?n=1&n=1", 400, errcode.PaginationInvalid, "parameter n occurs 2 times"},
		{"GET", "/v2/_catalog?last=a&last=b", 400, errcode.NameInvalid, "parameter last occurs 2 times"},
		{"GET", base + "/tags/list?last=a+b", 400, errcode.TagInvalid, "parameter last must be printable ASCII without spaces"},
		{"GET", base + "/tags/list?last=%00", 400, errcode.TagInvalid, "parameter last must be printable ASCII without spaces"},
		{"GET", base + "/tags/list?last=" + strings.Repeat("a", 256), 400, errcode.TagInvalid, "parameter last has 256 characters, at most 255 are allowed"},
		{"GET", base + "/referrers/" + digest256 + "?last=x", 400, errcode.DigestInvalid, `digest "x" is not of the form ALGORITHM:HEX`},
		{"GET", base + "/referrers/" + digest256 + "?artifactType=%FF", 400, errcode.Unsupported, "parameter artifactType must be printable ASCII without spaces"},
		{"GET", base + "/referrers/" + digest256 + "?artifactType=a&artifactType=b", 400, errcode.Unsupported, "parameter artifactType occurs 2 times"},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			got, refused := Parse(request(t, test.method, test.target))
			if refused == nil {
				t.Fatalf("accepted as %+v", got)
			}
			want := &errcode.Error{Status: test.status, Code: test.code, Message: test.message}
			if diff := cmp.Diff(want, refused); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(Request{}, got); diff != "" {
				t.Errorf("a refused request is not empty (-want +got)\n%s", diff)
			}
		})
	}
}

func TestOtherMethodsAreRefusedWithThoseAllowed(t *testing.T) {
	for _, test := range []struct {
		target, allow string
	}{
		{"/v2/", "GET, HEAD"},
		{"/v2", "GET, HEAD"},
		{"/token", "GET, POST"},
		{"/v2/_catalog", "GET, HEAD"},
		{base + "/tags/list", "GET, HEAD"},
		{base + "/referrers/" + digest256, "GET, HEAD"},
		{base + "/blobs/" + digest256, "GET, HEAD, DELETE"},
		{base + "/blobs/uploads/", "POST"},
		{base + "/blobs/uploads", "POST"},
		{base + "/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"},
		{base + "/manifests/1.0", "GET, HEAD, PUT, DELETE"},
	} {
		allowed := strings.Split(test.allow, ", ")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", ""} {
			_, refused := Parse(request(t, method, test.target))
			isAllowed := false
			for _, a := range allowed {
				isAllowed = isAllowed || a == method
			}
			if isAllowed {
				if refused != nil && refused.Status == http.StatusMethodNotAllowed {
					t.Errorf("%s %s is refused", method, test.target)
				}
				continue
			}
			if refused == nil || refused.Status != http.StatusMethodNotAllowed || refused.Code != errcode.Unsupported {
				t.Errorf("%s %s gives %v, want 405 UNSUPPORTED", method, test.target, refused)
				continue
			}
			if got := refused.Header.Get("Allow"); got != test.allow {
				t.Errorf("%s %s allows %q, want %q", method, test.target, got, test.allow)
			}
		}
	}
}

func TestTheEndOfAPathDecides(t *testing.T) {
	for _, test := range []struct {
		method, path string
		kind         Kind
		name         ref.Name
	}{
		{"GET", "/v2/a/b/manifests/manifests/blobs", ManifestGet, "a/b/manifests"},
		{"GET", "/v2/a/b/blobs/uploads/manifests/list", ManifestGet, "a/b/blobs/uploads"},
		{"GET", "/v2/a/blobs/uploads/tags/list", TagsList, "a/blobs/uploads"},
		{"GET", "/v2/a/b/tags/list/tags/list", TagsList, "a/b/tags/list"},
		{"GET", "/v2/a/b/tags/manifests/list", ManifestGet, "a/b/tags"},
		{"GET", "/v2/a/b/c/blobs/uploads/list", UploadStatus, "a/b/c"},
		{"GET", "/v2/a/blobs/uploads/blobs/uploads/x", UploadStatus, "a/blobs/uploads"},
		{"POST", "/v2/a/blobs/uploads/blobs/uploads", UploadStart, "a/blobs/uploads"},
		{"GET", "/v2/v2/token/referrers/tags/list", TagsList, "v2/token/referrers"},
	} {
		got, refused := Parse(request(t, test.method, test.path))
		if refused != nil {
			t.Errorf("%s is refused with %v", test.path, refused)
			continue
		}
		if got.Kind != test.kind || got.Name != test.name {
			t.Errorf("%s is %s of %q, want %s of %q", test.path, got.Kind, got.Name, test.kind, test.name)
		}
	}
}

func TestContentRange(t *testing.T) {
	for _, test := range []struct {
		header []string
		length int64
		want   *Range
		status int
		code   errcode.Code
	}{
		{header: nil, length: 5},
		{header: []string{"0-0"}, length: 1, want: &Range{0, 0}},
		{header: []string{"10-19"}, length: 10, want: &Range{10, 19}},
		{header: []string{"10-19"}, length: -1, want: &Range{10, 19}},
		{header: []string{"0-4611686018427387903"}, length: -1, want: &Range{0, 1<<62 - 1}},
		{header: []string{"10-19"}, length: 9, status: 400, code: errcode.SizeInvalid},
		{header: []string{"10-19"}, length: 0, status: 400, code: errcode.SizeInvalid},
		{header: []string{"19-10"}, length: -1, status: 416, code: errcode.RangeInvalid},
		{header: []string{"0-4611686018427387904"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0-99999999999999999999"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{""}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"-"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0-"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"-5"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0--5"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"+0-5"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0 - 5"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0-5/6"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"bytes 0-5/*"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"bytes=0-5"}, length: -1, status: 400, code: errcode.BlobUploadInvalid},
		{header: []string{"0-4", "0-4"}, length: 5, status: 400, code: errcode.BlobUploadInvalid},
	} {
		for _, method := range []string{"PATCH", "PUT"} {
			r := request(t, method, base+"/blobs/uploads/x?digest="+digest256)
			r.ContentLength = test.length
			for _, value := range test.header {
				r.Header.Add("Content-Range", value)
			}
			got, refused := Parse(r)
			if test.status == 0 {
				if refused != nil {
					t.Errorf("%s %q: refused with %v", method, test.header, refused)
				} else if diff := cmp.Diff(test.want, got.ContentRange); diff != "" {
					t.Errorf("%s %q: (-want +got)\n%s", method, test.header, diff)
				}
				continue
			}
			if refused == nil || refused.Status != test.status || refused.Code != test.code {
				t.Errorf("%s %q: refused with %v, want %d %s", method, test.header, refused, test.status, test.code)
			}
		}
	}
}

func TestAMountFromNowhereIsAnOrdinaryUpload(t *testing.T) {
	for _, from := range []string{"library/alpine", "Octocat/octo-app/x", "a//b", strings.Repeat("a/", 200) + "a"} {
		got, refused := Parse(request(t, "POST", base+"/blobs/uploads/?mount="+digest256+"&from="+from))
		if refused != nil {
			t.Errorf("from=%s is refused with %v", from, refused)
			continue
		}
		if diff := cmp.Diff(Request{Kind: UploadStart, Name: image, Limit: NoLimit}, got); diff != "" {
			t.Errorf("from=%s (-want +got)\n%s", from, diff)
		}
	}
}

func TestOnlyWhatAServerHasDecodedCounts(t *testing.T) {
	// A server hands on Path decoded and RawPath as it came; Path alone must not
	// bring an encoded slash into a name.
	r := httptest.NewRequest("GET", "/v2/octocat%2Focto-app%2Fmonalisa/manifests/1.0", nil)
	if _, refused := Parse(r); refused == nil || refused.Code != errcode.NameInvalid {
		t.Errorf("an encoded slash gives %v, want NAME_INVALID", refused)
	}
}

func TestEveryKindHasItsName(t *testing.T) {
	seen := map[string]bool{}
	for kind := Version; kind <= ManifestDelete; kind++ {
		name := kind.String()
		if name == "" || name == "Unknown" || seen[name] {
			t.Errorf("kind %d is named %q", kind, name)
		}
		seen[name] = true
	}
	for _, kind := range []Kind{0, ManifestDelete + 1, 255} {
		if got := kind.String(); got != "Unknown" {
			t.Errorf("kind %d is named %q", kind, got)
		}
	}
}

func TestBuiltPaths(t *testing.T) {
	for got, want := range map[string]string{
		BlobPath(image, digest256):                            base + "/blobs/" + digest256,
		ManifestPath(image, ref.Reference{Tag: "1.0"}):        base + "/manifests/1.0",
		ManifestPath(image, ref.Reference{Digest: digest256}): base + "/manifests/" + digest256,
		UploadStartPath(image):                                base + "/blobs/uploads/",
		UploadPath(image, "x"):                                base + "/blobs/uploads/x",
		TagsPath(image, "", NoLimit):                          base + "/tags/list",
		TagsPath(image, "1.0", 0):                             base + "/tags/list?last=1.0&n=0",
		CatalogPath("a/b/c", 100):                             "/v2/_catalog?last=a%2Fb%2Fc&n=100",
		ReferrersPath(image, digest256, "a/b+c", digest512, 5): base + "/referrers/" + digest256 +
			"?artifactType=a%2Fb%2Bc&last=" + url.QueryEscape(digest512) + "&n=5",
	} {
		if got != want {
			t.Errorf("built %s, want %s", got, want)
		}
	}
}
