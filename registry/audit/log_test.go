// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
)

// gate is a stream that tests hold up, and make fail.
type gate struct {
	mu     sync.Mutex
	writes []string
	err    error
	// short is how much of a write that fails is written.
	short int
	// wait, if there is one, holds every write until it is closed or sent to.
	wait chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.wait != nil {
		<-g.wait
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		g.writes = append(g.writes, string(p[:g.short]))
		return g.short, g.err
	}
	g.writes = append(g.writes, string(p))
	return len(p), nil
}

func (g *gate) fail(err error, short int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.short = err, short
}

func (g *gate) all() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.writes...)
}

func (g *gate) reopen() error { return nil }
func (g *gate) Close() error  { return nil }

func TestEntriesAreWholeLinesInOrder(t *testing.T) {
	g := &gate{}
	l := start(g, time.Minute, logr.Discard())
	at := time.Date(2026, 11, 22, 5, 40, 10, 123456000, time.UTC)
	l.Append(Entry{Time: at, RequestID: "1", Action: Pull, Outcome: Denied, Status: 403, Code: "DENIED", Reason: "needs <write>", UserAgent: "evil\nagent \x00\xff"})
	l.Commit(Entry{Time: at, RequestID: "2", Action: Push, Outcome: Allowed, Tags: []string{"1", "latest"}, Bytes: 7})
	if got := strings.Join(g.all(), ""); strings.Count(got, "\n") != 2 {
		t.Errorf("a committed entry, and what came before, is written: %q", got)
	}
	for i := range 100 {
		l.Append(Entry{Time: at, RequestID: fmt.Sprint(i), Action: Pull, Outcome: Allowed})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range g.all() {
		if !strings.HasSuffix(text, "}\n") {
			t.Errorf("a write ends in the middle of a line: %q", text)
		}
	}
	lines := strings.SplitAfter(strings.Join(g.all(), ""), "\n")
	want := []string{
		`{"time":"2026-11-22T05:40:10.123456Z","requestId":"1","action":"pull","outcome":"denied","status":403,"code":"DENIED","reason":"needs <write>","userAgent":"evil\nagent \u0000\ufffd"}` + "\n",
		`{"time":"2026-11-22T05:40:10.123456Z","requestId":"2","action":"push","outcome":"allowed","tags":["1","latest"],"bytes":7}` + "\n",
	}
	if diff := cmp.Diff(want, lines[:2]); diff != "" {
		t.Error(diff)
	}
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint(i))
	}
	checkLines(t, strings.Join(lines[2:], ""), ids...)
	if l.Written() != 102 || l.Lost() != 0 {
		t.Errorf("%d counted, %d lost", l.Written(), l.Lost())
	}
}

func TestAStreamThatHangsHoldsRequestsUpForABoundedTimeOnce(t *testing.T) {
	var told []string
	g := &gate{wait: make(chan struct{})}
	l := start(g, 10*time.Millisecond, funcr.New(func(_, args string) { told = append(told, args) }, funcr.Options{}))
	// One is being written, one waits for it; then the stream is known to hang.
	l.Commit(Entry{Action: Push})
	for range queueLength {
		l.Commit(Entry{Action: Push})
	}
	began := time.Now()
	const more = 1000
	for range more {
		l.Commit(Entry{Action: Push})
		l.Append(Entry{Action: Pull})
	}
	// Were each to wait, this would take twenty seconds.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d entries waited for %s", 2*more, took)
	}
	if l.Lost() < more || len(told) != 1 || !strings.Contains(told[0], "takes no lines") {
		t.Errorf("%d lost; told: %q", l.Lost(), told)
	}
	lost := l.Lost()
	close(g.wait) // it goes on
	for deadline := time.Now().Add(30 * time.Second); l.Written()+lost < 2*more+queueLength+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d were written", l.Written())
		}
	}
	l.patience = time.Minute
	l.Commit(Entry{RequestID: "after", Action: Push})
	if writes := g.all(); !strings.Contains(writes[len(writes)-1], "after") {
		t.Error("a request does not wait again for a stream that goes on")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosingGivesUpAStreamThatHangs(t *testing.T) {
	g := &gate{wait: make(chan struct{})}
	l := start(g, time.Millisecond, logr.Discard())
	defer close(g.wait)
	l.Append(Entry{Action: Pull})
	if err := l.Close(); !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "are lost") {
		t.Errorf("closed with %v", err)
	}
}

