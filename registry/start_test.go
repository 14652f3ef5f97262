// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	_ "modernc.org/sqlite" // the driver that the catalog's file is read with

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func TestABadStartSaysWhatIsWrong(t *testing.T) {
	used := func(t *testing.T) string {
		dir := t.TempDir()
		startProcess(t, processOptions{DataDir: dir}).terminate(t)
		return dir
	}
	for _, test := range []struct {
		name  string
		start func(t *testing.T) (processOptions, *syscall.Credential)
		// want are parts of the message; DIR stands for the data directory.
		want []string
	}{
		{"a data directory that is a file", func(t *testing.T) (processOptions, *syscall.Credential) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return processOptions{DataDir: path}, nil
		}, []string{"data directory DIR is not a directory"}},
		{"a data directory below a file", func(t *testing.T) (processOptions, *syscall.Credential) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return processOptions{DataDir: filepath.Join(path, "data")}, nil
		}, []string{"data directory DIR", "not a directory"}},
		{"a data directory that is not writable", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := worldReadable(t)
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Fatal(err)
			}
			return processOptions{DataDir: dir}, nobody()
		}, []string{"data directory DIR is not writable for user ", "permission denied"}},
		{"a data directory that cannot be made", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := worldReadable(t)
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Fatal(err)
			}
			return processOptions{DataDir: filepath.Join(dir, "data")}, nobody()
		}, []string{"create data directory DIR", "permission denied"}},
		{"a data directory in use", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := t.TempDir()
			startProcess(t, processOptions{DataDir: dir})
			return processOptions{DataDir: dir}, nil
		}, []string{"data directory DIR: another process uses it"}},
		{"a data directory of another instance", func(t *testing.T) (processOptions, *syscall.Credential) {
			return processOptions{DataDir: used(t), InstanceUID: "another-uid"}, nil
		}, []string{"data directory DIR", "another instance", "uid-of-test", "another-uid", "--adopt"}},
		{"a database of another instance", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := used(t)
			change(t, dir, "UPDATE meta SET instance_uid = 'another-uid'")
			return processOptions{DataDir: dir}, nil
		}, []string{"DIR/catalog.db", "another instance", "uid-of-test", "another-uid", "--adopt"}},
		{"a database of a newer release", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := used(t)
			change(t, dir, "UPDATE meta SET schema_version = 8, min_compatible = 7, min_release = '9.9'")
			return processOptions{DataDir: dir}, nil
		}, []string{"DIR/catalog.db", "newer release", "needs schema version 7", "9.9"}},
		{"a database that is none", func(t *testing.T) (processOptions, *syscall.Credential) {
			dir := used(t)
			if err := os.WriteFile(filepath.Join(dir, "catalog.db"), []byte(strings.Repeat("not a database. ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
			return processOptions{DataDir: dir}, nil
		}, []string{"DIR/catalog.db", "not a database"}},
		{"a data directory without room", func(t *testing.T) (processOptions, *syscall.Credential) {
			return processOptions{DataDir: t.TempDir(), Tmpfs: "16k"}, nil
		}, []string{"DIR", "no space left"}},
		{"a port in use", func(t *testing.T) (processOptions, *syscall.Credential) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			return processOptions{DataDir: t.TempDir(), Listen: listener.Addr().String()}, nil
		}, []string{"open the registry's port (--listen)", "address already in use"}},
		{"the admin port in use", func(t *testing.T) (processOptions, *syscall.Credential) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			return processOptions{DataDir: t.TempDir(), AdminListen: listener.Addr().String()}, nil
		}, []string{"open the admin port (--admin-listen)", "address already in use"}},
		{"an address that is none", func(t *testing.T) (processOptions, *syscall.Credential) {
			return processOptions{DataDir: t.TempDir(), Listen: "127.0.0.1"}, nil
		}, []string{"open the registry's port (--listen)", "missing port"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, as := test.start(t)
			_, err := tryProcess(t, o, as)
			if err == nil {
				t.Fatal("the registry serves")
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "DIR", o.DataDir); !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not say %q: %s", want, err)
				}
			}
			if strings.Count(err.Error(), "\n") > 0 || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("the message is not one line: %s", err)
			}
		})
	}
}

// nobody is who to run a process as for whom permissions count: they do not for
// the superuser.
func nobody() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// worldReadable is a directory that every user can come to.
func worldReadable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "packages-registry-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// change runs a statement on the database of a registry that has ended.
func change(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestTheRegistryComesBackToItsDataAndOwner(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, processOptions{DataDir: dir})
	_, digest := client{t: t, addr: p.addr, value: writerValue}.pushImage(name, "1.0", strings.Repeat("layer", 20_000))
	p.terminate(t)
	p = startProcess(t, processOptions{DataDir: dir})
	c := client{t: t, addr: p.addr, value: writerValue}
	c.do("HEAD", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK).wantHeader(t, "Docker-Content-Digest", string(digest))
	info, err := os.Stat(filepath.Join(dir, "catalog.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the database: %v, %v", info.Mode(), err)
	}
}

