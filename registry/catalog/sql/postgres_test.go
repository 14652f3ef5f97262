// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/catalogtest"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/ref"
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
	t.Helper()
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

// atOnce takes over what is gone at once.
var atOnce = sql.ServerOptions{Takeover: -1, KeepInterval: 50 * time.Millisecond}

// onServer are options of a store on a server.
func onServer(url string, o catalogtest.Options) sql.Options {
	return sql.Options{URL: url, InstanceUID: "uid-1", GracePeriod: o.GracePeriod, DeleteDelay: o.DeleteDelay, Now: o.Now}
}

func mustOpen(t testing.TB, o sql.Options) *sql.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), o)
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

func (s *schemas) open(t testing.TB, directory string, o catalogtest.Options) catalog.Store {
	t.Helper()
	return crasher{mustOpen(t, atOnce.On(onServer(s.url(directory), o)))}
}

func (s *schemas) openTwo(t testing.TB, directory string, o catalogtest.Options) catalog.Store {
	t.Helper()
	options := atOnce.On(onServer(s.url(directory), o))
	return sql.Alternate(mustOpen(t, options), mustOpen(t, options))
}

func TestStoreOnAServer(t *testing.T) { catalogtest.Run(t, newSchemas(t).open) }

func TestTwoStoresOnAServer(t *testing.T) {
	s := newSchemas(t)
	t.Run("Random", func(t *testing.T) { catalogtest.Random(t, s.openTwo) })
	t.Run("Concurrency", func(t *testing.T) { catalogtest.Concurrency(t, s.openTwo) })
}

func wantUnclean(t *testing.T, s *sql.Store, want ...uint64) {
	t.Helper()
	// The server notices the end of a connection a moment later.
	var got []uint64
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if got, err = s.UncleanEpochs(t.Context()); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("unclean epochs are %v, want %v", got, want)
}

func TestOnlyEpochsOfProcessesThatAreGoneAreUnclean(t *testing.T) {
	options := atOnce.On(onServer(postgrestest.Start(t).Schema(), crashOptions()))
	first, second, third := mustOpen(t, options), mustOpen(t, options), mustOpen(t, options)
	wantUnclean(t, first)
	wantUnclean(t, third)
	sql.Abandon(second)
	wantUnclean(t, first, second.Epoch())
	wantUnclean(t, third, second.Epoch())
	if err := third.Swept(t.Context(), second.Epoch()); err != nil {
		t.Fatal(err)
	}
	wantUnclean(t, first)
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnclean(t, first)
}

func TestAProcessThatLostItsEpochChangesNothing(t *testing.T) {
	options := atOnce.On(onServer(postgrestest.Start(t).Schema(), crashOptions()))
	lost, other := mustOpen(t, options), mustOpen(t, options)
	b, m := crashImage("1")
	if _, err := lost.PutBlob(t.Context(), crashName, b); err != nil {
		t.Fatal(err)
	}
	sql.HideFrom(lost)
	wantUnclean(t, other, lost.Epoch())
	if err := lost.PutManifest(t.Context(), crashName, m, []ref.Tag{"1"}); !errors.Is(err, sql.ErrLost) {
		t.Fatalf("error is %v, want that the epoch is lost", err)
	}
	if _, err := other.ResolveTag(t.Context(), crashName, "1"); !errors.Is(err, catalog.ErrManifestUnknown) {
		t.Fatalf("error is %v: the tag is there", err)
	}
	select {
	case <-lost.Lost():
		t.Fatal("the process is told before it looked")
	default:
	}
	sql.ShowAgain(lost)
	select {
	case <-lost.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the process is not told")
	}
}

