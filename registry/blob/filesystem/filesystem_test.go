// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Open {
		dir := t.TempDir()
		return func(t *testing.T, epoch uint64) (blob.Store, func()) {
			s := mustOpen(t, dir, Options{InstanceUID: "test"})
			s.StartEpoch(epoch)
			return s, func() { mustClose(t, s) }
		}
	})
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func mustStore(t testing.TB, s *Store, content []byte) blob.Partial {
	t.Helper()
	p, err := s.Create(t.Context())
	if err == nil {
		p, err = s.Append(t.Context(), p, bytes.NewReader(content))
	}
	if err == nil {
		err = s.Commit(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t testing.TB, s *Store, key string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return content
}

func TestObjectsLieWhereTheKeySays(t *testing.T) {
	dir := t.TempDir()
	random := bytes.NewReader(bytes.Repeat([]byte{0xab, 0x01}, 8))
	s := mustOpen(t, dir, Options{InstanceUID: "test", Rand: random})
	s.StartEpoch(0x2a)
	defer mustClose(t, s)
	p := mustStore(t, s, []byte("content"))
	const want = "000000000000002a-ab01ab01ab01ab01ab01ab01ab01ab01"
	if p.Key != want {
		t.Fatalf("the key is %s, want %s", p.Key, want)
	}
	path := filepath.Join(dir, "objects", "ab", want)
	content, err := os.ReadFile(path)
	if err != nil || string(content) != "content" {
		t.Errorf("%s has %q (%v)", path, content, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the object has the mode %v (%v), want 0600", info.Mode(), err)
	}
	if _, err := s.Create(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness Create gives %v, want its error", err)
	}
}

func TestOpenGivesAFileThatCanBeSentDirectly(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{InstanceUID: "test"})
	defer mustClose(t, s)
	r, err := s.Open(t.Context(), mustStore(t, s, []byte("content")).Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.(*os.File); !ok {
		t.Errorf("Open returned a %T, want an *os.File", r)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesThatAreOpenSurviveCloseAndDelete(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{InstanceUID: "test"})
	content := blobtest.Content(1, 100_000)
	key := mustStore(t, s, content).Key
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes (%v), want the %d of the object", len(got), err, len(content))
	}
}

func TestForeignFilesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	key := mustStore(t, s, []byte("content")).Key
	shard := filepath.Join(dir, "objects", key[17:19])
	for _, name := range []string{"lost+found", key + "~", strings.ToUpper(key)} {
		if err := os.WriteFile(filepath.Join(shard, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for got, err := range s.Keys(t.Context(), 1) {
		if err != nil || got != key {
			t.Errorf("listed %q (%v), want %s alone", got, err, key)
		}
	}
}

func TestALinkLeadsNowhereOutside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	p := mustStore(t, s, []byte("content"))
	path := filepath.Join(dir, "objects", p.Key[17:19], p.Key)
	if err := errors.Join(os.Remove(path), os.Symlink(secret, path)); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Open(t.Context(), p.Key); err == nil {
		_ = r.Close()
		t.Error("Open followed a link out of the directory")
	}
	if _, err := s.Append(t.Context(), p, strings.NewReader("more")); err == nil {
		t.Error("Append followed a link out of the directory")
	}
	if content, err := os.ReadFile(secret); err != nil || string(content) != "secret" {
		t.Errorf("the file outside has %q (%v)", content, err)
	}
}

func TestLostBytesAreNotPapered(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	s.StartEpoch(1)
	defer mustClose(t, s)
	p := mustStore(t, s, []byte("content"))
	if err := os.Truncate(filepath.Join(dir, "objects", p.Key[17:19], p.Key), 3); err != nil {
		t.Fatal(err)
	}
	const want = "it has 3 bytes, 7 are recorded"
	if got, err := s.Append(t.Context(), p, strings.NewReader("more")); err == nil || !strings.Contains(err.Error(), want) || got.Size != 7 {
		t.Errorf("Append gives %+v, %v; want the partial as it was and %q", got, err, want)
	}
	if err := s.Commit(t.Context(), p); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Commit gives %v, want %q", err, want)
	}
}

func TestUsageIsThatOfTheFileSystem(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	defer mustClose(t, s)
	usage, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	if want := int64(stat.Blocks * uint64(stat.Bsize)); usage.Total != want {
		t.Errorf("the total is %d, want %d", usage.Total, want)
	}
	if usage.Free <= 0 || usage.Free > usage.Total {
		t.Errorf("%d of %d bytes are free", usage.Free, usage.Total)
	}
}

func TestADirectoryBelongsToOneInstance(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "us")
	s := mustOpen(t, dir, Options{InstanceUID: "one"})
	s.StartEpoch(1)
	key := mustStore(t, s, []byte("content")).Key
	mustClose(t, s)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has the mode %v (%v), want 0700", info.Mode(), err)
	}

	_, err = Open(dir, Options{InstanceUID: "two"})
	wantError(t, err, ErrOtherInstance, "data directory "+dir+`: data belongs to another instance: it is of instance "one", this is "two"; start with --adopt to take it over`)

	s = mustOpen(t, dir, Options{InstanceUID: "two", Adopt: true})
	if got := read(t, s, key); string(got) != "content" {
		t.Errorf("the adopted object has %q", got)
	}
	mustClose(t, s)
	_, err = Open(dir, Options{InstanceUID: "one"})
	wantError(t, err, ErrOtherInstance, "data directory "+dir+`: data belongs to another instance: it is of instance "two", this is "one"; start with --adopt to take it over`)
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "two"}))

	if err := os.Remove(filepath.Join(dir, markerFile)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, Options{InstanceUID: "two"})
	wantError(t, err, ErrOtherInstance, "data directory "+dir+`: data belongs to another instance: it has objects but no file "instance" that names their instance, this is "two"; start with --adopt to take it over`)
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "two", Adopt: true}))
}

