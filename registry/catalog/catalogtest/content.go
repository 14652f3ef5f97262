// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	app   ref.Name = "octocat/octo-app/app"
	tool  ref.Name = "octocat/octo-app/tool"
	other ref.Name = "octocat/other/app"
)

func testBlobs(t *testing.T, open Open) {
	t.Run("are found in the names that link them alone", func(t *testing.T) {
		f := newFixture(t, open)
		small, large := inline("small"), object("large", "key-1")
		f.putBlob(app, small)
		f.putBlob(app, large)
		f.wantBlob(app, small)
		f.wantBlob(app, large)
		f.noBlob(tool, small.Digest)
		f.noBlob(app, digestOf("never pushed"))
	})
	t.Run("may be empty", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, inline(""))
		f.wantBlob(app, inline(""))
	})
	t.Run("may have a long digest", func(t *testing.T) {
		f := newFixture(t, open)
		b := catalog.Blob{Digest: ref.SHA512.FromBytes([]byte("x")), Size: 1, Content: []byte("x")}
		f.putBlob(app, b)
		f.wantBlob(app, b)
	})
	t.Run("that are pushed again keep their bytes", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, object("large", "key-1"))
		discard, err := f.PutBlob(t.Context(), tool, object("large", "key-2"))
		f.must(err)
		if discard != "key-2" {
			t.Fatalf("object %q is to be discarded, want key-2", discard)
		}
		f.wantBlob(app, object("large", "key-1"))
		f.wantBlob(tool, object("large", "key-1"))
		f.wantUnreferenced([]string{"key-1", "key-2", "key-3"}, "key-3")
		f.wantDeletions()
		f.clock.Advance(catalog.DiscardDelay)
		f.wantDeletions("key-2")
	})
	t.Run("whose object is lost get one that was pushed again", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, object("large", "key-1"))
		f.must(f.Mount(t.Context(), tool, digestOf("large"), app))
		for _, name := range []ref.Name{app, tool} {
			f.wantBlob(name, object("large", "key-1"))
		}
		_, err := f.PutBlob(t.Context(), app, object("large", "key-2"))
		f.must(err)
		f.wantReplaced(true, "large", "key-1", "key-2")
		for _, name := range []ref.Name{app, tool} {
			f.wantBlob(name, object("large", "key-2"))
		}
		f.clock.Advance(delay)
		// Neither is forgotten, and what is in use is not deleted.
		f.wantDeletions("key-1")

		// Another who pushed it at the same time comes too late.
		_, err = f.PutBlob(t.Context(), tool, object("large", "key-3"))
		f.must(err)
		f.wantReplaced(false, "large", "key-1", "key-3")
		f.wantReplaced(false, "unheard of", "key-1", "key-3")
		f.wantBlob(tool, object("large", "key-2"))
		f.clock.Advance(catalog.DiscardDelay)
		f.wantDeletions("key-1", "key-3")
	})
	t.Run("do not get an object that may be deleted already", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, object("large", "key-1"))
		_, err := f.PutBlob(t.Context(), app, object("large", "key-2"))
		f.must(err)
		f.clock.Advance(catalog.DiscardDelay)
		_, err = f.ReplaceObject(t.Context(), digestOf("large"), "key-1", "key-2")
		f.wantError(err, catalog.ErrUploadUnknown)
		f.wantBlob(app, object("large", "key-1"))
		f.wantDeletions("key-2")
	})
	t.Run("are mounted from a name that links them", func(t *testing.T) {
		f := newFixture(t, open)
		b := object("large", "key-1")
		f.putBlob(app, b)
		f.wantError(f.Mount(t.Context(), other, b.Digest, tool), catalog.ErrBlobUnknown)
		f.wantError(f.Mount(t.Context(), other, digestOf("none"), app), catalog.ErrBlobUnknown)
		f.noBlob(other, b.Digest)
		f.must(f.Mount(t.Context(), other, b.Digest, app))
		f.must(f.Mount(t.Context(), other, b.Digest, app))
		f.wantBlob(other, b)
	})
	t.Run("list who links them, at most as many as asked", func(t *testing.T) {
		f := newFixture(t, open)
		b := inline("small")
		f.putBlob(app, b)
		f.must(f.Mount(t.Context(), tool, b.Digest, app))
		f.must(f.Mount(t.Context(), other, b.Digest, app))
		names, err := f.Links(t.Context(), b.Digest, 10)
		f.must(err)
		slices.Sort(names)
		f.same(names, []ref.Name{app, tool, other})
		for limit := range 3 {
			names, err = f.Links(t.Context(), b.Digest, limit)
			f.must(err)
			if len(names) != limit {
				t.Fatalf("%d names with limit %d", len(names), limit)
			}
		}
		names, err = f.Links(t.Context(), digestOf("none"), 10)
		f.must(err)
		f.same(names, []ref.Name(nil))
	})
	t.Run("are deleted unless a manifest of the name uses them", func(t *testing.T) {
		f := newFixture(t, open)
		b := inline("small")
		f.putBlob(app, b)
		f.must(f.Mount(t.Context(), tool, b.Digest, app))
		m := image("image", b.Digest)
		f.putManifest(app, m)
		f.wantError(f.DeleteBlob(t.Context(), app, b.Digest), catalog.ErrBlobInUse)
		f.wantBlob(app, b)
		f.wantBlob(tool, b)
		f.must(f.DeleteBlob(t.Context(), tool, b.Digest))
		f.noBlob(tool, b.Digest)
		f.wantError(f.DeleteBlob(t.Context(), tool, b.Digest), catalog.ErrBlobUnknown)
		f.must(f.DeleteManifest(t.Context(), app, m.Digest))
		f.must(f.DeleteBlob(t.Context(), app, b.Digest))
		f.noBlob(app, b.Digest)
		// Its bytes are still known: another push links them again.
		f.putBlob(app, b)
		f.wantBlob(app, b)
	})
	t.Run("are not touched by a request that has ended", func(t *testing.T) {
		f := newFixture(t, open)
		_, err := f.PutBlob(canceled(), app, inline("small"))
		f.wantError(err, context.Canceled)
		f.noBlob(app, inline("small").Digest)
	})
}

