// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instrument

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// The operations of a catalog, and what they are called.
const (
	opBlob = iota
	opMount
	opLinks
	opDeleteBlob
	opStartUpload
	opUpload
	opSaveUpload
	opFinishUpload
	opPutBlob
	opReplaceObject
	opAbandonObject
	opCancelUpload
	opPutManifest
	opResolveTag
	opManifest
	opDeleteManifest
	opDeleteTag
	opTags
	opNames
	opReferrers
	opDropExpiredUploads
	opReview
	opDueDeletions
	opDeletionsDone
	opUnreferenced
	opBacklog
	opPurge
	opPurged
	opUncleanEpochs
	opSwept
	opPing
)

var catalogOperations = []string{
	opBlob:               "Blob",
	opMount:              "Mount",
	opLinks:              "Links",
	opDeleteBlob:         "DeleteBlob",
	opStartUpload:        "StartUpload",
	opUpload:             "Upload",
	opSaveUpload:         "SaveUpload",
	opFinishUpload:       "FinishUpload",
	opPutBlob:            "PutBlob",
	opReplaceObject:      "ReplaceObject",
	opAbandonObject:      "AbandonObject",
	opCancelUpload:       "CancelUpload",
	opPutManifest:        "PutManifest",
	opResolveTag:         "ResolveTag",
	opManifest:           "Manifest",
	opDeleteManifest:     "DeleteManifest",
	opDeleteTag:          "DeleteTag",
	opTags:               "Tags",
	opNames:              "Names",
	opReferrers:          "Referrers",
	opDropExpiredUploads: "DropExpiredUploads",
	opReview:             "Review",
	opDueDeletions:       "DueDeletions",
	opDeletionsDone:      "DeletionsDone",
	opUnreferenced:       "Unreferenced",
	opBacklog:            "Backlog",
	opPurge:              "Purge",
	opPurged:             "Purged",
	opUncleanEpochs:      "UncleanEpochs",
	opSwept:              "Swept",
	opPing:               "Ping",
}

// Uploads count how uploads begin and end. A blob that comes in one request is an
// upload as well.
type Uploads struct {
	Started, Finished, Canceled prometheus.Counter
}

// measuredCatalog is a catalog whose operations are timed.
type measuredCatalog struct {
	catalog.Store
	operations *operations
	uploads    Uploads
}

// Catalog measures a catalog.
func Catalog(s catalog.Store, uploads Uploads, o Options) catalog.Store {
	return &measuredCatalog{Store: s, operations: newOperations("catalog", catalogOperations, o), uploads: uploads}
}

