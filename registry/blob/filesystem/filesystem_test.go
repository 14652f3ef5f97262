// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Open {
		dir := t.TempDir()
		return func(t *testing.T, epoch uint64) (blob.Store, func()) {
			s, err := Open(dir, Options{InstanceUID: "test", Epoch: epoch})
			if err != nil {
				t.Fatal(err)
			}
			return s, func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