func testUploads(t *testing.T, open Open) {
	start := func(f *fixture, id string, p catalog.Progress) catalog.Upload {
		f.t.Helper()
		u := catalog.Upload{ID: id, Name: app, Actor: "monalisa", StartedAt: f.clock.Now(), Progress: p}
		f.must(f.StartUpload(f.t.Context(), u))
		return u
	}
	begun := catalog.Progress{Algorithm: ref.SHA256, Hash: []byte("midstate 0")}
	moved := catalog.Progress{Offset: 9, Algorithm: ref.SHA256, Hash: []byte("midstate 9"), Key: "key-1", State: []byte("part 1")}

	t.Run("are found by id, name and actor together", func(t *testing.T) {
		f := newFixture(t, open)
		want := start(f, "u1", begun)
		got, err := f.Upload(t.Context(), "u1", app, "monalisa")
		f.must(err)
		f.same(got, want)
		for _, wrong := range []struct {
			id    string
			name  ref.Name
			actor string
		}{{"u2", app, "monalisa"}, {"u1", tool, "monalisa"}, {"u1", app, "hubot"}} {
			_, err = f.Upload(t.Context(), wrong.id, wrong.name, wrong.actor)
			f.wantError(err, catalog.ErrUploadUnknown)
		}
	})
	t.Run("of one id exist once", func(t *testing.T) {
		f := newFixture(t, open)
		start(f, "u1", begun)
		if err := f.StartUpload(t.Context(), catalog.Upload{ID: "u1", Name: tool}); err == nil {
			t.Fatal("a second upload of the same id was started")
		}
		_, err := f.Upload(t.Context(), "u1", app, "monalisa")
		f.must(err)
	})
	t.Run("move on from where they are", func(t *testing.T) {
		f := newFixture(t, open)
		u := start(f, "u1", begun)
		small := catalog.Progress{Offset: 3, Algorithm: ref.SHA256, Hash: []byte("midstate 3"), Inline: []byte("abc")}
		f.must(f.SaveUpload(t.Context(), "u1", begun, small))
		f.must(f.SaveUpload(t.Context(), "u1", small, moved))
		u.Progress = moved
		got, err := f.Upload(t.Context(), "u1", app, "monalisa")
		f.must(err)
		f.same(got, u)
		f.wantError(f.SaveUpload(t.Context(), "u1", small, moved), catalog.ErrUploadConflict)
		elsewhere := moved
		elsewhere.Key = "key-2"
		f.wantError(f.SaveUpload(t.Context(), "u1", elsewhere, moved), catalog.ErrUploadConflict)
		f.wantError(f.SaveUpload(t.Context(), "u2", moved, moved), catalog.ErrUploadUnknown)
	})
	t.Run("end as a blob", func(t *testing.T) {
		f := newFixture(t, open)
		start(f, "u1", moved)
		b := object("nine byte", "key-1")
		_, err := f.FinishUpload(t.Context(), "u1", begun, b)
		f.wantError(err, catalog.ErrUploadConflict)
		f.noBlob(app, b.Digest)
		discard, err := f.FinishUpload(t.Context(), "u1", moved, b)
		f.must(err)
		if discard != "" {
			t.Fatalf("object %q is to be discarded", discard)
		}
		f.wantBlob(app, b)
		_, err = f.Upload(t.Context(), "u1", app, "monalisa")
		f.wantError(err, catalog.ErrUploadUnknown)
		_, err = f.FinishUpload(t.Context(), "u1", moved, b)
		f.wantError(err, catalog.ErrUploadUnknown)
	})
	t.Run("of stored content discard their bytes", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(tool, object("nine byte", "key-0"))
		start(f, "u1", moved)
		discard, err := f.FinishUpload(t.Context(), "u1", moved, object("nine byte", "key-1"))
		f.must(err)
		if discard != "key-1" {
			t.Fatalf("object %q is to be discarded, want key-1", discard)
		}
		f.wantBlob(app, object("nine byte", "key-0"))
		// A crash before it is deleted does not leak the object.
		f.clock.Advance(catalog.DiscardDelay)
		f.wantDeletions("key-1")
	})
	t.Run("whose bytes end elsewhere have their object deleted", func(t *testing.T) {
		f := newFixture(t, open)
		start(f, "u1", moved)
		_, err := f.FinishUpload(t.Context(), "u1", moved, object("nine byte", "key-2"))
		f.must(err)
		f.wantBlob(app, object("nine byte", "key-2"))
		f.wantDeletions("key-1")
	})
	t.Run("are canceled by their actor", func(t *testing.T) {
		f := newFixture(t, open)
		start(f, "u1", moved)
		for _, wrong := range []struct {
			name  ref.Name
			actor string
		}{{tool, "monalisa"}, {app, "hubot"}} {
			_, err := f.CancelUpload(t.Context(), "u1", wrong.name, wrong.actor)
			f.wantError(err, catalog.ErrUploadUnknown)
		}
		discard, err := f.CancelUpload(t.Context(), "u1", app, "monalisa")
		f.must(err)
		if discard != "key-1" {
			t.Fatalf("object %q is to be discarded, want key-1", discard)
		}
		f.wantDeletions("key-1")
		_, err = f.CancelUpload(t.Context(), "u1", app, "monalisa")
		f.wantError(err, catalog.ErrUploadUnknown)
	})
	t.Run("expire by when they began", func(t *testing.T) {
		f := newFixture(t, open)
		for i := range 3 {
			start(f, fmt.Sprint("old", i), catalog.Progress{Key: fmt.Sprint("key-", i)})
		}
		f.clock.Advance(time.Minute)
		limit := f.clock.Now()
		start(f, "young", catalog.Progress{Key: "key-9"})
		for _, want := range []int{2, 1, 0} {
			n, err := f.DropExpiredUploads(t.Context(), limit, 2)
			f.must(err)
			if n != want {
				t.Fatalf("%d uploads expired, want %d", n, want)
			}
		}
		_, err := f.Upload(t.Context(), "old0", app, "monalisa")
		f.wantError(err, catalog.ErrUploadUnknown)
		_, err = f.Upload(t.Context(), "young", app, "monalisa")
		f.must(err)
		f.wantDeletions("key-0", "key-1", "key-2")
		f.wantUnreferenced([]string{"key-0", "key-9", "key-10"}, "key-10")
	})
	t.Run("make no name known", func(t *testing.T) {
		f := newFixture(t, open)
		start(f, "u1", begun)
		_, err := f.Tags(t.Context(), app, "", 10)
		f.wantError(err, catalog.ErrNameUnknown)
	})
}

