// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/packages-operator/packages-operator/registry/catalog"
)

// DefaultConnections is the Connections of Options that say nothing about it.
const DefaultConnections = 16

const (
	// statementTimeout bounds a statement in the server; statementGrace is how
	// much later the connection is given up for a server that does not answer.
	statementTimeout = 30 * time.Second
	statementGrace   = 5 * time.Second
	connectTimeout   = 10 * time.Second
	// retries bounds how often what failed for no reason of its own is tried
	// again; the pauses between grow from retryPause, and double.
	retries    = 10
	retryPause = 5 * time.Millisecond
)

// sessionSettings hold unless the URL says otherwise.
var sessionSettings = map[string]string{
	"application_name":                    "packages-operator",
	"statement_timeout":                   fmt.Sprint(statementTimeout.Milliseconds()),
	"lock_timeout":                        "10000",
	"idle_in_transaction_session_timeout": "60000",
	// The server notices within a minute that a machine is gone.
	"tcp_keepalives_idle":     "30",
	"tcp_keepalives_interval": "10",
	"tcp_keepalives_count":    "3",
}

var (
	errURL     = errors.New("the URL of the database cannot be read: write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, with percent-encoding")
	errOffline = errors.New("the database does not answer")
	errNoUTF8  = errors.New("the database's encoding is not UTF8")
	errSchema  = errors.New("the database has no schema for this user: name one that exists in search_path")
)

// serverOptions are the times of a server.
type serverOptions struct {
	// takeover is how long a process must be out of sight before its epoch is
	// another's to sweep; less than 0 means at once.
	takeover time.Duration
	// keepInterval is how often a process makes sure of its own.
	keepInterval time.Duration
	// outcomeTimeout bounds how long the outcome of a COMMIT is looked for.
	outcomeTimeout time.Duration
	// dial is how connections are opened; nil is the driver's way.
	dial pgconn.DialFunc
}

func (o serverOptions) withDefaults() serverOptions {
	o.takeover = cmp.Or(o.takeover, defaultTakeover)
	o.keepInterval = cmp.Or(o.keepInterval, defaultKeepInterval)
	o.outcomeTimeout = cmp.Or(o.outcomeTimeout, defaultOutcomeTimeout)
	return o
}

// server is a PostgreSQL database, which several processes change at once.
type server struct {
	pool     *pgxpool.Pool
	config   *pgx.ConnConfig
	options  Options
	instance string

	// slots are those rows of the table transactions that are this process's;
	// who has one may run a transaction that writes.
	slots   chan *slot
	pending atomic.Int64
	commits atomic.Uint64
	epoch   uint64
	closing chan struct{}

	// keeper says to all others that this process lives.
	keeper     *pgx.Conn
	stopKeeper context.CancelFunc
	kept       sync.WaitGroup
	lostEpoch  chan struct{}
}

var _ database = (*server)(nil)

// openServer connects, and brings the schema up to date.
func openServer(ctx context.Context, options Options) (_ *server, err error) {
	config, err := pgxpool.ParseConfig(options.URL)
	// What has no scheme the parser reads as a list of settings, and mistakes
	// turn into defaults.
	scheme, _, _ := strings.Cut(options.URL, "://")
	if err != nil || scheme != "postgres" && scheme != "postgresql" {
		// The parser's own words hold parts of the URL.
		return nil, errURL
	}
	if options.Connections == 0 {
		options.Connections = DefaultConnections
	}
	if options.Alone && options.server.takeover == 0 {
		// Who is alone has made sure that others are gone.
		options.server.takeover = -1
	}
	options.server = options.server.withDefaults()
	if dial := options.server.dial; dial != nil {
		config.ConnConfig.DialFunc = dial
	}
	config.MaxConns = int32(options.Connections)
	config.MaxConnLifetime = time.Hour
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.MaxConnIdleTime = 5 * time.Minute
	conn := config.ConnConfig
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	if conn.ValidateConnect == nil {
		// Of several hosts, or after a failover, the one that may be written.
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for name, value := range sessionSettings {
		if _, set := conn.RuntimeParams[name]; !set {
			conn.RuntimeParams[name] = value
		}
	}
	// Acknowledged is durable, whatever the server does for others.
	config.AfterConnect = insistOnDurability
	s := &server{
		config:    conn.Copy(),
		options:   options,
		slots:     make(chan *slot, options.Connections),
		closing:   make(chan struct{}),
		lostEpoch: make(chan struct{}),
	}
	if s.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return nil, serverError(err)
	}
	if s.keeper, err = s.connect(ctx); err != nil {
		s.pool.Close()
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.hangUp())
	}
	return s, nil
}

// connect opens the keeper's connection.
func (s *server) connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, s.config.Copy())
	if err != nil {
		return nil, serverError(err)
	}
	if err := insistOnDurability(ctx, c); err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return c, nil
}

func insistOnDurability(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return serverError(err)
}

