// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	purgedName = "octocat/purged/app"
	keptName   = "octocat/kept/app"
)

// onEach runs a test on a file and on a server.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	options := Options{InstanceUID: "uid-1", GracePeriod: time.Hour, DeleteDelay: time.Hour}
	run := func(t *testing.T) {
		s, err := Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, s)
	}
	options.Path = filepath.Join(t.TempDir(), "catalog.db")
	t.Run("in a file", run)
	options.Path, options.URL = "", postgrestest.Start(t).Schema()
	t.Run("on a server", run)
}

// fillName gives a name n manifests, each with a tag and a blob of its own, and an
// index that lists them all.
func fillName(t *testing.T, s *Store, name ref.Name, n int) {
	t.Helper()
	const numbers = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?) "
	if err := s.write(t.Context(), true, func(t tx) error {
		id, err := ensureName(t, name)
		if err != nil {
			return err
		}
		text := string(name)
		for _, insert := range []struct {
			statement string
			args      []any
		}{
			{"INSERT INTO blobs (digest, size, object_key) " + numbers + "SELECT CAST(? AS TEXT) || i, 1, CAST(? AS TEXT) || i FROM numbers",
				[]any{n, "blob " + text, "key " + text}},
			{"INSERT INTO links (name_id, blob_id) SELECT ?, id FROM blobs WHERE object_key LIKE ?", []any{id, "key " + text + "%"}},
			{"INSERT INTO manifests (name_id, digest, media_type, size, artifact_type, subject, annotations, blobs, manifests, content) " + numbers +
				"SELECT ?, CAST(? AS TEXT) || i, '', 1, '', '', '', '', '', ? FROM numbers",
				[]any{n + 1, id, "manifest " + text, []byte("content")}},
			{"INSERT INTO tags (name_id, tag, manifest_id) SELECT name_id, digest, id FROM manifests WHERE name_id = ?", []any{id}},
		} {
			if _, err := t.exec(insert.statement, insert.args...); err != nil {
				return fmt.Errorf("%s: %w", insert.statement, err)
			}
		}
		index, err := t.first("SELECT max(id) FROM manifests WHERE name_id = ?", id)
		if err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO blob_refs (name_id, blob_id, manifest_id) SELECT name_id, blob_id, CAST(? AS BIGINT) FROM links WHERE name_id = ?", index.int(0), id); err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO manifest_refs (child_id, parent_id) SELECT id, CAST(? AS BIGINT) FROM manifests WHERE name_id = ? AND id <> ?", index.int(0), id, index.int(0))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// count is how many rows a table has.
func count(t *testing.T, s *Store, table string) (n int64) {
	t.Helper()
	if err := s.read(t.Context(), func(t tx) error {
		found, err := t.first("SELECT count(*) FROM " + table)
		n = found.int(0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func pushTo(ctx context.Context, s *Store, name ref.Name, i int) (catalog.Manifest, error) {
	content := fmt.Append(nil, name, " ", i)
	b := catalog.Blob{Digest: ref.SHA256.FromBytes(content), Size: int64(len(content)), Content: content}
	if _, err := s.PutBlob(ctx, name, b); err != nil {
		return catalog.Manifest{}, err
	}
	m := catalog.Manifest{Digest: ref.SHA256.FromBytes(append(content, 'm')), MediaType: "application/x", Content: append(content, 'm'), Blobs: []ref.Digest{b.Digest}}
	return m, s.PutManifest(ctx, name, m, []ref.Tag{"latest"})
}

// TestOthersWriteWhileARepositoryIsPurged counts what is stored meanwhile: as one
// transaction, a purge would let nothing be.
func TestOthersWriteWhileARepositoryIsPurged(t *testing.T) {
	const least = 20
	onEach(t, func(t *testing.T, s *Store) {
		manifests := 20_000
		if s.options.URL != "" {
			// A server has no single writer that could be held up.
			manifests = 2000
		}
		fillName(t, s, purgedName, manifests)
		ended := make(chan error, 1)
		go func() { ended <- s.Purge(context.WithoutCancel(t.Context()), "purge", "octocat/purged") }()
		for stored := 0; ; stored++ {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatal(err)
				}
				if stored < least {
					t.Errorf("%d pushes were acknowledged during the purge, want %d at least", stored, least)
				}
				for table, want := range map[string]int64{"names": 1, "manifests": int64(stored), "links": int64(stored), "tags": 1, "manifest_refs": 0} {
					if got := count(t, s, table); got != want {
						t.Errorf("%d rows are left in %s, want %d", got, table, want)
					}
				}
				return
			default:
			}
			if _, err := pushTo(t.Context(), s, keptName, stored); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAPurgeIsDoneInSmallSteps(t *testing.T) {
	const manifests = 3000
	onEach(t, func(t *testing.T, s *Store) {
		fillName(t, s, purgedName, manifests)
		if done, err := s.beginPurge(t.Context(), "purge", "octocat/purged"); err != nil || done {
			t.Fatal(done, err)
		}
		rows := func() (sum int64) {
			for _, table := range []string{"names", "tags", "manifests", "links", "blob_refs"} {
				sum += count(t, s, table)
			}
			return sum
		}
		left := rows()
		for steps := 0; ; steps++ {
			done, err := s.purgeSome(t.Context(), "purge")
			if err != nil {
				t.Fatal(err)
			}
			now := rows()
			// A manifest goes with its references, here all in the last one.
			if removed := left - now; removed > purgeBatch+manifests+1 || removed == 0 && !done {
				t.Fatalf("step %d removed %d rows", steps, removed)
			}
			if left = now; done {
				break
			}
		}
		if left != 0 {
			t.Errorf("%d rows are left", left)
		}
	})
}

func TestAPurgeThatWasInterruptedGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		const manifests = 2000
		fillName(t, s, purgedName, manifests)
		purged := ref.Digest("manifest " + purgedName + "1")
		if _, err := s.Manifest(t.Context(), purgedName, purged); err != nil {
			t.Fatal(err)
		}
		upload := catalog.Upload{ID: "u1", Name: purgedName, Actor: "a", Progress: catalog.Progress{Key: "key-u1"}}
		if err := s.StartUpload(t.Context(), upload); err != nil {
			t.Fatal(err)
		}
		if done, err := s.beginPurge(t.Context(), "purge", "octocat/purged"); err != nil || done {
			t.Fatal(done, err)
		}
		if done, err := s.purgeSome(t.Context(), "purge"); err != nil || done {
			t.Fatal(done, err)
		}

		// Nobody sees what is left of it.
		wantNothing := func() {
			t.Helper()
			if _, err := s.Manifest(t.Context(), purgedName, purged); !errors.Is(err, catalog.ErrManifestUnknown) {
				t.Errorf("error is %v, want that the manifest is unknown", err)
			}
			if _, err := s.FinishUpload(t.Context(), "u1", upload.Progress, catalog.Blob{Digest: "sha256:1", Key: "key-u1"}); !errors.Is(err, catalog.ErrUploadUnknown) {
				t.Errorf("error is %v, want that the upload is unknown", err)
			}
			if links, err := s.Links(t.Context(), ref.Digest("blob "+purgedName+"1"), 10); err != nil || len(links) > 0 {
				t.Errorf("the blob is linked by %v (%v)", links, err)
			}
			if names, err := s.Names(t.Context(), "", 10); err != nil || len(names) > 1 {
				t.Errorf("the names are %v (%v)", names, err)
			}
			if done, err := s.Purged(t.Context(), []string{"purge"}); err != nil || len(done) > 0 {
				t.Errorf("the purge counts as done: %v", err)
			}
		}
		wantNothing()

		// What is pushed from now on belongs to whoever has the repository now.
		m, err := pushTo(t.Context(), s, purgedName, 1)
		if err != nil {
			t.Fatal(err)
		}
		wantNothing()
		if err := s.Purge(t.Context(), "purge", "octocat/purged"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Manifest(t.Context(), purgedName, m.Digest); err != nil {
			t.Error(err)
		}
		if done, err := s.Purged(t.Context(), []string{"purge"}); err != nil || len(done) != 1 {
			t.Errorf("the purge does not count as done: %v", err)
		}
		for table, want := range map[string]int64{"names": 1, "manifests": 1, "links": 1, "tags": 1, "uploads": 0} {
			if got := count(t, s, table); got != want {
				t.Errorf("%d rows are left in %s, want %d", got, table, want)
			}
		}
		keys, err := s.DueDeletions(t.Context(), 10)
		if err != nil || len(keys) != 1 || keys[0].Key != "key-u1" {
			t.Errorf("objects to be deleted now are %v (%v)", keys, err)
		}
	})
}
