// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package s3 is a blob store in a bucket of S3-compatible storage.
//
//	PREFIX/instance          the UID of the instance that the data belongs to
//	PREFIX/objects/KEY       an object; blob.NewKey makes KEY
//	PREFIX/tails/KEY/NONCE   the end of an object that is being written
//
// Content that fits one part goes to its place in one request. What is larger is
// a multipart upload, whose parts all have one size but the last. When an Append
// ends in the middle of a part, the beginning of that part, the tail, is kept
// twice: as a part, so that Commit has nothing to move, and as an object, because
// parts cannot be read and the next Append has to fill the part up.
//
// An object is brought to its place only on the condition that what is there is
// what the writer knows of (If-None-Match, If-Match), so that a request which was
// given up and arrives late replaces nothing. The storage must honor that for
// PutObject and CompleteMultipartUpload; Open checks the former.
//
// Any number of processes may use one bucket and prefix for one instance.
package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/sync/semaphore"

	"github.com/packages-operator/packages-operator/registry/blob"
)

const (
	// MinPartSize is the least that S3 takes as a part which is not the last.
	MinPartSize = 5 << 20
	// DefaultPartSize bounds an object to 78 GiB, because S3 takes 10,000 parts.
	DefaultPartSize = 8 << 20
	// DefaultMemory is room for eight parts.
	DefaultMemory = 64 << 20

	defaultTimeout = 2 * time.Minute
	defaultStall   = 30 * time.Second
	maxAttempts    = 4
	maxBackoff     = 2 * time.Second
	maxParts       = 10_000
)

// Options say where the bucket is, whose data it holds, and what writing may
// take.
type Options struct {
	Bucket string
	// Endpoint is the URL of the storage; empty is AWS.
	Endpoint string
	// Region that requests are signed for; empty is what the environment or the
	// shared configuration says, us-east-1 if they say nothing and Endpoint is set.
	Region string
	// Prefix of all keys in the bucket, without slashes at its ends; may be empty.
	Prefix string
	// ForcePathStyle puts the bucket into the path rather than into the host name.
	ForcePathStyle bool
	// Credentials to sign with; nil is the SDK's default chain: environment, shared
	// files, web identity, container and machine roles.
	Credentials aws.CredentialsProvider

	// InstanceUID is the instance that the data belongs to. A prefix without data
	// takes it on; one with another refuses to open, unless Adopt is set.
	InstanceUID string
	Adopt       bool

	// PartSize in bytes, at least MinPartSize; zero is DefaultPartSize.
	PartSize int
	// Memory in bytes that all Appends together may hold in parts; zero is
	// DefaultMemory. An Append that finds none left keeps its part in a file of
	// SpoolDir, so that it neither waits for slow clients nor grows the process.
	Memory int64
	// SpoolDir is a directory for such files, which have no name there; empty is
	// the system's for temporary files.
	SpoolDir string
	// Timeout bounds each request but the reading of an object, its repetitions
	// included; zero is two minutes. Stall is how long a read may wait for the next
	// bytes before it is begun again where it stopped; zero is 30 seconds.
	Timeout time.Duration
	Stall   time.Duration
	// Observe is told of every request; nil tells nobody.
	Observe Observer
	// Rand is where keys and nonces come from; nil is crypto/rand.
	Rand io.Reader
}

// Observer is told of a request that has ended: its operation in the words of S3,
// such as PutObject, the time until its answer began, repetitions included, and
// why the storage did not do it. That there is no such object, or that a condition
// does not hold, is no such error. It is called from many goroutines.
type Observer func(operation string, took time.Duration, err error)

// Store is a blob.Store in a bucket. It is safe for concurrent use, by any number
// of processes.
type Store struct {
	client   *s3.Client
	bucket   string
	prefix   string
	partSize int
	timeout  time.Duration
	stall    time.Duration
	epoch    uint64
	memory   *semaphore.Weighted
	buffers  sync.Pool
	spoolDir string

	randMu sync.Mutex
	rand   io.Reader
}

var _ blob.SizedStore = (*Store)(nil)

