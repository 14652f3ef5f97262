// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalog is the registry's knowledge about content: which blobs,
// manifests and tags a name has, and which uploads are under way. It does not
// know who may do what, nor how bytes are stored.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/registry/ref"
)

var (
	// ErrNameUnknown says that the name has no content.
	ErrNameUnknown = errors.New("name unknown")
	// ErrBlobUnknown says that the name does not link the blob.
	ErrBlobUnknown = errors.New("blob unknown")
	// ErrBlobInUse says that a manifest of the name references the blob.
	ErrBlobInUse = errors.New("blob is referenced by a manifest")
	// ErrManifestUnknown says that the name has no such tag or manifest.
	ErrManifestUnknown = errors.New("manifest unknown")
	// ErrManifestInUse says that an index of the name references the manifest.
	ErrManifestInUse = errors.New("manifest is referenced by an index")
	// ErrUploadUnknown says that this name and actor have no such upload.
	ErrUploadUnknown = errors.New("upload unknown")
	// ErrUploadConflict says that the upload has moved on since it was read.
	ErrUploadConflict = errors.New("upload was continued elsewhere")
	// ErrUnavailable says that the database does not answer, or has too much to do.
	// Nothing is changed; the same operation may succeed later.
	ErrUnavailable = errors.New("the catalog is not available")
	// ErrOutcomeUnknown says that the database went away while a change was being
	// committed: it is stored whole, or not at all.
	ErrOutcomeUnknown = errors.New("the connection to the database was lost while a change was being committed, and the change may be stored or not")
	// ErrNoSpace says that the database has no room left.
	ErrNoSpace = errors.New("no space left in the catalog")
)

// MissingError lists what a manifest refers to and its name does not have.
type MissingError struct {
	Blobs     []ref.Digest
	Manifests []ref.Digest
}

func (e *MissingError) Error() string {
	var parts []string
	for _, d := range e.Blobs {
		parts = append(parts, "blob "+string(d))
	}
	for _, d := range e.Manifests {
		parts = append(parts, "manifest "+string(d))
	}
	return fmt.Sprintf("not in this name: %s", strings.Join(parts, ", "))
}

// Blob is a stored blob.
type Blob struct {
	Digest ref.Digest
	Size   int64
	// Key of its object; empty when Content holds the bytes.
	Key string
	// Content of a small blob; nil when the bytes are an object.
	Content []byte
}

// Upload is a blob upload that is under way. Its progress is whatever the code
// that moves the bytes needs to go on.
type Upload struct {
	ID    string
	Name  ref.Name
	Actor string
	// StartedAt is when the upload began.
	StartedAt time.Time
	Progress
}

// Progress is how far an upload is. Its slices are never changed in place: the
// catalog may keep those it is given.
type Progress struct {
	// Offset is the number of bytes received; it is what concurrent writers
	// compare and set.
	Offset int64
	// Algorithm the bytes are hashed with, and the hash's midstate.
	Algorithm ref.Algorithm
	Hash      []byte
	// Inline holds the bytes while they are few; else Key and State belong to
	// the blob store.
	Inline []byte
	Key    string
	State  []byte
}

// Manifest is an image manifest, an index, or their Docker forms.
type Manifest struct {
	Digest    ref.Digest
	MediaType string
	Content   []byte
	// ArtifactType as a referrers descriptor shows it.
	ArtifactType string
	Annotations  map[string]string
	// Subject that this manifest refers to; empty without one. It need not exist.
	Subject ref.Digest
	// Blobs are the config and the layers; Manifests are an index's children.
	Blobs     []ref.Digest
	Manifests []ref.Digest
	// Optional are those of Blobs and Manifests that need not be in the name when
	// the manifest is put. What comes later is kept for the manifest like the
	// rest. They are not remembered: a Manifest that is read has none.
	Optional []ref.Digest
}

// Descriptor is a manifest without its content.
type Descriptor struct {
	Digest       ref.Digest
	MediaType    string
	Size         int64
	ArtifactType string
	Annotations  map[string]string
}