// prepare checks the database and brings its schema up to date.
func (s *server) prepare(ctx context.Context) error {
	t := &session{ctx: ctx, conn: s.keeper}
	about, err := t.first(`SELECT current_setting('server_encoding'), current_setting('fsync'),
		current_setting('full_page_writes'), current_schema()`)
	if err != nil {
		return err
	}
	switch {
	case about.text(0) != "UTF8":
		return fmt.Errorf("%w but %s", errNoUTF8, about.text(0))
	case about.null(3):
		return errSchema
	case about.text(1) == "off" || about.text(2) == "off":
		s.options.Log.Info("The database's server does not write for good: a crash of its machine may lose or damage what was acknowledged",
			"fsync", about.text(1), "full_page_writes", about.text(2))
	}
	// Two instances may be in one database, in schemas of their own.
	s.instance = about.text(3) + "\x00" + s.options.InstanceUID
	return t.transact(func() error {
		// Of several processes that start, one migrates.
		if _, err := t.first("SELECT 1 FROM pg_advisory_xact_lock(?)", lockKey("schema", about.text(3), 0)); err != nil {
			return err
		}
		return migrate(t)
	})
}

func (s *server) hangUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	err := s.keeper.Close(ctx)
	s.pool.Close()
	return err
}

// stats implements database.
func (s *server) stats() DatabaseStats {
	pool := s.pool.Stat()
	return DatabaseStats{
		Commits: s.commits.Load(), Pending: s.pending.Load(),
		Idle: int(pool.IdleConns()), Busy: int(pool.AcquiredConns()), Max: int(pool.MaxConns()),
	}
}

// lost implements database.
func (s *server) lost() <-chan struct{} { return s.lostEpoch }

// close implements database. Operations that have begun are completed.
func (s *server) close(epoch uint64, clean bool) error {
	var err error
	if epoch != 0 {
		// With all slots in hand nobody else writes.
		slots := make([]*slot, 0, cap(s.slots))
		for range cap(s.slots) {
			slots = append(slots, <-s.slots)
		}
		close(s.closing)
		s.stopKeeper()
		s.kept.Wait()
		select {
		case <-s.lostEpoch:
			clean = false
		default:
		}
		if clean {
			_, err = s.transact(context.Background(), slots[0], true, func(t tx) error { return endEpoch(t, epoch) })
		}
	}
	return errors.Join(err, s.hangUp())
}

// read implements database. A connection that turns out to be broken before it
// brought a row is replaced.
func (s *server) read(ctx context.Context, f func(tx) error) error {
	return available(s.retry(ctx, func() (bool, error) {
		select {
		case <-s.closing:
			return false, errClosed
		default:
		}
		c, err := s.pool.Acquire(ctx)
		if err != nil {
			return ctx.Err() == nil, s.acquireError(ctx, err)
		}
		defer c.Release()
		t := &session{ctx: context.WithoutCancel(ctx), conn: c.Conn()}
		err = f(t)
		return !t.brought && transient(err), err
	}))
}

func (s *server) acquireError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", errOffline, serverError(err))
}

// retry runs once until it says that trying again is of no use, and at most
// retries times more.
func (s *server) retry(ctx context.Context, once func() (again bool, err error)) error {
	for attempt := 0; ; attempt++ {
		again, err := once()
		if err == nil || !again || attempt == retries {
			return err
		}
		select {
		case <-time.After(jittered(retryPause << attempt)):
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return errClosed
		}
	}
}

// transient says of an error that the same statements may succeed when they are
// run again: the server gave way to another transaction, or is not there.
func transient(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		// It took its time already.
		return false
	}
	if errors.Is(err, errOffline) {
		return true
	}
	failure, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		return errors.Is(err, errConnection)
	}
	switch failure.Code {
	case "40001", "40P01", // serialization failure, deadlock
		"25006",                   // this server became a standby
		"57P01", "57P02", "57P03", // it ends, crashed, or starts
		"53300": // it has too many connections
		return true
	}
	return strings.HasPrefix(failure.Code, "08")
}

// available says of an error that comes from a server which is away, or is too busy,
// that it is that.
func available(err error) error {
	if err == nil || errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, catalog.ErrOutcomeUnknown) {
		return err
	}
	failure, answered := errors.AsType[*pgconn.PgError](err)
	switch {
	case transient(err) || errors.Is(err, errConnection) || errors.Is(err, errLost):
	case answered && (failure.Code == "55P03" || failure.Code == "57014" || failure.Code == "53200"):
		// It took too long, or memory is short.
	default:
		return err
	}
	return fmt.Errorf("%w: %w", catalog.ErrUnavailable, err)
}

// errConnection marks errors of the connection, not of the server behind it.
var errConnection = errors.New("the connection to the database failed")

// serverError says in the catalog's words what a driver's error means, without
// the parts of the URL that some hold.
func serverError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if failure, answered := errors.AsType[*pgconn.PgError](err); answered {
		switch failure.Code {
		case "53100":
			return fmt.Errorf("%w: %w", catalog.ErrNoSpace, failure)
		case "55P03", "57014":
			return fmt.Errorf("the database takes too long: %w", failure)
		}
		return failure
	}
	if failed, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		// Its own text names user and database.
		err = failed.Unwrap()
	}
	return fmt.Errorf("%w: %w", errConnection, err)
}
