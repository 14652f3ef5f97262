// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// StartUpload implements catalog.Uploads.
func (s *Store) StartUpload(ctx context.Context, u catalog.Upload) error {
	if kept, err := s.young.add(u); kept || err != nil {
		return err
	}
	return s.write(ctx, false, func(t tx) error { return insertUpload(t, u) })
}

func insertUpload(t tx, u catalog.Upload) error {
	_, err := t.exec(`INSERT INTO uploads (id, name, actor, started_at, received, algorithm, hash, object_key, state, content)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		u.ID, u.Name, u.Actor, u.StartedAt, u.Offset, u.Algorithm, u.Hash, u.Key, u.State, u.Inline)
	return err
}

// Upload implements catalog.Uploads.
func (s *Store) Upload(ctx context.Context, id string, name ref.Name, actor string) (catalog.Upload, error) {
	if kept := s.young.take(id); kept != nil {
		defer kept.mu.Unlock()
		if kept.Name != name || kept.Actor != actor {
			return catalog.Upload{}, catalog.ErrUploadUnknown
		}
		return kept.Upload, nil
	}
	u := catalog.Upload{ID: id, Name: name, Actor: actor}
	err := s.read(ctx, func(t tx) error {
		found, err := t.first(`SELECT started_at, received, algorithm, hash, object_key, state, content
			FROM uploads WHERE id = ? AND name = ? AND actor = ?`, id, name, actor)
		if err != nil {
			return err
		}
		if found == nil {
			return catalog.ErrUploadUnknown
		}
		u.StartedAt = found.time(0)
		u.Progress = catalog.Progress{
			Offset:    found.int(1),
			Algorithm: ref.Algorithm(found.text(2)),
			Hash:      found.bytes(3),
			Key:       found.text(4),
			State:     found.bytes(5),
			Inline:    found.bytes(6),
		}
		return nil
	})
	if err != nil {
		return catalog.Upload{}, err
	}
	return u, nil
}

// SaveUpload implements catalog.Uploads.
func (s *Store) SaveUpload(ctx context.Context, id string, from, to catalog.Progress) error {
	if kept := s.young.take(id); kept != nil {
		defer kept.mu.Unlock()
		return s.saveYoung(ctx, kept, from, to)
	}
	return s.write(ctx, false, func(t tx) error {
		changed, err := t.exec(`UPDATE uploads SET received = ?, algorithm = ?, hash = ?, object_key = ?, state = ?, content = ?
			WHERE id = ? AND received = ? AND object_key = ?`,
			to.Offset, to.Algorithm, to.Hash, to.Key, to.State, to.Inline, id, from.Offset, from.Key)
		if err != nil || changed > 0 {
			return err
		}
		return missedUpload(t, id)
	})
}

// missedUpload says why no row had an upload's id and progress.
func missedUpload(t tx, id string) error {
	found, err := t.first("SELECT 1 FROM uploads WHERE id = ?", id)
	if err != nil {
		return err
	}
	if found == nil {
		return catalog.ErrUploadUnknown
	}
	return catalog.ErrUploadConflict
}

// FinishUpload implements catalog.Uploads.
func (s *Store) FinishUpload(ctx context.Context, id string, from catalog.Progress, b catalog.Blob) (string, error) {
	if kept := s.young.take(id); kept != nil {
		defer kept.mu.Unlock()
		return s.finishYoung(ctx, kept, from, b)
	}
	var discard string
	err := s.write(ctx, true, func(t tx) error {
		finished, err := t.first("DELETE FROM uploads WHERE id = ? AND received = ? AND object_key = ? RETURNING name",
			id, from.Offset, from.Key)
		if err != nil {
			return err
		}
		if finished == nil {
			return missedUpload(t, id)
		}
		if from.Key != b.Key {
			// The bytes went elsewhere in the end.
			if err := s.deleteObject(t, from.Key, s.options.Now()); err != nil {
				return err
			}
		}
		discard, err = s.putBlob(t, ref.Name(finished.text(0)), b)
		return err
	})
	if err != nil {
		return "", err
	}
	return discard, nil
}

// PutBlob implements catalog.Uploads.
func (s *Store) PutBlob(ctx context.Context, name ref.Name, b catalog.Blob) (string, error) {
	var discard string
	err := s.write(ctx, true, func(t tx) error {
		var err error
		discard, err = s.putBlob(t, name, b)
		return err
	})
	if err != nil {
		return "", err
	}
	return discard, nil
}

// AbandonObject implements catalog.Uploads. What is queued already is queued again, at
// another time: whoever deletes it now does not have it forgotten. That comes first:
// only what is queued can still come into use, and by leaving the queue.
func (s *Store) AbandonObject(ctx context.Context, key string) error {
	return s.write(ctx, true, func(t tx) error {
		queued, err := t.exec("UPDATE deletions SET due = due + 1 WHERE object_key = ?", key)
		if err != nil || queued > 0 {
			return err
		}
		used, err := t.first(`SELECT 1 FROM blobs WHERE object_key = ? AND object_key <> ''
			UNION ALL SELECT 1 FROM uploads WHERE object_key = ? AND object_key <> ''`, key, key)
		if err != nil || used != nil {
			return err
		}
		return s.deleteObject(t, key, s.options.Now())
	})
}

// CancelUpload implements catalog.Uploads.
func (s *Store) CancelUpload(ctx context.Context, id string, name ref.Name, actor string) (string, error) {
	if kept := s.young.take(id); kept != nil {
		defer kept.mu.Unlock()
		return "", s.cancelYoung(kept, name, actor)
	}
	var discard string
	err := s.write(ctx, true, func(t tx) error {
		canceled, err := t.first("DELETE FROM uploads WHERE id = ? AND name = ? AND actor = ? RETURNING object_key", id, name, actor)
		if err != nil {
			return err
		}
		if canceled == nil {
			return catalog.ErrUploadUnknown
		}
		discard = canceled.text(0)
		return s.deleteObject(t, discard, s.options.Now())
	})
	if err != nil {
		return "", err
	}
	return discard, nil
}
