// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// reference is something that a manifest refers to: a blob or, in an index, a
// child. The table awaited has those that the manifest's name lacks, so that they
// are references of the usual kind from the moment at which the name has them.
type reference struct {
	digest ref.Digest
	child  bool
}

// kind is how the database writes child.
func (r reference) kind() int {
	if r.child {
		return 1
	}
	return 0
}

func (r reference) add(t tx, nameID, manifestID int64) error {
	_, err := t.exec("INSERT INTO awaited (name_id, digest, child, manifest_id) VALUES (?, ?, ?, ?)", nameID, r.digest, r.kind(), manifestID)
	return err
}

// checkOptional returns a *catalog.MissingError unless m may do without all that
// is absent.
func checkOptional(absent []reference, m catalog.Manifest) error {
	if len(absent) == 0 {
		return nil
	}
	optional := make(map[ref.Digest]bool, len(m.Optional))
	for _, d := range m.Optional {
		optional[d] = true
	}
	var missing catalog.MissingError
	for _, r := range absent {
		switch {
		case optional[r.digest]:
		case r.child:
			missing.Manifests = append(missing.Manifests, r.digest)
		default:
			missing.Blobs = append(missing.Blobs, r.digest)
		}
	}
	if len(missing.Blobs)+len(missing.Manifests) > 0 {
		return &missing
	}
	return nil
}

// checkAwaited does the same for a manifest that is stored, which may have been put
// when less was asked of it.
func checkAwaited(t tx, id int64, m catalog.Manifest) error {
	var absent []reference
	if err := t.query("SELECT digest, child FROM awaited WHERE manifest_id = ? ORDER BY digest, child", func(r row) error {
		absent = append(absent, reference{digest: ref.Digest(r.text(0)), child: r.int(1) == 1})
		return nil
	}, id); err != nil {
		return err
	}
	return checkOptional(absent, m)
}

// awaits reports whether a manifest of the name waits for what the reference is to.
func awaits(t tx, nameID int64, r reference) (bool, error) {
	found, err := t.first("SELECT 1 FROM awaited WHERE name_id = ? AND digest = ? AND child = ? LIMIT 1", nameID, r.digest, r.kind())
	return found != nil, err
}

// arrivedBlob gives a blob that the name links from now on to the manifests that
// waited for it.
func arrivedBlob(t tx, l link, digest ref.Digest) error {
	return arrived(t, "INSERT INTO blob_refs (name_id, blob_id, manifest_id) SELECT name_id, ?, manifest_id FROM awaited",
		l.blobID, l.nameID, reference{digest: digest})
}

// arrivedManifest does so with a manifest that the name has from now on.
func arrivedManifest(t tx, nameID int64, digest ref.Digest, id int64) error {
	r := reference{digest: digest, child: true}
	if awaited, err := awaits(t, nameID, r); err != nil || !awaited {
		return err
	}
	return arrived(t, "INSERT INTO manifest_refs (child_id, parent_id) SELECT ?, manifest_id FROM awaited", id, nameID, r)
}

func arrived(t tx, insert string, id, nameID int64, r reference) error {
	const which = " WHERE name_id = ? AND digest = ? AND child = ?"
	if _, err := t.exec(insert+which, id, nameID, r.digest, r.kind()); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM awaited"+which, nameID, r.digest, r.kind())
	return err
}