func testManifests(t *testing.T, open Open) {
	t.Run("are kept whole", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, inline("config"))
		f.putBlob(app, inline("layer"))
		m := image("image", digestOf("config"), digestOf("layer"), digestOf("layer"))
		m.ArtifactType = "application/vnd.example"
		m.Annotations = map[string]string{"a": "1", "ü\"": "\\ \x00"}
		m.Subject = digestOf("subject that need not exist")
		f.putManifest(app, m, "1.0", "latest")
		f.wantManifest(app, m)
		f.noManifest(tool, m.Digest)
		for _, tag := range []ref.Tag{"1.0", "latest"} {
			got, err := f.ResolveTag(t.Context(), app, tag)
			f.must(err)
			f.same(got, descriptorOf(m))
		}
		f.noTag(app, "2.0")
		f.noTag(tool, "1.0")
	})
	t.Run("need what they refer to in their own name", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(app, inline("config"))
		f.putBlob(tool, inline("layer"))
		m := image("image", digestOf("config"), digestOf("layer"), digestOf("gone"), digestOf("layer"))
		m.Manifests = []ref.Digest{digestOf("child")}
		err := f.PutManifest(t.Context(), app, m, []ref.Tag{"1.0"})
		var missing *catalog.MissingError
		if !errors.As(err, &missing) {
			t.Fatalf("error is %v, want a MissingError", err)
		}
		f.same(*missing, catalog.MissingError{
			Blobs:     []ref.Digest{digestOf("layer"), digestOf("gone")},
			Manifests: []ref.Digest{digestOf("child")},
		})
		f.noManifest(app, m.Digest)
		f.noTag(app, "1.0")
	})
	t.Run("that fail leave no name behind", func(t *testing.T) {
		f := newFixture(t, open)
		if err := f.PutManifest(t.Context(), app, image("image", digestOf("gone")), nil); err == nil {
			t.Fatal("a manifest without its blob was stored")
		}
		_, err := f.Tags(t.Context(), app, "", 10)
		f.wantError(err, catalog.ErrNameUnknown)
	})
	t.Run("that are pushed again only move tags", func(t *testing.T) {
		f := newFixture(t, open)
		one, two := index("one"), index("two")
		f.putManifest(app, one, "latest")
		f.putManifest(app, two, "latest")
		f.wantTag(app, "latest", two.Digest)
		f.wantManifest(app, one)
		one.MediaType = "application/vnd.docker.distribution.manifest.list.v2+json"
		f.putManifest(app, one, "latest")
		f.wantTag(app, "latest", one.Digest)
		f.wantManifest(app, one)
		f.wantManifest(app, two)
	})
	t.Run("are deleted with their tags", func(t *testing.T) {
		f := newFixture(t, open)
		one, two := index("one"), index("two")
		f.putManifest(app, one, "1", "latest")
		f.putManifest(app, two, "2")
		f.putManifest(tool, one, "1")
		f.must(f.DeleteManifest(t.Context(), app, one.Digest))
		f.noManifest(app, one.Digest)
		f.noTag(app, "1")
		f.noTag(app, "latest")
		f.wantTag(app, "2", two.Digest)
		f.wantTag(tool, "1", one.Digest)
		f.wantError(f.DeleteManifest(t.Context(), app, one.Digest), catalog.ErrManifestUnknown)
		f.wantError(f.DeleteManifest(t.Context(), other, two.Digest), catalog.ErrManifestUnknown)
	})
	t.Run("stay while an index lists them", func(t *testing.T) {
		f := newFixture(t, open)
		child := image("child")
		parent := index("parent", child.Digest, child.Digest)
		f.putManifest(app, child)
		f.putManifest(app, parent)
		f.wantManifest(app, parent)
		f.wantError(f.DeleteManifest(t.Context(), app, child.Digest), catalog.ErrManifestInUse)
		f.must(f.DeleteManifest(t.Context(), app, parent.Digest))
		f.must(f.DeleteManifest(t.Context(), app, child.Digest))
	})
	t.Run("outlive their tags", func(t *testing.T) {
		f := newFixture(t, open)
		m := index("one")
		f.putManifest(app, m, "1", "2")
		f.wantTag(app, "1", m.Digest)
		f.must(f.DeleteTag(t.Context(), app, "1"))
		f.noTag(app, "1")
		f.wantTag(app, "2", m.Digest)
		f.must(f.DeleteTag(t.Context(), app, "2"))
		f.wantManifest(app, m)
		f.wantError(f.DeleteTag(t.Context(), app, "2"), catalog.ErrManifestUnknown)
		f.wantError(f.DeleteTag(t.Context(), other, "2"), catalog.ErrManifestUnknown)
	})
	t.Run("may be as large as the registry allows", func(t *testing.T) {
		f := newFixture(t, open)
		m := index(strings.Repeat("0123456789abcdef", 4<<20/16))
		f.putManifest(app, m, "large")
		got, err := f.Manifest(t.Context(), app, m.Digest)
		f.must(err)
		if !bytes.Equal(got.Content, m.Content) {
			t.Fatalf("%d bytes came back as %d others", len(m.Content), len(got.Content))
		}
	})
	t.Run("are not stored for a request that has ended", func(t *testing.T) {
		f := newFixture(t, open)
		f.wantError(f.PutManifest(canceled(), app, index("one"), nil), context.Canceled)
		f.noManifest(app, digestOf("one"))
	})
}

