// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	markerName = "instance"
	// maxMarker bounds what is read of an object that may be anybody's.
	maxMarker = 1 << 10
)

// claim checks that the prefix belongs to the instance. The marker is written
// before anything else, so that objects without one are not this program's.
func (s *Store) claim(ctx context.Context, uid string, adopt bool) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	for {
		owner, etag, err := s.owner(ctx)
		switch {
		case err != nil:
			return err
		case etag == "":
			if !adopt {
				if err := s.checkEmpty(ctx, uid); err != nil {
					return err
				}
			}
		case owner == uid:
			return s.checkConditions(ctx, uid)
		case !adopt:
			return fmt.Errorf("%w: it is of instance %q, this is %q; start with --adopt to take it over", ErrOtherInstance, owner, uid)
		}
		err = s.writeMarker(ctx, uid, etag)
		// Another process was quicker: see what it made of the marker.
		if err != nil && !refused(err) {
			return explainStart(err)
		}
	}
}

// owner reads the marker; etag is empty when there is none.
func (s *Store) owner(ctx context.Context) (uid, etag string, err error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + markerName)})
	if err != nil {
		if missing(err) {
			return "", "", nil
		}
		return "", "", explainStart(err)
	}
	content, err := io.ReadAll(io.LimitReader(out.Body, maxMarker))
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return "", "", explainStart(err)
	}
	return strings.TrimSpace(string(content)), aws.ToString(out.ETag), nil
}

func (s *Store) checkEmpty(ctx context.Context, uid string) error {
	out, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + "objects/"), MaxKeys: aws.Int32(1)})
	if err != nil {
		return explainStart(err)
	}
	if len(out.Contents) > 0 {
		return fmt.Errorf("%w: it has objects under %q but no %q that names their instance, this is %q; start with --adopt to take it over",
			ErrOtherInstance, s.prefix+"objects/", s.prefix+markerName, uid)
	}
	return nil
}

// writeMarker replaces the marker that has the ETag, or makes the first.
func (s *Store) writeMarker(ctx context.Context, uid, etag string) error {
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + markerName), Body: strings.NewReader(uid + "\n")}
	in.IfMatch, in.IfNoneMatch = condition(etag)
	_, err := s.client.PutObject(ctx, in)
	return err
}

// checkConditions makes sure that the storage honors If-None-Match, by writing
// what is there already.
func (s *Store) checkConditions(ctx context.Context, uid string) error {
	switch err := s.writeMarker(ctx, uid, ""); {
	case err == nil:
		return errors.New("the storage ignores conditional writes (If-None-Match), without which replicas overwrite each other's objects; use storage that has them")
	case refused(err):
		return nil
	default:
		return explainStart(err)
	}
}

// condition lets a write replace the object with the ETag, or none.
func condition(etag string) (ifMatch, ifNoneMatch *string) {
	if etag == "" {
		return nil, aws.String("*")
	}
	return aws.String(etag), nil
}
