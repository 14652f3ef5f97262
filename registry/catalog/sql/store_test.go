// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/catalogtest"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
)

func open(t testing.TB, directory string, o catalogtest.Options) catalog.Store {
	t.Helper()
	return openWith(t, directory, o, 0)
}

func openUncached(t testing.TB, directory string, o catalogtest.Options) catalog.Store {
	t.Helper()
	return openWith(t, directory, o, -1)
}

func openPath(ctx context.Context, directory string, o catalogtest.Options, cacheSize int) (*sql.Store, error) {
	return sql.Open(ctx, sql.Options{
		Path:        filepath.Join(directory, "catalog.db"),
		InstanceUID: "uid-1",
		GracePeriod: o.GracePeriod,
		DeleteDelay: o.DeleteDelay,
		CacheSize:   cacheSize,
		Now:         o.Now,
	})
}

func openWith(t testing.TB, directory string, o catalogtest.Options, cacheSize int) catalog.Store {
	t.Helper()
	s, err := openPath(t.Context(), directory, o, cacheSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) { catalogtest.Run(t, open) }

func TestStoreWithoutCache(t *testing.T) { catalogtest.Random(t, openUncached) }
