// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// contents is something to push: blobs, then manifests in their order.
type contents struct {
	algorithm ref.Algorithm
	blobs     []piece
	manifests []piece
	// absent is named in a manifest and not pushed.
	absent []ref.Digest
}

// piece is a blob or a manifest.
type piece struct {
	digest    ref.Digest
	mediaType string
	content   []byte
	tags      []string
	// subject of a manifest that has one, and its artifact type.
	subject      ref.Digest
	artifactType string
}

const (
	configType = "application/vnd.oci.image.config.v1+json"
	layerType  = "application/vnd.oci.image.layer.v1.tar"
	sbomType   = "application/vnd.example.sbom"
)

func descriptorJSON(mediaType string, digest ref.Digest, size int, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, digest, size, more)
}

// blob adds a blob, once, and returns its descriptor.
func (c *contents) blob(mediaType, content, more string) string {
	digest := c.algorithm.FromBytes([]byte(content))
	if !slices.ContainsFunc(c.blobs, func(p piece) bool { return p.digest == digest }) {
		c.blobs = append(c.blobs, piece{digest: digest, content: []byte(content)})
	}
	return descriptorJSON(mediaType, digest, len(content), more)
}

// missing returns a descriptor of what is not pushed.
func (c *contents) missing(mediaType, content, more string) string {
	digest := c.algorithm.FromBytes([]byte(content))
	c.absent = append(c.absent, digest)
	return descriptorJSON(mediaType, digest, len(content), more)
}

// manifest adds a manifest and returns its descriptor.
func (c *contents) manifest(mediaType, content string, p piece) string {
	p.content, p.mediaType, p.digest = []byte(content), mediaType, c.algorithm.FromBytes([]byte(content))
	c.manifests = append(c.manifests, p)
	return descriptorJSON(mediaType, p.digest, len(content), "")
}

// image adds a manifest of layers with further fields.
func (c *contents) image(more string, p piece, layers ...string) string {
	config := c.blob(configType, `{"architecture":"amd64","os":"linux","example":`+fmt.Sprint(len(c.manifests))+`}`, "")
	return c.manifest(manifest.OCIManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`,
		manifest.OCIManifest, config, strings.Join(layers, ","), more), p)
}

// index adds an index of children with further fields.
func (c *contents) index(more string, p piece, children ...string) string {
	return c.manifest(manifest.OCIIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]%s}`,
		manifest.OCIIndex, strings.Join(children, ","), more), p)
}

// tagged is a piece with tags.
func tagged(tags ...string) piece { return piece{tags: tags} }

