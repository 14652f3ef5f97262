// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	cachedName1 ref.Name = "octocat/octo-app/app"
	cachedName2 ref.Name = "octocat/octo-app/tool"
)

// fill keeps tags, a manifest, a blob and a page of tags of a name, as reads would that began
// now.
func fill(c *cache, name ref.Name) {
	_, _, generation := c.tag(name, "1")
	c.keepTag(generation, name, "1", catalog.Descriptor{Annotations: map[string]string{"a": "b"}})
	c.keepTag(generation, name, "2", catalog.Descriptor{})
	c.keepManifest(generation, name, catalog.Manifest{Digest: "m", Content: make([]byte, 1000)})
	c.keepBlob(generation, name, cachedBlob{Blob: catalog.Blob{Digest: "b"}})
	c.keepPage(generation, name, pageOfTags{"", 2}, []ref.Tag{"1", "2"})
}

// kept says which of these are kept, a letter each.
func kept(c *cache, name ref.Name) string {
	found := ""
	if _, ok, _ := c.tag(name, "1"); ok {
		found += "1"
	}
	if _, ok, _ := c.tag(name, "2"); ok {
		found += "2"
	}
	if _, ok, _ := c.manifest(name, "m"); ok {
		found += "m"
	}
	if _, ok, _ := c.blob(name, "b"); ok {
		found += "b"
	}
	if _, ok, _ := c.page(name, pageOfTags{"", 2}); ok {
		found += "p"
	}
	return found
}

func TestCacheForgetsWhatChanges(t *testing.T) {
	for _, test := range []struct {
		name  string
		notes func(changes)
		want1 string
	}{
		{"nothing", func(changes) {}, "12mbp"},
		{"a tag", func(c changes) { c.tag(cachedName1, "1") }, "2mb"},
		{"a tag that was not there", func(c changes) { c.tag(cachedName1, "3") }, "12mb"},
		{"tags", func(c changes) { c.tag(cachedName1, "1"); c.tag(cachedName1, "2") }, "mb"},
		{"a name", func(c changes) { c.name(cachedName1) }, ""},
		{"a tag, then the name", func(c changes) { c.tag(cachedName1, "1"); c.name(cachedName1) }, ""},
		{"a name, then a tag", func(c changes) { c.name(cachedName1); c.tag(cachedName1, "1") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCache(1 << 20)
			fill(c, cachedName1)
			fill(c, cachedName2)
			changed := changes{}
			test.notes(changed)
			c.begin(changed)
			if got := kept(c, cachedName1); got != test.want1 {
				t.Errorf("kept is %q, want %q", got, test.want1)
			}
			c.end(changed)
			if got := kept(c, cachedName2); got != "12mbp" {
				t.Errorf("kept of another name is %q, want everything", got)
			}
		})
	}
}

func TestCacheKeepsNothingThatWasReadBeforeACommit(t *testing.T) {
	c := newCache(1 << 20)
	changed := changes{}
	changed.tag(cachedName1, "1")
	_, _, before := c.tag(cachedName1, "1")
	c.begin(changed)
	_, _, during := c.tag(cachedName1, "1")
	for _, generation := range []uint64{before, during} {
		c.keepTag(generation, cachedName1, "1", catalog.Descriptor{})
	}
	c.keepTag(during, cachedName2, "1", catalog.Descriptor{})
	c.end(changed)
	for _, generation := range []uint64{before, during} {
		c.keepTag(generation, cachedName1, "1", catalog.Descriptor{})
	}
	if kept(c, cachedName1) != "" || kept(c, cachedName2) != "1" {
		t.Fatalf("kept is %q and of another name %q, want that alone", kept(c, cachedName1), kept(c, cachedName2))
	}
	fill(c, cachedName1)
	if got := kept(c, cachedName1); got != "12mbp" {
		t.Fatalf("kept of what was read after the commit is %q, want everything", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	const limit = 1 << 20
	c := newCache(limit)
	count := func() (size int) {
		for name, n := range c.names {
			size += entryOverhead + len(name) + (len(n.tags)+len(n.blobs))*(entryOverhead+1) + len(n.pages)*(entryOverhead+17) + len(n.manifests)*(entryOverhead+10000)
		}
		return size
	}
	for i := range 2000 {
		name := ref.Name(fmt.Sprintf("octocat/octo-app/app%d", i%50))
		digest := ref.Digest(fmt.Sprint(i))
		c.keepManifest(c.generation, name, catalog.Manifest{Digest: digest, Content: make([]byte, 10000)})
		c.keepManifest(c.generation, name, catalog.Manifest{Digest: digest, Content: make([]byte, 10000)})
		c.keepTag(c.generation, name, "1", catalog.Descriptor{})
		c.keepPage(c.generation, name, pageOfTags{"", i % 100}, []ref.Tag{"1"})
		if n := c.names[name]; n != nil && len(n.pages) > maxPages {
			t.Fatalf("%d pages of one name are kept", len(n.pages))
		}
		if c.size > limit || c.size != count() {
			t.Fatalf("size is %d, counted %d, limit %d", c.size, count(), limit)
		}
	}
	if c.size < limit/2 {
		t.Fatalf("size is %d: the room is not used", c.size)
	}
	for name := range c.names {
		changed := changes{}
		changed.tag(name, "1")
		changed.tag(name, "1")
		c.begin(changed)
		c.end(changed)
		if c.size != count() {
			t.Fatalf("size is %d after a change, counted %d", c.size, count())
		}
	}
	c.keepManifest(c.generation, cachedName1, catalog.Manifest{Digest: "m", Content: make([]byte, limit/4)})
	if kept(c, cachedName1) != "" {
		t.Fatal("one manifest took a quarter of the room")
	}
}

// A manifest that uses a blob ends the review of its link; should a review be
// due even so, the link stays.
func TestReviewNeverRemovesALinkThatIsUsed(t *testing.T) {
	s, err := Open(t.Context(), Options{
		Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid-1", GracePeriod: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	digest := ref.SHA256.FromBytes([]byte("x"))
	if _, err := s.PutBlob(t.Context(), cachedName1, catalog.Blob{Digest: digest, Size: 1, Content: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	m := catalog.Manifest{Digest: digest, Content: []byte("x"), Blobs: []ref.Digest{digest}}
	if err := s.PutManifest(t.Context(), cachedName1, m, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), true, func(t tx) error {
		_, err := t.exec("UPDATE links SET review_due = 1")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := s.Review(t.Context(), 10); err != nil || n != want {
			t.Fatalf("%d entries were reviewed (%v), want %d", n, err, want)
		}
	}
	if _, err := s.Blob(t.Context(), cachedName1, digest); err != nil {
		t.Fatal(err)
	}
}
