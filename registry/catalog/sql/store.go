// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sql keeps the catalog in an SQL database: SQLite in a file.
//
// One goroutine writes. It runs the operations that wait in one transaction,
// each in a savepoint, and answers them after the shared COMMIT, so that many
// pushes share one fsync. Reads use connections of their own and never wait for
// a write.
package sql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

var errClosed = errors.New("the catalog is closed")

// DefaultCacheSize is the CacheSize of Options that say nothing about it.
const DefaultCacheSize = 16 << 20

// Options of Open. Path and InstanceUID are required.
type Options struct {
	// Path of the database's file; it is created if it is missing, its
	// directory is not.
	Path string
	// InstanceUID is the UID of the instance whose data this is. A database of
	// another one is refused, unless Adopt hands it over.
	InstanceUID string
	Adopt       bool
	// GracePeriod is how long content may be without a reference before it is
	// forgotten; it bounds how long a push may take. DeleteDelay is how long
	// the bytes of forgotten content are kept on.
	GracePeriod time.Duration
	DeleteDelay time.Duration
	// CacheSize bounds the bytes of tags, manifests and small blobs that are
	// kept in memory; 0 means DefaultCacheSize, less than 0 keeps nothing.
	CacheSize int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is where the store tells of what it did at start; the zero value
	// discards it.
	Log logr.Logger
}

// Store is a catalog.Store.
type Store struct {
	options Options
	epoch   uint64

	// Only serve, and Close after it, use writer, durable and changed.
	writer  *conn
	durable bool
	queue   chan *operation
	closing chan struct{}
	served  chan struct{}
	closed  sync.Once

	// changed is what the transaction under way makes wrong in the cache.
	changed changes

	readers chan *conn
	cache   *cache
}

var _ catalog.Store = (*Store)(nil)

// Open opens a database, brings its schema up to date and begins an epoch.
func Open(ctx context.Context, options Options) (*Store, error) {
	s, err := open(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("open the catalog %s: %w", options.Path, err)
	}
	go s.serve()
	return s, nil
}

// open is Open without the goroutine that writes.
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
	path, err := filepath.Abs(options.Path)
	if err != nil {
		return nil, err
	}
	options.Path = path
	s := &Store{
		options: options,
		durable: true,
		queue:   make(chan *operation),
		closing: make(chan struct{}),
		served:  make(chan struct{}),
		changed: changes{},
		cache:   newCache(options.CacheSize),
	}
	if err := s.dial(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// dial opens the connections and begins the epoch.
func (s *Store) dial(ctx context.Context) (err error) {
	if err := prepareFile(s.options.Path); err != nil {
		return err
	}
	if s.writer, err = dialWriter(s.options.Path); err != nil {
		return err
	}
	// As many readers as can work at once, and a few that wait for the disk.
	s.readers = make(chan *conn, runtime.GOMAXPROCS(0)+2)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.hangUp())
		}
	}()
	if err := migrate(s.writer); err != nil {
		return err
	}
	for range cap(s.readers) {
		reader, err := dialReader(s.options.Path)
		if err != nil {
			return err
		}
		s.readers <- reader
	}
	first := &operation{durable: true, done: make(chan struct{}), run: func(t tx) error {
		s.epoch, err = beginEpoch(t, s.options.InstanceUID, s.options.Adopt)
		return err
	}}
	s.commit([]*operation{first})
	if first.err != nil {
		return first.err
	}
	if err := syncDirectory(s.options.Path); err != nil {
		return err
	}
	unclean, err := s.UncleanEpochs(ctx)
	if err != nil {
		return err
	}
	s.options.Log.Info("Opened the catalog", "path", s.options.Path, "epoch", s.epoch, "uncleanEpochs", unclean)
	return nil
}

// hangUp closes every connection that is not in use, the writer last: it then
// moves the log into the database's file.
func (s *Store) hangUp() error {
	var errs []error
	for range len(s.readers) {
		errs = append(errs, (<-s.readers).close())
	}
	return errors.Join(append(errs, s.writer.close())...)
}

// read runs f on a connection that reads. What f reads with one statement is
// one state of the database.
func (s *Store) read(ctx context.Context, f func(tx) error) error {
	select {
	case <-s.closing:
		return errClosed
	default:
	}
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return f(c)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return errClosed
	}
}

// Epoch implements catalog.Store.
func (s *Store) Epoch() uint64 { return s.epoch }

// UncleanEpochs implements catalog.Store.
func (s *Store) UncleanEpochs(ctx context.Context) ([]uint64, error) {
	var epochs []uint64
	err := s.read(ctx, func(t tx) error {
		return t.query("SELECT epoch FROM epochs WHERE epoch < ? ORDER BY epoch", func(r row) error {
			epochs = append(epochs, uint64(r.int(0)))
			return nil
		}, s.epoch)
	})
	return epochs, err
}

// Swept implements catalog.Store.
func (s *Store) Swept(ctx context.Context, epoch uint64) error {
	return s.write(ctx, true, func(t tx) error {
		_, err := t.exec("DELETE FROM epochs WHERE epoch = ? AND epoch < ?", epoch, s.epoch)
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
	s.closed.Do(func() { err = s.shutDown() })
	return err
}

func (s *Store) shutDown() error {
	close(s.closing)
	<-s.served
	last := &operation{durable: true, done: make(chan struct{}), run: func(t tx) error {
		_, err := t.exec("DELETE FROM epochs WHERE epoch = ?", s.epoch)
		return err
	}}
	s.commit([]*operation{last})
	errs := []error{last.err}
	// Wait for reads that are under way.
	for range cap(s.readers) {
		errs = append(errs, (<-s.readers).close())
	}
	errs = append(errs, s.writer.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the catalog %s: %w", s.options.Path, err)
	}
	return nil
}