func TestAnInstanceHasAUID(t *testing.T) {
	for uid, want := range map[string]string{
		"":    "blob store has no instance UID",
		"a\n": `instance UID "a\n" is not printable ASCII`,
		"a b": `instance UID "a b" is not printable ASCII`,
	} {
		_, err := Open(t.TempDir(), Options{InstanceUID: uid})
		wantError(t, err, nil, want)
	}
}

func TestADirectoryThatCannotBeUsedIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(file, Options{InstanceUID: "test"})
	wantError(t, err, nil, "data directory "+file+" is not a directory")
	_, err = Open(filepath.Join(file, "below"), Options{InstanceUID: "test"})
	wantError(t, err, nil, "data directory "+filepath.Join(file, "below")+": a part of its path is not a directory")

	for name, block := range map[string]func(path string) error{
		markerFile: func(path string) error { return os.Mkdir(path, 0o700) },
		lockFile:   func(path string) error { return os.Symlink(file, path) },
		"objects":  func(path string) error { return os.Symlink(dir, path) },
	} {
		blocked := t.TempDir()
		mustClose(t, mustOpen(t, blocked, Options{InstanceUID: "test"}))
		path := filepath.Join(blocked, name)
		if err := errors.Join(os.Remove(path), block(path)); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(blocked, Options{InstanceUID: "test"}); err == nil {
			mustClose(t, s)
			t.Errorf("a directory whose %s is something else was opened", name)
		} else if !strings.Contains(err.Error(), blocked) {
			t.Errorf("with a blocked %s the error %q does not name the directory", name, err)
		}
	}
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	_, err := Open(dir, Options{InstanceUID: "test"})
	wantError(t, err, ErrInUse, "data directory "+dir+": another process uses it")
	// Adoption is no way around the lock.
	_, err = Open(dir, Options{InstanceUID: "other", Adopt: true})
	wantError(t, err, ErrInUse, "data directory "+dir+": another process uses it")
	mustClose(t, s)
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "test"}))
}

func TestAFailedOpenLetsGoOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "one"}))
	for range 3 {
		_, err := Open(dir, Options{InstanceUID: "two"})
		if !errors.Is(err, ErrOtherInstance) {
			t.Fatalf("got the error %v, want ErrOtherInstance", err)
		}
	}
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "one"}))
}

func TestAnUnfinishedMarkerIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, markerFile+".new"), []byte("hal"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, Options{InstanceUID: "test"}))
	content, err := os.ReadFile(filepath.Join(dir, markerFile))
	if err != nil || string(content) != "test\n" {
		t.Errorf("the marker is %q (%v)", content, err)
	}
	if _, err := os.Stat(filepath.Join(dir, markerFile+".new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unfinished marker is still there (%v)", err)
	}
}

func wantError(t *testing.T, err, kind error, message string) {
	t.Helper()
	if err == nil || err.Error() != message {
		t.Errorf("got the error\n%v, want\n%s", err, message)
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("%v is not %v", err, kind)
	}
}