func descriptorOf(m catalog.Manifest) catalog.Descriptor {
	return catalog.Descriptor{
		Digest: m.Digest, MediaType: m.MediaType, Size: int64(len(m.Content)),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
}

func testListings(t *testing.T, open Open) {
	t.Run("page through tags in byte order", func(t *testing.T) {
		f := newFixture(t, open)
		tags := []ref.Tag{"b", "A", "a-1", "a", "_", "a.1", "10", "9", "B", "a_1"}
		f.putManifest(app, index("one"), tags...)
		f.putManifest(tool, index("one"), "zz")
		slices.Sort(tags)
		for limit := 1; limit <= len(tags)+1; limit++ {
			var got []ref.Tag
			last := ""
			for {
				page, err := f.Tags(t.Context(), app, last, limit)
				f.must(err)
				if len(page) > limit {
					t.Fatalf("%d tags with limit %d", len(page), limit)
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				last = string(page[len(page)-1])
			}
			f.same(got, tags)
		}
		page, err := f.Tags(t.Context(), app, "a+", 1)
		f.must(err)
		f.same(page, []ref.Tag{"a-1"})
		page, err = f.Tags(t.Context(), app, "", 0)
		f.must(err)
		f.same(page, []ref.Tag(nil))
	})
	t.Run("tell a name without tags from one without content", func(t *testing.T) {
		f := newFixture(t, open)
		_, err := f.Tags(t.Context(), app, "", 10)
		f.wantError(err, catalog.ErrNameUnknown)
		f.putBlob(app, inline("small"))
		tags, err := f.Tags(t.Context(), app, "", 10)
		f.must(err)
		f.same(tags, []ref.Tag(nil))
		f.putManifest(app, index("one"))
		f.must(f.DeleteBlob(t.Context(), app, digestOf("small")))
		tags, err = f.Tags(t.Context(), app, "", 10)
		f.must(err)
		f.same(tags, []ref.Tag(nil))
		f.must(f.DeleteManifest(t.Context(), app, digestOf("one")))
		_, err = f.Tags(t.Context(), app, "", 10)
		f.wantError(err, catalog.ErrNameUnknown)
	})
	t.Run("have the names that have a manifest", func(t *testing.T) {
		f := newFixture(t, open)
		f.putManifest(tool, index("one"), "1")
		f.putManifest(app, index("one"))
		f.putManifest(other, index("one"))
		f.putBlob("a/a/blob-only", inline("small"))
		names, err := f.Names(t.Context(), "", 2)
		f.must(err)
		f.same(names, []ref.Name{app, tool})
		names, err = f.Names(t.Context(), string(tool), 2)
		f.must(err)
		f.same(names, []ref.Name{other})
		names, err = f.Names(t.Context(), "", 0)
		f.must(err)
		f.same(names, []ref.Name(nil))
		f.putBlob(tool, inline("small"))
		f.must(f.DeleteManifest(t.Context(), tool, digestOf("one")))
		names, err = f.Names(t.Context(), "", 10)
		f.must(err)
		f.same(names, []ref.Name{app, other})
		f.putManifest(tool, index("one"))
		names, err = f.Names(t.Context(), "", 10)
		f.must(err)
		f.same(names, []ref.Name{app, tool, other})
	})
}

func testReferrers(t *testing.T, open Open) {
	f := newFixture(t, open)
	subject := index("subject")
	var all, signatures []catalog.Descriptor
	for i := range 6 {
		m := image(fmt.Sprint("referrer ", i))
		m.Subject = subject.Digest
		m.ArtifactType = "application/vnd.sbom"
		if i%2 == 0 {
			m.ArtifactType = "application/vnd.signature"
			m.Annotations = map[string]string{"i": fmt.Sprint(i)}
			signatures = append(signatures, descriptorOf(m))
		}
		all = append(all, descriptorOf(m))
		f.putManifest(app, m)
	}
	f.putManifest(app, index("bystander"))
	byDigest := func(a, b catalog.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) }
	slices.SortFunc(all, byDigest)
	slices.SortFunc(signatures, byDigest)

	list := func(name ref.Name, of ref.Digest, artifactType string, last ref.Digest, limit int) []catalog.Descriptor {
		t.Helper()
		got, err := f.Referrers(t.Context(), name, of, artifactType, last, limit)
		f.must(err)
		return got
	}
	// The subject was never pushed.
	f.same(list(app, subject.Digest, "", "", 100), all)
	f.same(list(app, subject.Digest, "", "", 2), all[:2])
	f.same(list(app, subject.Digest, "", all[1].Digest, 100), all[2:])
	f.same(list(app, subject.Digest, "application/vnd.signature", "", 100), signatures)
	f.same(list(app, subject.Digest, "application/vnd.signature", signatures[0].Digest, 1), signatures[1:2])
	f.same(list(app, subject.Digest, "application/vnd.none", "", 100), []catalog.Descriptor(nil))
	f.same(list(tool, subject.Digest, "", "", 100), []catalog.Descriptor(nil))
	f.same(list(app, "", "", "", 100), []catalog.Descriptor(nil))
	// Nor does it matter when it comes and goes.
	f.putManifest(app, subject)
	f.must(f.DeleteManifest(t.Context(), app, subject.Digest))
	f.same(list(app, subject.Digest, "", "", 100), all)
	f.must(f.DeleteManifest(t.Context(), app, all[0].Digest))
	f.same(list(app, subject.Digest, "", "", 100), all[1:])
}

func testLargeReferrers(t *testing.T, open Open) {
	f := newFixture(t, open)
	subject := index("subject")
	for i := range 5 {
		m := image(fmt.Sprint("referrer ", i))
		m.Subject = subject.Digest
		m.Annotations = map[string]string{"x": strings.Repeat("x", catalog.ReferrersSize*2/3)}
		f.putManifest(app, m)
	}
	last := ref.Digest("")
	for page, want := range []int{2, 2, 1, 0} {
		got, err := f.Referrers(t.Context(), app, subject.Digest, "", last, 100)
		f.must(err)
		if len(got) != want {
			t.Fatalf("page %d has %d entries, want %d", page, len(got), want)
		}
		if want > 0 {
			last = got[want-1].Digest
		}
	}
}