// Blobs are a name's blobs. Only an upload or a mount links a blob to a name.
type Blobs interface {
	// Blob returns ErrBlobUnknown unless name links the digest. A blob that is
	// due for review is given another grace period.
	Blob(ctx context.Context, name ref.Name, digest ref.Digest) (Blob, error)
	// Mount links to name a blob that from links; else ErrBlobUnknown.
	Mount(ctx context.Context, name ref.Name, digest ref.Digest, from ref.Name) error
	// Links lists at most limit names that link the digest.
	Links(ctx context.Context, digest ref.Digest, limit int) ([]ref.Name, error)
	// DeleteBlob removes the link: ErrBlobUnknown, ErrBlobInUse.
	DeleteBlob(ctx context.Context, name ref.Name, digest ref.Digest) error
}

// DiscardDelay is how long an object that is stored twice is kept: for as long its
// key can take the place of one that turns out to be lost.
const DiscardDelay = 10 * time.Minute

// Uploads are the uploads that are under way. An object that is to be discarded
// is queued for deletion as well, so that a crash does not leave it behind; the
// caller may delete it at once.
type Uploads interface {
	// StartUpload stores a new upload. It may be lost in a crash of the machine.
	StartUpload(ctx context.Context, u Upload) error
	// Upload returns ErrUploadUnknown unless id, name and actor all match.
	Upload(ctx context.Context, id string, name ref.Name, actor string) (Upload, error)
	// SaveUpload replaces the progress if the stored offset and key are still
	// those of from: ErrUploadConflict, ErrUploadUnknown.
	SaveUpload(ctx context.Context, id string, from, to Progress) error
	// FinishUpload records the blob, links it to the upload's name and removes
	// the upload, durably and at once, if its offset and key are those of from.
	// A digest that is stored already keeps its bytes: then discard is the key
	// of the new object, which nobody needs.
	FinishUpload(ctx context.Context, id string, from Progress, b Blob) (discard string, err error)
	// PutBlob is FinishUpload for a blob that came in one request.
	PutBlob(ctx context.Context, name ref.Name, b Blob) (discard string, err error)
	// ReplaceObject gives a digest whose object is lost another one: a key that
	// FinishUpload or PutBlob, which gave it out to be discarded, did so for less
	// than DiscardDelay ago. It is durable when it returns. Done is false, and
	// nothing is changed, if the digest's object is not (any more) the lost one.
	// ErrUploadUnknown says that the delay is over.
	ReplaceObject(ctx context.Context, digest ref.Digest, lost, key string) (done bool, err error)
	// AbandonObject queues for deletion an object that was written for an upload which
	// ended meanwhile, unless a blob or another upload has it: who ended the upload may
	// have had the object deleted before that was written.
	AbandonObject(ctx context.Context, key string) error
	// SweepLater has the objects of the store's epoch looked through once it has
	// ended, even if it ends in order: one that the catalog does not know may have
	// been left behind.
	SweepLater()
	// CancelUpload removes the upload and returns the key of its object.
	CancelUpload(ctx context.Context, id string, name ref.Name, actor string) (discard string, err error)
}

// Manifests are a name's manifests and tags.
type Manifests interface {
	// PutManifest stores m in name and points the tags at it, durably and at
	// once. What m refers to, but for what is optional, must be in name: else a
	// *MissingError.
	PutManifest(ctx context.Context, name ref.Name, m Manifest, tags []ref.Tag) error
	// ResolveTag returns what a tag points at, or ErrManifestUnknown.
	ResolveTag(ctx context.Context, name ref.Name, tag ref.Tag) (Descriptor, error)
	// Manifest returns ErrManifestUnknown when name lacks the digest.
	Manifest(ctx context.Context, name ref.Name, digest ref.Digest) (Manifest, error)
	// DeleteManifest removes a manifest and the tags that point at it:
	// ErrManifestUnknown, ErrManifestInUse.
	DeleteManifest(ctx context.Context, name ref.Name, digest ref.Digest) error
	// DeleteTag removes a tag alone: ErrManifestUnknown.
	DeleteTag(ctx context.Context, name ref.Name, tag ref.Tag) error
}

