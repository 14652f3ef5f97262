// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"errors"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// testSparse is about manifests of which parts may be missing.
func testSparse(t *testing.T, open Open) {
	large := object("large", "key-1")
	sparse := func(m catalog.Manifest) catalog.Manifest {
		m.Optional = append(append(m.Optional, m.Blobs...), m.Manifests...)
		return m
	}
	missing := func(f *fixture, err error, want catalog.MissingError) {
		f.t.Helper()
		var got *catalog.MissingError
		if !errors.As(err, &got) {
			f.t.Fatalf("error is %v, want a MissingError", err)
		}
		f.same(*got, want)
	}

	t.Run("are stored without what is optional", func(t *testing.T) {
		f := newFixture(t, open)
		m := image("image", large.Digest)
		f.putManifest(app, sparse(m), "1")
		f.wantManifest(app, m)
		f.wantTag(app, "1", m.Digest)
		f.noBlob(app, large.Digest)
		parent := index("index", m.Digest, digestOf("arm64"))
		f.putManifest(app, sparse(parent))
		f.wantManifest(app, parent)
		f.noManifest(app, digestOf("arm64"))
	})
	t.Run("lack nothing else", func(t *testing.T) {
		f := newFixture(t, open)
		m := image("image", digestOf("config"), digestOf("layer"), digestOf("foreign"))
		m.Optional = []ref.Digest{digestOf("foreign")}
		missing(f, f.PutManifest(t.Context(), app, m, nil), catalog.MissingError{Blobs: []ref.Digest{digestOf("config"), digestOf("layer")}})
		f.noManifest(app, m.Digest)
		f.putBlob(app, inline("config"))
		f.putBlob(app, inline("layer"))
		f.putManifest(app, m)
	})
	t.Run("do not take a blob from another name", func(t *testing.T) {
		f := newFixture(t, open)
		f.putBlob(tool, large)
		f.putManifest(app, sparse(image("image", large.Digest)))
		f.noBlob(app, large.Digest)
	})
	t.Run("keep a blob that comes later", func(t *testing.T) {
		for way, bring := range map[string]func(*fixture){
			"pushed": func(f *fixture) { f.putBlob(app, large) },
			"mounted": func(f *fixture) {
				f.putBlob(tool, large)
				f.must(f.Mount(f.t.Context(), app, large.Digest, tool))
			},
			"uploaded": func(f *fixture) {
				p := catalog.Progress{Offset: large.Size, Algorithm: ref.SHA256, Key: large.Key}
				f.must(f.StartUpload(f.t.Context(), catalog.Upload{ID: "u1", Name: app, StartedAt: f.clock.Now(), Progress: p}))
				_, err := f.FinishUpload(f.t.Context(), "u1", p, large)
				f.must(err)
			},
		} {
			t.Run(way, func(t *testing.T) {
				f := newFixture(t, open)
				one, two := image("one", large.Digest), image("two", large.Digest)
				f.putManifest(app, sparse(one))
				f.putManifest(app, sparse(two))
				bring(f)
				f.wantError(f.DeleteBlob(t.Context(), app, large.Digest), catalog.ErrBlobInUse)
				f.clock.Advance(2 * grace)
				f.review()
				f.wantBlob(app, large)

				f.must(f.DeleteManifest(t.Context(), app, one.Digest))
				f.clock.Advance(2 * grace)
				f.review()
				f.wantBlob(app, large)

				f.must(f.DeleteManifest(t.Context(), app, two.Digest))
				f.clock.Advance(2 * grace)
				f.review()
				f.noBlob(app, large.Digest)
			})
		}
	})
	t.Run("do not keep a blob that comes after them", func(t *testing.T) {
		f := newFixture(t, open)
		m := image("image", large.Digest)
		f.putManifest(app, sparse(m))
		f.must(f.DeleteManifest(t.Context(), app, m.Digest))
		f.putBlob(app, large)
		f.clock.Advance(2 * grace)
		f.review()
		f.noBlob(app, large.Digest)
	})
	t.Run("keep a child that comes later", func(t *testing.T) {
		f := newFixture(t, open)
		child := image("child")
		parent := index("parent", child.Digest)
		f.putManifest(app, sparse(parent))
		f.putManifest(tool, child)
		f.putManifest(app, child)
		f.wantError(f.DeleteManifest(t.Context(), app, child.Digest), catalog.ErrManifestInUse)
		f.must(f.DeleteManifest(t.Context(), tool, child.Digest))
		f.must(f.DeleteManifest(t.Context(), app, parent.Digest))
		f.must(f.DeleteManifest(t.Context(), app, child.Digest))
	})
	t.Run("tell a blob from a child of the same digest", func(t *testing.T) {
		f := newFixture(t, open)
		child := image("child")
		parent := index("parent", child.Digest)
		f.putManifest(app, sparse(parent))
		f.putBlob(app, inline("child"))
		f.must(f.DeleteBlob(t.Context(), app, child.Digest))
		f.putManifest(app, child)
		f.wantError(f.DeleteManifest(t.Context(), app, child.Digest), catalog.ErrManifestInUse)
	})
	t.Run("are not complete for being there", func(t *testing.T) {
		f := newFixture(t, open)
		m := image("image", large.Digest)
		m.Manifests = []ref.Digest{digestOf("child")}
		f.putManifest(app, sparse(m), "1")
		missing(f, f.PutManifest(t.Context(), app, m, []ref.Tag{"2"}), catalog.MissingError{
			Blobs: []ref.Digest{large.Digest}, Manifests: []ref.Digest{digestOf("child")},
		})
		f.noTag(app, "2")
		f.putManifest(app, sparse(m), "2")
		f.putBlob(app, large)
		f.putManifest(app, image("child"))
		f.putManifest(app, m, "3")
		f.wantTag(app, "3", m.Digest)
	})
	t.Run("are purged like others", func(t *testing.T) {
		f := newFixture(t, open)
		f.putManifest(app, sparse(image("image", large.Digest)))
		f.must(f.Purge(t.Context(), "id", app.Repository()))
		f.noManifest(app, digestOf("image"))
		f.putBlob(app, large)
		f.must(f.DeleteBlob(t.Context(), app, large.Digest))
	})
}
