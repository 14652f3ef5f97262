// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func TestABlobCanBePushedInEveryWay(t *testing.T) {
	_, c := start(t)
	small, large := []byte("small content"), bytes.Repeat([]byte("large content "), 20_000)
	uploads := "/v2/" + name + "/blobs/uploads/"
	ways := map[string]func(content []byte, digest ref.Digest) answer{
		"POST with everything": func(content []byte, digest ref.Digest) answer {
			return c.do("POST", uploads+"?digest="+string(digest), content)
		},
		"POST, PUT": func(content []byte, digest ref.Digest) answer {
			location := c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location")
			return c.do("PUT", location+"?digest="+string(digest), content)
		},
		"POST, PATCH, PUT": func(content []byte, digest ref.Digest) answer {
			location := c.do("POST", uploads, nil).Header.Get("Location")
			location = c.do("PATCH", location, content).want(t, http.StatusAccepted).
				wantHeader(t, "Range", fmt.Sprintf("0-%d", len(content)-1)).Header.Get("Location")
			return c.do("PUT", location+"?digest="+string(digest), nil)
		},
		"chunks, the last with PUT": func(content []byte, digest ref.Digest) answer {
			location := c.do("POST", uploads, nil).Header.Get("Location")
			third := len(content) / 3
			for i := range 2 {
				location = c.do("PATCH", location, content[i*third:(i+1)*third],
					header{"Content-Range", fmt.Sprintf("%d-%d", i*third, (i+1)*third-1)}).
					want(t, http.StatusAccepted).Header.Get("Location")
			}
			return c.do("PUT", location+"?digest="+string(digest), content[2*third:],
				header{"Content-Range", fmt.Sprintf("%d-%d", 2*third, len(content)-1)})
		},
	}
	for way, push := range ways {
		for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
			for size, content := range map[string][]byte{"small": small, "large": large} {
				t.Run(fmt.Sprintf("%s, %s, %s", way, algorithm, size), func(t *testing.T) {
					digest := algorithm.FromBytes(append(content, way...))
					push(append(content, way...), digest).want(t, http.StatusCreated).
						wantHeader(t, "Location", "/v2/"+name+"/blobs/"+string(digest)).
						wantHeader(t, "Docker-Content-Digest", string(digest))
					got := c.do("GET", "/v2/"+name+"/blobs/"+string(digest), nil).want(t, http.StatusOK)
					if !bytes.Equal(got.body, append(content, way...)) {
						t.Error("the blob came back changed")
					}
				})
			}
		}
	}
}

func TestAnEmptyBlobIsABlob(t *testing.T) {
	_, c := start(t)
	digest := c.pushBlob(name, []byte{})
	got := c.do("GET", "/v2/"+name+"/blobs/"+string(digest), nil).want(t, http.StatusOK)
	if len(got.body) != 0 || got.ContentLength != 0 {
		t.Errorf("got %d bytes, Content-Length %d", len(got.body), got.ContentLength)
	}
}

func TestBlobsAreReadWholeAndInRanges(t *testing.T) {
	_, c := start(t)
	for size, content := range map[string][]byte{
		"small": []byte("0123456789"),
		"large": bytes.Repeat([]byte("0123456789"), 100_000),
	} {
		t.Run(size, func(t *testing.T) {
			path := "/v2/" + name + "/blobs/" + string(c.pushBlob(name, content))
			head := c.do("HEAD", path, nil).want(t, http.StatusOK)
			if head.ContentLength != int64(len(content)) {
				t.Errorf("HEAD says %d bytes, want %d", head.ContentLength, len(content))
			}
			head.wantHeader(t, "Accept-Ranges", "bytes").wantHeader(t, "Docker-Content-Digest", strings.TrimPrefix(path, "/v2/"+name+"/blobs/"))
			part := c.do("GET", path, nil, header{"Range", "bytes=2-4"}).want(t, http.StatusPartialContent).
				wantHeader(t, "Content-Range", fmt.Sprintf("bytes 2-4/%d", len(content)))
			if string(part.body) != "234" {
				t.Errorf("bytes 2-4 are %q", part.body)
			}
			if tail := c.do("GET", path, nil, header{"Range", "bytes=-3"}).want(t, http.StatusPartialContent); string(tail.body) != "789" {
				t.Errorf("the last three bytes are %q", tail.body)
			}
			c.do("GET", path, nil, header{"Range", fmt.Sprintf("bytes=%d-", len(content))}).want(t, http.StatusRequestedRangeNotSatisfiable)
			c.do("GET", path, nil, header{"Range", "bytes=-0"}).want(t, http.StatusRequestedRangeNotSatisfiable)
			c.do("HEAD", path, nil, header{"Range", "bytes=2-4"}).want(t, http.StatusOK).wantHeader(t, "Content-Length", strconv.Itoa(len(content)))
			c.do("GET", path, nil, header{"If-None-Match", head.Header.Get("Etag")}).want(t, http.StatusNotModified)
		})
	}
}

