// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// session is a connection to PostgreSQL while one goroutine has it.
type session struct {
	ctx  context.Context
	conn *pgx.Conn
	// brought says that the caller has seen a row.
	brought bool
}

var _ schema = (*session)(nil)

// numbered holds the queries with PostgreSQL's names for the arguments.
var numbered sync.Map

// numberArguments writes $1, $2, … for question marks. None is in a literal.
func numberArguments(query string) string {
	if known, found := numbered.Load(query); found {
		return known.(string)
	}
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	numbered.Store(query, b.String())
	return b.String()
}

func bindServer(args []any) ([]any, error) {
	values := make([]any, len(args))
	for i, arg := range args {
		value, err := toValue(arg)
		if err != nil {
			return nil, err
		}
		if s, isText := value.(string); isText {
			value = storableText(s)
		}
		values[i] = value
	}
	return values, nil
}

// storableText is s with U+FFFD for what the server refuses in text. Only an
// artifact type can hold such a thing.
func storableText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// limited is a context for one statement.
func (t *session) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, statementTimeout+statementGrace)
}

func (t *session) exec(query string, args ...any) (int64, error) {
	values, err := bindServer(args)
	if err != nil {
		return 0, err
	}
	ctx, cancel := t.limited()
	defer cancel()
	tag, err := t.conn.Exec(ctx, numberArguments(query), values...)
	return tag.RowsAffected(), serverError(err)
}

func (t *session) query(query string, each func(row) error, args ...any) error {
	values, err := bindServer(args)
	if err != nil {
		return err
	}
	ctx, cancel := t.limited()
	defer cancel()
	rows, err := t.conn.Query(ctx, numberArguments(query), values...)
	if err != nil {
		return serverError(err)
	}
	defer rows.Close()
	var r row
	for rows.Next() {
		found, err := rows.Values()
		if err != nil {
			return serverError(err)
		}
		r = r[:0]
		for _, value := range found {
			r = append(r, fromServer(value))
		}
		t.brought = true
		if err := each(r); err != nil {
			return err
		}
	}
	return serverError(rows.Err())
}

// fromServer makes of a column what a row holds.
func fromServer(value any) driver.Value {
	switch v := value.(type) {
	case int32:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case []byte:
		// An empty one is none in a file's rows, too.
		if len(v) == 0 {
			return []byte(nil)
		}
	}
	return value
}

func (t *session) first(query string, args ...any) (row, error) {
	// All rows are read: an error of the statement comes behind them.
	var found row
	err := t.query(query, func(r row) error {
		if found == nil {
			found = append(row{}, r...)
		}
		return nil
	}, args...)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// What a server has is not kept in memory.

func (t *session) changesName(ref.Name)         {}
func (t *session) changesTag(ref.Name, ref.Tag) {}

// directory implements schema.
func (t *session) directory() string { return "postgres" }

// hasTables implements schema.
func (t *session) hasTables() (used, ours bool, err error) {
	found, err := t.first(`SELECT count(*), count(CASE WHEN relname = 'meta' THEN 1 END) FROM pg_class
		WHERE relkind IN ('r', 'p') AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())`)
	if err != nil {
		return false, false, err
	}
	return found.int(0) > 0, found.int(1) > 0, nil
}

// script implements schema.
func (t *session) script(text string) error {
	_, err := t.scripted(text)
	return err
}

// scripted runs statements without arguments, which the server takes all at once.
// It returns the number of rows that the last of them changed.
func (t *session) scripted(text string) (changed int64, err error) {
	ctx, cancel := t.limited()
	defer cancel()
	results, err := t.conn.PgConn().Exec(ctx, text).ReadAll()
	if err != nil {
		return 0, serverError(err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[len(results)-1].CommandTag.RowsAffected(), nil
}

// transact runs f in a transaction whose outcome need not be known: what it does
// can be done again.
func (t *session) transact(f func() error) error {
	if _, err := t.exec("BEGIN"); err != nil {
		return err
	}
	if err := f(); err != nil {
		t.rollback()
		return err
	}
	return t.commit()
}

// commit ends the transaction. The server answers the COMMIT of one that failed
// with a ROLLBACK, and no error.
func (t *session) commit() error {
	ctx, cancel := t.limited()
	defer cancel()
	tag, err := t.conn.Exec(ctx, "COMMIT")
	if err != nil {
		return serverError(err)
	}
	if tag.String() != "COMMIT" {
		return fmt.Errorf("the transaction ended with %s", tag)
	}
	return nil
}

// rollback ends a transaction that failed; if that fails as well, the connection
// is of no more use, and the server ends the transaction with it.
func (t *session) rollback() {
	if _, err := t.exec("ROLLBACK"); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), statementGrace)
		defer cancel()
		_ = t.conn.Close(ctx)
	}
}
