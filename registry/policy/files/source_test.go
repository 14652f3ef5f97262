// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/policy"
)

// patience bounds what a test waits for; the wait ends as soon as it happens.
const patience = 30 * time.Second

// running is a source that follows a directory until the test ends.
type running struct {
	*Source
	t       *testing.T
	live    *policy.Live
	reports chan error
}

func follow(t *testing.T, dir string) *running {
	t.Helper()
	r := &running{t: t, live: new(policy.Live), reports: make(chan error, 100)}
	source, err := Open(Options{Dir: dir, Live: r.live, Now: time.Now, Report: func(err error) { r.reports <- err }})
	if err != nil {
		t.Fatal(err)
	}
	r.Source = source
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return r
}

// until waits for a report that satisfies a condition on what is in force.
func (r *running) until(what string, condition func(*policy.Snapshot, error) bool) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case err := <-r.reports:
			if condition(r.live.Load(), err) {
				return
			}
		case <-deadline:
			r.t.Fatalf("%s did not happen; status is %+v", what, r.Status())
		}
	}
}

func visibility(want policy.Visibility) func(*policy.Snapshot, error) bool {
	return func(s *policy.Snapshot, err error) bool {
		repository, found := s.Repository("octocat/octo-app")
		return err == nil && found && repository.Visibility == want
	}
}

func failure(part string) func(*policy.Snapshot, error) bool {
	return func(_ *policy.Snapshot, err error) bool {
		return err != nil && strings.Contains(err.Error(), part)
	}
}

func withVisibility(v string) string {
	return strings.Replace(repositoryYAML, "  owner:", "  visibility: "+v+"\n  owner:", 1)
}

func TestOpenRefusesAFaultyDirectory(t *testing.T) {
	files := good()
	delete(files, "instance.yaml")
	var live policy.Live
	_, err := Open(Options{Dir: directory(t, files), Live: &live, Now: time.Now})
	var fault *Error
	if !errors.As(err, &fault) {
		t.Errorf("got %v", err)
	}
	if live.Load() != nil {
		t.Error("a faulty policy was published")
	}
}

func TestAChangedFileTakesEffect(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	before := r.Status()
	if before.Revision != r.live.Load().Revision() || before.Since.IsZero() || before.Err != nil {
		t.Errorf("status is %+v", before)
	}
	write(t, filepath.Join(dir, "repositories.yaml"), withVisibility("Public"))
	r.until("Public", visibility(policy.Public))
	if after := r.Status(); after.Revision == before.Revision || after.Revision != r.live.Load().Revision() || after.Err != nil {
		t.Errorf("status is %+v", after)
	}
}

func TestAnUnchangedDirectoryIsConfirmed(t *testing.T) {
	r := follow(t, directory(t, good()))
	first := r.Status()
	for deadline := time.Now().Add(patience); !r.Status().Confirmed.After(first.Confirmed); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the status stays %+v", first)
		}
	}
	if now := r.Status(); now.Since != first.Since || now.Revision != first.Revision {
		t.Errorf("it changed from %+v to %+v", first, now)
	}
}

func TestAnEditorsRenameTakesEffect(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	write(t, filepath.Join(dir, ".repositories.yaml.swp"), withVisibility("Internal"))
	if err := os.Rename(filepath.Join(dir, ".repositories.yaml.swp"), filepath.Join(dir, "repositories.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until("Internal", visibility(policy.Internal))
}

func TestANewAndARemovedFileTakeEffect(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	more := filepath.Join(dir, "more.yaml")
	write(t, more, strings.ReplaceAll(repositoryYAML, "name: octo-app", "name: more"))
	r.until("the new repository", func(s *policy.Snapshot, err error) bool {
		_, found := s.Repository("octocat/more")
		return found && err == nil
	})
	if err := os.Remove(more); err != nil {
		t.Fatal(err)
	}
	r.until("its removal", func(s *policy.Snapshot, err error) bool {
		_, found := s.Repository("octocat/more")
		return !found && err == nil
	})
}

// A ConfigMap or Secret volume changes by one rename of the link ..data.
func TestAVolumesLinkTakesEffect(t *testing.T) {
	dir := t.TempDir()
	version := func(name, repositories string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for file, content := range good() {
			write(t, filepath.Join(dir, name, file), content)
		}
		write(t, filepath.Join(dir, name, "repositories.yaml"), repositories)
		if err := os.Symlink(name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", repositoryYAML)
	for file := range good() {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	r := follow(t, dir)
	version("..2", withVisibility("Public"))
	r.until("Public", visibility(policy.Public))
}

// replace lets a file change at once, so that no half of it is ever read.
func replace(t *testing.T, path, content string) {
	t.Helper()
	temporary := filepath.Join(filepath.Dir(path), ".new")
	write(t, temporary, content)
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

func TestABrokenFileKeepsTheLastGoodPolicy(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	before := r.live.Load()
	file := filepath.Join(dir, "repositories.yaml")

	replace(t, file, withVisibility("Everybody"))
	r.until("the report", failure("repositories.yaml:8: spec.visibility: Unsupported value"))
	if r.live.Load() != before {
		t.Error("the last good policy is no longer in force")
	}
	status := r.Status()
	if status.Revision != before.Revision() || !failure("spec.visibility")(nil, status.Err) {
		t.Errorf("status is %+v", status)
	}

	replace(t, file, withVisibility("Public"))
	r.until("the repair", visibility(policy.Public))
	if status := r.Status(); status.Err != nil || status.Revision == before.Revision() {
		t.Errorf("status is %+v", status)
	}
}

func TestARepairToTheSamePolicyEndsTheFault(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	before := r.live.Load()
	file := filepath.Join(dir, "repositories.yaml")
	replace(t, file, "kind: [")
	r.until("the report", failure("not valid YAML"))
	replace(t, file, repositoryYAML+"# repaired\n")
	r.until("the repair", func(s *policy.Snapshot, err error) bool { return s == before && err == nil })
	if status := r.Status(); status.Err != nil {
		t.Errorf("status is %+v", status)
	}
}

// Absence never deletes: nor does a directory that goes away.
func TestAVanishedDirectoryKeepsTheLastGoodPolicy(t *testing.T) {
	dir := directory(t, good())
	r := follow(t, dir)
	before := r.live.Load()
	moved := dir + "-moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(moved) })
	r.until("the report", failure("no such file or directory"))
	if r.live.Load() != before {
		t.Error("the last good policy is no longer in force")
	}
	write(t, filepath.Join(moved, "repositories.yaml"), withVisibility("Internal"))
	if err := os.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
	r.until("its return", visibility(policy.Internal))
}
