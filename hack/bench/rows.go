// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
)

// clients is how many work at a time, where a row says nothing else.
const clients = 8

const (
	smallLayers    = 5
	smallLayerSize = 16 << 10
	imageLayers    = 20
	// rollout is how many nodes pull an image at once.
	rollout = 32
)

// rows are all there is to measure, in the order in which it is.
var rows = []row{
	{name: "push-layer", title: "push one large layer (POST, PATCH, PUT)", unit: megabytes, quick: true, prepare: pushLayer},
	{name: "pull-layer", title: "pull it", unit: megabytes, quick: true, prepare: pullLayer},
	{name: "push-small", title: "push small images (config and 5 layers of 16 KiB)", unit: perSecond, quick: true, prepare: pushSmall},
	{name: "get-manifest", title: "GET a manifest by digest", unit: perSecond, quick: true, prepare: readManifest(http.MethodGet, byDigest)},
	{name: "head-tag", title: "HEAD a manifest by tag", unit: perSecond, quick: true, prepare: readManifest(http.MethodHead, byTag)},
	{name: "head-tag-3000", title: "HEAD one tag of 3000", unit: perSecond, quick: true, prepare: headOneOfTags},
	{name: "get-blob", title: "GET a blob of 64 KiB", unit: perSecond, quick: true, prepare: readBlob},
	{name: "put-manifest", title: "PUT manifests while tags grow to 3000", unit: perSecond, quick: true, prepare: putManifests},
	{name: "tags-page", title: "first page (100) of 3000 tags", unit: perSecond, quick: true, prepare: firstPageOfTags},
	{name: "push-image", title: "push images of 20 layers of 5 MiB, 8 clients", unit: megabytes, prepare: pushLargeImages},
	{name: "pull-image", title: "pull one by 32 nodes at once", unit: megabytes, prepare: pullLargeImage},
	{name: "mixed", title: "80 % pulls and 20 % pushes of small images", unit: perSecond, quick: true, prepare: mixed(plain)},
	{name: "mixed-tls", title: "the same behind TLS", unit: perSecond, prepare: mixed(behindTLS)},
	{name: "token", title: "GET a bearer token", unit: perSecond, quick: true, prepare: getToken},
	{name: "referrers", title: "referrers of a digest with 1000", unit: perSecond, prepare: listReferrers},
	{name: "catalog", title: "_catalog of 10,000 names, all pages of 1000", unit: perSecond, prepare: listCatalog},
	{name: "rss", title: "memory after the rows above", unit: mebibytes, once: true, quick: true, prepare: memoryNow},
	{name: "many-tags", title: "all of 100,000 tags", unit: perSecond, prepare: allTags},
	{name: "many-tags-page", title: "first page (100) of 100,000 tags", unit: perSecond, prepare: firstPageOfManyTags},
	{name: "cold-start", title: "start to first pull, with 100,000 manifests", unit: milliseconds, prepare: coldStart},
	{name: "rss-idle", title: "memory after a start", unit: mebibytes, prepare: memoryIdle},
	{name: "rss-uploads", title: "memory at 200 parallel uploads of 100 MiB", unit: mebibytes, once: true, prepare: memoryAtUploads},
	{name: "policy-get-manifest", title: "GET a manifest, 10,000 repositories and tokens declared", unit: perSecond, prepare: withPolicy(readManifest(http.MethodGet, byDigest))},
	{name: "policy-mixed", title: "80 % pulls and 20 % pushes, with them", unit: perSecond, prepare: withPolicy(mixed(plain))},
	{name: "policy-token", title: "GET a bearer token, with them", unit: perSecond, prepare: withPolicy(getToken)},

	{name: "s3-push-layer", title: "S3: push one large layer", unit: megabytes, fleet: shared, prepare: pushLayer},
	{name: "s3-pull-layer", title: "S3: pull it", unit: megabytes, fleet: shared, prepare: pullLayer},
	{name: "s3-push-small", title: "S3 and PostgreSQL: push small images", unit: perSecond, fleet: shared, prepare: pushSmall},
	{name: "s3-get-manifest", title: "S3 and PostgreSQL: GET a manifest by digest", unit: perSecond, fleet: shared, prepare: readManifest(http.MethodGet, byDigest)},
	{name: "s3-head-tag", title: "S3 and PostgreSQL: HEAD a manifest by tag", unit: perSecond, fleet: shared, prepare: readManifest(http.MethodHead, byTag)},
	{name: "s3-get-blob", title: "S3: GET a blob of 64 KiB", unit: perSecond, fleet: shared, prepare: readBlob},
	{name: "s3-put-manifest", title: "S3 and PostgreSQL: PUT manifests while tags grow to 3000", unit: perSecond, fleet: shared, prepare: putManifests},
	{name: "s3-mixed", title: "S3 and PostgreSQL: 80 % pulls and 20 % pushes", unit: perSecond, fleet: shared, prepare: mixed(plain)},
}

