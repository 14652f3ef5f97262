// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// PutManifest implements catalog.Manifests.
func (s *Store) PutManifest(ctx context.Context, name ref.Name, m catalog.Manifest, tags []ref.Tag) error {
	annotations, err := encodeAnnotations(m.Annotations)
	if err != nil {
		return err
	}
	return s.write(ctx, true, func(t tx) error {
		nameID, err := ensureName(t, name)
		if err != nil {
			return err
		}
		stored, err := t.first("SELECT id, media_type FROM manifests WHERE name_id = ? AND digest = ?", nameID, m.Digest)
		if err != nil {
			return err
		}
		var id int64
		switch stored {
		case nil:
			if id, err = addManifest(t, nameID, m, annotations); err != nil {
				return err
			}
		default:
			// The same bytes refer to the same content, which they have kept, but
			// for what they still wait for. Only the media type may have been said
			// outside of them.
			id = stored.int(0)
			if err := checkAwaited(t, id, m); err != nil {
				return err
			}
			if stored.text(1) != m.MediaType {
				t.changesName(name)
				if _, err := t.exec("UPDATE manifests SET media_type = ? WHERE id = ?", m.MediaType, id); err != nil {
					return err
				}
			}
		}
		for _, tag := range tags {
			t.changesTag(name, tag)
			if _, err := t.exec(`INSERT INTO tags (name_id, tag, manifest_id) VALUES (?, ?, ?)
				ON CONFLICT (name_id, tag) DO UPDATE SET manifest_id = excluded.manifest_id`, nameID, tag, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// addManifest checks what m refers to, stores it, and claims its blobs, so that
// no review removes them. What is optional and missing it will claim when it comes.
func addManifest(t tx, nameID int64, m catalog.Manifest, annotations string) (int64, error) {
	blobs, children, absent, err := findReferences(t, nameID, m)
	if err != nil {
		return 0, err
	}
	made, err := t.first(`INSERT INTO manifests
			(name_id, digest, media_type, size, artifact_type, subject, annotations, blobs, manifests, content)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		nameID, m.Digest, m.MediaType, len(m.Content), m.ArtifactType, m.Subject, annotations,
		joinDigests(m.Blobs), joinDigests(m.Manifests), m.Content)
	if err != nil {
		return 0, err
	}
	id := made.int(0)
	for _, l := range blobs {
		if _, err := t.exec("INSERT INTO blob_refs (name_id, blob_id, manifest_id) VALUES (?, ?, ?)", nameID, l.blobID, id); err != nil {
			return 0, err
		}
		if l.reviewed {
			if err := l.endReview(t); err != nil {
				return 0, err
			}
		}
	}
	for _, child := range children {
		if _, err := t.exec("INSERT INTO manifest_refs (child_id, parent_id) VALUES (?, ?)", child, id); err != nil {
			return 0, err
		}
	}
	for _, r := range absent {
		if err := r.add(t, nameID, id); err != nil {
			return 0, err
		}
	}
	if err := arrivedManifest(t, nameID, m.Digest, id); err != nil {
		return 0, err
	}
	_, err = t.exec("UPDATE names SET listed = 1 WHERE id = ? AND listed = 0", nameID)
	return id, err
}

// findReferences returns what m refers to, each once and apart from that what is
// missing and may be, or a *catalog.MissingError.
func findReferences(t tx, nameID int64, m catalog.Manifest) (blobs []link, children []int64, absent []reference, err error) {
	for _, digest := range unique(m.Blobs) {
		found, err := t.first(`SELECT b.id, l.review_due FROM blobs b, links l
			WHERE b.digest = ? AND l.name_id = ? AND l.blob_id = b.id`, digest, nameID)
		if err != nil {
			return nil, nil, nil, err
		}
		if found == nil {
			absent = append(absent, reference{digest: digest})
			continue
		}
		blobs = append(blobs, link{nameID: nameID, blobID: found.int(0), reviewed: !found.null(1)})
	}
	for _, digest := range unique(m.Manifests) {
		found, err := t.first("SELECT id FROM manifests WHERE name_id = ? AND digest = ?", nameID, digest)
		if err != nil {
			return nil, nil, nil, err
		}
		if found == nil {
			absent = append(absent, reference{digest: digest, child: true})
			continue
		}
		children = append(children, found.int(0))
	}
	return blobs, children, absent, checkOptional(absent, m)
}

// unique keeps the first of equal digests.
func unique(digests []ref.Digest) []ref.Digest {
	seen := make(map[ref.Digest]bool, len(digests))
	kept := make([]ref.Digest, 0, len(digests))
	for _, d := range digests {
		if !seen[d] {
			seen[d] = true
			kept = append(kept, d)
		}
	}
	return kept
}

// ResolveTag implements catalog.Manifests.
func (s *Store) ResolveTag(ctx context.Context, name ref.Name, tag ref.Tag) (catalog.Descriptor, error) {
	d, found, generation := s.cache.tag(name, tag)
	s.cache.looked(aTag, found)
	if found {
		return d, nil
	}
	err := s.read(ctx, func(t tx) error {
		found, err := t.first(`SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
			FROM names n, tags t, manifests m
			WHERE n.name = ? AND t.name_id = n.id AND t.tag = ? AND m.id = t.manifest_id`, name, tag)
		if err != nil {
			return err
		}
		if found == nil {
			return catalog.ErrManifestUnknown
		}
		d, err = descriptor(found)
		return err
	})
	if err != nil {
		return catalog.Descriptor{}, err
	}
	s.cache.keepTag(generation, name, tag, d)
	return d, nil
}

// descriptor reads a row of digest, media type, size, artifact type and
// annotations.
func descriptor(r row) (catalog.Descriptor, error) {
	annotations, err := decodeAnnotations(r.text(4))
	return catalog.Descriptor{
		Digest:       ref.Digest(r.text(0)),
		MediaType:    r.text(1),
		Size:         r.int(2),
		ArtifactType: r.text(3),
		Annotations:  annotations,
	}, err
}

// Manifest implements catalog.Manifests.
func (s *Store) Manifest(ctx context.Context, name ref.Name, digest ref.Digest) (catalog.Manifest, error) {
	m, found, generation := s.cache.manifest(name, digest)
	s.cache.looked(aManifest, found)
	if found {
		return m, nil
	}
	m = catalog.Manifest{Digest: digest, Content: s.contents.get(digest)}
	query := sqlManifest
	if m.Content != nil {
		query = sqlManifestWithoutContent
	}
	err := s.read(ctx, func(t tx) error {
		found, err := t.first(query, name, digest)
		if err != nil {
			return err
		}
		if found == nil {
			return catalog.ErrManifestUnknown
		}
		m.MediaType, m.ArtifactType = found.text(0), found.text(1)
		if m.Annotations, err = decodeAnnotations(found.text(2)); err != nil {
			return err
		}
		m.Subject = ref.Digest(found.text(3))
		m.Blobs, m.Manifests = splitDigests(found.text(4)), splitDigests(found.text(5))
		if m.Content == nil {
			m.Content = found.bytes(6)
			s.contents.keep(digest, m.Content)
		}
		return nil
	})
	if err != nil {
		return catalog.Manifest{}, err
	}
	s.cache.keepManifest(generation, name, m)
	return m, nil
}

const (
	sqlManifest = `SELECT m.media_type, m.artifact_type, m.annotations, m.subject, m.blobs, m.manifests, m.content
		FROM names n, manifests m
		WHERE n.name = ? AND m.name_id = n.id AND m.digest = ?`
	sqlManifestWithoutContent = `SELECT m.media_type, m.artifact_type, m.annotations, m.subject, m.blobs, m.manifests
		FROM names n, manifests m
		WHERE n.name = ? AND m.name_id = n.id AND m.digest = ?`
)

// DeleteManifest implements catalog.Manifests.
func (s *Store) DeleteManifest(ctx context.Context, name ref.Name, digest ref.Digest) error {
	return s.write(ctx, true, func(t tx) error {
		found, err := t.first(`SELECT m.id, m.name_id FROM names n, manifests m
			WHERE n.name = ? AND m.name_id = n.id AND m.digest = ? FOR UPDATE`, name, digest)
		if err != nil {
			return err
		}
		if found == nil {
			return catalog.ErrManifestUnknown
		}
		t.changesName(name)
		id, nameID := found.int(0), found.int(1)
		if parent, err := t.first("SELECT 1 FROM manifest_refs WHERE child_id = ? LIMIT 1", id); err != nil {
			return err
		} else if parent != nil {
			return catalog.ErrManifestInUse
		}
		if err := s.removeManifest(t, nameID, id); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE names SET listed = 0 WHERE id = ?
			AND NOT EXISTS (SELECT 1 FROM manifests WHERE name_id = names.id)`, nameID); err != nil {
			return err
		}
		return tidyName(t, nameID)
	})
}

// removeManifest deletes a manifest with its tags and references, and has the
// blobs reviewed that no other manifest of the name uses.
func (s *Store) removeManifest(t tx, nameID, id int64) error {
	var blobs []link
	if err := t.query("SELECT blob_id FROM blob_refs WHERE manifest_id = ?", func(r row) error {
		blobs = append(blobs, link{nameID: nameID, blobID: r.int(0)})
		return nil
	}, id); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM tags WHERE manifest_id = ?", id); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM manifests WHERE id = ?", id); err != nil {
		return err
	}
	for _, l := range blobs {
		used, err := l.used(t)
		if err != nil {
			return err
		}
		if used {
			continue
		}
		if err := l.reviewAt(t, s.reviewTime()); err != nil {
			return err
		}
	}
	return nil
}

// DeleteTag implements catalog.Manifests.
func (s *Store) DeleteTag(ctx context.Context, name ref.Name, tag ref.Tag) error {
	return s.write(ctx, true, func(t tx) error {
		t.changesTag(name, tag)
		deleted, err := t.exec("DELETE FROM tags WHERE name_id = (SELECT id FROM names WHERE name = ?) AND tag = ?", name, tag)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return catalog.ErrManifestUnknown
		}
		return nil
	})
}

func encodeAnnotations(annotations map[string]string) (string, error) {
	if len(annotations) == 0 {
		return "", nil
	}
	encoded, err := json.Marshal(annotations)
	return string(encoded), err
}

func decodeAnnotations(encoded string) (map[string]string, error) {
	if encoded == "" {
		return nil, nil
	}
	var annotations map[string]string
	if err := json.Unmarshal([]byte(encoded), &annotations); err != nil {
		return nil, fmt.Errorf("stored annotations: %w", err)
	}
	return annotations, nil
}

func joinDigests(digests []ref.Digest) string {
	var b strings.Builder
	for i, d := range digests {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(d))
	}
	return b.String()
}

func splitDigests(joined string) []ref.Digest {
	if joined == "" {
		return nil
	}
	digests := make([]ref.Digest, 0, strings.Count(joined, " ")+1)
	for d := range strings.SplitSeq(joined, " ") {
		digests = append(digests, ref.Digest(d))
	}
	return digests
}