func TestAnUploadRefusesWhatDoesNotFit(t *testing.T) {
	_, c := start(t)
	uploads := "/v2/" + name + "/blobs/uploads/"
	begin := func() string { return c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location") }
	content := []byte("hello")
	digest := string(ref.SHA256.FromBytes(content))
	other := string(ref.SHA256.FromBytes([]byte("other")))

	t.Run("another digest than announced", func(t *testing.T) {
		c.do("POST", uploads+"?digest="+other, content).want(t, http.StatusBadRequest, errcode.DigestInvalid)
		location := begin()
		c.do("PUT", location+"?digest="+other, content).want(t, http.StatusBadRequest, errcode.DigestInvalid)
		c.do("HEAD", "/v2/"+name+"/blobs/"+other, nil).want(t, http.StatusNotFound)
		// Nothing of the failed PUT was kept: the right one succeeds.
		c.do("PUT", location+"?digest="+digest, content).want(t, http.StatusCreated)
		for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
			location = begin()
			c.do("PATCH", location, content[:2]).want(t, http.StatusAccepted)
			c.do("PATCH", location, content[2:4]).want(t, http.StatusAccepted)
			wrong := string(algorithm.FromBytes([]byte("other")))
			c.do("PUT", location+"?digest="+wrong, content[4:]).want(t, http.StatusBadRequest, errcode.DigestInvalid)
			c.do("HEAD", "/v2/"+name+"/blobs/"+wrong, nil).want(t, http.StatusNotFound)
			c.do("PUT", location+"?digest="+string(algorithm.FromBytes(content)), content[4:]).want(t, http.StatusCreated)
		}
	})
	t.Run("a PUT without a digest, or with one that is none", func(t *testing.T) {
		c.do("PUT", begin(), content).want(t, http.StatusBadRequest, errcode.DigestInvalid)
		c.do("PUT", begin()+"?digest=sha256:xyz", content).want(t, http.StatusBadRequest, errcode.DigestInvalid)
		c.do("PUT", begin()+"?digest=md5:d41d8cd98f00b204e9800998ecf8427e", content).want(t, http.StatusBadRequest, errcode.DigestInvalid)
	})
	t.Run("chunks out of order", func(t *testing.T) {
		location := begin()
		c.do("PATCH", location, content, header{"Content-Range", "5-9"}).want(t, http.StatusRequestedRangeNotSatisfiable, errcode.BlobUploadInvalid)
		c.do("PATCH", location, content, header{"Content-Range", "0-4"}).want(t, http.StatusAccepted)
		c.do("PATCH", location, content, header{"Content-Range", "0-4"}).want(t, http.StatusRequestedRangeNotSatisfiable).wantHeader(t, "Range", "0-4")
		c.do("GET", location, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-4").wantHeader(t, "Location", location)
		c.do("PUT", location+"?digest="+digest, nil).want(t, http.StatusCreated)
	})
	t.Run("a Content-Range of another length than the body", func(t *testing.T) {
		c.do("PATCH", begin(), content, header{"Content-Range", "0-9"}).want(t, http.StatusBadRequest)
	})
	t.Run("an upload that ended", func(t *testing.T) {
		location := begin()
		c.do("PUT", location+"?digest="+digest, content).want(t, http.StatusCreated)
		c.do("PUT", location+"?digest="+digest, content).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.do("GET", location, nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
	})
	t.Run("an upload that was canceled", func(t *testing.T) {
		location := begin()
		c.do("PATCH", location, bytes.Repeat(content, 20_000)).want(t, http.StatusAccepted)
		c.do("DELETE", location, nil).want(t, http.StatusNoContent)
		c.do("GET", location, nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.do("DELETE", location, nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
	})
	t.Run("an upload of somebody else, or of another name", func(t *testing.T) {
		location := begin()
		c.as(ownerValue).do("GET", location, nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.as(ownerValue).do("PUT", location+"?digest="+digest, content).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.do("GET", strings.Replace(location, "/monalisa/", "/another/", 1), nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.do("GET", uploads+"no-such-upload", nil).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
	})
}

func TestAnUploadTakesOneRequestAtATime(t *testing.T) {
	r, c := start(t)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	first := beginUpload(t, c, r.DataDir, "PATCH", location)
	other := string(ref.SHA256.FromBytes([]byte("other")))
	c.do("PATCH", location, []byte("second ")).want(t, http.StatusConflict, errcode.BlobUploadInvalid)
	c.do("PUT", location+"?digest="+other, []byte("other")).want(t, http.StatusConflict, errcode.BlobUploadInvalid)
	c.do("DELETE", location, nil).want(t, http.StatusConflict, errcode.BlobUploadInvalid)
	if status := first.finish(); status != http.StatusAccepted {
		t.Errorf("the first request: status %d", status)
	}
	whole := append(first.received, "last"...)
	c.do("PUT", location+"?digest="+string(ref.SHA256.FromBytes(whole)), []byte("last")).want(t, http.StatusCreated)
}

func TestAMountLinksWhatTheActorMayPull(t *testing.T) {
	_, c := start(t)
	digest := c.pushBlob(name, []byte("to be mounted"))
	const target = "octocat/octo-app/other"
	path := "/v2/" + target + "/blobs/"

	c.do("HEAD", path+string(digest), nil).want(t, http.StatusNotFound)
	c.do("POST", path+"uploads/?mount="+string(digest)+"&from="+name, nil).want(t, http.StatusCreated).
		wantHeader(t, "Location", path+string(digest))
	c.do("HEAD", path+string(digest), nil).want(t, http.StatusOK)

	t.Run("without from", func(t *testing.T) {
		c.do("POST", "/v2/octocat/octo-app/third/blobs/uploads/?mount="+string(digest), nil).want(t, http.StatusCreated)
	})
	t.Run("a blob that the source lacks starts an upload", func(t *testing.T) {
		unknown := ref.SHA256.FromBytes([]byte("unknown"))
		c.do("POST", path+"uploads/?mount="+string(unknown)+"&from="+name, nil).want(t, http.StatusAccepted)
	})
	t.Run("a source that the actor may not pull from starts an upload", func(t *testing.T) {
		p := samplePolicy()
		p.Repositories[0].Users = nil
		hidden := p.Repositories[0]
		hidden.Name = "hidden"
		hidden.Visibility = "Private"
		p = samplePolicy()
		p.Repositories = append(p.Repositories, hidden)
		r, c := start(t)
		r.Publish(t, p)
		digest := c.as(ownerValue).pushBlob("octocat/hidden/image", []byte("hidden"))
		c.do("POST", path+"uploads/?mount="+string(digest)+"&from=octocat/hidden/image", nil).want(t, http.StatusAccepted)
		c.do("POST", path+"uploads/?mount="+string(digest), nil).want(t, http.StatusAccepted)
		c.do("HEAD", path+string(digest), nil).want(t, http.StatusNotFound)
	})
}

func TestAnImageIsPulledByTagAndDigest(t *testing.T) {
	_, c := start(t)
	content, digest := c.pushImage(name, "1.0", "layer")
	for _, reference := range []string{"1.0", string(digest)} {
		for _, method := range []string{"GET", "HEAD"} {
			got := c.do(method, "/v2/"+name+"/manifests/"+reference, nil).want(t, http.StatusOK).
				wantHeader(t, "Content-Type", manifest.OCIManifest).
				wantHeader(t, "Docker-Content-Digest", string(digest))
			if got.ContentLength != int64(len(content)) {
				t.Errorf("%s %s: Content-Length %d, want %d", method, reference, got.ContentLength, len(content))
			}
			if method == "GET" && !bytes.Equal(got.body, content) {
				t.Errorf("%s: the manifest came back changed", reference)
			}
		}
	}
	c.do("GET", "/v2/"+name+"/manifests/2.0", nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)
	c.do("GET", "/v2/octocat/octo-app/nothing/manifests/1.0", nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)

	// A tag moves; the old manifest stays under its digest.
	_, second := c.pushImage(name, "1.0", "layer2")
	c.do("HEAD", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK).wantHeader(t, "Docker-Content-Digest", string(second))
	c.do("HEAD", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusOK)
}

func TestAManifestNeedsItsParts(t *testing.T) {
	_, c := start(t)
	config := c.pushBlob(name, []byte("{}"))
	missing := ref.SHA256.FromBytes([]byte("missing"))
	refused := c.putManifest(name, "1.0", image(config, missing, "")).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown)
	if !strings.Contains(string(refused.body), string(missing)) {
		t.Errorf("the error does not name the blob: %s", refused.body)
	}
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, manifest.OCIIndex, manifest.OCIManifest, missing)
	c.do("PUT", "/v2/"+name+"/manifests/1.0", index, header{"Content-Type", manifest.OCIIndex}).want(t, http.StatusNotFound)
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusNotFound)

	t.Run("a blob of another name does not count", func(t *testing.T) {
		layer := c.pushBlob("octocat/octo-app/elsewhere", []byte("elsewhere"))
		c.putManifest(name, "1.0", image(config, layer, "")).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown)
	})
}

func TestAManifestThatIsNoneIsRefused(t *testing.T) {
	_, c := start(t)
	good := image(c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer")), "")
	c.putManifest(name, "1.0", []byte("{")).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
	c.putManifest(name, "1.0", nil).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
	c.putManifest(name, string(ref.SHA256.FromBytes([]byte("x"))), good).want(t, http.StatusBadRequest, errcode.DigestInvalid)
	c.putManifest(name, "-bad-", good).want(t, http.StatusBadRequest, errcode.TagInvalid)
	c.putManifest(name, "1.0", bytes.Repeat([]byte(" "), manifest.MaxSize+1)).want(t, http.StatusRequestEntityTooLarge, errcode.SizeInvalid)
	c.do("PUT", "/v2/"+name+"/manifests/1.0", good, header{"Content-Type", manifest.OCIIndex}).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
	foreign := bytes.Replace(good, []byte(`"size":5}`), []byte(`"size":5,"urls":["https://elsewhere.example/x"]}`), 1)
	refused := c.putManifest(name, "1.0", foreign).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
	if !strings.Contains(string(refused.body), "layers[0]") {
		t.Errorf("the error does not name the layer: %s", refused.body)
	}
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusNotFound)
}

func TestDeletionKeepsWhatIsInUse(t *testing.T) {
	_, c := start(t)
	owner := c.as(ownerValue)
	content, digest := c.pushImage(name, "1.0", "layer")
	layer := ref.SHA256.FromBytes([]byte("layer"))
	c.putManifest(name, "again", content).want(t, http.StatusCreated)

	owner.do("DELETE", "/v2/"+name+"/blobs/"+string(layer), nil).want(t, http.StatusConflict, errcode.Denied)
	owner.do("DELETE", "/v2/"+name+"/manifests/again", nil).want(t, http.StatusAccepted)
	c.do("HEAD", "/v2/"+name+"/manifests/again", nil).want(t, http.StatusNotFound)
	c.do("HEAD", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)

	owner.do("DELETE", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusAccepted)
	c.do("HEAD", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusNotFound)
	c.do("HEAD", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusNotFound)
	owner.do("DELETE", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)

	owner.do("DELETE", "/v2/"+name+"/blobs/"+string(layer), nil).want(t, http.StatusAccepted)
	c.do("HEAD", "/v2/"+name+"/blobs/"+string(layer), nil).want(t, http.StatusNotFound)
	owner.do("DELETE", "/v2/"+name+"/blobs/"+string(layer), nil).want(t, http.StatusNotFound, errcode.BlobUnknown)
}

// next is the path of a Link header.
var next = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

func TestTagsAreListedInPages(t *testing.T) {
	_, c := start(t)
	content, _ := c.pushImage(name, "t00", "layer")
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("t%02d", i))
		c.putManifest(name, want[i], content).want(t, http.StatusCreated)
	}
	list := func(path string) ([]string, string) {
		t.Helper()
		a := c.do("GET", path, nil).want(t, http.StatusOK)
		var page struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(a.body, &page); err != nil || page.Name != name || page.Tags == nil {
			t.Fatalf("%s: %q", path, a.body)
		}
		link := ""
		if m := next.FindStringSubmatch(a.Header.Get("Link")); m != nil {
			link = m[1]
		}
		return page.Tags, link
	}
	tags := "/v2/" + name + "/tags/list"
	if got, link := list(tags); !slices.Equal(got, want) || link != "" {
		t.Errorf("all tags: %v, link %q", got, link)
	}
	var collected []string
	pages := 0
	for path := tags + "?n=10"; path != ""; pages++ {
		var page []string
		page, path = list(path)
		collected = append(collected, page...)
	}
	if !slices.Equal(collected, want) || pages != 3 {
		t.Errorf("%d pages: %v", pages, collected)
	}
	if got, link := list(tags + "?n=25"); len(got) != 25 || link != "" {
		t.Errorf("a page of exactly all: %d tags, link %q", len(got), link)
	}
	if got, link := list(tags + "?n=0"); len(got) != 0 || link != "" {
		t.Errorf("n=0: %v, link %q", got, link)
	}
	if got, _ := list(tags + "?last=t22"); !slices.Equal(got, want[23:]) {
		t.Errorf("behind t22: %v", got)
	}
	for _, n := range []string{"-1", "x", "9223372036854775808", "1.5"} {
		c.do("GET", tags+"?n="+n, nil).want(t, http.StatusBadRequest)
	}
	c.do("GET", "/v2/octocat/octo-app/nothing/tags/list", nil).want(t, http.StatusNotFound, errcode.NameUnknown)
}

