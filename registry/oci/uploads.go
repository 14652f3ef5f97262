// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

// discardTimeout bounds how long a client waits for the removal of what it does not
// need.
const discardTimeout = 10 * time.Second

// mountCandidates bounds how many names an anonymous mount looks at.
const mountCandidates = 64

// startUpload serves POST /blobs/uploads/: a mount, a blob in one request, or a
// new upload.
func (h *Handler) startUpload(x *exchange) error {
	ctx := x.r.Context()
	if x.req.Mount != "" {
		mounted, err := h.mount(x)
		if err != nil {
			return err
		}
		if mounted {
			return h.created(x, x.req.Mount)
		}
	}
	algorithm := x.req.Algorithm
	if algorithm == "" {
		algorithm = ref.SHA256
	}
	if x.req.Digest != "" {
		return h.putBlob(x)
	}
	id, err := h.newUploadID()
	if err != nil {
		return err
	}
	upload := catalog.Upload{
		ID: id, Name: x.req.Name, Actor: x.actor.User(), StartedAt: h.Now(),
		Progress: catalog.Progress{Algorithm: algorithm},
	}
	if err := h.Catalog.StartUpload(ctx, upload); err != nil {
		return err
	}
	if h.ChunkSize > 0 {
		x.Header().Set("Oci-Chunk-Min-Length", strconv.FormatInt(h.ChunkSize, 10))
	}
	return h.uploadState(x, http.StatusAccepted, upload)
}

// mount links a blob from another name. A source that the actor may not pull
// from, or that lacks the blob, starts an upload instead: the same answer for
// both.
func (h *Handler) mount(x *exchange) (bool, error) {
	ctx := x.r.Context()
	candidates := []ref.Name{x.req.From}
	if x.req.From == "" {
		var err error
		if candidates, err = h.Catalog.Links(ctx, x.req.Mount, mountCandidates); err != nil {
			return false, err
		}
	}
	for _, from := range candidates {
		if !access.MayMount(x.policy, x.actor, from) {
			continue
		}
		err := h.Catalog.Mount(ctx, x.req.Name, x.req.Mount, from)
		switch {
		case err == nil:
			mounted, err := h.mountedWhole(ctx, x.req.Name, x.req.Mount)
			if mounted {
				record := recordOf(ctx)
				record.From, record.Digest = from, x.req.Mount
			}
			return mounted, err
		case !errors.Is(err, catalog.ErrBlobUnknown):
			return false, err
		}
	}
	return false, nil
}

