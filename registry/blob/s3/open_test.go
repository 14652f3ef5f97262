// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

func TestDataBelongsToOneInstance(t *testing.T) {
	server := s3test.Start(t)
	mine := options(server)
	s := open(t, mine)
	content := blobtest.Content(1, 100)
	p := appendTo(t, s, create(t, s), content)
	commit(t, s, p)

	other := mine
	other.InstanceUID = "uid-2"
	_, err := s3.Open(t.Context(), other)
	if !errors.Is(err, s3.ErrOtherInstance) || !strings.Contains(err.Error(), `it is of instance "uid-1", this is "uid-2"; start with --adopt to take it over`) {
		t.Errorf("Open returned %v", err)
	}
	other.Adopt = true
	wantContent(t, open(t, other), p.Key, content)
	if _, err := s3.Open(t.Context(), mine); !errors.Is(err, s3.ErrOtherInstance) {
		t.Errorf("after another took the data over, Open returned %v", err)
	}

	beside := mine
	beside.Prefix = "another/prefix"
	beside.InstanceUID = "uid-3"
	open(t, beside)
}

func TestObjectsWithoutAMarkerAreNotTaken(t *testing.T) {
	server := s3test.Start(t)
	o := options(server)
	s := open(t, o)
	p := appendTo(t, s, create(t, s), blobtest.Content(1, 100))
	commit(t, s, p)
	if _, err := server.Client().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Prefix + "/instance")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s3.Open(t.Context(), o); !errors.Is(err, s3.ErrOtherInstance) {
		t.Errorf("Open returned %v, want ErrOtherInstance", err)
	}
	o.Adopt = true
	wantContent(t, open(t, o), p.Key, blobtest.Content(1, 100))
}

func TestOneOfManyInstancesGetsAnEmptyPrefix(t *testing.T) {
	server := s3test.Start(t)
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		opened []string
	)
	for _, uid := range []string{"uid-1", "uid-2", "uid-3", "uid-4"} {
		all.Go(func() {
			o := options(server)
			o.InstanceUID = uid
			_, err := s3.Open(t.Context(), o)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				opened = append(opened, uid)
			case !errors.Is(err, s3.ErrOtherInstance):
				t.Errorf("Open for %s returned %v, want ErrOtherInstance", uid, err)
			}
		})
	}
	all.Wait()
	if len(opened) != 1 {
		t.Errorf("the prefix was given to %q, want one", opened)
	}
}

func TestStorageThatIgnoresConditionsIsRefused(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if operation(r) != "PUT marker" || r.Header.Get("If-None-Match") == "" {
			return false
		}
		w.Header().Set("Etag", `"0"`)
		return true
	})
	open(t, options(server))
	_, err := s3.Open(t.Context(), p.through(options(server)))
	if err == nil || !strings.Contains(err.Error(), "the storage ignores conditional writes (If-None-Match)") {
		t.Errorf("Open returned %v", err)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	server := s3test.Start(t)
	const secret = "a-secret-that-is-wrong"
	for _, test := range []struct {
		name   string
		change func(*s3.Options)
		want   string
	}{
		{"another bucket", func(o *s3.Options) { o.Bucket = "missing" },
			"S3 bucket missing at " + server.Endpoint + ": there is no such bucket (--s3-bucket); make it, or correct the name"},
		{"no bucket", func(o *s3.Options) { o.Bucket = "" }, `S3 bucket "" is no name of a bucket`},
		{"another access key", func(o *s3.Options) { o.Credentials = &s3test.Server{AccessKey: "nobody", SecretKey: secret} },
			"the storage does not know the access key (AWS_ACCESS_KEY_ID, or what the default chain found)"},
		{"another secret key", func(o *s3.Options) {
			o.Credentials = &s3test.Server{AccessKey: server.AccessKey, SecretKey: secret}
		}, "the storage refuses the signature: the secret key (AWS_SECRET_ACCESS_KEY) does not belong to the access key"},
		{"another region", func(o *s3.Options) { o.Region = "eu-central-7" }, "the bucket is in another region (--s3-region)"},
		{"nobody there", func(o *s3.Options) { o.Endpoint = "http://127.0.0.1:1" }, "the storage cannot be reached (--s3-endpoint): dial tcp 127.0.0.1:1"},
		{"no URL", func(o *s3.Options) { o.Endpoint = "s3.example.com" }, "S3 endpoint is no URL such as https://s3.example.com"},
		{"a password in the URL", func(o *s3.Options) { o.Endpoint = "http://user:" + secret + "@127.0.0.1" }, "S3 endpoint has a user or a password in it"},
		{"a slash too many", func(o *s3.Options) { o.Prefix = "/data" }, `S3 prefix "/data" begins or ends with a slash`},
		{"small parts", func(o *s3.Options) { o.PartSize = 1000 }, "S3 parts of 1000 bytes are too small: the least is 5242880"},
		{"no instance", func(o *s3.Options) { o.InstanceUID = "" }, "blob store has no instance UID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(server)
			test.change(&o)
			_, err := s3.Open(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open returned %v\nwant %s", err, test.want)
			}
			for _, hidden := range []string{secret, server.SecretKey, "Signature="} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the error holds %q: %v", hidden, err)
				}
			}
		})
	}
}

func TestCredentialsComeFromTheEnvironment(t *testing.T) {
	server := s3test.Start(t)
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	o := options(server)
	o.Credentials = nil
	open(t, o)

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, err := s3.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "S3 has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the process a role") {
		t.Errorf("without credentials Open returned %v", err)
	}
}