// Open reaches the bucket and makes sure of whose data it has. It fails with
// ErrOtherInstance, and with a sentence for each way in which the bucket cannot be
// used.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		client: client, bucket: o.Bucket, partSize: o.PartSize, timeout: o.Timeout, stall: o.Stall, rand: o.Rand,
		spoolDir: o.SpoolDir,
	}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	if s.partSize == 0 {
		s.partSize = DefaultPartSize
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.stall == 0 {
		s.stall = defaultStall
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	s.memory = semaphore.NewWeighted(o.Memory)
	s.buffers.New = func() any { b := make([]byte, s.partSize); return &b }
	if err := s.claim(ctx, o.InstanceUID, o.Adopt); err != nil {
		return nil, fmt.Errorf("%s: %w", s.place(o.Endpoint), err)
	}
	return s, nil
}

func (o Options) check() error {
	switch {
	case o.Bucket == "" || strings.ContainsAny(o.Bucket, "/ "):
		return fmt.Errorf("S3 bucket %q is no name of a bucket", o.Bucket)
	case strings.Trim(o.Prefix, "/") != o.Prefix || strings.Contains(o.Prefix, "//"):
		return fmt.Errorf("S3 prefix %q begins or ends with a slash, or has two in a row", o.Prefix)
	case o.PartSize != 0 && o.PartSize < MinPartSize:
		return fmt.Errorf("S3 parts of %d bytes are too small: the least is %d", o.PartSize, MinPartSize)
	}
	if err := checkUID(o.InstanceUID); err != nil {
		return err
	}
	if o.Endpoint == "" {
		return nil
	}
	// The URL is not repeated: it might hold a password.
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("S3 endpoint is no URL such as https://s3.example.com")
	case u.User != nil:
		return errors.New("S3 endpoint has a user or a password in it; give credentials by the environment or a shared file")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("S3 endpoint has a query or a fragment; write a scheme, a host and at most a path")
	}
	return nil
}

// checkUID keeps what cannot be read back from a line of text out of the marker.
func checkUID(uid string) error {
	if uid == "" {
		return errors.New("blob store has no instance UID")
	}
	for _, c := range []byte(uid) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("instance UID %q is not printable ASCII", uid)
		}
	}
	return nil
}

func newClient(ctx context.Context, o Options) (*s3.Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newHTTPClient()),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff })
		}),
		// The SDK writes to standard error by itself; what matters is in errors.
		config.WithLogger(logging.Nop{}),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	c, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("load the configuration of S3 from the environment and the shared files: %w", err)
	}
	if c.Region == "" {
		if o.Endpoint == "" {
			return nil, errors.New("S3 has no region: give one by --s3-region or AWS_REGION")
		}
		c.Region = "us-east-1"
	}
	if _, err := c.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("S3 has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the process a role: %w", rootCause(err))
	}
	return s3.NewFromConfig(c, func(so *s3.Options) {
		if o.Observe != nil {
			so.APIOptions = append(so.APIOptions, o.Observe.watch)
		}
		so.UsePathStyle = o.ForcePathStyle
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(strings.TrimSuffix(o.Endpoint, "/"))
		}
		if !strings.HasPrefix(o.Endpoint, "http:") {
			// TLS protects the bytes; hashing them a second time costs more than all
			// else here.
			so.APIOptions = append(so.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	}), nil
}

// newHTTPClient bounds what a silent peer costs. Bodies have no bound of their
// own: requests have the Timeout, and reading has the Stall. It is one that the
// SDK can add the certificates of AWS_CA_BUNDLE to.
func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = 10 * time.Second
			t.ResponseHeaderTimeout = time.Minute
			t.MaxIdleConns = 256
			t.MaxIdleConnsPerHost = 256
			// Objects come as they are.
			t.DisableCompression = true
		})
}

// Ping reports whether the storage answers, and has the bucket.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + markerName)})
	if err != nil {
		return fmt.Errorf("look at the marker: %w", explain(err))
	}
	return nil
}

// Close ends nothing: it is there because stores are closed.
func (s *Store) Close() error { return nil }

// StartEpoch makes new keys carry the epoch, 0 before. It comes before the first
// Create.
func (s *Store) StartEpoch(epoch uint64) { s.epoch = epoch }

// ChunkSize is the size of which pieces, and of multiples of which, an upload is
// cheapest: such an Append leaves no tail.
func (s *Store) ChunkSize() int64 { return int64(s.partSize) }

// place names the bucket in messages.
func (s *Store) place(endpoint string) string {
	name := "S3 bucket " + s.bucket
	if endpoint != "" {
		name += " at " + endpoint
	}
	return name
}

func (s *Store) objectName(key string) *string { return aws.String(s.prefix + "objects/" + key) }

func (s *Store) tailName(key, nonce string) *string {
	return aws.String(s.prefix + "tails/" + key + "/" + nonce)
}

func (s *Store) newKey() (string, error) {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return blob.NewKey(s.rand, s.epoch)
}

// limited bounds a request that is no reading of an object.
func (s *Store) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// stop returns the context's error, if it has ended.
func stop(ctx context.Context) error { return context.Cause(ctx) }

// checkKey refuses what is no key of this store, which therefore has no object.
func checkKey(key string) error {
	if blob.IsKey(key) {
		return nil
	}
	return fmt.Errorf("%w: %q is not a key of this store", blob.ErrNotFound, key)
}
