// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/policy"
)

// start opens a directory as a registry does when it starts, and returns what is in
// force.
func start(t *testing.T, dir, keep, version string) (*policy.Snapshot, error) {
	t.Helper()
	live := new(policy.Live)
	s, err := Open(Options{Dir: dir, Keep: keep, Version: version, Live: live, Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return live.Load(), nil
}

// mark replaces the policy that is kept by one that no file declares.
func mark(t *testing.T, keep string) {
	t.Helper()
	content, err := os.ReadFile(keep)
	if err != nil {
		t.Fatal(err)
	}
	var kept keptPolicy
	if err := json.Unmarshal(content, &kept); err != nil {
		t.Fatal(err)
	}
	p, _, err := policy.Join(kept.Shards)
	if err != nil {
		t.Fatal(err)
	}
	p.Hosts.URL = "https://marked.test"
	if kept.Shards, _, err = policy.Split(p); err != nil {
		t.Fatal(err)
	}
	if content, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	write(t, keep, string(content))
}

func marked(s *policy.Snapshot) bool { return s.Policy().Hosts.URL == "https://marked.test" }

func TestAStartWithUnchangedFilesTakesThePolicyThatWasKept(t *testing.T) {
	dir, keep := directory(t, good()), filepath.Join(t.TempDir(), "made", "kept.json")
	first, err := start(t, dir, keep, "v1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := start(t, dir, keep, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if again.Revision() != first.Revision() {
		t.Errorf("the policy was %s, and is %s after a start", first.Revision(), again.Revision())
	}
	mark(t, keep)
	if third, err := start(t, dir, keep, "v1"); err != nil || !marked(third) {
		t.Errorf("the files were checked again; %v", err)
	}
	if info, err := os.Stat(keep); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read what is kept: %v, %v", info.Mode(), err)
	}
}

func TestWhatWasKeptForSomethingElseIsNotTaken(t *testing.T) {
	for what, change := range map[string]func(t *testing.T, dir, keep string) (version string){
		"another program": func(*testing.T, string, string) string { return "v2" },
		"a changed file": func(t *testing.T, dir, _ string) string {
			write(t, filepath.Join(dir, "repositories.yaml"), withVisibility("Public"))
			return "v1"
		},
		"another name": func(t *testing.T, dir, _ string) string {
			if err := os.Rename(filepath.Join(dir, "repositories.yaml"), filepath.Join(dir, "others.yaml")); err != nil {
				t.Fatal(err)
			}
			return "v1"
		},
		"a damaged file": func(t *testing.T, _, keep string) string {
			content, err := os.ReadFile(keep)
			if err != nil {
				t.Fatal(err)
			}
			write(t, keep, string(content[:len(content)/2]))
			return "v1"
		},
		"a file without a policy": func(t *testing.T, _, keep string) string {
			write(t, keep, "{}")
			return "v1"
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, keep := directory(t, good()), filepath.Join(t.TempDir(), "kept.json")
			if _, err := start(t, dir, keep, "v1"); err != nil {
				t.Fatal(err)
			}
			mark(t, keep)
			version := change(t, dir, keep)
			s, err := start(t, dir, keep, version)
			if err != nil || marked(s) {
				t.Fatalf("what was kept is in force; %v", err)
			}
			mark(t, keep)
			if s, err = start(t, dir, keep, version); err != nil || !marked(s) {
				t.Errorf("the new policy was not kept; %v", err)
			}
		})
	}
}

func TestFaultyFilesAreRefusedWhateverWasKept(t *testing.T) {
	files := good()
	dir, keep := directory(t, files), filepath.Join(t.TempDir(), "kept.json")
	if _, err := start(t, dir, keep, "v1"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "repositories.yaml"), withVisibility("Secret"))
	for range 2 {
		if _, err := start(t, dir, keep, "v1"); err == nil {
			t.Error("a fault was not seen")
		}
	}
}

func TestWhereNothingCanBeKeptAStartSucceeds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, err := start(t, directory(t, good()), filepath.Join(file, "kept.json"), "v1"); err != nil {
		t.Error(err)
	}
}

func TestAChangeIsKeptWhenTheRegistryEnds(t *testing.T) {
	dir, keep := directory(t, good()), filepath.Join(t.TempDir(), "kept.json")
	live := new(policy.Live)
	changed := make(chan error, 10)
	s, err := Open(Options{Dir: dir, Keep: keep, Live: live, Now: time.Now, Report: func(err error) { changed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(keep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	write(t, filepath.Join(dir, "repositories.yaml"), withVisibility("Public"))
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(keep); err != nil || string(now) != string(before) {
		t.Errorf("the disk was written to while the registry serves; %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mark(t, keep)
	if s, err := start(t, dir, keep, ""); err != nil || !marked(s) {
		t.Errorf("the change was not kept; %v", err)
	}
}

func TestWhatIsKeptAlreadyIsNotWrittenAgain(t *testing.T) {
	dir, keep := directory(t, good()), filepath.Join(t.TempDir(), "kept.json")
	s, err := Open(Options{Dir: dir, Keep: keep, Live: new(policy.Live), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(keep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(keep); err != nil || !os.SameFile(before, after) {
		t.Errorf("nothing changed, and the file was replaced; %v", err)
	}
}