func TestReferrersFollowTheSubject(t *testing.T) {
	_, c := start(t)
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	subject := ref.SHA256.FromBytes([]byte("a subject that does not exist"))
	list := func(query string) []struct{ Digest, ArtifactType string } {
		t.Helper()
		a := c.do("GET", "/v2/"+name+"/referrers/"+string(subject)+query, nil).want(t, http.StatusOK).
			wantHeader(t, "Content-Type", manifest.OCIIndex)
		var document struct {
			SchemaVersion int
			MediaType     string
			Manifests     []struct{ Digest, ArtifactType string }
		}
		if err := json.Unmarshal(a.body, &document); err != nil || document.SchemaVersion != 2 || document.MediaType != manifest.OCIIndex || document.Manifests == nil {
			t.Fatalf("not an index: %q", a.body)
		}
		if filtered := a.Header.Get("OCI-Filters-Applied"); (filtered == "artifactType") != strings.Contains(query, "artifactType") {
			t.Errorf("%s: OCI-Filters-Applied is %q", query, filtered)
		}
		return document.Manifests
	}
	if got := list(""); len(got) != 0 {
		t.Errorf("without referrers: %v", got)
	}
	for i, artifactType := range []string{"application/signature", "application/sbom", "application/signature"} {
		m := image(config, layer, fmt.Sprintf(`,"artifactType":%q,"subject":{"mediaType":%q,"digest":%q,"size":1},"annotations":{"i":"%d"}`,
			artifactType, manifest.OCIManifest, subject, i))
		c.putManifest(name, string(ref.SHA256.FromBytes(m)), m).want(t, http.StatusCreated).wantHeader(t, "OCI-Subject", string(subject))
	}
	if got := list(""); len(got) != 3 {
		t.Errorf("all referrers: %v", got)
	}
	if got := list("?artifactType=" + url.QueryEscape("application/signature")); len(got) != 2 || got[0].ArtifactType != "application/signature" {
		t.Errorf("signatures: %v", got)
	}
	page := c.do("GET", "/v2/"+name+"/referrers/"+string(subject)+"?n=2", nil).want(t, http.StatusOK)
	link := next.FindStringSubmatch(page.Header.Get("Link"))
	if link == nil {
		t.Fatalf("no second page: %v", page.Header)
	}
	c.do("GET", link[1], nil).want(t, http.StatusOK)
	if got := list("?n=0"); len(got) != 0 {
		t.Errorf("no referrers were asked for: %v", got)
	}
}

