// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// An object can be lost: a volume was restored from an older copy, a bucket's
// lifecycle rule was too eager. Whoever has the bytes can bring them back by a
// push, and so a client that asks whether the blob is there, or for a mount, is
// told that it is not. That costs a look at the object, which a pull, and a push
// of new content, are spared.

// present reports whether the blob's bytes are there.
func (h *Handler) present(ctx context.Context, b catalog.Blob) (bool, error) {
	if b.Key == "" {
		return true, nil
	}
	object, err := h.Blobs.Open(ctx, b.Key)
	if errors.Is(err, blob.ErrNotFound) {
		h.Log.Error(err, "The content of a blob is lost; a push of the blob brings it back", "digest", b.Digest)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, object.Close()
}

// lostError says of a failed read what brings the blob back, if anything does.
func lostError(b catalog.Blob, err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("the content of blob %s is lost; a push of the blob brings it back: %w", b.Digest, err)
	}
	return err
}

// mountedWhole reports whether a blob that was just linked to name has its bytes.
func (h *Handler) mountedWhole(ctx context.Context, name ref.Name, digest ref.Digest) (bool, error) {
	b, err := h.Catalog.Blob(ctx, name, digest)
	if err != nil {
		return false, err
	}
	return h.present(ctx, b)
}

// settle decides about an object whose digest had one before: it takes the place of
// a lost one, or is of no use.
func (h *Handler) settle(ctx context.Context, name ref.Name, digest ref.Digest, key string) error {
	b, err := h.Catalog.Blob(ctx, name, digest)
	if err != nil {
		return err
	}
	whole, err := h.present(ctx, b)
	if err != nil {
		return err
	}
	if !whole {
		replaced, err := h.Catalog.ReplaceObject(ctx, digest, b.Key, key)
		if err != nil {
			return fmt.Errorf("bring blob %s back: %w", digest, err)
		}
		if replaced {
			h.Log.Info("A push brought the lost content of a blob back", "digest", digest)
			return nil
		}
		// Another push did so at the same time.
	}
	h.discard(ctx, key)
	return nil
}
