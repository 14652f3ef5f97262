// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// tx is what an operation sees of the database: statements, without the
// transaction around them. Arguments are strings, integers, bools, bytes,
// times, nil, and the types of package ref.
type tx interface {
	// exec returns the number of rows that the statement changed.
	exec(query string, args ...any) (int64, error)
	// query calls each with every row, whose columns are read until it returns.
	query(query string, each func(row) error, args ...any) error
	// first returns the first row, nil when there is none.
	first(query string, args ...any) (row, error)
	// changesName and changesTag tell what the operation makes wrong of what is
	// kept in memory: anything in a name, or one tag of it, which may be new, and the pages.
	changesName(name ref.Name)
	changesTag(name ref.Name, tag ref.Tag)
}

// row is one row of a result, read by column number.
type row []driver.Value

func (r row) null(i int) bool { return r[i] == nil }

func (r row) text(i int) string {
	s, _ := r[i].(string)
	return s
}

func (r row) int(i int) int64 {
	n, _ := r[i].(int64)
	return n
}

// bytes is nil for NULL and for no bytes.
func (r row) bytes(i int) []byte {
	b, _ := r[i].([]byte)
	return b
}

func (r row) time(i int) time.Time { return time.UnixMicro(r.int(i)).UTC() }

// statement is what this package uses of a driver's statement.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// conn is one connection with its prepared statements, for one goroutine at a
// time. It uses the driver without database/sql, whose pool, argument
// conversion and copying of results cost more than a look-up itself.
type conn struct {
	raw        driver.Conn
	statements map[string]statement
	args       []driver.NamedValue
	// changed is what the transaction under way makes wrong in the cache.
	changed changes
}

var _ tx = (*conn)(nil)

// prepared returns the statement for a query, which is compiled once.
func (c *conn) prepared(query string) (statement, error) {
	if s, found := c.statements[query]; found {
		return s, nil
	}
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

func (c *conn) prepare(query string) (statement, error) {
	prepared, err := c.raw.Prepare(withoutLocks(query))
	if err != nil {
		return nil, storeError(err)
	}
	return prepared.(statement), nil
}

// bind returns args as the driver wants them, in a slice that the next call
// reuses.
func (c *conn) bind(args []any) ([]driver.NamedValue, error) {
	c.args = c.args[:0]
	for i, arg := range args {
		value, err := toValue(arg)
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: value})
	}
	return c.args, nil
}

// toValue converts an argument to what both databases' drivers take.
func toValue(arg any) (driver.Value, error) {
	switch v := arg.(type) {
	case nil, string, int64, []byte:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return int64(v), nil
	case time.Time:
		return v.UnixMicro(), nil
	case ref.Name:
		return string(v), nil
	case ref.Digest:
		return string(v), nil
	case ref.Tag:
		return string(v), nil
	case ref.Algorithm:
		return string(v), nil
	}
	return nil, fmt.Errorf("statement argument of type %T", arg)
}

func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepared(query)
	if err != nil {
		return 0, err
	}
	values, err := c.bind(args)
	if err != nil {
		return 0, err
	}
	// The background context spares a goroutine per statement; statements are
	// short, and what has begun is completed.
	result, err := s.ExecContext(context.Background(), values)
	if err != nil {
		return 0, storeError(err)
	}
	return result.RowsAffected()
}

func (c *conn) query(query string, each func(row) error, args ...any) error {
	s, err := c.prepared(query)
	if err != nil {
		return err
	}
	return c.run(s, each, args)
}

func (c *conn) run(s statement, each func(row) error, args []any) (err error) {
	values, err := c.bind(args)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), values)
	if err != nil {
		return storeError(err)
	}
	defer func() {
		if closeErr := rows.Close(); err == nil && closeErr != nil {
			err = storeError(closeErr)
		}
	}()
	r := make(row, len(rows.Columns()))
	for {
		if err := rows.Next(r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return storeError(err)
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// errEnough ends a query early.
var errEnough = errors.New("enough rows")

func (c *conn) first(query string, args ...any) (row, error) {
	var found row
	err := c.query(query, func(r row) error {
		found = r
		return errEnough
	}, args...)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return found, nil
}

func (c *conn) changesName(name ref.Name) { c.changed.name(name) }

func (c *conn) changesTag(name ref.Name, tag ref.Tag) { c.changed.tag(name, tag) }

// script runs statements without arguments that are needed once; results are
// dropped.
func (c *conn) script(text string) error {
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), nil)
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	return storeError(err)
}

// ask runs a query that is needed once and returns its first row.
func (c *conn) ask(query string) (row, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	var found row
	err = c.run(s, func(r row) error {
		found = r
		return errEnough
	}, nil)
	if errors.Is(err, errEnough) {
		err = nil
	}
	if closeErr := s.Close(); err == nil {
		err = storeError(closeErr)
	}
	return found, err
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}
