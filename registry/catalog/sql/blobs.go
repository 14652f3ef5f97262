// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Blob implements catalog.Blobs.
func (s *Store) Blob(ctx context.Context, name ref.Name, digest ref.Digest) (catalog.Blob, error) {
	b, found, generation := s.cache.blob(name, digest)
	s.cache.looked(aBlob, found)
	if !found {
		var err error
		if b, err = s.readBlob(ctx, name, digest); err != nil {
			return catalog.Blob{}, err
		}
		s.cache.keepBlob(generation, name, b)
	}
	// A client that is told that the blob is there will not push it again: it
	// gets the time to push a manifest. Far from its review that is so anyway,
	// and reading costs no write.
	if !b.review.IsZero() && b.review.Before(s.options.Now().Add(s.options.GracePeriod/2)) {
		if err := s.postponeReview(ctx, name, digest); err != nil {
			return catalog.Blob{}, err
		}
	}
	return b.Blob, nil
}

func (s *Store) readBlob(ctx context.Context, name ref.Name, digest ref.Digest) (cachedBlob, error) {
	b := cachedBlob{Blob: catalog.Blob{Digest: digest}}
	err := s.read(ctx, func(t tx) error {
		found, err := t.first(`SELECT b.size, b.object_key, l.review_due, b.content
			FROM names n, blobs b, links l
			WHERE n.name = ? AND b.digest = ? AND l.name_id = n.id AND l.blob_id = b.id`, name, digest)
		if err != nil {
			return err
		}
		if found == nil {
			return catalog.ErrBlobUnknown
		}
		b.Size, b.Key = found.int(0), found.text(1)
		if !found.null(2) {
			b.review = found.time(2)
		}
		b.Content = inlineContent(b.Key, found.bytes(3))
		return nil
	})
	return b, err
}

// inlineContent is content as catalog.Blob wants it: not nil without a key,
// though the database cannot tell no bytes from none.
func inlineContent(key string, content []byte) []byte {
	if key == "" && content == nil {
		return []byte{}
	}
	return content
}

func (s *Store) postponeReview(ctx context.Context, name ref.Name, digest ref.Digest) error {
	return s.write(ctx, false, func(t tx) error {
		// What is kept may be older than this review time.
		t.changesName(name)
		// A link that a review has removed since it was read is unknown.
		l, err := findLink(t, name, digest)
		if err != nil || !l.reviewed {
			return err
		}
		return l.reviewAt(t, s.reviewTime())
	})
}

// reviewTime is when content that is out of use from now on is looked at.
func (s *Store) reviewTime() time.Time { return s.options.Now().Add(s.options.GracePeriod) }

// deletionTime is when the bytes of content that is forgotten now are deleted.
func (s *Store) deletionTime() time.Time { return s.options.Now().Add(s.options.DeleteDelay) }

// link is a name's link to a blob.
type link struct {
	nameID, blobID int64
	// reviewed says that a review is due, now or later.
	reviewed bool
}

// findLink locks a link, its name and its blob. It returns
// catalog.ErrBlobUnknown when name does not link the digest.
func findLink(t tx, name ref.Name, digest ref.Digest) (link, error) {
	found, err := t.first(`SELECT l.name_id, l.blob_id, l.review_due
		FROM names n, blobs b, links l
		WHERE n.name = ? AND b.digest = ? AND l.name_id = n.id AND l.blob_id = b.id FOR UPDATE`, name, digest)
	if err != nil {
		return link{}, err
	}
	if found == nil {
		return link{}, catalog.ErrBlobUnknown
	}
	return link{nameID: found.int(0), blobID: found.int(1), reviewed: !found.null(2)}, nil
}

// reviewAt sets when the link is reviewed; endReview says that it need not be.
func (l link) reviewAt(t tx, due time.Time) error {
	_, err := t.exec("UPDATE links SET review_due = ? WHERE name_id = ? AND blob_id = ?", due, l.nameID, l.blobID)
	return err
}

func (l link) endReview(t tx) error {
	_, err := t.exec("UPDATE links SET review_due = NULL WHERE name_id = ? AND blob_id = ?", l.nameID, l.blobID)
	return err
}