// name is that of an image in the repository that everything is in.
func name(image string) string { return repository + "/" + image }

// pushLayer pushes a layer that was never there before.
func pushLayer(_ context.Context, s *server, scale scale) (work, error) {
	blob := newBlob(scale.layer)
	return func(ctx context.Context) (sample, error) {
		return load{workers: 1, count: 1}.run(ctx, megabytes, func(ctx context.Context, _ int) (int64, error) {
			return blob.size, s.pushBlob(ctx, name("layer"), blob)
		})
	}, nil
}

// pullLayer pulls the same layer in every round.
func pullLayer(ctx context.Context, s *server, scale scale) (work, error) {
	blob := newBlob(scale.layer)
	if err := s.pushBlob(ctx, name("layer"), blob); err != nil {
		return nil, err
	}
	get := getBlob(name("layer"), blob.digest)
	return func(ctx context.Context) (sample, error) {
		return load{workers: 1, count: 3}.run(ctx, megabytes, func(ctx context.Context, _ int) (int64, error) {
			_, n, err := s.do(ctx, get)
			return n, err
		})
	}, nil
}

func pushSmall(_ context.Context, s *server, scale scale) (work, error) {
	return func(ctx context.Context) (sample, error) {
		return load{workers: clients, duration: scale.duration}.run(ctx, perSecond, func(ctx context.Context, worker int) (int64, error) {
			img := newImage(smallLayers, smallLayerSize)
			return img.size(), s.pushImage(ctx, name(fmt.Sprint("small-", worker)), "latest", img)
		})
	}, nil
}

// repeat is the work of making one request again and again.
func repeat(c *client, scale scale, r request) work {
	return func(ctx context.Context) (sample, error) {
		return load{workers: clients, duration: scale.duration}.run(ctx, perSecond, func(ctx context.Context, _ int) (int64, error) {
			_, n, err := c.do(ctx, r)
			return n, err
		})
	}
}

// smallImage is pushed to every server once.
func (s *server) smallImage(ctx context.Context) (*image, error) {
	err := s.once("small image", func() error {
		s.small = newImage(smallLayers, smallLayerSize)
		return s.pushImage(ctx, name("small"), "latest", s.small)
	})
	return s.small, err
}

type reference func(*image) string

func byDigest(img *image) string { return img.manifest.digest }
func byTag(*image) string        { return "latest" }

func readManifest(method string, by reference) func(context.Context, *server, scale) (work, error) {
	return func(ctx context.Context, s *server, scale scale) (work, error) {
		img, err := s.smallImage(ctx)
		if err != nil {
			return nil, err
		}
		return repeat(s.client, scale, getManifest(name("small"), by(img)).with(method)), nil
	}
}

const blobSize = 64 << 10

func readBlob(ctx context.Context, s *server, scale scale) (work, error) {
	blob := newBlob(blobSize)
	if err := s.pushBlob(ctx, name("blob"), blob); err != nil {
		return nil, err
	}
	return repeat(s.client, scale, getBlob(name("blob"), blob.digest)), nil
}