// kindsOfContent are what registries are given to keep.
var kindsOfContent = map[string]func(*contents){
	"an image": func(c *contents) {
		c.image("", tagged("1.0", "latest"), c.blob(layerType+"+gzip", "one", ""), c.blob(layerType, "two", ""))
	},
	"an image without layers": func(c *contents) { c.image("", tagged("1.0")) },
	"an index": func(c *contents) {
		c.index("", tagged("1.0"), c.image("", piece{}, c.blob(layerType, "amd64", "")), c.image("", tagged("arm64"), c.blob(layerType, "arm64", "")))
	},
	"an empty index": func(c *contents) { c.index("", tagged("1.0")) },
	"an index of indexes": func(c *contents) {
		image := c.image("", piece{}, c.blob(layerType, "layer", ""))
		inner := c.index(`,"annotations":{"level":"2"}`, piece{}, image)
		c.index(`,"annotations":{"level":"1"}`, tagged("1.0"), inner, image, c.index("", piece{}))
	},
	"an artifact": func(c *contents) {
		c.image(`,"artifactType":"`+sbomType+`"`, tagged("1.0"), c.blob("application/json", "{}", ""))
	},
	"an index that is an artifact": func(c *contents) {
		c.index(`,"artifactType":"`+sbomType+`"`, tagged("1.0"), c.image("", piece{}, c.blob(layerType, "layer", "")))
	},
	"referrers of an image": func(c *contents) {
		image := c.image("", tagged("1.0"), c.blob(layerType, "layer", ""))
		subject := c.manifests[0].digest
		for i := range 3 {
			c.image(fmt.Sprintf(`,"artifactType":%q,"subject":%s,"annotations":{"i":"%d"}`, sbomType, image, i),
				piece{subject: subject, artifactType: sbomType}, c.blob("application/json", "{}", ""))
		}
		c.index(fmt.Sprintf(`,"artifactType":%q,"subject":%s`, sbomType, image), piece{subject: subject, artifactType: sbomType})
	},
	"a referrer of what is not there": func(c *contents) {
		subject := c.algorithm.FromBytes([]byte("nothing"))
		c.image(`,"subject":`+descriptorJSON(manifest.OCIManifest, subject, 7, ""), piece{subject: subject, artifactType: configType, tags: []string{"1.0"}})
	},
	"descriptors with data": func(c *contents) {
		data := func(content string) string {
			return `,"data":"` + base64.StdEncoding.EncodeToString([]byte(content)) + `"`
		}
		image := c.image("", piece{}, c.blob(layerType, "layer", data("layer")))
		c.index("", tagged("1.0"), strings.TrimSuffix(image, "}")+data(string(c.manifests[0].content))+"}")
	},
	"fields that are not in the specification": func(c *contents) {
		image := c.image(`,"org.example.field":{"a":[1,{"b":null}]}`, piece{}, c.blob(layerType, "layer", `,"org.example":"x"`))
		c.index(`,"org.example.field":"x"`, tagged("1.0"), image)
	},
	"an image with layers that are elsewhere": func(c *contents) {
		c.image("", tagged("1.0"), c.missing("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "elsewhere", `,"urls":["https://elsewhere.example/x"]`),
			c.missing("application/vnd.oci.image.layer.nondistributable.v1.tar", "there", ""), c.blob(layerType, "here", ""))
	},
	"what is there in part": func(c *contents) {
		c.index("", tagged("1.0"), c.missing(manifest.OCIManifest, "arm64", ""),
			c.image("", piece{}, c.blob(layerType, "here", ""), c.missing(layerType, "not here", "")))
	},
}

// Whatever it is, it can be pushed, listed, looked at, pulled as it was, and deleted,
// and what is deleted is gone at once.
func TestEveryKindOfContentHasAWholeLife(t *testing.T) {
	p := samplePolicy()
	p.ForeignLayers, p.MissingReferences = policy.Allow, policy.Allow
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: ownerValue}
	number := 0
	for kind, fill := range kindsOfContent {
		for _, algorithm := range []ref.Algorithm{ref.SHA256, ref.SHA512} {
			number++
			image := fmt.Sprintf("octocat/octo-app/content-%d", number)
			t.Run(fmt.Sprintf("%s, %s", kind, algorithm), func(t *testing.T) {
				c.t = t
				pushed := contents{algorithm: algorithm}
				fill(&pushed)
				c.pushContents(image, pushed)
				c.wantContents(image, pushed)
				c.deleteContents(image, pushed)
			})
		}
	}
}

func (c client) pushContents(name string, pushed contents) {
	c.t.Helper()
	for _, b := range pushed.blobs {
		c.do("POST", "/v2/"+name+"/blobs/uploads/?digest="+string(b.digest), b.content).want(c.t, http.StatusCreated)
	}
	for _, m := range pushed.manifests {
		// By tag where that says the digest, which is then of SHA-256; else by digest,
		// with all the tags beside it.
		reference, tags := string(m.digest), m.tags
		if pushed.algorithm == ref.SHA256 && len(m.tags) == 1 {
			reference, tags = m.tags[0], nil
		}
		query := ""
		for i, tag := range tags {
			query += map[bool]string{true: "?", false: "&"}[i == 0] + "tag=" + tag
		}
		put := c.do("PUT", "/v2/"+name+"/manifests/"+reference+query, m.content, header{"Content-Type", m.mediaType}).want(c.t, http.StatusCreated).
			wantHeader(c.t, "Location", "/v2/"+name+"/manifests/"+string(m.digest)).
			wantHeader(c.t, "Docker-Content-Digest", string(m.digest)).
			wantHeader(c.t, "OCI-Subject", string(m.subject))
		if got := put.Header.Values("OCI-Tag"); !slices.Equal(got, tags) && len(got)+len(tags) > 0 {
			c.t.Errorf("OCI-Tag is %v, want %v", got, tags)
		}
	}
}