// used reports whether a manifest of the name references the blob.
func (l link) used(t tx) (bool, error) {
	found, err := t.first("SELECT 1 FROM blob_refs WHERE name_id = ? AND blob_id = ? LIMIT 1", l.nameID, l.blobID)
	return found != nil, err
}

// remove deletes the link, and the name with it if nothing is left of that. It
// reports whether other names link the blob.
func (l link) remove(t tx) (linked bool, err error) {
	if _, err := t.exec("DELETE FROM links WHERE name_id = ? AND blob_id = ?", l.nameID, l.blobID); err != nil {
		return false, err
	}
	if err := tidyName(t, l.nameID); err != nil {
		return false, err
	}
	other, err := t.first("SELECT 1 FROM links WHERE blob_id = ? LIMIT 1", l.blobID)
	return other != nil, err
}

// tidyName removes a name without content.
func tidyName(t tx, id int64) error {
	_, err := t.exec(`DELETE FROM names WHERE id = ?
		AND NOT EXISTS (SELECT 1 FROM links WHERE name_id = names.id)
		AND NOT EXISTS (SELECT 1 FROM manifests WHERE name_id = names.id)`, id)
	return err
}

// ensureName makes a name known, locks it and returns its id.
func ensureName(t tx, name ref.Name) (int64, error) {
	found, err := t.first("SELECT id FROM names WHERE name = ? FOR UPDATE", name)
	if err != nil {
		return 0, err
	}
	if found == nil {
		// Where others write, one of them may have made it since: then this
		// changes nothing and locks the row.
		found, err = t.first(`INSERT INTO names (name) VALUES (?)
			ON CONFLICT (name) DO UPDATE SET listed = names.listed RETURNING id`, name)
		if err != nil {
			return 0, err
		}
	}
	return found.int(0), nil
}

// linkBlob links a blob to a name: for at least a grace period, or for the
// manifests that wait for it. Both are locked.
func (s *Store) linkBlob(t tx, nameID, blobID int64, digest ref.Digest) error {
	l := link{nameID: nameID, blobID: blobID}
	// A link that a manifest uses has nothing to wait for.
	if used, err := l.used(t); err != nil || used {
		return err
	}
	awaited, err := awaits(t, nameID, reference{digest: digest})
	if err != nil {
		return err
	}
	if awaited {
		if _, err := t.exec("INSERT INTO links (name_id, blob_id) VALUES (?, ?)", nameID, blobID); err != nil {
			return err
		}
		return arrivedBlob(t, l, digest)
	}
	_, err = t.exec(`INSERT INTO links (name_id, blob_id, review_due) VALUES (?, ?, ?)
		ON CONFLICT (name_id, blob_id) DO UPDATE SET review_due = excluded.review_due`, l.nameID, l.blobID, s.reviewTime())
	return err
}

// Mount implements catalog.Blobs.
func (s *Store) Mount(ctx context.Context, name ref.Name, digest ref.Digest, from ref.Name) error {
	return s.write(ctx, true, func(t tx) error {
		nameID, err := ensureName(t, name)
		if err != nil {
			return err
		}
		// Without from's own lock: the blob's keeps its links as they are.
		source, err := t.first(`SELECT b.id FROM names n, blobs b, links l
			WHERE n.name = ? AND b.digest = ? AND l.name_id = n.id AND l.blob_id = b.id FOR UPDATE OF b, l`, from, digest)
		if err != nil {
			return err
		}
		if source == nil {
			return catalog.ErrBlobUnknown
		}
		return s.linkBlob(t, nameID, source.int(0), digest)
	})
}

// Links implements catalog.Blobs. What a purge has hidden comes before '0'.
func (s *Store) Links(ctx context.Context, digest ref.Digest, limit int) ([]ref.Name, error) {
	var names []ref.Name
	err := s.read(ctx, func(t tx) error {
		return t.query(`SELECT n.name FROM blobs b, links l, names n
			WHERE b.digest = ? AND l.blob_id = b.id AND n.id = l.name_id AND n.name >= '0' LIMIT ?`, func(r row) error {
			names = append(names, ref.Name(r.text(0)))
			return nil
		}, digest, notNegative(limit))
	})
	return names, err
}