func (s *measuredCatalog) Blob(ctx context.Context, name ref.Name, digest ref.Digest) (found catalog.Blob, err error) {
	ctx, c := s.operations.begin(ctx, opBlob)
	found, err = s.Store.Blob(ctx, name, digest)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Mount(ctx context.Context, name ref.Name, digest ref.Digest, from ref.Name) (err error) {
	ctx, c := s.operations.begin(ctx, opMount)
	err = s.Store.Mount(ctx, name, digest, from)
	c.end(err)
	return err
}

func (s *measuredCatalog) Links(ctx context.Context, digest ref.Digest, limit int) (found []ref.Name, err error) {
	ctx, c := s.operations.begin(ctx, opLinks)
	found, err = s.Store.Links(ctx, digest, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) DeleteBlob(ctx context.Context, name ref.Name, digest ref.Digest) (err error) {
	ctx, c := s.operations.begin(ctx, opDeleteBlob)
	err = s.Store.DeleteBlob(ctx, name, digest)
	c.end(err)
	return err
}

func (s *measuredCatalog) StartUpload(ctx context.Context, u catalog.Upload) (err error) {
	ctx, c := s.operations.begin(ctx, opStartUpload)
	err = s.Store.StartUpload(ctx, u)
	c.end(err)
	if err == nil {
		s.uploads.Started.Inc()
	}
	return err
}

func (s *measuredCatalog) Upload(ctx context.Context, id string, name ref.Name, actor string) (found catalog.Upload, err error) {
	ctx, c := s.operations.begin(ctx, opUpload)
	found, err = s.Store.Upload(ctx, id, name, actor)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) SaveUpload(ctx context.Context, id string, from, to catalog.Progress) (err error) {
	ctx, c := s.operations.begin(ctx, opSaveUpload)
	err = s.Store.SaveUpload(ctx, id, from, to)
	c.end(err)
	return err
}

func (s *measuredCatalog) FinishUpload(ctx context.Context, id string, from catalog.Progress, b catalog.Blob) (discard string, err error) {
	ctx, c := s.operations.begin(ctx, opFinishUpload)
	discard, err = s.Store.FinishUpload(ctx, id, from, b)
	c.end(err)
	if err == nil {
		s.uploads.Finished.Inc()
	}
	return discard, err
}

func (s *measuredCatalog) PutBlob(ctx context.Context, name ref.Name, b catalog.Blob) (discard string, err error) {
	ctx, c := s.operations.begin(ctx, opPutBlob)
	discard, err = s.Store.PutBlob(ctx, name, b)
	c.end(err)
	if err == nil {
		s.uploads.Started.Inc()
		s.uploads.Finished.Inc()
	}
	return discard, err
}

func (s *measuredCatalog) ReplaceObject(ctx context.Context, digest ref.Digest, lost, key string) (done bool, err error) {
	ctx, c := s.operations.begin(ctx, opReplaceObject)
	done, err = s.Store.ReplaceObject(ctx, digest, lost, key)
	c.end(err)
	return done, err
}

func (s *measuredCatalog) AbandonObject(ctx context.Context, key string) (err error) {
	ctx, c := s.operations.begin(ctx, opAbandonObject)
	err = s.Store.AbandonObject(ctx, key)
	c.end(err)
	return err
}

func (s *measuredCatalog) CancelUpload(ctx context.Context, id string, name ref.Name, actor string) (discard string, err error) {
	ctx, c := s.operations.begin(ctx, opCancelUpload)
	discard, err = s.Store.CancelUpload(ctx, id, name, actor)
	c.end(err)
	if err == nil {
		s.uploads.Canceled.Inc()
	}
	return discard, err
}

func (s *measuredCatalog) PutManifest(ctx context.Context, name ref.Name, m catalog.Manifest, tags []ref.Tag) (err error) {
	ctx, c := s.operations.begin(ctx, opPutManifest)
	err = s.Store.PutManifest(ctx, name, m, tags)
	c.end(err)
	return err
}

func (s *measuredCatalog) ResolveTag(ctx context.Context, name ref.Name, tag ref.Tag) (found catalog.Descriptor, err error) {
	ctx, c := s.operations.begin(ctx, opResolveTag)
	found, err = s.Store.ResolveTag(ctx, name, tag)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Manifest(ctx context.Context, name ref.Name, digest ref.Digest) (found catalog.Manifest, err error) {
	ctx, c := s.operations.begin(ctx, opManifest)
	found, err = s.Store.Manifest(ctx, name, digest)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) DeleteManifest(ctx context.Context, name ref.Name, digest ref.Digest) (err error) {
	ctx, c := s.operations.begin(ctx, opDeleteManifest)
	err = s.Store.DeleteManifest(ctx, name, digest)
	c.end(err)
	return err
}

func (s *measuredCatalog) DeleteTag(ctx context.Context, name ref.Name, tag ref.Tag) (err error) {
	ctx, c := s.operations.begin(ctx, opDeleteTag)
	err = s.Store.DeleteTag(ctx, name, tag)
	c.end(err)
	return err
}

func (s *measuredCatalog) Tags(ctx context.Context, name ref.Name, last string, limit int) (found []ref.Tag, err error) {
	ctx, c := s.operations.begin(ctx, opTags)
	found, err = s.Store.Tags(ctx, name, last, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Names(ctx context.Context, last string, limit int) (found []ref.Name, err error) {
	ctx, c := s.operations.begin(ctx, opNames)
	found, err = s.Store.Names(ctx, last, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Referrers(ctx context.Context, name ref.Name, subject ref.Digest, artifactType string, last ref.Digest, limit int) (found []catalog.Descriptor, err error) {
	ctx, c := s.operations.begin(ctx, opReferrers)
	found, err = s.Store.Referrers(ctx, name, subject, artifactType, last, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) DropExpiredUploads(ctx context.Context, before time.Time, limit int) (found int, err error) {
	ctx, c := s.operations.begin(ctx, opDropExpiredUploads)
	found, err = s.Store.DropExpiredUploads(ctx, before, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Review(ctx context.Context, limit int) (found int, err error) {
	ctx, c := s.operations.begin(ctx, opReview)
	found, err = s.Store.Review(ctx, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) DueDeletions(ctx context.Context, limit int) (found []catalog.Deletion, err error) {
	ctx, c := s.operations.begin(ctx, opDueDeletions)
	found, err = s.Store.DueDeletions(ctx, limit)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) DeletionsDone(ctx context.Context, done []catalog.Deletion) (err error) {
	ctx, c := s.operations.begin(ctx, opDeletionsDone)
	err = s.Store.DeletionsDone(ctx, done)
	c.end(err)
	return err
}

func (s *measuredCatalog) Unreferenced(ctx context.Context, keys []string) (found []string, err error) {
	ctx, c := s.operations.begin(ctx, opUnreferenced)
	found, err = s.Store.Unreferenced(ctx, keys)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Backlog(ctx context.Context) (found catalog.Backlog, err error) {
	ctx, c := s.operations.begin(ctx, opBacklog)
	found, err = s.Store.Backlog(ctx)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Purge(ctx context.Context, id, repository string) (err error) {
	ctx, c := s.operations.begin(ctx, opPurge)
	err = s.Store.Purge(ctx, id, repository)
	c.end(err)
	return err
}

func (s *measuredCatalog) Purged(ctx context.Context, ids []string) (found []string, err error) {
	ctx, c := s.operations.begin(ctx, opPurged)
	found, err = s.Store.Purged(ctx, ids)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) UncleanEpochs(ctx context.Context) (found []uint64, err error) {
	ctx, c := s.operations.begin(ctx, opUncleanEpochs)
	found, err = s.Store.UncleanEpochs(ctx)
	c.end(err)
	return found, err
}

func (s *measuredCatalog) Swept(ctx context.Context, epoch uint64) (err error) {
	ctx, c := s.operations.begin(ctx, opSwept)
	err = s.Store.Swept(ctx, epoch)
	c.end(err)
	return err
}

func (s *measuredCatalog) Ping(ctx context.Context) (err error) {
	ctx, c := s.operations.begin(ctx, opPing)
	err = s.Store.Ping(ctx)
	c.end(err)
	return err
}
