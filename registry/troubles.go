// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Trouble is what keeps a registry from doing all that it should.
type Trouble string

const (
	// TroubleStorageFull is that there is no room for blobs, so pushes are refused.
	TroubleStorageFull Trouble = "StorageFull"
	// TroubleDatabaseFull is that the database has no room, so changes are refused.
	TroubleDatabaseFull Trouble = "DatabaseFull"
	// TroubleDatabaseUnavailable is that the database does not answer.
	TroubleDatabaseUnavailable Trouble = "DatabaseUnavailable"
	// TroubleStorageUnavailable is that the place of the blobs does not answer.
	TroubleStorageUnavailable Trouble = "StorageUnavailable"
)

// troubles looks for what is wrong now.
func (s *storage) troubles(ctx context.Context) []Trouble {
	var found []Trouble
	if errors.Is(s.data.Room(), blob.ErrNoSpace) {
		found = append(found, TroubleStorageFull)
	}
	if s.room.full(time.Now()) {
		found = append(found, TroubleDatabaseFull)
	}
	if s.catalog.Ping(ctx) != nil {
		found = append(found, TroubleDatabaseUnavailable)
	}
	if s.reach(ctx) != nil {
		found = append(found, TroubleStorageUnavailable)
	}
	return found
}

// roomMemory is how long a refused change says that the database is full: without
// another one nobody knows.
const roomMemory = 5 * time.Minute

// roomWatch is a catalog that remembers whether it had room for the last change.
type roomWatch struct {
	catalog.Store
	refused atomic.Int64
}

func (w *roomWatch) full(now time.Time) bool {
	refused := w.refused.Load()
	return refused != 0 && now.Sub(time.Unix(0, refused)) < roomMemory
}

func (w *roomWatch) saw(err error) {
	switch {
	case errors.Is(err, catalog.ErrNoSpace):
		w.refused.Store(time.Now().UnixNano())
	case err == nil && w.refused.Load() != 0:
		w.refused.Store(0)
	}
}

func (w *roomWatch) Mount(ctx context.Context, name ref.Name, digest ref.Digest, from ref.Name) error {
	err := w.Store.Mount(ctx, name, digest, from)
	w.saw(err)
	return err
}

func (w *roomWatch) StartUpload(ctx context.Context, u catalog.Upload) error {
	err := w.Store.StartUpload(ctx, u)
	w.saw(err)
	return err
}

func (w *roomWatch) SaveUpload(ctx context.Context, id string, from, to catalog.Progress) error {
	err := w.Store.SaveUpload(ctx, id, from, to)
	w.saw(err)
	return err
}

func (w *roomWatch) FinishUpload(ctx context.Context, id string, from catalog.Progress, b catalog.Blob) (string, error) {
	discard, err := w.Store.FinishUpload(ctx, id, from, b)
	w.saw(err)
	return discard, err
}

func (w *roomWatch) PutBlob(ctx context.Context, name ref.Name, b catalog.Blob) (string, error) {
	discard, err := w.Store.PutBlob(ctx, name, b)
	w.saw(err)
	return discard, err
}

func (w *roomWatch) PutManifest(ctx context.Context, name ref.Name, m catalog.Manifest, tags []ref.Tag) error {
	err := w.Store.PutManifest(ctx, name, m, tags)
	w.saw(err)
	return err
}