// notNegative keeps a limit from being negative, which SQL would take for none.
func notNegative(limit int) int { return max(limit, 0) }

// DeleteBlob implements catalog.Blobs.
func (s *Store) DeleteBlob(ctx context.Context, name ref.Name, digest ref.Digest) error {
	return s.write(ctx, true, func(t tx) error {
		l, err := findLink(t, name, digest)
		if err != nil {
			return err
		}
		if used, err := l.used(t); err != nil {
			return err
		} else if used {
			return catalog.ErrBlobInUse
		}
		t.changesName(name)
		if linked, err := l.remove(t); err != nil || linked {
			return err
		}
		_, err = t.exec("UPDATE blobs SET review_due = ? WHERE id = ?", s.reviewTime(), l.blobID)
		return err
	})
}

// putBlob stores a blob unless its digest is stored, and links it to name. What
// it returns is the key of bytes that are stored twice.
func (s *Store) putBlob(t tx, name ref.Name, b catalog.Blob) (discard string, err error) {
	nameID, err := ensureName(t, name)
	if err != nil {
		return "", err
	}
	id, key, err := ensureBlob(t, b)
	if err != nil {
		return "", err
	}
	if err := s.linkBlob(t, nameID, id, b.Digest); err != nil {
		return "", err
	}
	if b.Key == key {
		return "", nil
	}
	return b.Key, s.deleteObject(t, b.Key, s.options.Now().Add(catalog.DiscardDelay))
}

// ReplaceObject implements catalog.Uploads. The new object comes out of the queue
// of those to be deleted, from which nobody has taken it while it is not due.
func (s *Store) ReplaceObject(ctx context.Context, digest ref.Digest, lost, key string) (bool, error) {
	var done bool
	err := s.write(ctx, true, func(t tx) error {
		done = false
		stored, err := t.first("SELECT id FROM blobs WHERE digest = ? AND object_key = ? FOR UPDATE", digest, lost)
		if err != nil || stored == nil {
			return err
		}
		kept, err := t.exec("DELETE FROM deletions WHERE object_key = ? AND due > ?", key, s.options.Now())
		if err != nil {
			return err
		}
		if kept == 0 {
			return catalog.ErrUploadUnknown
		}
		if err := t.query("SELECT n.name FROM links l, names n WHERE l.blob_id = ? AND n.id = l.name_id", func(r row) error {
			t.changesName(ref.Name(r.text(0)))
			return nil
		}, stored.int(0)); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE blobs SET object_key = ? WHERE id = ?", key, stored.int(0)); err != nil {
			return err
		}
		done = true
		// Should it be there after all, it goes as what nobody needs.
		return s.deleteObject(t, lost, s.deletionTime())
	})
	return done && err == nil, err
}

// ensureBlob stores a blob unless its digest is stored, locks it, ends its
// review, and returns its id and its object's key.
func ensureBlob(t tx, b catalog.Blob) (id int64, key string, err error) {
	for {
		stored, err := t.first("SELECT id, object_key, review_due FROM blobs WHERE digest = ? FOR UPDATE", b.Digest)
		if err != nil {
			return 0, "", err
		}
		if stored != nil {
			id = stored.int(0)
			if !stored.null(2) {
				_, err = t.exec("UPDATE blobs SET review_due = NULL WHERE id = ?", id)
			}
			return id, stored.text(1), err
		}
		made, err := t.first(`INSERT INTO blobs (digest, size, object_key, content) VALUES (?, ?, ?, ?)
			ON CONFLICT (digest) DO NOTHING RETURNING id`, b.Digest, b.Size, b.Key, b.Content)
		if err != nil {
			return 0, "", err
		}
		if made != nil {
			return made.int(0), b.Key, nil
		}
		// Another writer has stored it since: now it is to be found, unless it
		// has been removed again.
	}
}

// deleteObject queues an object for deletion; "" is none.
func (s *Store) deleteObject(t tx, key string, due time.Time) error {
	if key == "" {
		return nil
	}
	_, err := t.exec("INSERT INTO deletions (object_key, due) VALUES (?, ?) ON CONFLICT (object_key) DO NOTHING", key, due)
	return err
}
