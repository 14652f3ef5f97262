// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sql keeps the catalog in an SQL database: SQLite in a file, or
// PostgreSQL.
//
// The operations are written once, for both, in SQL that both understand. They
// say which rows they lock; a file has one writer, so there these words are left
// out. How transactions run is each database's own: see embedded and server.
//
// With several writers, the locks make operations on one name follow each other:
// whatever changes a name's content holds the row of the name, and whatever
// changes who links a blob holds the row of the blob. Rows are locked in the
// order uploads, names, blobs, and what was found is read again, or locked
// itself, once the name is held.
package sql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

var errClosed = fmt.Errorf("%w: it is closed", catalog.ErrUnavailable)

// DefaultCacheSize is the CacheSize of Options that say nothing about it.
const DefaultCacheSize = 16 << 20

// Options of Open. InstanceUID is required, and one of Path and URL.
type Options struct {
	// Path of the database's file; it is created if it is missing, its
	// directory is not.
	Path string
	// URL of a PostgreSQL database, as libpq reads it; it may hold a password,
	// and is told nowhere.
	URL string
	// InstanceUID is the UID of the instance whose data this is. A database of
	// another one is refused, unless Adopt hands it over.
	InstanceUID string
	Adopt       bool
	// Blobs names where the blobs are. A database that knows them elsewhere is
	// refused, unless Adopt is set; empty is not compared.
	Blobs string
	// Alone refuses a PostgreSQL database that another running process uses:
	// for a registry whose objects are out of other processes' reach.
	Alone bool
	// Connections to PostgreSQL at most, beside the one that keeps the epoch; 0
	// means DefaultConnections.
	Connections int
	// GracePeriod is how long content may be without a reference before it is
	// forgotten; it bounds how long a push may take. DeleteDelay is how long
	// the bytes of forgotten content are kept on.
	GracePeriod time.Duration
	DeleteDelay time.Duration
	// CacheSize bounds the bytes that are kept in memory: of a file's tags and pages
	// of them, manifests and small blobs, and of the content of PostgreSQL's
	// manifests, of which others may change all else. 0 means DefaultCacheSize, less
	// than 0 keeps nothing.
	CacheSize int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is where the store tells of what it did at start; the zero value
	// discards it.
	Log logr.Logger

	// server is what only tests change.
	server serverOptions
}

// database runs operations in transactions. It is safe for concurrent use.
type database interface {
	// read runs f on a connection that reads. What f reads with one statement
	// is one state of the database.
	read(ctx context.Context, f func(tx) error) error
	// write runs f in a transaction, and returns when that has ended. It may run
	// it again when the transaction failed for no reason of f's. Durable is what
	// survives a crash of the machine. Canceling ctx withdraws what has not
	// begun; what has is completed.
	write(ctx context.Context, durable bool, f func(tx) error) error
	// begin checks whose database it is, and of which blobs, and opens the next epoch.
	begin(ctx context.Context, instanceUID, blobs string, adopt bool) (uint64, error)
	// unclean lists the epochs beside own whose processes are gone for good.
	unclean(ctx context.Context, own uint64) ([]uint64, error)
	// lost is closed when the epoch was taken away.
	lost() <-chan struct{}
	// stats are what it says of itself.
	stats() DatabaseStats
	// close ends all connections, and the epoch unless that is 0; one that is not
	// clean stays to be swept.
	close(epoch uint64, clean bool) error
}

// Store is a catalog.Store.
type Store struct {
	options  Options
	database database
	epoch    uint64
	// cache keeps what a file has, contents what may be kept of a server.
	cache    *cache
	contents *contents
	// young is nil where others write too.
	young   *young
	unclean atomic.Bool
	closed  sync.Once
}

var _ catalog.Store = (*Store)(nil)

// Open opens a database, brings its schema up to date and begins an epoch.
func Open(ctx context.Context, options Options) (*Store, error) {
	s, err := open(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("open the catalog %s: %w", options.place(), err)
	}
	if e, isFile := s.database.(*embedded); isFile {
		go e.serve()
		s.young = newYoung()
		go s.ageUploads(context.WithoutCancel(ctx))
	}
	unclean, err := s.UncleanEpochs(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the catalog %s: %w", options.place(), err), s.Close())
	}
	s.options.Log.Info("Opened the catalog", "place", options.place(), "epoch", s.epoch, "uncleanEpochs", unclean)
	return s, nil
}

// place is where the database is, without what is secret.
func (o Options) place() string {
	if o.URL != "" {
		return "in PostgreSQL"
	}
	return o.Path
}

// open is Open without the goroutine that writes to a file.
func open(ctx context.Context, options Options) (*Store, error) {
	if options.InstanceUID == "" {
		return nil, errNoInstance
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.CacheSize == 0 {
		options.CacheSize = DefaultCacheSize
	}
	s := &Store{options: options, cache: newCache(-1), contents: newContents(-1)}
	if options.URL != "" {
		s.contents = newContents(options.CacheSize)
	} else {
		s.cache = newCache(options.CacheSize)
	}
	var err error
	if options.URL != "" {
		s.database, err = openServer(ctx, options)
	} else {
		s.database, err = openEmbedded(options.Path, s.cache)
	}
	if err != nil {
		return nil, err
	}
	if s.epoch, err = s.database.begin(ctx, options.InstanceUID, options.Blobs, options.Adopt); err != nil {
		if e, isFile := s.database.(*embedded); isFile {
			return nil, errors.Join(err, e.hangUp())
		}
		return nil, errors.Join(err, s.database.close(0, false))
	}
	return s, nil
}

// SweepLater implements catalog.Uploads.
func (s *Store) SweepLater() { s.unclean.Store(true) }

func (s *Store) read(ctx context.Context, f func(tx) error) error { return s.database.read(ctx, f) }

func (s *Store) write(ctx context.Context, durable bool, f func(tx) error) error {
	return s.database.write(ctx, durable, f)
}

// Epoch implements catalog.Store.
func (s *Store) Epoch() uint64 { return s.epoch }

// Lost is closed when the epoch was taken away from this process, which was out
// of the database's sight for too long: the store refuses to change anything
// from then on, and the process is to be started anew. Nil for a file.
func (s *Store) Lost() <-chan struct{} { return s.database.lost() }

// UncleanEpochs implements catalog.Store.
func (s *Store) UncleanEpochs(ctx context.Context) ([]uint64, error) {
	return s.database.unclean(ctx, s.epoch)
}

// Swept implements catalog.Store.
func (s *Store) Swept(ctx context.Context, epoch uint64) error {
	return s.write(ctx, true, func(t tx) error {
		_, err := t.exec("DELETE FROM epochs WHERE epoch = ? AND epoch <> ?", epoch, s.epoch)
		return err
	})
}

// Ping implements catalog.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, func(t tx) error {
		_, err := t.first("SELECT epoch FROM meta")
		return err
	})
}

// Close implements catalog.Store. Operations that wait get an error. Closing
// twice is no error.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		s.closeYoung()
		if err = s.database.close(s.epoch, !s.unclean.Load()); err != nil {
			err = fmt.Errorf("close the catalog %s: %w", s.options.place(), err)
		}
	})
	return err
}
