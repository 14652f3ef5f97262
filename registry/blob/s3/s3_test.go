// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

// options of a store on the server, with parts as small as can be.
func options(server *s3test.Server) s3.Options {
	return s3.Options{
		Bucket: s3test.Bucket, Endpoint: server.Endpoint, Region: s3test.Region, Prefix: "a/prefix", ForcePathStyle: true,
		Credentials: server, InstanceUID: "uid-1", PartSize: s3.MinPartSize, Timeout: 30 * time.Second,
	}
}

func open(t testing.TB, o s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := s3test.Start(t)
	n := 0
	blobtest.Run(t, func(*testing.T) blobtest.Open {
		n++
		o := options(server)
		o.Prefix = fmt.Sprintf("data-%d", n)
		return func(t *testing.T, epoch uint64) (blob.Store, func()) {
			s := open(t, o)
			s.StartEpoch(epoch)
			return s, func() {}
		}
	})
}
