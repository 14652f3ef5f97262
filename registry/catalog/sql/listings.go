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
	page := pageOfTags{last, limit}
	tags, found, generation := s.cache.page(name, page)
	s.cache.looked(aPage, found)
	if found {
		return tags, nil
	}
	err := s.read(ctx, func(t tx) error {
		if err := t.query(`SELECT tag FROM tags WHERE name_id = (SELECT id FROM names WHERE name = ?) AND tag > ?
			ORDER BY tag LIMIT ?`, func(r row) error {
			tags = append(tags, ref.Tag(r.text(0)))
			return nil
		}, name, last, notNegative(limit)); err != nil || len(tags) > 0 {
			return err
		}
		known, err := t.first("SELECT 1 FROM names WHERE name = ?", name)
		if err == nil && known == nil {
			return catalog.ErrNameUnknown
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.cache.keepPage(generation, name, page, tags)
	return tags, nil
}

// Names implements catalog.Listings.
func (s *Store) Names(ctx context.Context, last string, limit int) ([]ref.Name, error) {
	var names []ref.Name
	err := s.read(ctx, func(t tx) error {
		return t.query("SELECT name FROM names WHERE listed = 1 AND name > ? ORDER BY name LIMIT ?", func(r row) error {
			names = append(names, ref.Name(r.text(0)))
			return nil
		}, last, notNegative(limit))
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
	args := []any{name, subject, last, notNegative(limit)}
	if artifactType != "" {
		query = sqlReferrersOfType
		args = []any{name, subject, last, artifactType, notNegative(limit)}
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

// That the subject is not empty is what lets the index serve these. The subquery
// tells every planner that there is one name, and the index has the order as well.
const (
	sqlReferrers = `SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
		FROM manifests m
		WHERE m.name_id = (SELECT id FROM names WHERE name = ?) AND m.subject = ? AND m.subject <> '' AND m.digest > ?
		ORDER BY m.digest LIMIT ?`
	sqlReferrersOfType = `SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
		FROM manifests m
		WHERE m.name_id = (SELECT id FROM names WHERE name = ?) AND m.subject = ? AND m.subject <> '' AND m.digest > ? AND m.artifact_type = ?
		ORDER BY m.digest LIMIT ?`
)