func TestReferrersWithLongAnnotationsComeInPages(t *testing.T) {
	_, c := start(t)
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	subject := ref.SHA256.FromBytes([]byte("subject"))
	const count = 4
	for i := range count {
		m := image(config, layer, fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":1},"annotations":{"x":"%d%s"}`,
			manifest.OCIManifest, subject, i, strings.Repeat("x", 3<<20)))
		c.putManifest(name, string(ref.SHA256.FromBytes(m)), m).want(t, http.StatusCreated)
	}
	seen := map[string]bool{}
	path := "/v2/" + name + "/referrers/" + string(subject)
	for pages := 0; path != "" && pages <= count; pages++ {
		a := c.do("GET", path, nil).want(t, http.StatusOK)
		var document struct{ Manifests []struct{ Digest string } }
		if err := json.Unmarshal(a.body, &document); err != nil || len(document.Manifests) != 1 {
			t.Fatalf("page %d has %d entries (%v), want 1", pages, len(document.Manifests), err)
		}
		seen[document.Manifests[0].Digest] = true
		path = ""
		if link := next.FindStringSubmatch(a.Header.Get("Link")); link != nil {
			path = link[1]
		}
	}
	if len(seen) != count || path != "" {
		t.Errorf("%d of %d referrers are listed; next page %q", len(seen), count, path)
	}
}

