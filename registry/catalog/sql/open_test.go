// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func openClosed(t *testing.T, options Options) error {
	t.Helper()
	s, err := Open(t.Context(), options)
	if err != nil {
		return err
	}
	return s.Close()
}

// alter runs a script on a database that no store has open.
func alter(t *testing.T, path, script string) {
	t.Helper()
	c, err := dialWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script(script), c.close()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	create := func(t *testing.T, path string) {
		t.Helper()
		if err := openClosed(t, Options{Path: path, InstanceUID: "uid-1"}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(t *testing.T, path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		options Options
		want    []string
	}{
		{
			name: "a file that is not a database",
			prepare: func(t *testing.T, path string) {
				write(t, path, strings.Repeat("This is a letter to a friend. ", 100))
			},
			options: Options{InstanceUID: "uid-1"},
			want:    []string{"the file is not a database"},
		},
		{
			name: "a damaged database",
			prepare: func(t *testing.T, path string) {
				create(t, path)
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for i := 100; i < len(content); i++ {
					content[i] = 0xff
				}
				write(t, path, string(content))
			},
			options: Options{InstanceUID: "uid-1"},
			want:    []string{"the database is damaged; restore it from a backup"},
		},
		{
			name: "another program's database",
			prepare: func(t *testing.T, path string) {
				alter(t, path, "CREATE TABLE letters (id INTEGER PRIMARY KEY)")
			},
			options: Options{InstanceUID: "uid-1"},
			want:    []string{"belongs to another program"},
		},
		{
			name: "another instance's database",
			prepare: func(t *testing.T, path string) {
				create(t, path)
			},
			options: Options{InstanceUID: "uid-2"},
			want:    []string{"instance UID uid-1", "instance UID uid-2", "--adopt"},
		},
		{
			name: "a newer schema",
			prepare: func(t *testing.T, path string) {
				create(t, path)
				alter(t, path, "UPDATE meta SET schema_version = 9, min_compatible = 8, min_release = '3.2'")
			},
			options: Options{InstanceUID: "uid-1"},
			want:    []string{"needs schema version 8", "this program has 3", "release line 3.2"},
		},
		{
			name:    "no instance",
			prepare: func(*testing.T, string) {},
			want:    []string{"the instance's UID is missing"},
		},
		{
			name: "a directory in the file's place",
			prepare: func(t *testing.T, path string) {
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			},
			options: Options{InstanceUID: "uid-1"},
			want:    []string{"is a directory"},
		},
		{
			name:    "a missing directory",
			prepare: func(*testing.T, string) {},
			options: Options{InstanceUID: "uid-1", Path: "missing/catalog.db"},
			want:    []string{"no such file or directory"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			directory := t.TempDir()
			path := filepath.Join(directory, "catalog.db")
			test.prepare(t, path)
			if test.options.Path == "" {
				test.options.Path = path
			} else {
				test.options.Path = filepath.Join(directory, test.options.Path)
			}
			err := openClosed(t, test.options)
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, want := range append(test.want, test.options.Path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestRefusedDatabaseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := openClosed(t, Options{Path: path, InstanceUID: "uid-1"}); err != nil {
		t.Fatal(err)
	}
	if err := openClosed(t, Options{Path: path, InstanceUID: "uid-2"}); !errors.Is(err, errOtherOwner) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	s, err := Open(t.Context(), Options{Path: path, InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if unclean, err := s.UncleanEpochs(t.Context()); err != nil || s.Epoch() != 2 || len(unclean) != 0 {
		t.Fatalf("epoch is %d after %v (%v): the refused start counts", s.Epoch(), unclean, err)
	}
}

func TestAdoptHandsTheDatabaseOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	for _, start := range []struct {
		uid     string
		adopt   bool
		refused bool
	}{
		{"uid-1", false, false},
		{"uid-2", true, false},
		{"uid-2", false, false},
		{"uid-1", false, true},
	} {
		err := openClosed(t, Options{Path: path, InstanceUID: start.uid, Adopt: start.adopt})
		if errors.Is(err, errOtherOwner) != start.refused || err != nil && !start.refused {
			t.Fatalf("%+v: %v", start, err)
		}
	}
}

func TestCompatibleNewerSchemaIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := openClosed(t, Options{Path: path, InstanceUID: "uid-1"}); err != nil {
		t.Fatal(err)
	}
	alter(t, path, "UPDATE meta SET schema_version = 9; ALTER TABLE tags ADD COLUMN later TEXT")
	s, err := Open(t.Context(), Options{Path: path, InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	meta, err := fileOf(s).writer.ask("SELECT schema_version FROM meta")
	if err != nil || meta.int(0) != 9 {
		t.Fatalf("schema version is %v (%v), want 9 as before", meta, err)
	}
}

func TestAnOlderSchemaIsMigratedWithItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := openClosed(t, Options{Path: path, InstanceUID: "uid-1"}); err != nil {
		t.Fatal(err)
	}
	const name = "octocat/octo-app/app"
	alter(t, path, "DROP TABLE awaited; ALTER TABLE meta DROP COLUMN blobs; UPDATE meta SET schema_version = 1, min_compatible = 1; INSERT INTO names (name) VALUES ('"+name+"')")
	s, err := Open(t.Context(), Options{Path: path, InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Tags(t.Context(), name, "", 1); err != nil {
		t.Errorf("the content is gone: %v", err)
	}
	sparse := catalog.Manifest{Digest: ref.SHA256.FromBytes(nil), Content: []byte{}, Blobs: []ref.Digest{ref.SHA256.FromBytes(nil)}}
	sparse.Optional = sparse.Blobs
	if err := s.PutManifest(t.Context(), name, sparse, nil); err != nil {
		t.Errorf("the schema is not the newest: %v", err)
	}
	meta, err := fileOf(s).writer.ask("SELECT schema_version, min_compatible FROM meta")
	if err != nil || meta.int(0) != schemaVersion || meta.int(1) != 2 {
		t.Errorf("schema version is %v (%v)", meta, err)
	}
}

func TestPathMayHaveAnyCharacters(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "a b?c#d%2Fe&f+g;mode=ro")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "catalog.db")
	for range 2 {
		if err := openClosed(t, Options{Path: path, InstanceUID: "uid-1"}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file has %d bytes and mode %o", info.Size(), info.Mode().Perm())
	}
}