func TestAWriteThatEndsEarlyLosesOnlyWhatIsNotWhole(t *testing.T) {
	g := &gate{}
	l := start(g, time.Minute, logr.Discard())
	w := writer{log: l}
	add := func(ids ...string) {
		for _, id := range ids {
			text := (&Entry{RequestID: id}).appendLine(nil)
			w.add(line{text: &text})
		}
	}
	add("1", "2", "3")
	g.fail(errors.New("the disk is full"), len(w.text)-5) // within the third
	w.write()
	add("4")
	g.fail(errors.New("the disk is full"), len(w.text)/2) // behind the newline that ends the third
	w.write()
	g.fail(nil, 0)
	add("5", "6")
	w.write()
	if l.Written() != 4 || l.Lost() != 2 {
		t.Errorf("%d written, %d lost", l.Written(), l.Lost())
	}
	checkLines(t, strings.Join(g.all(), ""), "1", "2", "5", "6")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFailureIsToldOnceAndHurtsNoLineBehindIt(t *testing.T) {
	var told []string
	g := &gate{}
	l := start(g, time.Minute, funcr.New(func(_, args string) { told = append(told, args) }, funcr.Options{}))
	l.Commit(Entry{RequestID: "1"})
	g.fail(errors.New("the disk is full"), 5)
	l.Commit(Entry{RequestID: "2"})
	g.fail(errors.New("the disk is full"), 0)
	l.Commit(Entry{RequestID: "3"})
	g.fail(nil, 0)
	l.Commit(Entry{RequestID: "4"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "the disk is full") {
		t.Errorf("told %q", told)
	}
	if l.Written() != 2 || l.Lost() != 2 {
		t.Errorf("%d written, %d lost", l.Written(), l.Lost())
	}
	checkLines(t, strings.Join(g.all(), ""), "1", "4")
}

// checkLines looks for the entries in text, whose other lines are broken.
func checkLines(t *testing.T, text string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(text) {
		var e Entry
		if json.Unmarshal([]byte(line), &e) == nil {
			got = append(got, e.RequestID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s\nin %q", diff, text)
	}
}

func open(t *testing.T, path string) *Log {
	t.Helper()
	l, err := Open(path, nil, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAFileIsAppendedToAndItsUsersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, id := range []string{"1", "2"} {
		l := open(t, path)
		l.Commit(Entry{RequestID: id})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, read(t, path), "1", "2")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A line that a full disk cut short spoils no other.
	if err := os.WriteFile(path, []byte(`{"time":`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	l.Commit(Entry{RequestID: "3"})
	checkLines(t, read(t, path), "3")
	// So does a rotation that copies and truncates.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	l.Commit(Entry{RequestID: "4"})
	if text := read(t, path); !strings.HasPrefix(text, "{") {
		t.Errorf("after it was truncated the file begins with %q", text[:8])
	}
	checkLines(t, read(t, path), "4")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatWasMovedAwayIsBegunAnew(t *testing.T) {
	directory := t.TempDir()
	path, moved := filepath.Join(directory, "audit.log"), filepath.Join(directory, "audit.log.1")
	l := open(t, path)
	l.Commit(Entry{RequestID: "1"})
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	l.Commit(Entry{RequestID: "2"})
	l.Reopen()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no new file")
		}
	}
	l.Commit(Entry{RequestID: "3"})
	checkLines(t, read(t, moved), "1", "2")
	checkLines(t, read(t, path), "3")
	// Without a place for a new one, the file goes on.
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	l.Commit(Entry{RequestID: "4"})
	if err := l.Close(); err != nil || l.Written() != 4 {
		t.Errorf("%d written, closed with %v", l.Written(), err)
	}
}

func TestWhereTheLogCannotBeItIsSaid(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "missing", "audit.log"), io.Discard, logr.Discard())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing/audit.log") {
		t.Errorf("got %v", err)
	}
}

func TestThereMayBeNoLog(t *testing.T) {
	l, err := Open("", nil, logr.Discard())
	if err != nil || l != nil {
		t.Fatalf("got %v, %v", l, err)
	}
	l.Append(Entry{})
	l.Commit(Entry{})
	l.Reopen()
	if l.Written() != 0 || l.Lost() != 0 || l.Close() != nil {
		t.Error("a log that is none did something")
	}
}

func TestStandardOutputIsWrittenToAndLeftOpen(t *testing.T) {
	var out bytes.Buffer
	l, err := Open("-", &out, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	l.Append(Entry{RequestID: "1"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkLines(t, out.String(), "1")
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open("/dev/null", nil, logr.Discard())
	if err != nil {
		b.Fatal(err)
	}
	e := Entry{Time: time.Now(), RequestID: "0123456789abcdef", Action: Pull, Outcome: Allowed, Route: "ManifestGet", Status: 200, User: "monalisa",
		TokenID: strings.Repeat("0", 32), Token: "monalisa-token", Name: "octocat/octo-app/image", Reference: "latest",
		Digest: "sha256:" + strings.Repeat("0", 64), Bytes: 1234, Address: "203.0.113.9", UserAgent: "docker/29"}
	b.ReportAllocs()
	for b.Loop() {
		l.Append(e)
	}
	if err := l.Close(); err != nil || l.Lost() != 0 {
		b.Errorf("%d lost, %v", l.Lost(), err)
	}
}