// ReferrersSize is about how many bytes of annotations one listing of referrers
// returns.
const ReferrersSize = 4 << 20

// Listings are range scans in byte order: at most limit entries behind last.
type Listings interface {
	// Tags returns ErrNameUnknown for a name without content.
	Tags(ctx context.Context, name ref.Name, last string, limit int) ([]ref.Tag, error)
	// Names with at least one manifest.
	Names(ctx context.Context, last string, limit int) ([]ref.Name, error)
	// Referrers of a subject by digest, of one artifact type unless it is empty.
	// The list ends early with the entry that brings its annotations, written as
	// JSON, to more than ReferrersSize, but not before the second.
	Referrers(ctx context.Context, name ref.Name, subject ref.Digest, artifactType string, last ref.Digest, limit int) ([]Descriptor, error)
}

// Backlog is what upkeep has before it.
type Backlog struct {
	// Uploads that have neither ended nor expired.
	Uploads int64
	// Reviews of links and blobs, and Deletions of objects, that are queued.
	Reviews, Deletions int64
}

// Deletion is an object that waits for its deletion until it is due.
type Deletion struct {
	Key string
	Due time.Time
}

// Upkeep is what removes what nobody refers to. Content that lost its last
// reference is queued, reviewed after a grace period, and its bytes are deleted
// after a further delay.
type Upkeep interface {
	// DropExpiredUploads removes at most limit uploads begun before the instant
	// and queues their objects for deletion; it returns their number.
	DropExpiredUploads(ctx context.Context, before time.Time, limit int) (int, error)
	// Review looks at at most limit due entries of the queue: a link that no
	// manifest of its name uses is removed, and a blob without links is
	// forgotten and its object queued for deletion.
	Review(ctx context.Context, limit int) (int, error)
	// DueDeletions lists at most limit objects whose deletion is due.
	DueDeletions(ctx context.Context, limit int) ([]Deletion, error)
	// DeletionsDone forgets objects that are gone, but for those that were queued
	// again since DueDeletions listed them.
	DeletionsDone(ctx context.Context, done []Deletion) error
	// Unreferenced returns those keys that neither a blob, an upload nor a
	// queued deletion has.
	Unreferenced(ctx context.Context, keys []string) ([]string, error)
	// Backlog counts what is under way and what waits, due or not.
	Backlog(ctx context.Context) (Backlog, error)
	// Purge removes all content that OWNER/REPOSITORY has when an id is seen first:
	// nobody sees it from then on, and what is pushed later stays. The rest is done
	// in small steps, between which others write. After an error, or a crash, it goes
	// on with the next call; once it is done, a call with the id does nothing.
	Purge(ctx context.Context, id, repository string) error
	// Purged reports those of ids that Purge has done.
	Purged(ctx context.Context, ids []string) ([]string, error)
}

// Store is a catalog's whole persistence: whole operations, each of them atomic.
// It is safe for concurrent use. Mutations that acknowledge content are durable
// when they return. Callers do not modify what it returns: others may get the
// same maps and bytes.
type Store interface {
	Blobs
	Uploads
	Manifests
	Listings
	Upkeep
	// Epoch numbers the starts of the registry on this database; it is fixed
	// while the Store is open.
	Epoch() uint64
	// UncleanEpochs lists the epochs of processes that are gone, did not end with
	// Close and have not been swept; Swept forgets one. Such an epoch stores
	// nothing any more.
	UncleanEpochs(ctx context.Context) ([]uint64, error)
	Swept(ctx context.Context, epoch uint64) error
	// Ping reports whether the database answers.
	Ping(ctx context.Context) error
	// Close ends the epoch cleanly, unless SweepLater was called.
	Close() error
}
