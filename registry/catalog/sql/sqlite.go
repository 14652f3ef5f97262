// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

// What is SQLite's own is in this file: how a connection is opened and
// configured, how a transaction begins and how durable its end is, what the
// driver's errors mean, and the schema in sqlite/.

//go:embed sqlite/*.sql postgres/*.sql
var schemaFiles embed.FS

const (
	sqlBegin      = "BEGIN IMMEDIATE"
	sqlCommit     = "COMMIT"
	sqlRollback   = "ROLLBACK"
	sqlSavepoint  = "SAVEPOINT operation"
	sqlRelease    = "RELEASE operation"
	sqlRollbackTo = "ROLLBACK TO operation"
)

// Caches in KiB, of the connection that writes, and of all those that read together.
// They are for the upper pages of the trees: what lies below, the kernel has as well.
const (
	writerCache  = 4 << 10
	readersCache = 4 << 10
)

// Another program (a backup) may hold the lock for busy_timeout milliseconds.
var (
	commonSettings = []string{
		"PRAGMA busy_timeout = 10000",
		"PRAGMA temp_store = MEMORY",
	}
	writerSettings = []string{
		// COMMIT does not wait for the disk: embedded syncs the log beside it. With
		// FULL, SQLite would do no more than that within COMMIT. Before it moves
		// the log into the database, it syncs both itself.
		"PRAGMA synchronous = NORMAL",
		"PRAGMA foreign_keys = ON",
		fmt.Sprintf("PRAGMA cache_size = -%d", writerCache),
		"PRAGMA wal_autocheckpoint = 8000",
		"PRAGMA journal_size_limit = 67108864",
	}
	readerSettings = []string{
		"PRAGMA query_only = ON",
	}
)

// prepareFile makes sure that the database's file can be written, so that a
// failure is told in the operating system's words, and that nobody else reads
// it.
func prepareFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func dial(path string, settings []string) (*conn, error) {
	// The path is escaped by hand: url.URL leaves characters that SQLite's URI
	// parser gives a meaning.
	name := "file:" + strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
	raw, err := (&sqlite.Driver{}).Open(name)
	if err != nil {
		return nil, storeError(err)
	}
	c := &conn{raw: raw, statements: map[string]statement{}, changed: changes{}}
	for _, setting := range append(commonSettings[:len(commonSettings):len(commonSettings)], settings...) {
		if err := c.script(setting); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// dialWriter opens the connection that writes. It is the first to be opened and
// the last to be closed.
func dialWriter(path string) (*conn, error) {
	c, err := dial(path, writerSettings)
	if err != nil {
		return nil, err
	}
	mode, err := c.ask("PRAGMA journal_mode = WAL")
	if err == nil && mode.text(0) != "wal" {
		err = fmt.Errorf("the file system does not support a write-ahead log (journal mode %q)", mode.text(0))
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// dialReader opens one of so many readers.
func dialReader(path string, readers int) (*conn, error) {
	return dial(path, append(slices.Clip(readerSettings), fmt.Sprintf("PRAGMA cache_size = -%d", readersCache/readers)))
}

// withoutLocks is a statement without the words at its end that lock rows: one
// connection writes at a time.
func withoutLocks(query string) string {
	query, _, _ = strings.Cut(query, "FOR UPDATE")
	return query
}

// directory implements schema.
func (c *conn) directory() string { return "sqlite" }

// hasTables implements schema.
func (c *conn) hasTables() (used, ours bool, err error) {
	found, err := c.ask("SELECT count(*), count(CASE WHEN name = 'meta' THEN 1 END) FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		return false, false, err
	}
	return found.int(0) > 0, found.int(1) > 0, nil
}

// storeError says in the catalog's words what a driver's error means.
func storeError(err error) error {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Code() {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE:
		return fmt.Errorf("%w: %w", catalog.ErrNoSpace, err)
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: another program locks the database: %w", catalog.ErrUnavailable, err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is not a database: %w", err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the database is damaged; restore it from a backup: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the database cannot be written: %w", err)
	}
	return err
}