// putManifests fills a new name with manifests, each under a tag of its own.
func putManifests(ctx context.Context, s *server, scale scale) (work, error) {
	s.filled++
	into := name(fmt.Sprint("growing-", s.filled))
	img := newImage(1, smallLayerSize)
	for _, blob := range img.blobs() {
		if err := s.pushBlob(ctx, into, blob); err != nil {
			return nil, err
		}
	}
	manifests := distinctManifests(img, scale.tags)
	return func(ctx context.Context) (sample, error) {
		var next atomic.Int64
		return load{workers: clients, count: scale.tags}.run(ctx, perSecond, func(ctx context.Context, _ int) (int64, error) {
			i := next.Add(1) - 1
			return manifests[i].size, s.pushManifest(ctx, into, fmt.Sprint("v", i), manifests[i])
		})
	}, nil
}

// distinctManifests are manifests of one image that differ by an annotation.
func distinctManifests(img *image, count int) []*content {
	manifests := make([]*content, count)
	for i := range manifests {
		manifests[i] = img.manifestWith(map[string]string{"org.opencontainers.image.version": fmt.Sprint(i)}, nil)
	}
	return manifests
}

func pushLargeImages(_ context.Context, s *server, scale scale) (work, error) {
	images := make([]*image, clients)
	for i := range images {
		images[i] = newImage(imageLayers, scale.imageLayer)
	}
	return func(ctx context.Context) (sample, error) {
		var next atomic.Int64
		return load{workers: clients, count: clients}.run(ctx, megabytes, func(ctx context.Context, _ int) (int64, error) {
			img := images[next.Add(1)-1]
			return img.size(), s.pushImage(ctx, name("large"), fmt.Sprint("v", next.Load()), img)
		})
	}, nil
}

// pullLargeImage pulls an image as the nodes of a deployment do: each gets its own
// token, on connections of its own.
func pullLargeImage(ctx context.Context, s *server, scale scale) (work, error) {
	if err := s.once("large image", func() error {
		s.large = newImage(imageLayers, scale.imageLayer)
		return s.pushImage(ctx, name("rollout"), "latest", s.large)
	}); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		return load{workers: rollout, count: rollout}.run(ctx, megabytes, func(ctx context.Context, _ int) (int64, error) {
			node := s.again()
			defer node.close()
			return node.pullImage(ctx, name("rollout"), "latest", s.large)
		})
	}, nil
}

// way is how clients reach a server.
type way func(*server) *client

func plain(s *server) *client     { return s.client }
func behindTLS(s *server) *client { return s.secure }

// mixed does four pulls for every push of a small image.
func mixed(way way) func(context.Context, *server, scale) (work, error) {
	return func(ctx context.Context, s *server, scale scale) (work, error) {
		c := way(s)
		if c == nil {
			return nil, errNotSupported
		}
		img, err := s.smallImage(ctx)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (sample, error) {
			var turn [clients]int
			return load{workers: clients, duration: scale.duration}.run(ctx, perSecond, func(ctx context.Context, worker int) (int64, error) {
				turn[worker]++
				if (turn[worker]+worker)%5 != 0 {
					return c.pullImage(ctx, name("small"), "latest", img)
				}
				pushed := newImage(smallLayers, smallLayerSize)
				return pushed.size(), c.pushImage(ctx, name(fmt.Sprint("small-", worker)), "latest", pushed)
			})
		}, nil
	}
}

// getToken asks for one token after the other. The floor has one that it gives to
// everybody.
func getToken(ctx context.Context, s *server, scale scale) (work, error) {
	scope := pushScope(name("small"))
	var endpoint *url.URL
	var err error
	c := s.client
	switch {
	case s.fixed:
		answer := fmt.Sprintf(`{"token":"%0600d","expires_in":300}`, 0)
		endpoint, err = s.base.Parse("/token?service=" + floorName)
		if err == nil {
			err = s.fix(ctx, endpoint.RequestURI()+"&"+url.Values{"scope": {scope}}.Encode(), "application/json", []byte(answer))
		}
		c = newClient(s.base, url.UserPassword(owner, valueOf(owner)), "")
	case c.user == nil:
		return nil, errNotSupported
	default:
		endpoint, err = c.challenge(ctx)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		defer c.close()
		return load{workers: clients, duration: scale.duration}.run(ctx, perSecond, func(ctx context.Context, _ int) (int64, error) {
			_, err := c.fetchToken(ctx, endpoint, scope)
			return 0, err
		})
	}, nil
}