func (h *Handler) newUploadID() (string, error) {
	var id [16]byte
	if _, err := io.ReadFull(h.Rand, id[:]); err != nil {
		return "", fmt.Errorf("make an upload id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// putBlob takes a blob in the POST itself. What was received whole is kept, whether
// the client waits for the answer or not: a catalog that were asked to stop would
// leave the object to nobody.
func (h *Handler) putBlob(x *exchange) error {
	ctx := context.WithoutCancel(x.r.Context())
	finished, created, err := h.complete(ctx, x, blob.Progress{Algorithm: x.req.Digest.Algorithm()})
	if err != nil {
		h.discard(ctx, created)
		return err
	}
	unneeded, err := h.Catalog.PutBlob(ctx, x.req.Name, catalog.Blob(finished))
	return h.recorded(ctx, x, created, unneeded, err)
}

// complete receives the rest of a blob and checks its digest. created is the key
// of the object that it made, if from had none.
func (h *Handler) complete(ctx context.Context, x *exchange, from blob.Progress) (finished blob.Finished, created string, err error) {
	progress, err := h.receive(ctx, x, from)
	if from.Key == "" {
		created = progress.Key
	}
	if err != nil {
		return finished, created, err
	}
	finished, err = h.writer.Finish(ctx, progress, x.req.Digest)
	recordOf(x.r.Context()).Size = progress.Offset
	if err == nil {
		err = h.authorizeAgain(x)
	}
	return finished, created, uploadError(err)
}

// receive takes the request's body, as far as the policy's limit allows. The
// progress is what is kept of it, also beside an error.
func (h *Handler) receive(ctx context.Context, x *exchange, from blob.Progress) (blob.Progress, error) {
	limit := x.policy.Policy().Limits.LayerSize()
	// Announced, it need not arrive first.
	if announced := x.r.ContentLength; announced >= 0 && announced > limit-from.Offset {
		return from, layerTooLarge(from.Offset+announced, limit)
	}
	body := &requestBody{Reader: x.r.Body}
	progress, err := h.writer.Append(ctx, from, body, limit)
	switch {
	case errors.Is(err, blob.ErrOverLimit):
		return progress, layerTooLarge(-1, limit)
	case errors.Is(err, blob.ErrUnavailable):
		// The store may keep what it could not be told to remove.
		h.Catalog.SweepLater()
	}
	if err != nil {
		return progress, body.explain(err)
	}
	return progress, nil
}

// uploadError says of an object that is gone that its upload is: it expired
// meanwhile.
func uploadError(err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("%w: %w", catalog.ErrUploadUnknown, err)
	}
	return err
}

// recorded ends a request whose blob was brought to the catalog.
func (h *Handler) recorded(ctx context.Context, x *exchange, created, unneeded string, err error) error {
	if err != nil {
		h.discardRefused(ctx, created, err)
		return err
	}
	if unneeded != "" {
		if err := h.settle(ctx, x.req.Name, x.req.Digest, unneeded); err != nil {
			return err
		}
	}
	return h.created(x, x.req.Digest)
}

// requestBody remembers why a body ended early, to tell that from what the store
// refuses.
type requestBody struct {
	io.Reader
	err error
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// explain returns the answer to a body that ended early, or err.
func (b *requestBody) explain(err error) error {
	if b.err != nil && errors.Is(err, b.err) {
		return errcode.New(http.StatusBadRequest, errcode.BlobUploadInvalid, "the connection ended before the whole body arrived")
	}
	return uploadError(err)
}

// discard removes an object that nobody needs. What fails here is tried again by
// upkeep if the catalog had queued it, and else by a sweep.
func (h *Handler) discard(ctx context.Context, key string) {
	if key == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if err := h.Blobs.Delete(ctx, key); err != nil {
		h.Log.Info("Could not remove an object that is not needed", "key", key, "reason", err.Error())
		h.Catalog.SweepLater()
	}
}

// discardRefused removes an object that the catalog did not take. Only a refusal says
// that it does not have it; of others, a sweep finds out.
func (h *Handler) discardRefused(ctx context.Context, key string, err error) {
	switch {
	case key == "":
	case answerFor(err) == nil, errors.Is(err, catalog.ErrOutcomeUnknown):
		h.Catalog.SweepLater()
	default:
		h.discard(ctx, key)
	}
}

// claim takes the upload for this request alone.
func (h *Handler) claim(x *exchange) (catalog.Upload, func(), error) {
	if _, taken := h.busy.LoadOrStore(x.req.UploadID, struct{}{}); taken {
		return catalog.Upload{}, nil, catalog.ErrUploadConflict
	}
	release := func() { h.busy.Delete(x.req.UploadID) }
	upload, err := h.Catalog.Upload(x.r.Context(), x.req.UploadID, x.req.Name, x.actor.User())
	if err != nil {
		release()
		return catalog.Upload{}, nil, err
	}
	return upload, release, nil
}

// uploadStatus serves GET on an upload.
func (h *Handler) uploadStatus(x *exchange) error {
	upload, err := h.Catalog.Upload(x.r.Context(), x.req.UploadID, x.req.Name, x.actor.User())
	if err != nil {
		return err
	}
	return h.uploadState(x, http.StatusNoContent, upload)
}

// uploadState tells where the upload goes on, and how far it is.
func (h *Handler) uploadState(x *exchange, status int, upload catalog.Upload) error {
	header := x.Header()
	header.Set("Location", route.UploadPath(upload.Name, upload.ID))
	header.Set("Docker-Upload-Uuid", upload.ID)
	header.Set("Range", "0-"+strconv.FormatInt(max(upload.Offset-1, 0), 10))
	if status != http.StatusNoContent {
		header.Set("Content-Length", "0")
	}
	x.WriteHeader(status)
	return nil
}

// checkRange compares a chunk's Content-Range with what the upload has.
func checkRange(x *exchange, offset int64) error {
	chunk := x.req.ContentRange
	if chunk == nil {
		return nil
	}
	if chunk.Start != offset {
		return rangeError(fmt.Sprintf("the upload has %d bytes, but the chunk begins at %d", offset, chunk.Start), offset)
	}
	if n := x.r.ContentLength; n >= 0 && n != chunk.End-chunk.Start+1 {
		return errcode.New(http.StatusBadRequest, errcode.SizeInvalid, fmt.Sprintf("Content-Range spans %d bytes, but Content-Length is %d", chunk.End-chunk.Start+1, n))
	}
	return nil
}

func rangeError(message string, offset int64) error {
	e := errcode.New(http.StatusRequestedRangeNotSatisfiable, errcode.BlobUploadInvalid, message)
	e.Header = http.Header{"Range": {"0-" + strconv.FormatInt(max(offset-1, 0), 10)}}
	return e
}

// writeUpload has one request alone write to an upload. The end of the upload, which
// another registry or upkeep can bring about meanwhile, is the answer then, whatever
// the storage makes of it; what was written behind its back is queued for deletion.
func (h *Handler) writeUpload(x *exchange, write func(context.Context, *exchange, catalog.Upload) error) error {
	upload, release, err := h.claim(x)
	if err != nil {
		return err
	}
	defer release()
	if err := checkRange(x, upload.Offset); err != nil {
		return err
	}
	ctx := context.WithoutCancel(x.r.Context())
	err = write(ctx, x, upload)
	if err == nil || upload.Key == "" || errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, catalog.ErrOutcomeUnknown) {
		return err
	}
	if !errors.Is(err, catalog.ErrUploadUnknown) {
		if _, gone := h.Catalog.Upload(ctx, upload.ID, upload.Name, upload.Actor); !errors.Is(gone, catalog.ErrUploadUnknown) {
			return err
		}
		err = fmt.Errorf("%w since it was written to: %w", catalog.ErrUploadUnknown, err)
	}
	if abandonErr := h.Catalog.AbandonObject(ctx, upload.Key); abandonErr != nil {
		h.Log.Error(abandonErr, "Could not queue an object for deletion whose upload has ended", "key", upload.Key)
		h.Catalog.SweepLater()
	}
	return err
}

// uploadChunk serves PATCH. What arrived before a connection broke is kept.
func (h *Handler) uploadChunk(x *exchange) error { return h.writeUpload(x, h.appendChunk) }

func (h *Handler) appendChunk(ctx context.Context, x *exchange, upload catalog.Upload) error {
	progress, receiveErr := h.receive(ctx, x, blob.Progress(upload.Progress))
	if progress.Offset != upload.Offset || progress.Key != upload.Key {
		err := h.authorizeAgain(x)
		if err == nil {
			err = h.Catalog.SaveUpload(ctx, upload.ID, upload.Progress, catalog.Progress(progress))
		}
		if err != nil {
			if upload.Key == "" {
				h.discardRefused(ctx, progress.Key, err)
			}
			return err
		}
	}
	if receiveErr != nil {
		return receiveErr
	}
	upload.Progress = catalog.Progress(progress)
	return h.uploadState(x, http.StatusAccepted, upload)
}

// finishUpload serves PUT: the last bytes, if any, and the digest of all.
func (h *Handler) finishUpload(x *exchange) error { return h.writeUpload(x, h.appendLast) }

func (h *Handler) appendLast(ctx context.Context, x *exchange, upload catalog.Upload) error {
	finished, created, err := h.complete(ctx, x, blob.Progress(upload.Progress))
	if err != nil {
		h.discard(ctx, created)
		return err
	}
	unneeded, err := h.Catalog.FinishUpload(ctx, upload.ID, upload.Progress, catalog.Blob(finished))
	return h.recorded(ctx, x, created, unneeded, err)
}

// created answers that the name has the blob now.
func (h *Handler) created(x *exchange, digest ref.Digest) error {
	header := x.Header()
	header.Set("Location", route.BlobPath(x.req.Name, digest))
	header.Set("Docker-Content-Digest", string(digest))
	writeBody(x, http.StatusCreated, nil)
	return nil
}

// cancelUpload serves DELETE on an upload.
func (h *Handler) cancelUpload(x *exchange) error {
	_, release, err := h.claim(x)
	if err != nil {
		return err
	}
	defer release()
	ctx := x.r.Context()
	key, err := h.Catalog.CancelUpload(ctx, x.req.UploadID, x.req.Name, x.actor.User())
	if err != nil {
		return err
	}
	h.discard(ctx, key)
	x.WriteHeader(http.StatusNoContent)
	return nil
}