func TestAProcessThatIsOutOfSightForAWhileKeepsItsEpoch(t *testing.T) {
	server := postgrestest.Start(t)
	patient := sql.ServerOptions{Takeover: time.Hour, KeepInterval: 50 * time.Millisecond}
	options := patient.On(onServer(server.Schema(), crashOptions()))
	hidden, other := mustOpen(t, options), mustOpen(t, options)
	sql.HideFrom(hidden)
	// One of these finds its lock free.
	for range 20 {
		wantUnclean(t, other)
		time.Sleep(10 * time.Millisecond)
	}
	sql.ShowAgain(hidden)
	// Once its lock is back, and not before, not even the impatient take it for
	// gone.
	sql.AwaitLock(t, hidden)
	for deadline := time.Now().Add(10 * time.Second); server.Ask(options.URL, "SELECT count(*) FROM epochs WHERE gone_since IS NOT NULL") != "0"; {
		if time.Now().After(deadline) {
			t.Fatal("its next absence counts from the one before")
		}
	}
	wantUnclean(t, mustOpen(t, atOnce.On(onServer(options.URL, crashOptions()))))
	b, _ := crashImage("1")
	if _, err := hidden.PutBlob(t.Context(), crashName, b); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesOnAServer(t *testing.T) {
	server := postgrestest.Start(t)
	server.Execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
	used := func(t *testing.T) string {
		url := server.Schema()
		if err := mustOpen(t, onServer(url, crashOptions())).Close(); err != nil {
			t.Fatal(err)
		}
		return url
	}
	schemaOf := func(url string) string { return url[strings.LastIndex(url, "=")+1:] }
	for _, test := range []struct {
		name string
		url  func(t *testing.T) string
		want []string
		then func(*sql.Options)
	}{
		{"another instance's database", used, []string{"instance UID uid-1", "instance UID uid-2", "--adopt"},
			func(o *sql.Options) { o.InstanceUID = "uid-2" }},
		{"another program's database", func(*testing.T) string {
			url := server.Schema()
			server.Execute("CREATE TABLE " + schemaOf(url) + ".letters (id INTEGER)")
			return url
		}, []string{"belongs to another program"}, nil},
		{"a newer schema", func(t *testing.T) string {
			url := used(t)
			server.Execute("UPDATE " + schemaOf(url) + ".meta SET schema_version = 9, min_compatible = 8, min_release = '3.2'")
			return url
		}, []string{"needs schema version 8", "this program has 3", "release line 3.2"}, nil},
		{"a schema that is not there", func(*testing.T) string { return server.URL() + "&search_path=nowhere" },
			[]string{"search_path"}, nil},
		{"an encoding that loses letters", func(*testing.T) string {
			return strings.Replace(server.URL(), "/postgres?", "/ascii?", 1)
		}, []string{"encoding is not UTF8 but SQL_ASCII"}, nil},
		{"a scheme that is none", func(*testing.T) string {
			return strings.Replace(server.URL(), "postgres:", "postgrse:", 1)
		}, []string{"cannot be read"}, nil},
		{"another password", func(*testing.T) string {
			return strings.Replace(server.URL(), ":"+postgrestest.Password, ":"+postgrestest.Password+"x", 1)
		}, []string{"password authentication failed"}, nil},
		{"a server that is not there", func(*testing.T) string {
			return "postgres://postgres:" + postgrestest.Password + "@127.0.0.1:1/postgres"
		}, []string{"connection refused"}, nil},
		{"a URL that is none", func(*testing.T) string {
			return "postgres://postgres:" + postgrestest.Password + "%zz@host/db"
		}, []string{"cannot be read", "postgres://USER:PASSWORD@"}, nil},
		{"a running process beside one that must be alone", func(t *testing.T) string {
			url := server.Schema()
			mustOpen(t, onServer(url, crashOptions()))
			return url
		}, []string{"another registry that runs uses the database"}, func(o *sql.Options) { o.Alone = true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := test.url(t)
			var said strings.Builder
			o := onServer(url, crashOptions())
			o.Log = funcr.New(func(prefix, args string) { said.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 9})
			if test.then != nil {
				test.then(&o)
			}
			s, err := sql.Open(t.Context(), o)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			for _, secret := range []string{postgrestest.Password, url} {
				if text := said.String() + err.Error(); strings.Contains(text, secret) {
					t.Errorf("%q is told: %s", secret, text)
				}
			}
		})
	}
}

func TestAProcessThatIsAloneFollowsOneThatEnded(t *testing.T) {
	o := onServer(postgrestest.Start(t).Schema(), crashOptions())
	o.Alone = true
	first := mustOpen(t, o)
	opened := make(chan error, 1)
	go func() {
		s, err := sql.Open(context.WithoutCancel(t.Context()), o)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	sql.Abandon(first)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}
