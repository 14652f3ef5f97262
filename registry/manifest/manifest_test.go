// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
	digestC = "sha512:" + strings.Repeat("c", 128)
)

func desc(mediaType, digest string, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":3%s}`, mediaType, digest, more)
}

const (
	configType = "application/vnd.oci.image.config.v1+json"
	layerType  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func image(more string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`,
		manifest.OCIManifest, desc(configType, digestA, ""), desc(layerType, digestB, ""), more)
}

func TestParseReads(t *testing.T) {
	tests := []struct {
		name, content, contentType string
		want                       manifest.Manifest
	}{
		{
			name: "an image", content: image(""), contentType: manifest.OCIManifest,
			want: manifest.Manifest{MediaType: manifest.OCIManifest, ArtifactType: configType, Blobs: []ref.Digest{ref.Digest(digestA), ref.Digest(digestB)}, Size: 6},
		},
		{
			name:    "a Content-Type with a parameter",
			content: image(""), contentType: manifest.OCIManifest + "; charset=utf-8",
			want: manifest.Manifest{MediaType: manifest.OCIManifest, ArtifactType: configType, Blobs: []ref.Digest{ref.Digest(digestA), ref.Digest(digestB)}, Size: 6},
		},
		{
			name:        "an artifact with subject and annotations that differ by case",
			content:     image(`,"artifactType":"application/x","subject":` + desc(manifest.OCIManifest, digestC, "") + `,"annotations":{"size":"1","Size":"2"}`),
			contentType: manifest.OCIManifest,
			want: manifest.Manifest{
				MediaType: manifest.OCIManifest, ArtifactType: "application/x", Subject: ref.Digest(digestC),
				Annotations: map[string]string{"size": "1", "Size": "2"},
				Blobs:       []ref.Digest{ref.Digest(digestA), ref.Digest(digestB)}, Size: 6,
			},
		},
		{
			name:        "a layer that stands there twice once",
			content:     fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%[2]s,%[1]s]}`, desc(configType, digestA, ""), desc(layerType, digestB, "")),
			contentType: manifest.DockerManifest,
			want:        manifest.Manifest{MediaType: manifest.DockerManifest, ArtifactType: configType, Blobs: []ref.Digest{ref.Digest(digestA), ref.Digest(digestB)}, Size: 6},
		},
		{
			name:    "an index without a Content-Type",
			content: fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, manifest.OCIIndex, desc(manifest.OCIManifest, digestA, `,"platform":{"os":"linux","architecture":"arm64","os.version":"1"}`)),
			want:    manifest.Manifest{MediaType: manifest.OCIIndex, Manifests: []ref.Digest{ref.Digest(digestA)}},
		},
		{
			name:        "an empty Docker list",
			content:     fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, manifest.DockerList),
			contentType: manifest.DockerList,
			want:        manifest.Manifest{MediaType: manifest.DockerList, Manifests: []ref.Digest{}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := manifest.Parse([]byte(tt.content), tt.contentType)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// manyKeys are n keys of an object with their values.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s"%d":""`, map[bool]string{true: ","}[i > 0], i)
	}
	return b.String()
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, content, contentType, want string }{
		{"nothing", "", manifest.OCIManifest, "ends before"},
		{"half a document", image("")[:40], manifest.OCIManifest, "ends before"},
		{"no object", `[]`, manifest.OCIManifest, "JSON object"},
		{"two documents", image("") + image(""), manifest.OCIManifest, "more behind"},
		{"a key twice", image(`,"layers":[]`), manifest.OCIManifest, "layers stands there twice"},
		{"a key twice, once escaped", image(`,"\u006cayers":[]`), manifest.OCIManifest, "layers stands there twice"},
		{"a key in another case", image(`,"Layers":[]`), manifest.OCIManifest, `Layers must be written "layers"`},
		{"a key in a case of its own", image(`,"layerſ":[]`), manifest.OCIManifest, `must be written "layers"`},
		{"a long artifact type", image(`,"artifactType":"a/` + strings.Repeat("b", 254) + `"`), manifest.OCIManifest, "256 characters"},
		{"more descriptors than fit", strings.Replace(image(""), `"layers":[`, `"layers":[`+strings.Repeat("{},", 40_000), 1), manifest.OCIManifest, "layers has more than 40000 items"},
		{"more annotations than can be listed", image(`,"annotations":{` + manyKeys(40_001) + `}`), manifest.OCIManifest, "annotations has more than 40000 keys"},
		{"a nested key in another case", strings.Replace(image(""), `"digest"`, `"Digest"`, 1), manifest.OCIManifest, `config.Digest must be written "digest"`},
		{"more values than descriptors have", image(`,"x":[` + strings.Repeat("[0,0,0,0,0,0,0,0,0],", 24_999) + `[0,0,0,0,0,0,0,0,0]]`), manifest.OCIManifest, "more than 250000 values"},
		{"deep nesting", image(`,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), manifest.OCIManifest, "nested deeper"},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "application/vnd.docker.distribution.manifest.v1+json", "schemaVersion 1"},
		{"schema 3", strings.Replace(image(""), `"schemaVersion":2`, `"schemaVersion":3`, 1), manifest.OCIManifest, "schemaVersion must be 2"},
		{"no type at all", strings.Replace(image(""), `"mediaType":"`+manifest.OCIManifest+`",`, "", 1), "", "mediaType is missing"},
		{"a type that contradicts the Content-Type", image(""), manifest.DockerManifest, "Content-Type is"},
		{"a Content-Type that is none", image(""), "x y z;;", "no media type"},
		{"an image that is called an index", strings.Replace(image(""), manifest.OCIManifest, manifest.OCIIndex, 1), manifest.OCIIndex, "do not belong"},
		{"an image with children", image(`,"manifests":[]`), manifest.OCIManifest, "manifests does not belong"},
		{"an unknown type", strings.Replace(image(""), manifest.OCIManifest, "application/json", 1), "application/json", "none that this registry stores"},
		{"no config", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[]}`, manifest.OCIManifest), manifest.OCIManifest, "config is missing"},
		{"config null", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":null,"layers":[]}`, manifest.OCIManifest), manifest.OCIManifest, "config is missing"},
		{"layers null", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":null}`, manifest.OCIManifest, desc(configType, digestA, "")), manifest.OCIManifest, "layers is missing"},
		{"a bad digest", strings.Replace(image(""), digestB, "sha256:xyz", 1), manifest.OCIManifest, "layers[0].digest"},
		{"an unknown algorithm", strings.Replace(image(""), digestB, "md5:"+strings.Repeat("a", 32), 1), manifest.OCIManifest, "layers[0].digest: digest algorithm is not supported"},
		{"a negative size", strings.Replace(image(""), `"size":3`, `"size":-3`, 1), manifest.OCIManifest, "config.size is negative"},
		{"no size", strings.Replace(image(""), `,"size":3`, ``, 1), manifest.OCIManifest, "config.size is missing"},
		{"a bad subject", image(`,"subject":{"digest":"x"}`), manifest.OCIManifest, "subject.digest"},
		{"annotations that are no strings", image(`,"annotations":{"a":1}`), manifest.OCIManifest, "annotations must be a string, and is the number"},
		{"a size that is a string", strings.Replace(image(""), `"size":3`, `"size":"3"`, 1), manifest.OCIManifest, "config.size must be a whole number, and is the string"},
		{"layers that are no list", strings.Replace(image(""), `"layers":[`, `"layers":{},"x":[`, 1), manifest.OCIManifest, "layers must be a list, and is the object"},
		{"a config that is no object", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":"x","layers":[]}`, manifest.OCIManifest), manifest.OCIManifest, "config must be an object, and is the string"},
		{"text that is not UTF-8", image(",\"annotations\":{\"a\":\"\xff\"}"), manifest.OCIManifest, "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(tt.content), tt.contentType)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestParseFindsForeignLayers(t *testing.T) {
	const foreignType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	layers := func(list ...string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, manifest.OCIManifest, desc(configType, digestA, ""), strings.Join(list, ","))
	}
	config, layer := []ref.Digest{ref.Digest(digestA)}, ref.Digest(digestB)
	both := append(config, layer)
	urls := `,"urls":["https://elsewhere.example"]`
	for name, test := range map[string]struct {
		content string
		foreign []manifest.ForeignLayer
		blobs   []ref.Digest
	}{
		"none":          {layers(desc(layerType, digestB, "")), nil, both},
		"by media type": {layers(desc(foreignType, digestB, "")), []manifest.ForeignLayer{{Index: 0, Digest: layer, MediaType: foreignType}}, config},
		"by urls":       {layers(desc(layerType, digestB, urls)), []manifest.ForeignLayer{{Index: 0, Digest: layer, MediaType: layerType}}, config},
		"without urls":  {layers(desc(layerType, digestB, `,"urls":[]`)), nil, both},
		"here as well": {
			layers(desc(layerType, digestB, ""), desc(foreignType, digestB, ""), desc(foreignType, digestA, "")),
			[]manifest.ForeignLayer{{Index: 1, Digest: layer, MediaType: foreignType}, {Index: 2, Digest: config[0], MediaType: foreignType}},
			both,
		},
		"here after all": {
			layers(desc(foreignType, digestB, ""), desc(layerType, digestB, "")),
			[]manifest.ForeignLayer{{Index: 0, Digest: layer, MediaType: foreignType}}, both,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.Parse([]byte(test.content), manifest.OCIManifest)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.foreign, m.Foreign); diff != "" {
				t.Errorf("foreign layers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.blobs, m.Blobs); diff != "" {
				t.Errorf("blobs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnImageIsAsLargeAsItsParts(t *testing.T) {
	part := func(digest string, size int64) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, layerType, digest, size)
	}
	for name, test := range map[string]struct {
		content string
		want    int64
	}{
		"no layers":         {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, part(digestA, 7)), 7},
		"config and layers": {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, part(digestA, 7), part(digestB, 10)), 17},
		"one layer twice":   {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%[2]s,%s]}`, part(digestA, 7), part(digestB, 10), part(digestA, 7)), 17},
		"more than a number holds": {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`,
			part(digestA, math.MaxInt64-1), part(digestB, 2)), math.MaxInt64},
	} {
		m, err := manifest.Parse([]byte(test.content), manifest.OCIManifest)
		if err != nil {
			t.Fatal(err)
		}
		if m.Size != test.want {
			t.Errorf("%s: %d bytes, want %d", name, m.Size, test.want)
		}
	}
}
