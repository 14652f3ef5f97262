// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// walker reads JSON that is valid, and knows nothing of the decoder that Parse uses.
type walker struct {
	content []byte
	at      int
	// object is told the keys of each object, and what path leads to it.
	object func(path, keys []string)
	depth  int
}

func (w *walker) next() byte {
	for bytes.IndexByte([]byte(" \t\r\n"), w.content[w.at]) >= 0 {
		w.at++
	}
	return w.content[w.at]
}

// text reads a string and returns it decoded.
func (w *walker) text() string {
	begin := w.at
	for w.at++; w.content[w.at] != '"'; w.at++ {
		if w.content[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	var s string
	if err := json.Unmarshal(w.content[begin:w.at], &s); err != nil {
		panic(err) // valid JSON has valid strings
	}
	return s
}

func (w *walker) value(path []string) {
	w.depth = max(w.depth, len(path))
	switch w.next() {
	case '{':
		var keys []string
		for w.at++; w.next() != '}'; {
			if w.content[w.at] == ',' {
				w.at++
				w.next()
			}
			key := w.text()
			keys = append(keys, key)
			w.next() // the colon
			w.at++
			w.value(append(path[:len(path):len(path)], key))
		}
		w.at++
		w.object(path, keys)
	case '[':
		for w.at++; w.next() != ']'; {
			if w.content[w.at] == ',' {
				w.at++
			}
			w.value(append(path[:len(path):len(path)], "[]"))
		}
		w.at++
	case '"':
		w.text()
	default:
		for w.at < len(w.content) && bytes.IndexByte([]byte(",]} \t\r\n"), w.content[w.at]) < 0 {
			w.at++
		}
	}
}

// specFields are the names in the schemas of the OCI Image Specification: image
// manifest, index and descriptor.
var specFields = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations",
	"digest", "size", "urls", "data", "platform",
}

// wantOneReading fails if two decoders may read content differently.
func wantOneReading(t *testing.T, content []byte) {
	t.Helper()
	if !json.Valid(content) || !utf8.Valid(content) {
		t.Fatal("accepted what is no JSON")
	}
	w := &walker{content: content, object: func(path, keys []string) {
		for i, key := range keys {
			if slices.Contains(keys[:i], key) {
				t.Errorf("accepted with the key %q twice in %q", key, path)
			}
			for _, field := range specFields {
				if key != field && strings.EqualFold(key, field) && !slices.Contains(path, "annotations") {
					t.Errorf("accepted with the key %q in %q", key, path)
				}
			}
		}
	}}
	w.value(nil)
	if w.depth > 40 {
		t.Errorf("accepted with %d levels", w.depth)
	}
}

var digestForm = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)

// digestsOf are the digests of descriptors, each of which must be a right one.
func digestsOf(t *testing.T, descriptors ...any) []ref.Digest {
	t.Helper()
	result := []ref.Digest{}
	for _, d := range descriptors {
		fields, _ := d.(map[string]any)
		digest, _ := fields["digest"].(string)
		mediaType, _ := fields["mediaType"].(string)
		number, _ := fields["size"].(json.Number)
		size, whole := new(big.Int).SetString(string(number), 10)
		if !digestForm.MatchString(digest) || mediaType == "" || !whole || size.Sign() < 0 || !size.IsInt64() {
			t.Errorf("accepted with the descriptor %v", d)
		}
		if !slices.Contains(result, ref.Digest(digest)) {
			result = append(result, ref.Digest(digest))
		}
	}
	return result
}

