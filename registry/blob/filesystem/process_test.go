// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
)

// The tests in this file start this program again, as another process that does
// what childVariable says with the directory that it is started in.
const (
	childVariable = "BLOB_TEST_CHILD"
	childHolds    = "hold"
	childAppends  = "append"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childVariable) {
	case childHolds:
		err = hold()
	case childAppends:
		err = appendUntilKilled()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold keeps the directory until standard input ends.
func hold() error {
	s, err := Open(".", Options{InstanceUID: "test"})
	if err != nil {
		return err
	}
	s.StartEpoch(1)
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

const (
	childPieces    = 3
	childPieceSize = 700_001
)

// childContent is what object i of appendUntilKilled has.
func childContent(i int) []byte {
	return blobtest.Content(uint64(i), childPieces*childPieceSize)
}

// appendUntilKilled writes objects one after the other, and a line for each step
// that was acknowledged: the object's number, its key, its size, and whether it
// is committed.
func appendUntilKilled() error {
	s, err := Open(".", Options{InstanceUID: "test"})
	if err != nil {
		return err
	}
	s.StartEpoch(1)
	ctx := context.Background()
	for i := 0; ; i++ {
		content := childContent(i)
		p, err := s.Create(ctx)
		if err != nil {
			return err
		}
		for n := range childPieces {
			if p, err = s.Append(ctx, p, bytes.NewReader(content[n*childPieceSize:(n+1)*childPieceSize])); err != nil {
				return err
			}
			fmt.Println(i, p.Key, p.Size, false)
		}
		if err := s.Commit(ctx, p); err != nil {
			return err
		}
		fmt.Println(i, p.Key, p.Size, true)
	}
}

func startChild(t *testing.T, what, dir string) (child *exec.Cmd, stdin io.WriteCloser, lines *bufio.Scanner) {
	t.Helper()
	child = exec.CommandContext(t.Context(), os.Args[0])
	child.Dir = dir
	child.Env = append(os.Environ(), childVariable+"="+what)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, stdin, bufio.NewScanner(stdout)
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the child process ended by itself: %v", child.ProcessState)
	}
}

func TestAnotherProcessIsKeptOutUntilThisOneEnds(t *testing.T) {
	for _, killed := range []bool{false, true} {
		dir := t.TempDir()
		child, stdin, lines := startChild(t, childHolds, dir)
		if !lines.Scan() || lines.Text() != "open" {
			t.Fatalf("the child process says %q (%v)", lines.Text(), lines.Err())
		}
		_, err := Open(dir, Options{InstanceUID: "test"})
		wantError(t, err, ErrInUse, "data directory "+dir+": another process uses it")
		if killed {
			kill(t, child)
		} else if err := errors.Join(stdin.Close(), child.Wait()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, mustOpen(t, dir, Options{InstanceUID: "test"}))
	}
}

// step is what the killed process said last about an object.
type step struct {
	blob.Partial
	committed bool
}

func TestWhatAKilledProcessAcknowledgedIsThere(t *testing.T) {
	for _, steps := range []int{1, 2, 3, 4, 9, 14} {
		dir := t.TempDir()
		child, _, lines := startChild(t, childAppends, dir)
		acknowledged := map[int]step{}
		for range steps {
			readStep(t, lines, acknowledged)
		}
		kill(t, child)
		// What it acknowledged while the signal was on its way counts as well.
		for lines.Scan() {
			parseStep(t, lines.Text(), acknowledged)
		}
		checkAcknowledged(t, dir, acknowledged)
	}
}

func readStep(t *testing.T, lines *bufio.Scanner, into map[int]step) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the child process ended early: %v", lines.Err())
	}
	parseStep(t, lines.Text(), into)
}

func parseStep(t *testing.T, line string, into map[int]step) {
	t.Helper()
	var i int
	var s step
	if _, err := fmt.Sscan(line, &i, &s.Key, &s.Size, &s.committed); err != nil {
		t.Fatalf("the child process says %q: %v", line, err)
	}
	into[i] = s
}

// checkAcknowledged opens the directory as a new process would, and finds every
// acknowledged byte; what was not finished can be.
func checkAcknowledged(t *testing.T, dir string, acknowledged map[int]step) {
	t.Helper()
	s := mustOpen(t, dir, Options{InstanceUID: "test"})
	s.StartEpoch(2)
	defer mustClose(t, s)
	listed := map[string]bool{}
	for key, err := range s.Keys(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		listed[key] = true
	}
	for i, step := range acknowledged {
		content := childContent(i)
		if !listed[step.Key] {
			t.Errorf("object %d is not listed", i)
		}
		if !step.committed {
			r, err := s.OpenPartial(t.Context(), step.Partial)
			if err != nil {
				t.Fatalf("object %d: %v", i, err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content[:step.Size]) {
				t.Errorf("object %d: %d bytes were acknowledged, %d are there, or others", i, step.Size, len(got))
			}
			p, err := s.Append(t.Context(), step.Partial, bytes.NewReader(content[step.Size:]))
			if err == nil {
				err = s.Commit(t.Context(), p)
			}
			if err != nil {
				t.Fatalf("object %d cannot be finished: %v", i, err)
			}
		}
		if got := read(t, s, step.Key); !bytes.Equal(got, content) {
			t.Errorf("object %d has other bytes than were written (%d, want %d)", i, len(got), len(content))
		}
	}
	if t.Failed() {
		t.Logf("acknowledged were %v", acknowledged)
	}
}
