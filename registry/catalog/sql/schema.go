// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"errors"
	"fmt"
)

// migration is one step of the schema. Steps only add: the release before runs
// on a database that this one has migrated, as long as minCompatible allows it.
type migration struct {
	file string
	// minCompatible is the oldest schema version whose programs can use the
	// database after this step; release is the release line that brought it.
	minCompatible int64
	release       string
}

// migrations in order; the first brings schema version 1.
var migrations = []migration{
	{file: "0001_initial.sql", minCompatible: 1, release: "0.1"},
	// A program without this one would take a blob that a manifest waited for to
	// be without use, and remove it.
	{file: "0002_awaited.sql", minCompatible: 2, release: "0.1"},
	{file: "0003_blobs.sql", minCompatible: 2, release: "0.1"},
}

// schemaVersion is the newest version of the schema that this program knows.
var schemaVersion = int64(len(migrations))

var (
	errForeign     = errors.New("the database belongs to another program; name an empty or a new one")
	errNoInstance  = errors.New("the instance's UID is missing")
	errOtherOwner  = errors.New("the database belongs to another instance")
	errOtherBlobs  = errors.New("the database knows blobs that are elsewhere")
	errNewerSchema = errors.New("the database was written by a newer release")
)

// schema is what a migration sees of a database.
type schema interface {
	tx
	// directory has the dialect's migrations.
	directory() string
	// hasTables reports whether the database has any table, and whether it has
	// ours.
	hasTables() (used, ours bool, err error)
	// script runs statements without arguments that are needed once.
	script(text string) error
}

// migrate brings the schema up to date, or says why this program must not touch
// the database. The transaction around it is the caller's.
func migrate(c schema) error {
	used, ours, err := c.hasTables()
	if err != nil {
		return err
	}
	if used && !ours {
		return errForeign
	}
	var version int64
	if used {
		meta, err := c.first("SELECT schema_version, min_compatible, min_release FROM meta")
		if err != nil {
			return err
		}
		if meta == nil {
			return errForeign
		}
		version = meta.int(0)
		if minCompatible := meta.int(1); minCompatible > schemaVersion {
			return fmt.Errorf("%w: it needs schema version %d and this program has %d; run release line %s or a later one",
				errNewerSchema, minCompatible, schemaVersion, meta.text(2))
		}
	}
	for ; version < schemaVersion; version++ {
		if err := apply(c, version); err != nil {
			return fmt.Errorf("migrate the schema to version %d: %w", version+1, err)
		}
	}
	return nil
}

// apply runs the migration that follows version.
func apply(c schema, version int64) error {
	m := migrations[version]
	text, err := schemaFiles.ReadFile(c.directory() + "/" + m.file)
	if err != nil {
		return err
	}
	if err := c.script(string(text)); err != nil {
		return err
	}
	_, err = c.exec("UPDATE meta SET schema_version = ?, min_compatible = ?, min_release = ?", version+1, m.minCompatible, m.release)
	return err
}

// beginEpoch checks whose database it is, and of which blobs, and opens the next
// epoch.
func beginEpoch(t tx, instanceUID, blobs string, adopt bool) (uint64, error) {
	meta, err := t.first("SELECT instance_uid, epoch, blobs FROM meta FOR UPDATE")
	if err != nil {
		return 0, err
	}
	if meta == nil {
		return 0, errForeign
	}
	if owner := meta.text(0); owner != instanceUID {
		if owner != "" && !adopt {
			return 0, fmt.Errorf("%w: it holds the data of instance UID %s, and this registry serves instance UID %s; start once with --adopt to hand the data over",
				errOtherOwner, owner, instanceUID)
		}
		if _, err := t.exec("UPDATE meta SET instance_uid = ?", instanceUID); err != nil {
			return 0, err
		}
	}
	if known := meta.text(2); known != blobs && blobs != "" {
		if known != "" && !adopt {
			return 0, fmt.Errorf("%w: in %s, and this registry keeps its own in %s; once they are copied there, start with --adopt", errOtherBlobs, known, blobs)
		}
		if _, err := t.exec("UPDATE meta SET blobs = ?", blobs); err != nil {
			return 0, err
		}
	}
	epoch := uint64(meta.int(1)) + 1
	if _, err := t.exec("UPDATE meta SET epoch = ?", epoch); err != nil {
		return 0, err
	}
	_, err = t.exec("INSERT INTO epochs (epoch) VALUES (?)", epoch)
	return epoch, err
}

// endEpoch says that an epoch ended cleanly.
func endEpoch(t tx, epoch uint64) error {
	_, err := t.exec("DELETE FROM epochs WHERE epoch = ?", epoch)
	return err
}
