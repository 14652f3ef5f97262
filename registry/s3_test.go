// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func bucketOf(server *s3test.Server) *s3.Options {
	return &s3.Options{
		Bucket: s3test.Bucket, Endpoint: server.Endpoint, Region: s3test.Region, Prefix: "registries/test",
		ForcePathStyle: true, Credentials: server,
	}
}

func TestBlobsAreKeptInABucket(t *testing.T) {
	bucket := bucketOf(s3test.Start(t))
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucket})
	c := client{t: t, addr: r.Addr, value: writerValue}

	contents := map[string][]byte{
		"in the catalog": blobtest.Content(1, 1000), "in one request": blobtest.Content(2, 100_000), "in parts": blobtest.Content(3, 20<<20+7),
	}
	digests := map[string]ref.Digest{}
	for what, content := range contents {
		digests[what] = c.pushBlob(name, content)
	}

	// In chunks, of which the registry says how large they had better be, and with
	// another digest than was announced.
	chunked := blobtest.Content(4, 19<<20)
	started := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).wantHeader(t, "OCI-Chunk-Min-Length", "8388608")
	location := started.Header.Get("Location")
	for rest := chunked; len(rest) > 0; {
		n := min(len(rest), 3<<20)
		location = c.do("PATCH", location, rest[:n]).want(t, http.StatusAccepted).Header.Get("Location")
		rest = rest[n:]
	}
	contents["in chunks"], digests["in chunks"] = chunked, ref.SHA512.FromBytes(chunked)
	c.do("PUT", location+"?digest="+string(digests["in chunks"]), nil).want(t, http.StatusCreated)

	check := func(c client) {
		t.Helper()
		for what, content := range contents {
			path := "/v2/" + name + "/blobs/" + string(digests[what])
			if got := c.do("GET", path, nil).want(t, http.StatusOK); !bytes.Equal(got.body, content) {
				t.Errorf("%s: the blob has other content than its %d bytes (it has %d)", what, len(content), len(got.body))
			}
			if got := c.do("GET", path, nil, header{"Range", "bytes=500-899"}).want(t, http.StatusPartialContent); !bytes.Equal(got.body, content[500:900]) {
				t.Errorf("%s: the range has other content", what)
			}
			if got := c.do("HEAD", path, nil).want(t, http.StatusOK); got.ContentLength != int64(len(content)) {
				t.Errorf("%s: HEAD says %d bytes, want %d", what, got.ContentLength, len(content))
			}
		}
	}
	check(c)
	r.Stop(t)
	again := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucket, DataDir: r.DataDir})
	check(client{t: t, addr: again.Addr, value: readerValue})
}

func TestADataDirectoryKeepsToItsBucket(t *testing.T) {
	bucket := bucketOf(s3test.Start(t))
	inBucket := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucket})
	inBucket.Stop(t)
	inDirectory, c := start(t)
	c.pushBlob(name, blobtest.Content(1, 100_000))
	inDirectory.Stop(t)

	elsewhere := *bucket
	elsewhere.Prefix = "registries/other"
	for _, test := range []struct {
		what, dir string
		s3        *s3.Options
		uid, want string
	}{
		{"without the bucket", inBucket.DataDir, nil, "uid-of-test", "has its blobs in s3://packages/registries/test: start with --s3-bucket"},
		{"with another bucket", inBucket.DataDir, &elsewhere, "uid-of-test", "has its blobs in s3://packages/registries/test, not in s3://packages/registries/other; once they are copied there, start with --adopt"},
		{"with a bucket for a directory", inDirectory.DataDir, bucket, "uid-of-test", "has its blobs in itself: start without --s3-bucket, or with another directory"},
		{"with another instance's bucket", t.TempDir(), bucket, "uid-of-another", `data belongs to another instance: it is of instance "uid-of-test", this is "uid-of-another"`},
	} {
		t.Run(test.what, func(t *testing.T) {
			err := registry.Run(t.Context(), registry.Options{
				Listen: "127.0.0.1:0", DataDir: test.dir, InstanceUID: test.uid, S3: test.s3,
				Source: &registrytest.Source{}, Log: logr.Discard(),
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Run returned %v, want it to say %s", err, test.want)
			}
		})
	}
	t.Run("adopted", func(t *testing.T) {
		registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucket, DataDir: inBucket.DataDir})
	})
}