func (c client) wantContents(name string, pushed contents) {
	c.t.Helper()
	var tags []string
	referrers := map[ref.Digest][]string{}
	for _, m := range pushed.manifests {
		tags = append(tags, m.tags...)
		for _, reference := range append([]string{string(m.digest)}, m.tags...) {
			for _, method := range []string{"HEAD", "GET"} {
				got := c.do(method, "/v2/"+name+"/manifests/"+reference, nil).want(c.t, http.StatusOK).
					wantHeader(c.t, "Content-Type", m.mediaType).
					wantHeader(c.t, "Docker-Content-Digest", string(m.digest)).
					wantHeader(c.t, "Content-Length", fmt.Sprint(len(m.content)))
				if method == "GET" && !bytes.Equal(got.body, m.content) {
					c.t.Errorf("%s came back as %s", reference, got.body)
				}
			}
		}
		if m.subject != "" {
			referrers[m.subject] = append(referrers[m.subject], string(m.digest)+" "+m.artifactType)
		}
	}
	for _, b := range pushed.blobs {
		path := "/v2/" + name + "/blobs/" + string(b.digest)
		c.do("HEAD", path, nil).want(c.t, http.StatusOK).wantHeader(c.t, "Content-Length", fmt.Sprint(len(b.content)))
		if got := c.do("GET", path, nil).want(c.t, http.StatusOK).wantHeader(c.t, "Docker-Content-Digest", string(b.digest)); !bytes.Equal(got.body, b.content) {
			c.t.Errorf("blob %s came back as %q", b.digest, got.body)
		}
	}
	for _, digest := range pushed.absent {
		c.do("GET", "/v2/"+name+"/blobs/"+string(digest), nil).want(c.t, http.StatusNotFound, errcode.BlobUnknown)
		c.do("GET", "/v2/"+name+"/manifests/"+string(digest), nil).want(c.t, http.StatusNotFound, errcode.ManifestUnknown)
	}
	slices.Sort(tags)
	if got := c.tagsOf(name); !slices.Equal(got, tags) {
		c.t.Errorf("tags are %v, want %v", got, tags)
	}
	for subject, want := range referrers {
		slices.Sort(want)
		if got := c.referrersOf(name, subject); !slices.Equal(got, want) {
			c.t.Errorf("referrers are %v, want %v", got, want)
		}
	}
}

// deleteContents deletes tags, then manifests from the last to the first, then
// blobs, and looks after each.
func (c client) deleteContents(name string, pushed contents) {
	c.t.Helper()
	remove := func(path string, code errcode.Code) {
		c.t.Helper()
		c.do("DELETE", path, nil).want(c.t, http.StatusAccepted)
		c.do("HEAD", path, nil).want(c.t, http.StatusNotFound)
		c.do("DELETE", path, nil).want(c.t, http.StatusNotFound, code)
	}
	for _, m := range pushed.manifests {
		for _, tag := range m.tags {
			remove("/v2/"+name+"/manifests/"+tag, errcode.ManifestUnknown)
		}
	}
	if got := c.tagsOf(name); len(got) != 0 {
		c.t.Errorf("tags that are deleted are listed: %v", got)
	}
	for _, m := range slices.Backward(pushed.manifests) {
		remove("/v2/"+name+"/manifests/"+string(m.digest), errcode.ManifestUnknown)
		if m.subject != "" && slices.Contains(c.referrersOf(name, m.subject), string(m.digest)+" "+m.artifactType) {
			c.t.Errorf("a referrer that is deleted is listed: %s", m.digest)
		}
	}
	for _, b := range pushed.blobs {
		remove("/v2/"+name+"/blobs/"+string(b.digest), errcode.BlobUnknown)
	}
	c.do("GET", "/v2/"+name+"/tags/list", nil).want(c.t, http.StatusNotFound, errcode.NameUnknown)
}

func (c client) tagsOf(name string) []string {
	c.t.Helper()
	var page struct{ Tags []string }
	if err := json.Unmarshal(c.do("GET", "/v2/"+name+"/tags/list", nil).want(c.t, http.StatusOK).body, &page); err != nil {
		c.t.Fatal(err)
	}
	return page.Tags
}

// referrersOf are the digests of a subject's referrers, each with its artifact type,
// in order.
func (c client) referrersOf(name string, subject ref.Digest) []string {
	c.t.Helper()
	var index struct {
		Manifests []struct{ Digest, ArtifactType string }
	}
	if err := json.Unmarshal(c.do("GET", "/v2/"+name+"/referrers/"+string(subject), nil).want(c.t, http.StatusOK).body, &index); err != nil {
		c.t.Fatal(err)
	}
	var found []string
	for _, m := range index.Manifests {
		found = append(found, m.Digest+" "+m.ArtifactType)
	}
	slices.Sort(found)
	return found
}
