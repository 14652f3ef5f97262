// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheGreatestKeySignsAndAllVerify(t *testing.T) {
	f := newFixture(t, nil)
	byOld := f.issue(t, "octocat").Token
	both, err := NewKeys(map[string][]byte{"0001": secret, "0002": bytes.Repeat([]byte("n"), KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	f.authority = New(both, func() time.Time { return start })
	byNew := f.issue(t, "octocat").Token
	f.identify(t, "Bearer "+byOld)
	f.identify(t, "Bearer "+byNew)

	// Without the old key, its tokens are refused; with the old key alone, the new
	// key's are.
	onlyNew, err := NewKeys(map[string][]byte{"0002": bytes.Repeat([]byte("n"), KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := onlyNew.verify(byOld); ok {
		t.Error("a token of a removed key is accepted")
	}
	if _, ok := onlyNew.verify(byNew); !ok {
		t.Error("the greatest key did not sign")
	}
}

func TestNewKeysRefusesWhatIsNoKey(t *testing.T) {
	good := bytes.Repeat([]byte("k"), KeySize)
	many := map[string][]byte{}
	for i := range maxKeys + 1 {
		many[strings.Repeat("k", i+1)] = good
	}
	tests := map[string]map[string][]byte{
		"none":           nil,
		"too short":      {"a": good[1:]},
		"too long":       {"a": make([]byte, maxKeySize+1)},
		"one of two":     {"a": good, "b": nil},
		"empty name":     {"": good},
		"a path":         {"../a": good},
		"quotes":         {`a","alg":"none`: good},
		"too many":       many,
		"a hidden name":  {".a": good},
		"too long names": {strings.Repeat("a", 65): good},
	}
	for name, secrets := range tests {
		keys, err := NewKeys(secrets)
		if err == nil || keys != nil {
			t.Errorf("%s: accepted", name)
		}
		if err != nil && strings.Contains(err.Error(), string(good)) {
			t.Errorf("%s: the error shows a key", name)
		}
	}
}

func TestKeysDoNotChangeWithTheCallersSlice(t *testing.T) {
	f := newFixture(t, nil)
	mine := bytes.Clone(secret)
	keys, err := NewKeys(map[string][]byte{"0001": mine})
	if err != nil {
		t.Fatal(err)
	}
	clear(mine)
	if _, ok := keys.verify(f.issue(t, "octocat").Token); !ok {
		t.Error("the key was wiped with the caller's slice")
	}
}

// A Secret is mounted as links into a hidden directory.
func TestLoadKeysOfAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "..2026", "0001"), secret)
	for link, target := range map[string]string{"..data": "..2026", "0001": "..data/0001"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := keys.verify(newFixture(t, nil).issue(t, "octocat").Token); !ok {
		t.Error("the loaded key is not the one that was mounted")
	}
}

func TestLoadKeysSaysWhatIsWrong(t *testing.T) {
	if _, err := LoadKeys(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := LoadKeys(t.TempDir()); !errors.Is(err, ErrNoKeys) {
		t.Errorf("no key: %v", err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "0001"), secret[1:])
	if _, err := LoadKeys(dir); err == nil || !strings.Contains(err.Error(), "key 0001 has 31 bytes, 32 to 4096 are allowed") {
		t.Errorf("short key: %v", err)
	}
	writeFile(t, filepath.Join(dir, "0001"), make([]byte, 10*maxKeySize))
	if _, err := LoadKeys(dir); err == nil || !strings.Contains(err.Error(), "32 to 4096 are allowed") {
		t.Errorf("long key: %v", err)
	}
}

func TestCreateKeysMakesOneAndKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := CreateKeys(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, firstKeyID))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != KeySize {
		t.Errorf("the key's file has mode %v and %d bytes", info.Mode().Perm(), info.Size())
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", info.Mode().Perm(), err)
	}
	f := newFixture(t, nil)
	f.authority = New(first, func() time.Time { return start })
	token := f.issue(t, "octocat").Token
	again, err := CreateKeys(dir, iotest.ErrReader(errors.New("must not be read")))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := again.verify(token); !ok {
		t.Error("a restart made another key")
	}
	other, err := CreateKeys(filepath.Join(t.TempDir(), "keys"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := other.verify(token); ok {
		t.Error("two registries have the same key")
	}
}

func TestCreateKeysAfterACrash(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "."+firstKeyID+".tmp"), []byte("half"))
	if _, err := CreateKeys(dir, rand.Reader); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("there are %d files, error %v", len(entries), err)
	}
}

func TestCreateKeysDoesNotReplaceADamagedKey(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, firstKeyID), []byte("short"))
	if _, err := CreateKeys(dir, rand.Reader); err == nil {
		t.Error("accepted")
	}
	if content, _ := os.ReadFile(filepath.Join(dir, firstKeyID)); string(content) != "short" {
		t.Error("replaced")
	}
}

func TestCreateKeysWithoutRandomness(t *testing.T) {
	failure := errors.New("no entropy")
	dir := t.TempDir()
	if _, err := CreateKeys(dir, iotest.ErrReader(failure)); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Error("a key was left behind")
	}
}
