// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// TestStatementsUseIndexes runs every operation once and asks the database how
// it runs the statements: none may walk a whole table or sort a result.
func TestStatementsUseIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid-1", CacheSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	runEverything(t, s)
	connections := []*conn{fileOf(s).writer}
	for range cap(fileOf(s).readers) {
		reader := <-fileOf(s).readers
		connections = append(connections, reader)
		defer func() { fileOf(s).readers <- reader }()
	}
	statements := map[string]bool{}
	for _, c := range connections {
		for query := range c.statements {
			statements[query] = true
		}
	}
	if len(statements) < 50 {
		t.Fatalf("only %d statements were seen", len(statements))
	}
	for _, query := range slices.Sorted(maps.Keys(statements)) {
		// One row each, by definition.
		if strings.Contains(query, "FROM meta") || strings.HasPrefix(query, "UPDATE meta") || strings.HasPrefix(query, "PRAGMA") {
			continue
		}
		explain, err := fileOf(s).writer.prepare("EXPLAIN QUERY PLAN " + query)
		if err != nil {
			t.Fatal(err)
		}
		arguments := make([]any, strings.Count(query, "?"))
		err = fileOf(s).writer.run(explain, func(r row) error {
			detail := r.text(3)
			if strings.HasPrefix(detail, "SCAN") && detail != "SCAN CONSTANT ROW" || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s\nis run with: %s", query, detail)
			}
			return nil
		}, arguments)
		if err != nil {
			t.Fatal(err)
		}
		if err := explain.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func runEverything(t *testing.T, s *Store) {
	t.Helper()
	const name, second ref.Name = "octocat/octo-app/app", "octocat/octo-app/tool"
	ctx := t.Context()
	digest := func(content string) ref.Digest { return ref.SHA256.FromBytes([]byte(content)) }
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	upload := func(id string) {
		t.Helper()
		must(s.StartUpload(ctx, catalog.Upload{ID: id, Name: name, StartedAt: time.Unix(0, 0), Progress: catalog.Progress{Key: id}}))
	}
	for _, content := range []string{"one", "two", "two"} {
		_, err := s.PutBlob(ctx, name, catalog.Blob{Digest: digest(content), Size: 3, Key: content})
		must(err)
	}
	must(s.Mount(ctx, second, digest("one"), name), s.DeleteBlob(ctx, second, digest("one")))
	_, err := s.Blob(ctx, name, digest("one"))
	must(err)
	_, err = s.Links(ctx, digest("one"), 1)
	must(err)
	image := catalog.Manifest{Digest: digest("image"), Content: []byte("image"), Blobs: []ref.Digest{digest("one")}, Subject: digest("x")}
	index := catalog.Manifest{Digest: digest("index"), Content: []byte("index"), Manifests: []ref.Digest{digest("image")}}
	must(s.PutManifest(ctx, name, image, []ref.Tag{"1"}), s.PutManifest(ctx, name, index, []ref.Tag{"2"}))
	index.MediaType = "other"
	must(s.PutManifest(ctx, name, index, nil))
	sparse := catalog.Manifest{Digest: digest("sparse"), Content: []byte("sparse"), Blobs: []ref.Digest{digest("later")}}
	sparse.Optional = sparse.Blobs
	sparseIndex := catalog.Manifest{Digest: digest("sparse index"), Content: []byte("sparse index"), Manifests: []ref.Digest{sparse.Digest}}
	sparseIndex.Optional = sparseIndex.Manifests
	must(s.PutManifest(ctx, name, sparseIndex, nil), s.PutManifest(ctx, name, sparse, nil))
	_, err = s.PutBlob(ctx, name, catalog.Blob{Digest: digest("later"), Size: 5, Key: "later"})
	must(err, s.DeleteManifest(ctx, name, sparseIndex.Digest), s.DeleteManifest(ctx, name, sparse.Digest))
	_, err = s.ResolveTag(ctx, name, "1")
	must(err)
	_, err = s.Manifest(ctx, name, digest("image"))
	must(err)
	_, err = s.Tags(ctx, name, "", 10)
	must(err)
	_, err = s.Names(ctx, "", 10)
	must(err)
	for _, artifactType := range []string{"", "type"} {
		_, err = s.Referrers(ctx, name, digest("x"), artifactType, "", 10)
		must(err)
	}
	must(s.DeleteTag(ctx, name, "2"), s.DeleteManifest(ctx, name, digest("index")), s.DeleteManifest(ctx, name, digest("image")))
	for _, id := range []string{"u1", "u2", "u3"} {
		upload(id)
	}
	_, err = s.Upload(ctx, "u1", name, "")
	must(err)
	from := catalog.Progress{Key: "u1"}
	must(s.SaveUpload(ctx, "u1", from, from))
	if err := s.SaveUpload(ctx, "u9", from, from); err == nil {
		t.Fatal("an unknown upload was saved")
	}
	_, err = s.FinishUpload(ctx, "u1", from, catalog.Blob{Digest: digest("u1"), Key: "u1"})
	must(err)
	_, err = s.CancelUpload(ctx, "u2", name, "")
	must(err)
	_, err = s.DropExpiredUploads(ctx, time.Unix(1, 0), 10)
	must(err)
	_, err = s.Review(ctx, 10)
	must(err)
	must(s.AbandonObject(ctx, "u1"), s.AbandonObject(ctx, "u9"))
	due, err := s.DueDeletions(ctx, 10)
	must(err, s.DeletionsDone(ctx, due))
	_, err = s.Unreferenced(ctx, []string{"u1"})
	must(err)
	upload("u4")
	_, err = s.PutBlob(ctx, name, catalog.Blob{Digest: digest("one"), Size: 3, Key: "again"})
	must(err, s.Purge(ctx, "id", name.Repository()), s.Swept(ctx, 0))
	_, err = s.Purged(ctx, []string{"id"})
	must(err)
	_, err = s.UncleanEpochs(ctx)
	must(err)
}
