// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func validSpec() Spec {
	return Spec{
		Dir: "/state", Hostname: "m", Cgroup: "m", Binds: []string{"/tools"},
		Network:    &Network{Link: "po-m", Host: netip.MustParsePrefix("198.19.0.1/30"), Node: netip.MustParsePrefix("198.19.0.2/30")},
		Components: []Component{{Name: "one", Args: []string{"true"}}, {Name: "two", Args: []string{"true"}}},
	}
}

func TestSpecRefusesWhatCannotWork(t *testing.T) {
	good := validSpec()
	if err := good.Validate(); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, test := range []struct {
		name string
		edit func(*Spec)
		want string
	}{
		{"relative directory", func(s *Spec) { s.Dir = "state" }, "not absolute"},
		{"relative bind", func(s *Spec) { s.Binds = []string{"x"} }, "not absolute"},
		{"no cgroup", func(s *Spec) { s.Cgroup = "" }, "not a plain name"},
		{"cgroup outside", func(s *Spec) { s.Cgroup = ".." }, "not a plain name"},
		{"nested cgroup", func(s *Spec) { s.Cgroup = "a/b" }, "not a plain name"},
		{"long link", func(s *Spec) { s.Network.Link = strings.Repeat("x", 16) }, "1 to 15"},
		{"two networks", func(s *Spec) { s.Network.Node = netip.MustParsePrefix("198.19.0.6/30") }, "two ends"},
		{"one address", func(s *Spec) { s.Network.Node = s.Network.Host }, "two ends"},
		{"bad component name", func(s *Spec) { s.Components[0].Name = "../x" }, "plain lower-case"},
		{"twice the same", func(s *Spec) { s.Components[1].Name = "one" }, "given twice"},
		{"no command", func(s *Spec) { s.Components[0].Args = nil }, "no command"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := validSpec()
			test.edit(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// serve runs a supervisor in this process, on its socket in dir.
func serve(t *testing.T, dir string, components ...Component) *Machine {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, logsDir), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := listenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: newSupervisor(&Spec{Dir: dir, Components: components}).handler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return Open(dir)
}

// longDir is deeper than a socket's path may be long.
func longDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func stateOf(t *testing.T, m *Machine, name string) ComponentStatus {
	t.Helper()
	list, err := m.Components(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(c ComponentStatus) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no %s in %v", name, list)
	}
	return list[i]
}

func TestComponentsStopAndStartOnRequest(t *testing.T) {
	ctx := t.Context()
	m := serve(t, longDir(t), Component{Name: "sleeper", Args: []string{"sleep", "600"}})
	if got := stateOf(t, m, "sleeper").State; got != Stopped {
		t.Fatalf("before the start: %s", got)
	}
	for range 2 { // again is no error
		if err := m.StartComponent(ctx, "sleeper"); err != nil {
			t.Fatal(err)
		}
		if got := stateOf(t, m, "sleeper").State; got != Running {
			t.Fatalf("after the start: %s", got)
		}
	}
	for range 2 {
		if err := m.StopComponent(ctx, "sleeper"); err != nil {
			t.Fatal(err)
		}
		if got := stateOf(t, m, "sleeper"); got.State != Stopped || !strings.Contains(got.Exit, "terminated") {
			t.Fatalf("after the stop: %+v", got)
		}
	}
	if err := m.CheckComponents(ctx); err != nil {
		t.Errorf("a component that was stopped on request is no failure: %v", err)
	}
	if err := m.StartComponent(ctx, "nobody"); err == nil || !strings.Contains(err.Error(), "no component nobody") {
		t.Errorf("an unknown component: %v", err)
	}
}

func TestAComponentThatEndsByItselfIsReportedWithItsLog(t *testing.T) {
	m := serve(t, longDir(t), Component{Name: "broken", Args: []string{"sh", "-c", "echo cannot open $WHAT; exit 3"}, Env: []string{"WHAT=the-door"}})
	if err := m.StartComponent(t.Context(), "broken"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for stateOf(t, m, "broken").State == Running && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	err := m.CheckComponents(ctx)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "cannot open the-door") {
		t.Errorf("error %v, want exit status and last words", err)
	}
}

func TestAMachineRunsWhileItsLockIsHeld(t *testing.T) {
	dir := t.TempDir()
	m := Open(dir)
	expect := func(want bool) {
		t.Helper()
		if got, err := m.Running(); err != nil || got != want {
			t.Fatalf("running %v, error %v, want %v", got, err, want)
		}
	}
	expect(false)
	lock, err := lockFileOf(dir, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	expect(true)
	if _, err := lockFileOf(dir, syscall.LOCK_EX); !errors.Is(err, errLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	expect(false)
	if _, err := m.Pid(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("the number of a machine that does not run: %v", err)
	}
}

func TestStopWithoutAMachineDoesNothing(t *testing.T) {
	removed, err := Open(filepath.Join(t.TempDir(), "absent")).Stop(t.Context())
	if err != nil || len(removed) > 0 {
		t.Errorf("removed %v, error %v", removed, err)
	}
}

func TestHierarchies(t *testing.T) {
	v1 := t.TempDir()
	for _, dir := range []string{"cpu", "memory"} {
		write(t, filepath.Join(v1, dir, "cgroup.procs"))
	}
	write(t, filepath.Join(v1, "not-one", "file"))
	if err := os.Symlink("cpu", filepath.Join(v1, "cpuacct")); err != nil {
		t.Fatal(err)
	}
	v2 := t.TempDir()
	write(t, filepath.Join(v2, "cgroup.controllers"))
	write(t, filepath.Join(v2, "system.slice", "cgroup.procs"))

	for _, test := range []struct {
		root string
		want []string
	}{
		{v1, []string{filepath.Join(v1, "cpu"), filepath.Join(v1, "memory")}},
		{v2, []string{v2}},
	} {
		got, err := hierarchies(test.root)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("got %v, error %v, want %v", got, err, test.want)
		}
	}
	if _, err := hierarchies(t.TempDir()); err == nil {
		t.Error("a machine without control groups was accepted")
	}
}

func TestRemoveTree(t *testing.T) {
	root := filepath.Join(t.TempDir(), "group")
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(root); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a second time: %v", err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}
