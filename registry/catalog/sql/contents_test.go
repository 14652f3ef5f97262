// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func TestContentsAreBounded(t *testing.T) {
	c := newContents(100_000)
	for i := range 1000 {
		c.keep(ref.Digest(fmt.Sprint(i)), make([]byte, 1000))
		c.keep(ref.Digest(fmt.Sprint(i)), make([]byte, 1000))
		if c.get(ref.Digest(fmt.Sprint(i))) == nil {
			t.Fatalf("content %d is not kept", i)
		}
	}
	sum := 0
	for _, content := range c.byDigest {
		sum += len(content) + entryOverhead
	}
	if sum != c.size || sum > c.limit || sum < c.limit/2 {
		t.Errorf("%d bytes are kept and %d counted, of %d", sum, c.size, c.limit)
	}
	kept := len(c.byDigest)
	c.keep("large", make([]byte, 50_000))
	if c.get("large") != nil || len(c.byDigest) != kept {
		t.Error("one entry pushed out the others")
	}
	none := newContents(-1)
	none.keep("small", []byte("1"))
	if none.get("small") != nil {
		t.Error("a store that keeps nothing keeps something")
	}
}

// TestOfAServerOnlyContentIsKept looks for it by changing the database behind the
// store's back: no process changes the content of a digest.
func TestOfAServerOnlyContentIsKept(t *testing.T) {
	server := postgrestest.Start(t)
	url := server.Schema()
	s, other := opened(t, Options{URL: url}), opened(t, Options{URL: url})
	m, err := pushTo(t.Context(), s, keptName, 1)
	if err != nil {
		t.Fatal(err)
	}
	get := func() catalog.Manifest {
		t.Helper()
		got, err := s.Manifest(t.Context(), keptName, m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	get()
	if err := s.write(t.Context(), true, func(t tx) error {
		_, err := t.exec("UPDATE manifests SET content = ?", []byte("never read again"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := get(); !bytes.Equal(got.Content, m.Content) || got.MediaType != m.MediaType || len(got.Blobs) != 1 {
		t.Errorf("the manifest is %+v", got)
	}
	// Another process changes all else, and it shows.
	changed := m
	changed.MediaType = "application/y"
	if err := other.PutManifest(t.Context(), keptName, changed, []ref.Tag{"other"}); err != nil {
		t.Fatal(err)
	}
	if got := get(); got.MediaType != changed.MediaType {
		t.Errorf("the media type is %s, want %s", got.MediaType, changed.MediaType)
	}
	if _, err := s.Manifest(t.Context(), "octocat/elsewhere/app", m.Digest); !errors.Is(err, catalog.ErrManifestUnknown) {
		t.Errorf("a name without the manifest has it: %v", err)
	}
	if err := other.DeleteManifest(t.Context(), keptName, m.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Manifest(t.Context(), keptName, m.Digest); !errors.Is(err, catalog.ErrManifestUnknown) {
		t.Errorf("what another process deleted is served: %v", err)
	}
}
