// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/catalogtest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// crashDirectory tells the test binary to be the process that is killed.
const crashDirectory = "CATALOG_CRASH_DIRECTORY"

func TestMain(m *testing.M) {
	if directory := os.Getenv(crashDirectory); directory != "" {
		fmt.Fprintln(os.Stderr, pushUntilKilled(directory))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const crashName ref.Name = "octocat/octo-app/app"

func crashOptions() catalogtest.Options {
	return catalogtest.Options{Now: time.Now, GracePeriod: time.Hour, DeleteDelay: time.Hour}
}

// crashImage is the image of one push: a layer of its own and its manifest.
func crashImage(tag string) (catalog.Blob, catalog.Manifest) {
	layer := []byte("layer of " + tag)
	b := catalog.Blob{Digest: ref.SHA256.FromBytes(layer), Size: int64(len(layer)), Content: layer}
	content := []byte("manifest of " + tag)
	return b, catalog.Manifest{Digest: ref.SHA256.FromBytes(content), Content: content, Blobs: []ref.Digest{b.Digest}}
}

// pushUntilKilled pushes from several goroutines and prints a tag when its push
// was acknowledged.
func pushUntilKilled(directory string) error {
	// The store is opened without a testing.TB: this process never ends a test.
	s, err := openPath(context.Background(), directory, crashOptions(), 0)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				tag := fmt.Sprintf("e%d-w%d-%d", s.Epoch(), worker, i)
				b, m := crashImage(tag)
				if _, err := s.PutBlob(context.Background(), crashName, b); err != nil {
					failed <- err
					return
				}
				if err := s.PutManifest(context.Background(), crashName, m, []ref.Tag{ref.Tag(tag), "latest"}); err != nil {
					failed <- err
					return
				}
				// One write of a short line to a pipe is whole or not at all.
				if _, err := os.Stdout.WriteString(tag + "\n"); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func TestAcknowledgedPushesOutliveAKill(t *testing.T) {
	directory := t.TempDir()
	var acknowledged []string
	for round := range uint64(3) {
		acknowledged = append(acknowledged, killWhilePushing(t, directory, 50*int(round+1))...)

		s := open(t, directory, crashOptions())
		unclean, err := s.UncleanEpochs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		killed := s.Epoch() - 1
		if !slices.Equal(unclean, []uint64{killed}) {
			t.Fatalf("unclean epochs are %v, want that of the killed process, %d", unclean, killed)
		}
		checkPushes(t, s, acknowledged)
		if err := s.Swept(t.Context(), killed); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWhilePushing returns the tags that were acknowledged before the kill.
func killWhilePushing(t *testing.T, directory string, atLeast int) []string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDirectory+"="+directory)
	var stderr strings.Builder
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var tags []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		tags = append(tags, lines.Text())
		if len(tags) == atLeast {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Killed as it was, its exit status is an error.
	_ = child.Wait()
	if len(tags) < atLeast {
		t.Fatalf("the process ended after %d pushes: %s", len(tags), stderr.String())
	}
	return tags
}

// checkPushes checks that acknowledged pushes are there, and that whatever else
// is there is whole.
func checkPushes(t *testing.T, s catalog.Store, acknowledged []string) {
	t.Helper()
	tags, err := s.Tags(t.Context(), crashName, "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, tag := range tags {
		found[string(tag)] = true
		d, err := s.ResolveTag(t.Context(), crashName, tag)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Manifest(t.Context(), crashName, d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if got := ref.SHA256.FromBytes(m.Content); got != d.Digest {
			t.Fatalf("the manifest of tag %s has digest %s, want %s", tag, got, d.Digest)
		}
		for _, digest := range m.Blobs {
			b, err := s.Blob(t.Context(), crashName, digest)
			if err != nil {
				t.Fatal(err)
			}
			if got := ref.SHA256.FromBytes(b.Content); got != digest {
				t.Fatalf("a blob of tag %s has digest %s, want %s", tag, got, digest)
			}
		}
	}
	for _, tag := range append(acknowledged, "latest") {
		if !found[tag] {
			t.Errorf("tag %s was acknowledged and is lost", tag)
		}
	}
}
