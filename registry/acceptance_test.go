// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// foreignLayer is a descriptor of a layer that is kept elsewhere.
func foreignLayer(mediaType string, digest ref.Digest) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":5,"urls":["https://elsewhere.example/layer"]}`, mediaType, digest)
}

func TestForeignLayersAreForTheInstanceToAllow(t *testing.T) {
	r, c := start(t)
	const windows = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	elsewhere := ref.SHA256.FromBytes([]byte("elsewhere"))
	content := []byte(strings.Replace(string(image(config, layer, "")), "}]", "},"+foreignLayer(windows, elsewhere)+"]", 1))
	digest := string(ref.SHA256.FromBytes(content))

	for _, part := range []string{"layers[1]", string(elsewhere), windows, "docker.foreignLayers is Reject"} {
		c.putManifest(name, "windows", content).want(t, http.StatusBadRequest, errcode.ManifestInvalid).wantReason(t, part)
	}
	c.do("GET", "/v2/"+name+"/manifests/"+digest, nil).want(t, http.StatusNotFound)

	p := samplePolicy()
	p.ForeignLayers = policy.Allow
	r.Publish(t, p)
	c.putManifest(name, "windows", content).want(t, http.StatusCreated)
	if got := c.do("GET", "/v2/"+name+"/manifests/windows", nil).want(t, http.StatusOK); string(got.body) != string(content) {
		t.Errorf("the manifest came back as %s", got.body)
	}
	c.do("GET", "/v2/"+name+"/blobs/"+string(elsewhere), nil).want(t, http.StatusNotFound, errcode.BlobUnknown)
	// All else must be here as ever, also what is said to be elsewhere by one of two.
	lacking := strings.Replace(string(content), string(layer), string(ref.SHA256.FromBytes([]byte("never pushed"))), 1)
	c.putManifest(name, "lacking", []byte(lacking)).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown)
	both := strings.Replace(string(content), string(layer), string(elsewhere), 1)
	c.putManifest(name, "both", []byte(both)).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown)
	// Some clients push such layers all the same.
	c.pushBlob(name, []byte("elsewhere"))
	c.as(ownerValue).do("DELETE", "/v2/"+name+"/blobs/"+string(elsewhere), nil).want(t, http.StatusConflict, errcode.Denied)
	c.putManifest(name, "both", []byte(both)).want(t, http.StatusCreated)

	r.Publish(t, samplePolicy())
	c.putManifest(name, "windows", content).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
	c.do("GET", "/v2/"+name+"/manifests/windows", nil).want(t, http.StatusOK)
}

func TestMissingReferencesAreForTheInstanceToAllow(t *testing.T) {
	r, c := start(t)
	owner := c.as(ownerValue)
	config, layer := ref.SHA256.FromBytes([]byte("{}")), ref.SHA256.FromBytes([]byte("layer"))
	content := image(config, layer, "")
	digest := ref.SHA256.FromBytes(content)
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d},{"mediaType":%[2]q,"digest":%q,"size":1}]}`,
		manifest.OCIIndex, manifest.OCIManifest, digest, len(content), ref.SHA256.FromBytes([]byte("arm64")))
	putIndex := func() answer {
		return c.do("PUT", "/v2/"+name+"/manifests/index", index, header{"Content-Type", manifest.OCIIndex})
	}
	// The blobs are in another name, which does not count.
	c.pushImage("octocat/octo-app/elsewhere", "1", "layer")

	c.putManifest(name, "image", content).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown)
	putIndex().want(t, http.StatusNotFound, errcode.ManifestUnknown)

	p := samplePolicy()
	p.MissingReferences = policy.Allow
	r.Publish(t, p)
	putIndex().want(t, http.StatusCreated)
	c.do("GET", "/v2/"+name+"/manifests/index", nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)
	c.putManifest(name, string(digest), content).want(t, http.StatusCreated)
	// A manifest makes no link: nothing can be read through it.
	for _, blob := range []ref.Digest{config, layer} {
		c.do("GET", "/v2/"+name+"/blobs/"+string(blob), nil).want(t, http.StatusNotFound, errcode.BlobUnknown)
	}
	// What comes later belongs to it.
	c.pushBlob(name, []byte("layer"))
	owner.do("DELETE", "/v2/"+name+"/blobs/"+string(layer), nil).want(t, http.StatusConflict, errcode.Denied)
	owner.do("DELETE", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusConflict, errcode.Denied)

	// Where it is no longer allowed, what is still missing is asked for again.
	r.Publish(t, samplePolicy())
	c.putManifest(name, "image", content).want(t, http.StatusNotFound, errcode.ManifestBlobUnknown).wantReason(t, string(config))
	c.pushBlob(name, []byte("{}"))
	c.putManifest(name, "image", content).want(t, http.StatusCreated)
}

func TestAForeignLayerIsNoMissingReference(t *testing.T) {
	p := samplePolicy()
	p.MissingReferences = policy.Allow
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: writerValue}
	content := strings.Replace(string(image(ref.SHA256.FromBytes([]byte("c")), ref.SHA256.FromBytes([]byte("l")), "")), `"size":5`, `"size":5,"urls":["https://elsewhere.example"]`, 1)
	c.putManifest(name, "1", []byte(content)).want(t, http.StatusBadRequest, errcode.ManifestInvalid).wantReason(t, "foreign layer")
}

func TestALargeImageIsStoredWithAWarning(t *testing.T) {
	p := samplePolicy()
	p.Limits.WarnImageSize = 1 << 20
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: writerValue}
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	sized := func(size int) []byte {
		return []byte(strings.Replace(string(image(config, layer, "")), `"size":5`, fmt.Sprintf(`"size":%d`, size-2), 1))
	}
	c.putManifest(name, "fits", sized(1<<20)).want(t, http.StatusCreated).wantHeader(t, "Warning", "")
	c.putManifest(name, "large", sized(1<<20+1)).want(t, http.StatusCreated).
		wantHeader(t, "Warning", `299 - "the image is stored, but its configuration and layers have 1048577 bytes, more than the 1Mi of this instance's docker.limits.warnImageSize: pushing and pulling it takes long"`)
	c.do("GET", "/v2/"+name+"/manifests/large", nil).want(t, http.StatusOK).wantHeader(t, "Warning", "")
	// What is refused is not warned of.
	refused := strings.Replace(string(sized(1<<30)), string(layer), string(ref.SHA256.FromBytes([]byte("missing"))), 1)
	c.putManifest(name, "refused", []byte(refused)).want(t, http.StatusNotFound).wantHeader(t, "Warning", "")
	metrics := client{t: t, addr: r.AdminAddr}.do("GET", "/metrics", nil).want(t, http.StatusOK)
	if !strings.Contains(string(metrics.body), "\npackages_registry_large_images_total 1\n") {
		t.Error("the metrics do not count one large image")
	}
}
