// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// unserved opens a store whose batches the test commits itself.
func unserved(t *testing.T) *Store {
	t.Helper()
	s, err := open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid-1", GracePeriod: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	close(fileOf(s).served)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fileOf is the database of a store that is a file.
func fileOf(s *Store) *embedded { return s.database.(*embedded) }

// addPurge is an operation whose effect is easy to see.
func addPurge(id string) *operation {
	return newOperation(true, func(t tx) error {
		_, err := t.exec("INSERT INTO purges (id, done_at) VALUES (?, 1)", id)
		return err
	})
}

func wantPurged(t *testing.T, s *Store, want ...string) {
	t.Helper()
	got, err := s.Purged(t.Context(), []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("stored are %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("stored are %v, want %v", got, want)
		}
	}
}

func answered(o *operation) bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

var errTest = errors.New("failure of the test")

func TestBatchKeepsTheOperationsThatSucceed(t *testing.T) {
	s := unserved(t)
	a, c := addPurge("a"), addPurge("c")
	b := newOperation(true, func(t tx) error {
		if _, err := t.exec("INSERT INTO purges (id, done_at) VALUES ('b', 1)"); err != nil {
			return err
		}
		return errTest
	})
	// An error of the database in one operation leaves the others alone too.
	again := addPurge("a")
	fileOf(s).commit([]*operation{a, b, again, c})
	for _, o := range []*operation{a, b, again, c} {
		if !answered(o) {
			t.Fatal("an operation got no answer")
		}
	}
	if a.err != nil || c.err != nil || !errors.Is(b.err, errTest) || again.err == nil {
		t.Fatalf("errors are %v, %v, %v, %v", a.err, b.err, again.err, c.err)
	}
	wantPurged(t, s, "a", "c")
}

// failing is a statement that fails once.
type failing struct {
	statement
	connection *conn
	query      string
}

func (f failing) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	f.connection.statements[f.query] = f.statement
	return nil, errTest
}

// failOnce makes the writer's next use of a statement fail.
func failOnce(t *testing.T, s *Store, query string) {
	t.Helper()
	original, err := fileOf(s).writer.prepared(query)
	if err != nil {
		t.Fatal(err)
	}
	fileOf(s).writer.statements[query] = failing{statement: original, connection: fileOf(s).writer, query: query}
}

func TestBatchFailsWithItsTransaction(t *testing.T) {
	for _, query := range []string{sqlBegin, sqlSavepoint, sqlRelease, sqlRollbackTo, sqlCommit} {
		t.Run(query, func(t *testing.T) {
			s := unserved(t)
			a, c := addPurge("a"), addPurge("c")
			b := newOperation(true, func(tx) error { return errTest })
			batch := []*operation{a, b, c}
			for _, o := range batch {
				o.durable = false
			}
			failOnce(t, s, query)
			fileOf(s).commit(batch)
			for _, o := range batch {
				if !answered(o) || !errors.Is(o.err, errTest) {
					t.Fatalf("error is %v, want the transaction's", o.err)
				}
			}
			wantPurged(t, s)
			// The writer goes on.
			a, c = addPurge("a"), addPurge("c")
			fileOf(s).commit([]*operation{a, c})
			if err := errors.Join(a.err, c.err); err != nil {
				t.Fatal(err)
			}
			wantPurged(t, s, "a", "c")
		})
	}
}

func TestAnOperationAloneFailsWithItsTransaction(t *testing.T) {
	s := unserved(t)
	a := newOperation(true, func(t tx) error {
		if _, err := t.exec("INSERT INTO purges (id, done_at) VALUES ('a', 1)"); err != nil {
			return err
		}
		return errTest
	})
	b := addPurge("b")
	fileOf(s).commit([]*operation{a})
	fileOf(s).commit([]*operation{b})
	if !errors.Is(a.err, errTest) || b.err != nil {
		t.Fatalf("errors are %v and %v", a.err, b.err)
	}
	wantPurged(t, s, "b")
}

// disk is a sync of the log that a test sees, and ends.
type disk struct {
	begun chan struct{}
	end   chan error
}

// onDisk opens a store on such a disk.
func onDisk(t *testing.T) (*Store, disk) {
	t.Helper()
	s, err := open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	d := disk{make(chan struct{}), make(chan error)}
	file := fileOf(s)
	sync := file.sync
	file.sync = func() error {
		d.begun <- struct{}{}
		return errors.Join(sync(), <-d.end)
	}
	go file.serve()
	return s, d
}

// begin has the store run an operation, and returns where its error arrives.
func begin(s *Store, o *operation) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.write(context.Background(), o.durable, o.run) }()
	return done
}

func quick(o *operation) *operation { o.durable = false; return o }

func TestOnlyDurableOperationsWaitForTheDisk(t *testing.T) {
	s, disk := onDisk(t)
	a := begin(s, addPurge("a"))
	<-disk.begun
	// The disk is busy. What need not be durable is answered all the same, and
	// stored.
	if err := <-begin(s, quick(addPurge("b"))); err != nil {
		t.Fatal(err)
	}
	wantPurged(t, s, "a", "b")
	select {
	case err := <-a:
		t.Fatalf("answered with %v before it was durable", err)
	default:
	}
	// What comes meanwhile has a sync of its own, which begins behind this one.
	c := begin(s, addPurge("c"))
	disk.end <- nil
	if err := <-a; err != nil {
		t.Fatal(err)
	}
	<-disk.begun
	select {
	case err := <-c:
		t.Fatalf("answered with %v by the sync before its own", err)
	default:
	}
	disk.end <- nil
	if err := <-c; err != nil {
		t.Fatal(err)
	}
	closeWith(t, s, disk)
}

