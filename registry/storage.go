// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/filesystem"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/durable"
	"github.com/packages-operator/packages-operator/registry/instrument"
)

// blobsFile in the data directory names the bucket that the catalog's blobs are
// in. There is none while they are in the directory itself.
const blobsFile = "blobs"

// storage is the open catalog and blob store.
type storage struct {
	catalog catalog.Store
	// room tells whether the catalog had room for the last change.
	room *roomWatch
	// data is the data directory. It is locked, and is where blobs are unless they
	// are in a bucket.
	data  *filesystem.Store
	blobs blob.Store
	// stats are the catalog's own.
	stats func() sql.Stats
	// lost is closed when others have taken the catalog over; it may be nil.
	lost <-chan struct{}
	// reach reports whether the place of the blobs answers.
	reach func(context.Context) error
	// chunkSize is what uploads are best sent in; zero if that does not matter.
	chunkSize int64
}

func openStorage(ctx context.Context, o Options, observe s3.Observer) (*storage, error) {
	// The directory's lock comes first: it keeps another process from beginning
	// an epoch in a database that is in use.
	data, err := filesystem.Open(o.DataDir, filesystem.Options{InstanceUID: o.InstanceUID, Adopt: o.Adopt})
	if err != nil {
		return nil, err
	}
	s := &storage{data: data}
	if err := s.open(ctx, o, observe); err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return s, nil
}

func (s *storage) open(ctx context.Context, o Options, observe s3.Observer) error {
	if err := checkBlobs(s.data, o); err != nil {
		return err
	}
	var bucket *s3.Store
	if o.S3 != nil {
		where := *o.S3
		where.InstanceUID, where.Adopt, where.SpoolDir = o.InstanceUID, o.Adopt, o.DataDir
		where.Observe = observe
		var err error
		if bucket, err = s3.Open(ctx, where); err != nil {
			return err
		}
		if err := writeBlobs(o); err != nil {
			return err
		}
	}
	options := sql.Options{
		InstanceUID: o.InstanceUID,
		Adopt:       o.Adopt,
		GracePeriod: gracePeriod,
		DeleteDelay: deleteDelay,
		Log:         o.Log.WithName("catalog"),
	}
	if bucket != nil {
		options.Blobs = bucketOf(o.S3)
	} else {
		options.Blobs = "a data directory"
	}
	if o.DatabaseURL == "" {
		options.Path = filepath.Join(o.DataDir, "catalog.db")
	} else {
		// Nobody else has the files of the data directory.
		options.URL, options.Alone = o.DatabaseURL, bucket == nil
	}
	store, err := sql.Open(ctx, options)
	if err != nil {
		return err
	}
	s.room = &roomWatch{Store: store}
	s.catalog, s.stats, s.lost = s.room, store.Stats, store.Lost()
	if bucket == nil {
		s.data.StartEpoch(store.Epoch())
		s.blobs, s.reach = s.data, func(context.Context) error { return nil }
		return nil
	}
	bucket.StartEpoch(store.Epoch())
	s.blobs, s.reach, s.chunkSize = bucket, bucket.Ping, bucket.ChunkSize()
	return nil
}

// measure has everything that is asked of the stores from now on counted.
func (s *storage) measure(m *metrics, tracer trace.Tracer) {
	s.catalog = instrument.Catalog(s.catalog, m.uploads, instrument.Options{Duration: m.catalog, Tracer: tracer})
	s.blobs = instrument.Blobs(s.blobs, instrument.Options{Duration: m.blobs, Tracer: tracer})
}

func (s *storage) close() error {
	return errors.Join(s.catalog.Close(), s.data.Close())
}

// bucketOf names the place of a bucket's blobs.
func bucketOf(o *s3.Options) string { return strings.TrimSuffix("s3://"+o.Bucket+"/"+o.Prefix, "/") }

// checkBlobs refuses a start that would not find the blobs which the catalog in
// the directory has.
func checkBlobs(data *filesystem.Store, o Options) error {
	content, err := os.ReadFile(filepath.Join(o.DataDir, blobsFile))
	found := strings.TrimSpace(string(content))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read where the blobs of data directory %s are: %w", o.DataDir, err)
	case o.S3 == nil && err == nil:
		return fmt.Errorf("data directory %s has its blobs in %s: start with --s3-bucket", o.DataDir, found)
	case o.S3 == nil:
		return nil
	case err == nil && found != bucketOf(o.S3) && !o.Adopt:
		return fmt.Errorf("data directory %s has its blobs in %s, not in %s; once they are copied there, start with --adopt", o.DataDir, found, bucketOf(o.S3))
	case err == nil:
		return nil
	}
	empty, err := data.Empty()
	if err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("data directory %s has its blobs in itself: start without --s3-bucket, or with another directory", o.DataDir)
	}
	return nil
}

// writeBlobs records durably where the blobs are, before the first is written
// there.
func writeBlobs(o Options) error {
	if err := durable.WriteFile(filepath.Join(o.DataDir, blobsFile), []byte(bucketOf(o.S3)+"\n")); err != nil {
		return fmt.Errorf("record where the blobs of data directory %s are: %w", o.DataDir, err)
	}
	return nil
}
