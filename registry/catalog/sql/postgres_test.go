// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"context"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/catalogtest"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
)

// crasher is a store that can crash.
type crasher struct{ *sql.Store }

func (c crasher) Crash() { sql.Abandon(c.Store) }

// schemas gives each directory of a test a schema.
type schemas struct {
	server *postgrestest.Server
	mu     sync.Mutex
	urls   map[string]string
}

func newSchemas(t testing.TB) *schemas {
	return &schemas{server: postgrestest.Start(t), urls: map[string]string{}}
}

func (s *schemas) url(directory string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urls[directory] == "" {
		s.urls[directory] = s.server.Schema()
	}
	return s.urls[directory]
}

func openURL(ctx context.Context, url string, o catalogtest.Options) (*sql.Store, error) {
	return sql.Open(ctx, sql.TakeOverAfter(sql.Options{
		URL:         url,
		InstanceUID: "uid-1",
		GracePeriod: o.GracePeriod,
		DeleteDelay: o.DeleteDelay,
		Now:         o.Now,
	}, -1))
}

func (s *schemas) open(t testing.TB, directory string, o catalogtest.Options) catalog.Store {
	t.Helper()
	return crasher{s.openStore(t, directory, o)}
}

func (s *schemas) openStore(t testing.TB, directory string, o catalogtest.Options) *sql.Store {
	t.Helper()
	store, err := openURL(t.Context(), s.url(directory), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestStoreOnAServer(t *testing.T) { catalogtest.Run(t, newSchemas(t).open) }
