// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// A purge first hides what is to go: its names and its uploads get names that no
// client can say, in one short transaction. So it is gone at once, and what is pushed
// to the repository from then on is new and stays. Then the hidden rows are removed
// in batches, between which others write. A purge that was interrupted goes on with
// what is still hidden.

// purgeBatch bounds a batch, in rows that are removed and pages of the manifests
// among them.
const purgeBatch = 500

const (
	purgeManifestBatch = 100
	pageSize           = 4096
)

// hidden is the range of what a purge has hidden. No name and no upload's id of a
// client begins with '!'; '0' follows '/'.
func hidden(purge string) (from, to string) { return "!" + purge + "/", "!" + purge + "0" }

// Purge implements catalog.Upkeep.
func (s *Store) Purge(ctx context.Context, id, repository string) error {
	done, err := s.beginPurge(ctx, id, repository)
	for !done && err == nil {
		done, err = s.purgeSome(ctx, id)
	}
	return err
}

// beginPurge hides a repository, unless this purge has done so before, and reports
// whether it has ended before.
func (s *Store) beginPurge(ctx context.Context, id, repository string) (done bool, err error) {
	if err := s.settleUploads(ctx, true); err != nil {
		return false, err
	}
	err = s.write(ctx, true, func(t tx) error {
		first, err := t.exec("INSERT INTO purges (id, done_at) VALUES (?, 0) ON CONFLICT (id) DO NOTHING", id)
		if err != nil {
			return err
		}
		if first == 0 {
			ended, err := t.first("SELECT 1 FROM purges WHERE id = ? AND done_at > 0", id)
			done = ended != nil
			return err
		}
		prefix, _ := hidden(id)
		from, to := repository+"/", repository+"0"
		if _, err := t.exec("UPDATE uploads SET id = CAST(? AS TEXT) || id WHERE name > ? AND name < ?", prefix, from, to); err != nil {
			return err
		}
		if err := t.query("SELECT name FROM names WHERE name > ? AND name < ? ORDER BY name FOR UPDATE", func(r row) error {
			t.changesName(ref.Name(r.text(0)))
			return nil
		}, from, to); err != nil {
			return err
		}
		_, err = t.exec("UPDATE names SET name = CAST(? AS TEXT) || name, listed = 0 WHERE name > ? AND name < ?", prefix, from, to)
		return err
	})
	return done && err == nil, err
}

// purgeSome removes a batch of what a purge has hidden, and reports whether that was
// the last one.
func (s *Store) purgeSome(ctx context.Context, id string) (done bool, err error) {
	from, to := hidden(id)
	err = s.write(ctx, true, func(t tx) error {
		done = false
		left := purgeBatch
		dropped, err := s.dropUploads(t, "SELECT id, object_key FROM uploads WHERE id > ? AND id < ? ORDER BY id LIMIT ? FOR UPDATE", from, to, left)
		if err != nil {
			return err
		}
		for left -= dropped; left > 0; {
			name, err := t.first("SELECT id FROM names WHERE name > ? AND name < ? ORDER BY name LIMIT 1 FOR UPDATE", from, to)
			if err != nil {
				return err
			}
			if name == nil {
				done = true
				_, err := t.exec("UPDATE purges SET done_at = ? WHERE id = ?", s.options.Now(), id)
				return err
			}
			removed, err := s.purgeName(t, name.int(0), left)
			if err != nil {
				return err
			}
			left -= removed
		}
		return nil
	})
	return done && err == nil, err
}

// purgeName removes about limit rows of a hidden name, in the order in which nothing
// refers to what is gone, and the name when it is empty. It returns how much that
// was.
func (s *Store) purgeName(t tx, name int64, limit int) (removed int, err error) {
	for _, part := range []func(tx, int64, int) (int, error){purgeTags, purgeManifests, s.purgeLinks} {
		n, err := part(t, name, limit-removed)
		if removed += n; err != nil || removed >= limit {
			return removed, err
		}
	}
	_, err = t.exec("DELETE FROM names WHERE id = ?", name)
	return removed + 1, err
}

func purgeTags(t tx, name int64, limit int) (int, error) {
	n, err := t.exec("DELETE FROM tags WHERE name_id = ? AND tag IN (SELECT tag FROM tags WHERE name_id = ? ORDER BY tag LIMIT ?)", name, name, limit)
	return int(n), err
}

// purgeManifests removes manifests with all that they refer to, and that refers to
// them: few at a time, for a manifest may refer to thousands of others.
func purgeManifests(t tx, name int64, limit int) (removed int, err error) {
	last := ""
	if err := t.query("SELECT digest, size FROM manifests WHERE name_id = ? ORDER BY digest LIMIT ?", func(r row) error {
		if removed < limit {
			last = r.text(0)
			removed += 1 + int(r.int(1)/pageSize)
		}
		return nil
	}, name, min(limit, purgeManifestBatch)); err != nil || last == "" {
		return 0, err
	}
	const some = "(SELECT id FROM manifests WHERE name_id = ? AND digest <= ?)"
	for _, statement := range []string{
		"DELETE FROM manifest_refs WHERE child_id IN " + some,
		"DELETE FROM manifest_refs WHERE parent_id IN " + some,
		"DELETE FROM blob_refs WHERE manifest_id IN " + some,
	} {
		n, err := t.exec(statement, name, last)
		if err != nil {
			return removed, err
		}
		removed += int(n)
	}
	_, err = t.exec("DELETE FROM manifests WHERE name_id = ? AND digest <= ?", name, last)
	// There may be more.
	return max(removed, limit), err
}

// purgeLinks removes links, and has the blobs reviewed that no other name links.
func (s *Store) purgeLinks(t tx, name int64, limit int) (removed int, err error) {
	var last int64
	if err := t.query(`SELECT l.blob_id FROM links l, blobs b
		WHERE l.name_id = ? AND b.id = l.blob_id ORDER BY l.blob_id LIMIT ? FOR UPDATE OF b`, func(r row) error {
		last = r.int(0)
		removed++
		return nil
	}, name, limit); err != nil || removed == 0 {
		return 0, err
	}
	if _, err := t.exec(`UPDATE blobs SET review_due = ?
		WHERE id IN (SELECT blob_id FROM links WHERE name_id = ? AND blob_id <= ?)
		AND NOT EXISTS (SELECT 1 FROM links WHERE blob_id = blobs.id AND name_id <> ?)`, s.reviewTime(), name, last, name); err != nil {
		return removed, err
	}
	_, err = t.exec("DELETE FROM links WHERE name_id = ? AND blob_id <= ?", name, last)
	return removed, err
}

// Purged implements catalog.Upkeep.
func (s *Store) Purged(ctx context.Context, ids []string) ([]string, error) {
	var purged []string
	err := s.read(ctx, func(t tx) error {
		for _, id := range ids {
			found, err := t.first("SELECT 1 FROM purges WHERE id = ? AND done_at > 0", id)
			if err != nil {
				return err
			}
			if found != nil {
				purged = append(purged, id)
			}
		}
		return nil
	})
	return purged, err
}
