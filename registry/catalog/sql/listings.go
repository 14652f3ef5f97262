// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"errors"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Tags implements catalog.Listings.
func (s *Store) Tags(ctx context.Context, name ref.Name, last string, limit int) ([]ref.Tag, error) {
	known := false
	var tags []ref.Tag
	err := s.read(ctx, func(t tx) error {
		// A name that has content and no tag gives one row without a tag.
		return t.query(`SELECT t.tag FROM names n LEFT JOIN tags t ON t.name_id = n.id AND t.tag > ?
			WHERE n.name = ? ORDER BY t.tag LIMIT ?`, func(r row) error {
			known = true
			if !r.null(0) && len(tags) < limit {
				tags = append(tags, ref.Tag(r.text(0)))
			}
			return nil
		}, last, name, atLeast(limit, 1))
	})
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, catalog.ErrNameUnknown
	}
	return tags, nil
}

// Names implements catalog.Listings.
func (s *Store) Names(ctx context.Context, last string, limit int) ([]ref.Name, error) {
	var names []ref.Name
	err := s.read(ctx, func(t tx) error {
		return t.query("SELECT name FROM names WHERE listed = 1 AND name > ? ORDER BY name LIMIT ?", func(r row) error {
			names = append(names, ref.Name(r.text(0)))
			return nil
		}, last, atLeast(limit, 0))
	})
	return names, err
}

// Referrers implements catalog.Listings.
func (s *Store) Referrers(ctx context.Context, name ref.Name, subject ref.Digest, artifactType string, last ref.Digest, limit int) ([]catalog.Descriptor, error) {
	var referrers []catalog.Descriptor
	if subject == "" {
		return nil, nil
	}
	query := sqlReferrers
	args := []any{name, subject, last, atLeast(limit, 0)}
	if artifactType != "" {
		query = sqlReferrersOfType
		args = []any{name, subject, last, artifactType, atLeast(limit, 0)}
	}
	size := 0
	err := s.read(ctx, func(t tx) error {
		return t.query(query, func(r row) error {
			d, err := descriptor(r)
			if err != nil {
				return err
			}
			referrers = append(referrers, d)
			if size += len(r.text(4)); size > catalog.ReferrersSize && len(referrers) > 1 {
				return errEnough
			}
			return nil
		}, args...)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return referrers, nil
}

// subject <> ” is what lets the index serve these.
const (
	sqlReferrers = `SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
		FROM names n, manifests m
		WHERE n.name = ? AND m.name_id = n.id AND m.subject = ? AND m.subject <> '' AND m.digest > ?
		ORDER BY m.digest LIMIT ?`
	sqlReferrersOfType = `SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
		FROM names n, manifests m
		WHERE n.name = ? AND m.name_id = n.id AND m.subject = ? AND m.subject <> '' AND m.digest > ? AND m.artifact_type = ?
		ORDER BY m.digest LIMIT ?`
)