func TestAdoptionTakesOverAnotherInstancesData(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, processOptions{DataDir: dir, InstanceUID: "another-uid"})
	client{t: t, addr: p.addr, value: writerValue}.pushImage(name, "1.0", "layer")
	p.terminate(t)
	p = startProcess(t, processOptions{DataDir: dir, Adopt: true})
	client{t: t, addr: p.addr, value: writerValue}.do("HEAD", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
	p.terminate(t)
	// It is done once and for all.
	startProcess(t, processOptions{DataDir: dir}).terminate(t)
	if _, err := tryProcess(t, processOptions{DataDir: dir, InstanceUID: "another-uid"}, nil); err == nil {
		t.Error("the former owner still has the data")
	}
}

// failingSource is a policy source that gives up.
type failingSource struct{ registrytest.Source }

func (*failingSource) Run(context.Context) error { return errors.New("the source gave up") }

func TestTheRegistryEndsWhenItsPolicySourceDoes(t *testing.T) {
	keys, err := access.NewKeys(map[string][]byte{"0001": randomBytes(access.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	err = registry.Run(t.Context(), registry.Options{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), InstanceUID: "uid", Keys: keys,
		Policy: &policy.Live{}, Source: &failingSource{}, Log: logr.Discard(),
	})
	if err == nil || !strings.Contains(err.Error(), "the source gave up") {
		t.Errorf("Run returned %v", err)
	}
}

func TestAFullDiskIsAnsweredAndSurvived(t *testing.T) {
	const size, ballastSize = 24 << 20, 8 << 20
	dir := t.TempDir()
	p := startProcess(t, processOptions{DataDir: dir, Tmpfs: fmt.Sprint(size)})
	c := client{t: t, addr: p.addr, value: writerValue}
	kept := &acknowledged{name: name, manifests: map[ref.Digest][]byte{}}
	content, digest := c.pushImage(name, "before", "layer")
	kept.manifests[digest] = content

	ballast, filler := p.path(filepath.Join(dir, "ballast")), p.path(filepath.Join(dir, "filler"))
	if err := os.WriteFile(ballast, randomBytes(ballastSize), 0o600); err != nil {
		t.Fatal(err)
	}

	// Files first: each with less room than the one before.
	full := false
	for layer := 4 << 20; layer > 64<<10; {
		blob := randomBytes(layer)
		blobDigest := ref.SHA256.FromBytes(blob)
		a := c.do("POST", "/v2/"+name+"/blobs/uploads/?digest="+string(blobDigest), blob)
		if a.StatusCode == http.StatusCreated {
			kept.blobs = append(kept.blobs, blobDigest)
			continue
		}
		a.want(t, http.StatusInsufficientStorage, errcode.Unknown).wantReason(t, "storage is full")
		full = true
		layer /= 2
	}
	if !full {
		t.Fatal("the disk never was full")
	}
	// Then rows, until the database has no room either.
	if err := fill(filler); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := 0; i < 5000 && refused < 20; i++ {
		row := randomBytes(16 << 10)
		rowDigest := ref.SHA256.FromBytes(row)
		a := c.do("POST", "/v2/"+name+"/blobs/uploads/?digest="+string(rowDigest), row)
		if a.StatusCode == http.StatusCreated {
			kept.blobs = append(kept.blobs, rowDigest)
			continue
		}
		a.want(t, http.StatusInsufficientStorage, errcode.Unknown)
		refused++
	}
	if refused == 0 {
		t.Fatal("the database never was full")
	}
	c.putManifest(name, "full", content).want(t, http.StatusInsufficientStorage)
	p.wantTroubles(t, registry.TroubleStorageFull)
	// Reading goes on, and what was acknowledged is there.
	kept.check(c)

	if err := errors.Join(os.Remove(ballast), os.Remove(filler)); err != nil {
		t.Fatal(err)
	}
	blob := randomBytes(100 << 10)
	kept.blobs = append(kept.blobs, c.pushBlob(name, blob))
	c.putManifest(name, "after", content).want(t, http.StatusCreated)
	p.wantTroubles(t)
	kept.check(c)
	p.terminate(t)
}

func TestPushesLeaveRoomToDelete(t *testing.T) {
	p := startProcess(t, processOptions{DataDir: t.TempDir(), Tmpfs: fmt.Sprint(64 << 20)})
	c := client{t: t, addr: p.addr, value: ownerValue}
	var large []ref.Digest
	for _, size := range []int{1 << 20, 16 << 10} {
		for pushes := 0; ; pushes++ {
			if pushes == 5000 {
				t.Fatalf("pushes of %d bytes never filled the disk", size)
			}
			content := randomBytes(size)
			digest := ref.SHA256.FromBytes(content)
			a := c.do("POST", "/v2/"+name+"/blobs/uploads/?digest="+string(digest), content)
			if a.StatusCode != http.StatusCreated {
				a.want(t, http.StatusInsufficientStorage, errcode.Unknown).wantReason(t, "storage is full")
				break
			}
			if size > 1<<19 {
				large = append(large, digest)
			}
		}
	}
	c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusInsufficientStorage)
	for _, digest := range large {
		c.do("DELETE", "/v2/"+name+"/blobs/"+string(digest), nil).want(t, http.StatusAccepted)
	}
	p.terminate(t)
}

// fill takes all the room that a file system has left.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := file.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	return nil
}
