// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

func TestRequestsAreObserved(t *testing.T) {
	server := s3test.Start(t)
	o := options(server)
	var mu sync.Mutex
	done, failed := map[string]int{}, map[string]int{}
	o.Observe = func(operation string, took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if took <= 0 {
			t.Errorf("%s took %s", operation, took)
		}
		if err != nil {
			failed[operation]++
		} else {
			done[operation]++
		}
	}
	s := open(t, o)
	// What the storage answers is no failure, though its answer is no.
	if _, err := s.Open(t.Context(), mustCreate(t, s).Key); !errors.Is(err, blob.ErrNotFound) {
		t.Fatal(err)
	}
	p, err := s.Append(t.Context(), mustCreate(t, s), bytes.NewReader(blobtest.Content(1, 100)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if done["PutObject"] == 0 || done["HeadObject"] == 0 || len(failed) > 0 {
		t.Errorf("done %v, failed %v", done, failed)
	}
	mu.Unlock()

	server.Stop()
	if err := s.Delete(t.Context(), p.Key); err == nil {
		t.Fatal("the storage is gone, and deletes")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(failed) == 0 {
		t.Errorf("done %v, failed %v", done, failed)
	}
}

func mustCreate(t *testing.T, s blob.Store) blob.Partial {
	t.Helper()
	p, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