// closeWith closes a store, which ends its epoch durably.
func closeWith(t *testing.T, s *Store, d disk) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-d.begun
	d.end <- nil
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

func TestWhatWaitsForTheDiskSharesASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk := onDisk(t)
		all := []<-chan error{begin(s, addPurge("a"))}
		<-disk.begun
		for i := range 20 {
			all = append(all, begin(s, addPurge(fmt.Sprint("more-", i))))
		}
		synctest.Wait() // they are all with the writer now
		disk.end <- nil
		<-disk.begun
		disk.end <- nil
		for _, done := range all {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		closeWith(t, s, disk)
	})
}

func TestNothingIsWrittenAfterTheDiskFailed(t *testing.T) {
	s, disk := onDisk(t)
	a := begin(s, addPurge("a"))
	<-disk.begun
	disk.end <- errTest
	if err := <-a; !errors.Is(err, errTest) {
		t.Fatalf("error is %v, want the disk's", err)
	}
	for _, o := range []*operation{addPurge("b"), quick(addPurge("c"))} {
		if err := <-begin(s, o); !errors.Is(err, errTest) {
			t.Fatalf("error is %v, want the disk's", err)
		}
	}
	if err := s.Close(); !errors.Is(err, errTest) {
		t.Fatalf("closed with %v, want the disk's error", err)
	}
}

func TestClosingWaitsForTheDiskAndRefusesWhatWaits(t *testing.T) {
	s, disk := onDisk(t)
	a := begin(s, addPurge("a"))
	<-disk.begun
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-fileOf(s).closing
	if err := <-begin(s, addPurge("b")); !errors.Is(err, errClosed) {
		t.Fatalf("error is %v, want that the catalog is closed", err)
	}
	disk.end <- nil
	if err := <-a; err != nil {
		t.Fatal(err)
	}
	<-disk.begun // the end of the epoch
	disk.end <- nil
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

func TestWithdrawnOperationIsNotRun(t *testing.T) {
	s := unserved(t)
	a, b := addPurge("a"), addPurge("b")
	if !b.take() {
		t.Fatal("a new operation was taken already")
	}
	fileOf(s).commit([]*operation{a, b})
	wantPurged(t, s, "a")
	if answered(b) {
		t.Fatal("a withdrawn operation was answered")
	}
}

func TestCancelledWhileWaitingAndAfterBeginning(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "catalog.db"), InstanceUID: "uid-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	begun, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		first <- s.write(ctx, true, func(t tx) error {
			close(begun)
			<-release
			_, err := t.exec("INSERT INTO purges (id, done_at) VALUES ('a', 1)")
			return err
		})
	}()
	<-begun
	cancel()
	// The writer is busy, so this one waits.
	if err := s.write(ctx, true, addPurge("b").run); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v, want context.Canceled", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Fatalf("an operation that had begun got %v", err)
	}
	wantPurged(t, s, "a")
}

func TestFullDatabase(t *testing.T) {
	s := unserved(t)
	put := func(content string) error {
		o := newOperation(true, func(t tx) error {
			_, err := s.putBlob(t, "octocat/octo-app/app", catalog.Blob{
				Digest: ref.SHA256.FromBytes([]byte(content)), Size: 20000, Content: make([]byte, 20000),
			})
			return err
		})
		fileOf(s).commit([]*operation{o})
		return o.err
	}
	if err := put("a"); err != nil {
		t.Fatal(err)
	}
	pages, err := fileOf(s).writer.ask("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(pages int64) {
		t.Helper()
		if err := fileOf(s).writer.script("PRAGMA max_page_count = " + fmt.Sprint(pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages.int(0) + 2)
	if err := put("b"); !errors.Is(err, catalog.ErrNoSpace) {
		t.Fatalf("error is %v, want catalog.ErrNoSpace", err)
	}
	if _, err := s.Blob(t.Context(), "octocat/octo-app/app", ref.SHA256.FromBytes([]byte("a"))); err != nil {
		t.Fatalf("what was stored cannot be read: %v", err)
	}
	limit(pages.int(0) + 1000)
	if err := put("b"); err != nil {
		t.Fatalf("there is room again, but: %v", err)
	}
}

func TestADatabaseThatAnotherProgramLocksIsUnavailable(t *testing.T) {
	s := unserved(t)
	put := func() error {
		o := newOperation(true, func(t tx) error {
			_, err := s.putBlob(t, "octocat/octo-app/app", catalog.Blob{Digest: ref.SHA256.FromBytes(nil), Content: []byte{}})
			return err
		})
		fileOf(s).commit([]*operation{o})
		return o.err
	}
	if err := fileOf(s).writer.script("PRAGMA busy_timeout = 10"); err != nil {
		t.Fatal(err)
	}
	backup, err := dialWriter(fileOf(s).path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = backup.close() }()
	if err := backup.script(sqlBegin); err != nil {
		t.Fatal(err)
	}
	if err := put(); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("error is %v, want %v", err, catalog.ErrUnavailable)
	}
	if err := backup.script(sqlRollback); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Error(err)
	}
}