func TestTheCatalogShowsWhatTheActorMayPull(t *testing.T) {
	_, c := start(t)
	for _, repository := range []string{"octo-app", "octo-internal", "octo-public"} {
		c.pushImage("octocat/"+repository+"/image", "1", "layer")
	}
	for user, want := range map[string]string{
		writerValue: `{"repositories":["octocat/octo-app/image","octocat/octo-internal/image","octocat/octo-public/image"]}`,
		otherValue:  `{"repositories":["octocat/octo-internal/image","octocat/octo-public/image"]}`,
	} {
		if got := c.as(user).do("GET", "/v2/_catalog", nil).want(t, http.StatusOK); string(got.body) != want {
			t.Errorf("%s\ngot  %s\nwant %s", user, got.body, want)
		}
	}
	first := c.as(otherValue).do("GET", "/v2/_catalog?n=1", nil).want(t, http.StatusOK)
	link := next.FindStringSubmatch(first.Header.Get("Link"))
	if link == nil {
		t.Fatal("no second page")
	}
	if second := c.as(otherValue).do("GET", link[1], nil).want(t, http.StatusOK); string(second.body) != `{"repositories":["octocat/octo-public/image"]}` {
		t.Errorf("second page: %s", second.body)
	}
	c.as("").do("GET", "/v2/_catalog", nil).want(t, http.StatusUnauthorized, errcode.Unauthorized)
}

func TestUnknownAddressesAndMethodsAreRefused(t *testing.T) {
	_, c := start(t)
	c.do("GET", "/", nil).want(t, http.StatusNotFound)
	c.do("GET", "/v1/search", nil).want(t, http.StatusNotFound)
	c.do("POST", "/v2/", nil).want(t, http.StatusMethodNotAllowed, errcode.Unsupported).wantHeader(t, "Allow", "GET, HEAD")
	c.do("GET", "/v2/octocat/octo-app/manifests/1.0", nil).want(t, http.StatusNotFound, errcode.NameUnknown)
	upper := c.do("GET", "/v2/OctoCat/octo-app/image/manifests/1.0", nil).want(t, http.StatusBadRequest, errcode.NameInvalid)
	if !strings.Contains(string(upper.body), "octocat") {
		t.Errorf("the error does not show the name in lower case: %s", upper.body)
	}
	c.do("GET", "/v2/octocat/octo-app/a%2fb/manifests/1.0", nil).want(t, http.StatusBadRequest, errcode.NameInvalid)
	c.do("GET", "/v2/octocat/octo-app/../../etc/manifests/1.0", nil).want(t, http.StatusBadRequest, errcode.NameInvalid)
}