// gate stands between a registry and its bucket, and can be shut.
type gate struct {
	*httptest.Server
	shut atomic.Bool
}

func startGate(t *testing.T, server *s3test.Server) *gate {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header stays as it is, because it is signed.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
	}}
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func TestABucketThatIsAwayIsAnsweredAndSurvived(t *testing.T) {
	server := s3test.Start(t)
	g := startGate(t, server)
	bucket := bucketOf(server)
	bucket.Endpoint = g.URL
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucket})
	c := client{t: t, addr: r.Addr, value: writerValue}
	ready := client{t: t, addr: r.AdminAddr}
	small := c.pushBlob(name, blobtest.Content(1, 1000))
	large := blobtest.Content(2, 100_000)
	largePath := "/v2/" + name + "/blobs/" + string(c.pushBlob(name, large))
	_, manifest := c.pushImage(name, "v1", "layer")
	ready.do("GET", "/readyz", nil).want(t, http.StatusOK)

	g.shut.Store(true)
	content := blobtest.Content(3, 9<<20)
	digest := string(ref.SHA256.FromBytes(content))
	begin := func() string {
		return c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	}
	location := begin()
	for _, a := range c.doTogether(
		asked{"PATCH", location, content[:4<<20]},
		asked{"PUT", begin() + "?digest=" + digest, content},
		asked{"POST", "/v2/" + name + "/blobs/uploads/?digest=" + digest, content},
		asked{"GET", largePath, nil},
		asked{"HEAD", largePath, nil},
	) {
		a.wantUnavailable(t)
	}
	if a := ready.do("GET", "/readyz", nil).want(t, http.StatusServiceUnavailable); string(a.body) != "the bucket does not answer\n" {
		t.Errorf("readyz says %q", a.body)
	}
	wantTroubles(t, ready, registry.TroubleStorageUnavailable)
	// What is in the catalog is served.
	c.do("GET", "/v2/"+name+"/blobs/"+string(small), nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/"+string(manifest), nil).want(t, http.StatusOK)

	g.shut.Store(false)
	ready.do("GET", "/readyz", nil).want(t, http.StatusOK)
	wantTroubles(t, ready)
	if got := c.do("GET", largePath, nil).want(t, http.StatusOK); !bytes.Equal(got.body, large) {
		t.Error("the blob came back changed")
	}
	// The upload goes on where it was.
	c.do("GET", location, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", "0-0")
	location = c.do("PATCH", location, content[:4<<20]).want(t, http.StatusAccepted).Header.Get("Location")
	c.do("PUT", location+"?digest="+digest, content[4<<20:]).want(t, http.StatusCreated)
}

func TestAPushBringsBackWhatTheBucketLost(t *testing.T) {
	server := s3test.Start(t)
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{S3: bucketOf(server)})
	c := client{t: t, addr: r.Addr, value: writerValue}
	content := blobtest.Content(1, 100_000)
	path := "/v2/" + name + "/blobs/" + string(c.pushBlob(name, content))
	c.do("HEAD", path, nil).want(t, http.StatusOK)

	bucket := aws.String(s3test.Bucket)
	listed, err := server.Client().ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("registries/test/objects/")})
	if err != nil || len(listed.Contents) != 1 {
		t.Fatalf("objects %v (%v), want one", listed, err)
	}
	if _, err := server.Client().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: bucket, Key: listed.Contents[0].Key}); err != nil {
		t.Fatal(err)
	}
	c.do("GET", path, nil).want(t, http.StatusInternalServerError)
	c.do("HEAD", path, nil).want(t, http.StatusNotFound)
	c.pushBlob(name, content)
	if got := c.do("GET", path, nil).want(t, http.StatusOK); !bytes.Equal(got.body, content) {
		t.Error("the blob came back changed")
	}
}
