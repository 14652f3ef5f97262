// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// completePause is between two requests to complete an upload; it doubles.
const completePause = 200 * time.Millisecond

// errOtherContent: what is in the object's place was not made of the partial.
var errOtherContent = errors.New("it was completed with other content")

// Commit implements blob.Store. It moves no bytes.
func (s *Store) Commit(ctx context.Context, p blob.Partial) error {
	if err := stop(ctx); err != nil {
		return err
	}
	if err := checkKey(p.Key); err != nil {
		return err
	}
	st, err := decode(p)
	if err != nil {
		return err
	}
	switch {
	case p.Size == 0:
		_, err = s.putFirst(ctx, p.Key, func() io.ReadSeeker { return strings.NewReader("") })
	case st.Upload == "":
		err = s.checkWhole(ctx, p, st)
	default:
		err = s.complete(ctx, p, st)
	}
	if err != nil {
		return objectError("commit", p.Key, err)
	}
	for _, tail := range []string{st.Tail, st.Stale} {
		if tail != "" {
			// What fails here goes with the object.
			_ = s.deleteObject(ctx, s.tailName(p.Key, tail))
		}
	}
	return nil
}

// checkWhole makes sure that the object in its place is the one that Append wrote.
func (s *Store) checkWhole(ctx context.Context, p blob.Partial, st state) error {
	found, err := s.head(ctx, p.Key)
	if err != nil {
		return err
	}
	if aws.ToInt64(found.ContentLength) != p.Size || aws.ToString(found.ETag) != st.Base {
		return errOtherContent
	}
	return nil
}

// complete makes the object of the recorded parts. Its effect shows at the object
// itself: answers are lost, and some storage says yes to an upload that is gone as
// long as there is any object in its place.
func (s *Store) complete(ctx context.Context, p blob.Partial, st state) error {
	parts := st.allParts()
	completed := make([]types.CompletedPart, len(parts))
	for i := range parts {
		completed[i] = types.CompletedPart{ETag: &parts[i], PartNumber: aws.Int32(int32(i + 1))}
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: s.objectName(p.Key), UploadId: &st.Upload,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: completed},
	}
	in.IfMatch, in.IfNoneMatch = condition(st.Base)
	pause := completePause
	for attempt := 1; ; attempt++ {
		err := s.completeOnce(ctx, in)
		found, headErr := s.head(ctx, p.Key)
		switch {
		case headErr == nil && st.made(found, p.Size):
			return nil
		case err == nil && headErr != nil:
			return headErr
		case err == nil:
			return errOtherContent
		case attempt == maxAttempts || answered(err):
			return err
		}
		select {
		case <-ctx.Done():
			return stop(ctx)
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// completeOnce does not repeat the request as the SDK would: looking at the object
// first tells more.
func (s *Store) completeOnce(ctx context.Context, in *s3.CompleteMultipartUploadInput) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.CompleteMultipartUpload(ctx, in, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	return err
}

// made reports whether the object is the one that the recorded parts make.
func (st state) made(found *s3.HeadObjectOutput, size int64) bool {
	if found.Metadata[writerKey] != st.Nonce || aws.ToInt64(found.ContentLength) != size {
		return false
	}
	switch found.ServerSideEncryption {
	case types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
		return true
	}
	want, err := composite(st.allParts())
	return err != nil || aws.ToString(found.ETag) == want
}

// Delete implements blob.Store. It aborts the multipart uploads of the key and
// removes its tails.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := stop(ctx); err != nil {
		return err
	}
	if checkKey(key) != nil {
		return nil
	}
	err := s.deleteObject(ctx, s.objectName(key))
	for upload, listErr := range s.uploads(ctx, *s.objectName(key)) {
		if listErr == nil {
			listErr = s.abort(ctx, key, aws.ToString(upload.UploadId))
		}
		err = errors.Join(err, listErr)
	}
	for tail, listErr := range s.objects(ctx, *s.tailName(key, "")) {
		if listErr == nil {
			listErr = s.deleteObject(ctx, tail.Key)
		}
		err = errors.Join(err, listErr)
	}
	if err != nil {
		return objectError("delete", key, err)
	}
	return nil
}

func (s *Store) deleteObject(ctx context.Context, name *string) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: name})
	if err != nil && missing(err) {
		return nil
	}
	return err
}

func (s *Store) abort(ctx context.Context, key, upload string) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: s.objectName(key), UploadId: &upload})
	if err != nil && missing(err) {
		return nil
	}
	return err
}

// Keys implements blob.Store: the keys of objects, and of what was left of those
// that were never completed. Storage that lists the multipart uploads of a whole
// key only (MinIO) has to drop them by itself, as it does.
func (s *Store) Keys(ctx context.Context, epoch uint64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := stop(ctx); err != nil {
			yield("", err)
			return
		}
		// Unfinished objects are few, and can be in all three lists.
		seen := map[string]bool{}
		objects, tails := *s.objectName(blob.KeyPrefix(epoch)), s.prefix+"tails/"+blob.KeyPrefix(epoch)
		each := func(unfinished bool, name, under string, err error) bool {
			if err != nil {
				yield("", fmt.Errorf("list objects: %w", explain(err)))
				return false
			}
			key, _, _ := strings.Cut(strings.TrimPrefix(name, s.prefix+under), "/")
			if !blob.IsKey(key) || seen[key] {
				return true
			}
			if unfinished {
				seen[key] = true
			}
			return yield(key, nil)
		}
		for upload, err := range s.uploads(ctx, objects) {
			if !each(true, aws.ToString(upload.Key), "objects/", err) {
				return
			}
		}
		for tail, err := range s.objects(ctx, tails) {
			if !each(true, aws.ToString(tail.Key), "tails/", err) {
				return
			}
		}
		for object, err := range s.objects(ctx, objects) {
			if !each(false, aws.ToString(object.Key), "objects/", err) {
				return
			}
		}
	}
}

// objects lists the objects whose names begin with prefix. An error ends it.
func (s *Store) objects(ctx context.Context, prefix string) iter.Seq2[types.Object, error] {
	return func(yield func(types.Object, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			limited, cancel := s.limited(ctx)
			page, err := pages.NextPage(limited)
			cancel()
			if err != nil {
				yield(types.Object{}, err)
				return
			}
			for _, object := range page.Contents {
				if !yield(object, nil) {
					return
				}
			}
		}
	}
}

// uploads lists the multipart uploads whose names begin with prefix. An error ends
// it.
func (s *Store) uploads(ctx context.Context, prefix string) iter.Seq2[types.MultipartUpload, error] {
	return func(yield func(types.MultipartUpload, error) bool) {
		pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			limited, cancel := s.limited(ctx)
			page, err := pages.NextPage(limited)
			cancel()
			if err != nil {
				yield(types.MultipartUpload{}, err)
				return
			}
			for _, upload := range page.Uploads {
				if !yield(upload, nil) {
					return
				}
			}
		}
	}
}
