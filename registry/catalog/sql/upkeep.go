// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// DropExpiredUploads implements catalog.Upkeep.
func (s *Store) DropExpiredUploads(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.settleUploads(ctx, true); err != nil {
		return 0, err
	}
	var dropped int
	err := s.write(ctx, true, func(t tx) error {
		var err error
		dropped, err = s.dropUploads(t, "SELECT id, object_key FROM uploads WHERE started_at < ? ORDER BY started_at LIMIT ? FOR UPDATE SKIP LOCKED",
			before, notNegative(limit))
		return err
	})
	if err != nil {
		return 0, err
	}
	return dropped, nil
}

// dropUploads removes the uploads that a query finds by id and key, and locks. Nobody
// could read their bytes, so those need not be kept any longer.
func (s *Store) dropUploads(t tx, query string, args ...any) (int, error) {
	type upload struct{ id, key string }
	var found []upload
	if err := t.query(query, func(r row) error {
		found = append(found, upload{id: r.text(0), key: r.text(1)})
		return nil
	}, args...); err != nil {
		return 0, err
	}
	for _, u := range found {
		if _, err := t.exec("DELETE FROM uploads WHERE id = ?", u.id); err != nil {
			return 0, err
		}
		if err := s.deleteObject(t, u.key, s.options.Now()); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// Review implements catalog.Upkeep.
func (s *Store) Review(ctx context.Context, limit int) (int, error) {
	var reviewed int
	err := s.write(ctx, true, func(t tx) error {
		links, err := dueLinks(t, s.options.Now(), limit)
		if err != nil {
			return err
		}
		blobs, err := dueBlobs(t, s.options.Now(), limit-len(links))
		if err != nil {
			return err
		}
		for _, l := range links {
			if err := s.reviewLink(t, l); err != nil {
				return err
			}
		}
		for _, id := range blobs {
			if err := s.forgetBlob(t, id); err != nil {
				return err
			}
		}
		reviewed = len(links) + len(blobs)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return reviewed, nil
}

// dueLink is a link to be reviewed.
type dueLink struct {
	link
	name ref.Name
}

// dueLinks finds links, and locks them with their names and blobs. What another
// writer holds it leaves for the next time.
func dueLinks(t tx, now time.Time, limit int) ([]dueLink, error) {
	var due []dueLink
	err := t.query(`SELECT l.name_id, l.blob_id, n.name FROM links l, names n, blobs b
		WHERE l.review_due <= ? AND n.id = l.name_id AND b.id = l.blob_id
		ORDER BY l.review_due LIMIT ? FOR UPDATE SKIP LOCKED`, func(r row) error {
		due = append(due, dueLink{link: link{nameID: r.int(0), blobID: r.int(1), reviewed: true}, name: ref.Name(r.text(2))})
		return nil
	}, now, notNegative(limit))
	return due, err
}

// dueBlobs finds blobs that no name links, and locks them: a new link ends their
// review.
func dueBlobs(t tx, now time.Time, limit int) ([]int64, error) {
	var due []int64
	err := t.query("SELECT id FROM blobs WHERE review_due <= ? ORDER BY review_due LIMIT ? FOR UPDATE SKIP LOCKED", func(r row) error {
		due = append(due, r.int(0))
		return nil
	}, now, notNegative(limit))
	return due, err
}

func (s *Store) reviewLink(t tx, l dueLink) error {
	used, err := l.used(t)
	if err != nil {
		return err
	}
	if used {
		return l.endReview(t)
	}
	t.changesName(l.name)
	if linked, err := l.remove(t); err != nil || linked {
		return err
	}
	return s.forgetBlob(t, l.blobID)
}

// forgetBlob removes a blob without links. Its bytes are kept for the delete
// delay, for a database that is restored from a backup.
func (s *Store) forgetBlob(t tx, id int64) error {
	forgotten, err := t.first("DELETE FROM blobs WHERE id = ? RETURNING object_key", id)
	if err != nil || forgotten == nil {
		return err
	}
	return s.deleteObject(t, forgotten.text(0), s.deletionTime())
}

// DueDeletions implements catalog.Upkeep.
func (s *Store) DueDeletions(ctx context.Context, limit int) ([]catalog.Deletion, error) {
	var due []catalog.Deletion
	err := s.read(ctx, func(t tx) error {
		return t.query("SELECT object_key, due FROM deletions WHERE due <= ? ORDER BY due LIMIT ?", func(r row) error {
			due = append(due, catalog.Deletion{Key: r.text(0), Due: r.time(1)})
			return nil
		}, s.options.Now(), notNegative(limit))
	})
	return due, err
}

// DeletionsDone implements catalog.Upkeep.
func (s *Store) DeletionsDone(ctx context.Context, done []catalog.Deletion) error {
	return s.write(ctx, false, func(t tx) error {
		for _, d := range done {
			if _, err := t.exec("DELETE FROM deletions WHERE object_key = ? AND due = ?", d.Key, d.Due); err != nil {
				return err
			}
		}
		return nil
	})
}

// Unreferenced implements catalog.Upkeep.
func (s *Store) Unreferenced(ctx context.Context, keys []string) ([]string, error) {
	var unreferenced []string
	err := s.read(ctx, func(t tx) error {
		for _, key := range keys {
			// One statement: a key may move from an upload to a blob.
			found, err := t.first(`SELECT 1 FROM blobs WHERE object_key = ? AND object_key <> ''
				UNION ALL SELECT 1 FROM uploads WHERE object_key = ? AND object_key <> ''
				UNION ALL SELECT 1 FROM deletions WHERE object_key = ?`, key, key, key)
			if err != nil {
				return err
			}
			if found == nil {
				unreferenced = append(unreferenced, key)
			}
		}
		return nil
	})
	return unreferenced, err
}

// Backlog implements catalog.Upkeep. An index has the rows of each queue alone.
func (s *Store) Backlog(ctx context.Context) (catalog.Backlog, error) {
	var b catalog.Backlog
	err := s.read(ctx, func(t tx) error {
		counts, err := t.first(`SELECT (SELECT count(*) FROM uploads),
			(SELECT count(*) FROM links WHERE review_due IS NOT NULL) + (SELECT count(*) FROM blobs WHERE review_due IS NOT NULL),
			(SELECT count(*) FROM deletions)`)
		if err != nil {
			return err
		}
		b = catalog.Backlog{Uploads: counts.int(0) + int64(s.young.count()), Reviews: counts.int(1), Deletions: counts.int(2)}
		return nil
	})
	return b, err
}