// foreignTypes are the media types of layers that the OCI Image Specification calls
// non-distributable, and Docker foreign.
var foreignTypes = []string{
	"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}

// FuzzParse: whatever is accepted has one reading, in which all descriptors are
// right and are those that Parse found; read again it is the same; what is refused
// is refused with a short sentence.
func FuzzParse(f *testing.F) {
	index := `{"schemaVersion":2,"mediaType":"` + manifest.OCIIndex + `","manifests":[` +
		desc(manifest.OCIManifest, digestC, `,"platform":{"os":"linux","os.version":"1"},"annotations":{"Size":"1"}`) + `,` + desc(manifest.OCIIndex, digestA, `,"data":"e30="`) + `]}`
	f.Add([]byte(image("")), manifest.OCIManifest)
	f.Add([]byte(image(`,"subject":`+desc(manifest.OCIManifest, digestC, "")+`,"annotations":{"size":"1","Size":"2"}`)), "")
	f.Add([]byte(strings.Replace(image(""), manifest.OCIManifest, manifest.DockerManifest, 1)), manifest.DockerManifest+"; charset=utf-8")
	f.Add([]byte(index), manifest.OCIIndex)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), manifest.DockerList)
	f.Add([]byte(`{"a":[[{}]]}`), "")
	f.Add([]byte(strings.Replace(image(""), `"size":3}]`, `"size":3,"urls":["https://elsewhere.example"]}]`, 1)), manifest.OCIManifest)
	f.Add([]byte(strings.Replace(image(""), layerType, foreignTypes[3], 1)), manifest.OCIManifest)
	f.Add([]byte(image(`,"\u006cayers":[]`)), manifest.OCIManifest)
	f.Add([]byte(image(`,"layerſ":[]`)), manifest.OCIManifest)
	f.Add([]byte(image(`,"annotations":{"a":"`+"\xff"+`"}`)), manifest.OCIManifest)
	f.Add([]byte(image(`,"annotations":{"\ud800":"","\udfff":""}`)), manifest.OCIManifest)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"`+strings.Repeat("m", 5000)+`","manifests":[]}`), manifest.OCIIndex)
	f.Add([]byte(`{"schemaVersion":`+strings.Repeat("2", 5000)+`,"manifests":[]}`), manifest.OCIIndex)
	f.Add([]byte(strings.Replace(image(""), `"size":3`, `"size":9223372036854775808`, 1)), manifest.OCIManifest)
	f.Add([]byte(strings.Replace(image(""), `"size":3`, `"size":-0`, 1)), manifest.OCIManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), strings.Repeat("ä", 5000))
	long := `"x` + strings.Repeat("ä", 100) + `":`
	f.Add([]byte(strings.Repeat("{"+long, 30)+"{"+long+"0,"+long+"0}"+strings.Repeat("}", 30)), "")
	f.Fuzz(func(t *testing.T, content []byte, contentType string) {
		m, err := manifest.Parse(content, contentType)
		if err != nil {
			if len(err.Error()) > 4096 || !utf8.ValidString(err.Error()) {
				t.Errorf("the error is not a short sentence: %q", err)
			}
			return
		}
		wantOneReading(t, content)

		var d map[string]any
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.UseNumber()
		if err := decoder.Decode(&d); err != nil {
			t.Fatal(err)
		}
		blobs, manifests := []ref.Digest{}, []ref.Digest{}
		switch m.MediaType {
		case manifest.OCIManifest, manifest.DockerManifest:
			digestsOf(t, append([]any{d["config"]}, list(d["layers"])...)...)
			here, elsewhere := []any{d["config"]}, []manifest.ForeignLayer{}
			for i, layer := range list(d["layers"]) {
				layer := layer.(map[string]any)
				mediaType := layer["mediaType"].(string)
				if len(list(layer["urls"])) == 0 && !slices.Contains(foreignTypes, mediaType) {
					here = append(here, layer)
					continue
				}
				elsewhere = append(elsewhere, manifest.ForeignLayer{Index: i, Digest: ref.Digest(layer["digest"].(string)), MediaType: mediaType})
			}
			blobs = digestsOf(t, here...)
			if diff := cmp.Diff(elsewhere, m.Foreign, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the content has other foreign layers (-content +read):\n%s", diff)
			}
		case manifest.OCIIndex, manifest.DockerList:
			manifests = digestsOf(t, list(d["manifests"])...)
		default:
			t.Errorf("accepted with the media type %q", m.MediaType)
		}
		if diff := cmp.Diff(append(blobs, manifests...), append(append([]ref.Digest{}, m.Blobs...), m.Manifests...)); diff != "" {
			t.Errorf("the content has other digests (-content +read):\n%s", diff)
		}
		subject := ""
		if d["subject"] != nil {
			subject = string(digestsOf(t, d["subject"])[0])
		}
		if subject != string(m.Subject) || len(m.Annotations) > 0 && len(m.Annotations) != len(d["annotations"].(map[string]any)) {
			t.Errorf("read as %+v", m)
		}
		if said, _ := d["mediaType"].(string); said != "" && said != m.MediaType || d["schemaVersion"] != json.Number("2") || len(m.ArtifactType) > 255 {
			t.Errorf("read as %+v", m)
		}
		if again, err := manifest.Parse(content, m.MediaType); err != nil || cmp.Diff(m, again) != "" {
			t.Errorf("read again it is %+v, %v", again, err)
		}
	})
}
