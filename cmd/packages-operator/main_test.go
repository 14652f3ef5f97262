// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// execute runs the command as main does, until it ends or ctx does.
func execute(ctx context.Context, log io.Writer, arguments ...string) error {
	cmd := newCommand()
	cmd.SetArgs(arguments)
	cmd.SetOut(log)
	cmd.SetErr(log)
	return cmd.ExecuteContext(ctx)
}

func TestWrongFlagsAreRefusedWithWhatToWrite(t *testing.T) {
	alone := []string{"registry", "--standalone", "../../config/samples/standalone", "--data-dir", "unused"}
	tests := []struct {
		name      string
		arguments []string
		want      string
	}{
		{"no data directory", []string{"registry", "--standalone", "x"}, "--data-dir is required"},
		{"neither alone nor in a cluster", []string{"registry", "--data-dir", "unused"}, "to run alone, write --standalone DIR"},
		{"a flag for clusters alone", append(alone, "--namespace", "x"), "--namespace has no effect with --standalone"},
		{"a flag for alone in a cluster", []string{"registry", "--data-dir", "unused", "--namespace", "a", "--instance", "b", "--instance-uid", "c", "--keys-dir", "d", "--url", "https://x"}, "--url has no effect in a cluster"},
		{"a URL with a path", append(alone, "--url", "https://x/y"), "write a scheme and a host alone"},
		{"a URL without a scheme", append(alone, "--url", "docker.example.com"), "write a scheme and a host alone"},
		{"a network that is none", append(alone, "--trusted-proxies", "10.1.2.3/8"), `--trusted-proxies: "10.1.2.3/8" names an address within a network; write 10.0.0.0/8`},
		{"S3 without a bucket", append(alone, "--s3-endpoint", "https://s3.example.com"), "have no effect without --s3-bucket"},
		{"a database in a cluster", []string{"registry", "--data-dir", "unused", "--namespace", "a", "--instance", "b", "--instance-uid", "c", "--keys-dir", "d", "--database-url-file", "x"}, "--database-url-file has no effect in a cluster"},
		{"no file with the database's URL", append(alone, "--database-url-file", "no-such-file"), "--database-url-file): open no-such-file"},
		{"an empty file with the database's URL", append(alone, "--database-url-file", "/dev/null"), "/dev/null is empty"},
		{"an audit log in no directory", append(alone, "--audit-log", "no-such-directory/audit.log"), "--audit-log: open the audit log: open no-such-directory/audit.log"},
		{"profiles without an admin port", append(alone, "--pprof"), "--pprof has no effect without --admin-listen"},
		{"an unknown log level", append(alone, "--log-level", "loud"), "write error, info or debug"},
		{"an unknown log format", append(alone, "--log-format", "xml"), "write json or text"},
		{"no such directory", []string{"registry", "--standalone", "no-such-directory", "--data-dir", "unused"}, "no-such-directory"},
		{"an address that is none", append(alone, "--listen", "nowhere"), "--listen"},
		{"an unknown flag", []string{"registry", "--no-such-flag"}, "--no-such-flag"},
		{"an unknown command", []string{"serve"}, "serve"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, argument := range tt.arguments {
				if argument == "unused" {
					tt.arguments[i] = t.TempDir()
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := execute(ctx, io.Discard, tt.arguments...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestAFaultyFileIsNamedWithItsLine(t *testing.T) {
	dir := t.TempDir()
	faulty := "apiVersion: packages-operator.io/v1alpha1\nkind: PackagesInstance\nmetadata:\n  name: local\nspec:\n  hostname: Packages.Test\n  storage: {filesystem: {size: 1Gi}}\n"
	if err := os.WriteFile(filepath.Join(dir, "instance.yaml"), []byte(faulty), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	err := execute(t.Context(), io.Discard, "registry", "--standalone", dir, "--data-dir", data, "--listen", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "instance.yaml:6") || !strings.Contains(err.Error(), "lower case") {
		t.Errorf("got %v, want file, line and reason", err)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// output collects what a command writes while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func TestTheRegistryAloneServesTheSamplesFromADatabase(t *testing.T) {
	server := postgrestest.Start(t)
	fromFile, fromEnvironment := server.Schema(), server.Schema()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(fromFile+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PACKAGES_DATABASE_URL", fromEnvironment)
	for _, arguments := range [][]string{{"--database-url-file", file}, nil} {
		address, stop := serveAlone(t, arguments...)
		if status, _ := ask(t, http.MethodGet, "http://"+address+"/v2/", nil); status != http.StatusOK {
			t.Errorf("the sample token gets %d", status)
		}
		log := stop()
		if !strings.Contains(log, "in PostgreSQL") {
			t.Errorf("it did not use the database: %s", log)
		}
		for _, secret := range []string{postgrestest.Password, fromFile, fromEnvironment} {
			if strings.Contains(log, secret) {
				t.Errorf("%q is in the log: %s", secret, log)
			}
		}
	}
	// Each was used by one start: the first of an epoch.
	for _, url := range []string{fromFile, fromEnvironment} {
		if got := server.Ask(url, "SELECT epoch FROM meta"); got != "1" {
			t.Errorf("the database was used %s times", got)
		}
	}
}

// serveAlone runs the registry alone with the samples and more flags, until stop,
// which returns its log.
func serveAlone(t *testing.T, more ...string) (address string, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	log := &output{}
	done := make(chan error, 1)
	go func() {
		done <- execute(ctx, log, append([]string{"registry", "--standalone", "../../config/samples/standalone",
			"--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--log-format", "text"}, more...)...)
	}()
	serving := regexp.MustCompile(`msg=Serving address=(\S+)`)
	var match []string
	for deadline := time.Now().Add(time.Minute); match == nil; match = serving.FindStringSubmatch(log.String()) {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v\n%s", err, log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve:\n%s", log)
		}
	}
	return match[1], func() string {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
		return log.String()
	}
}

// ask sends a request as the sample user monalisa, and returns the answer's status
// and body.
func ask(t *testing.T, method, url string, body []byte) (status int, content []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("monalisa", "sample-only-monalisa-000000000000000000000000000")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if content, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, content
}

func TestTheRegistryAloneServesTheSamples(t *testing.T) {
	address, stop := serveAlone(t)
	if status, _ := ask(t, http.MethodGet, "http://"+address+"/v2/", nil); status != http.StatusOK {
		t.Errorf("the sample token gets %d", status)
	}
	stop()
}

func TestTheRegistryAloneKeepsBlobsInABucket(t *testing.T) {
	server := s3test.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	address, stop := serveAlone(t, "--s3-bucket", s3test.Bucket, "--s3-endpoint", server.Endpoint, "--s3-region", s3test.Region,
		"--s3-prefix", "alone", "--s3-force-path-style")
	content := bytes.Repeat([]byte("content "), 100_000)
	digest := ref.SHA256.FromBytes(content)
	blobs := "http://" + address + "/v2/octocat/octo-app/monalisa/blobs/"
	if status, body := ask(t, http.MethodPost, blobs+"uploads/?digest="+string(digest), content); status != http.StatusCreated {
		t.Fatalf("the push gets %d: %s", status, body)
	}
	if status, body := ask(t, http.MethodGet, blobs+string(digest), nil); status != http.StatusOK || !bytes.Equal(body, content) {
		t.Errorf("the pull gets %d and %d bytes", status, len(body))
	}
	stop()
	found, err := server.Client().ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String(s3test.Bucket), Prefix: aws.String("alone/objects/")})
	if err != nil || len(found.Contents) != 1 || *found.Contents[0].Size != int64(len(content)) {
		t.Errorf("the bucket has %+v (%v), want the blob", found, err)
	}
}

func TestTheAuditLogIsAFileThatCanBeRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	address, stop := serveAlone(t, "--audit-log", path)
	entries := func(file string) int {
		content, err := os.ReadFile(file)
		if err != nil {
			return -1
		}
		return bytes.Count(content, []byte(`"action":"login"`))
	}
	until := func(what string, happens func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !happens(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not come about", what)
			}
		}
	}
	ask(t, http.MethodGet, "http://"+address+"/token", nil)
	until("an entry", func() bool { return entries(path) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("a new file", func() bool { return entries(path) == 0 })
	ask(t, http.MethodGet, "http://"+address+"/token", nil)
	until("an entry in the new file", func() bool { return entries(path) == 1 })
	if log := stop(); entries(path+".1") != 1 || strings.Contains(log, `"action":"login"`) {
		t.Errorf("entries went elsewhere as well: %s", log)
	}
}

func TestTheAuditLogIsOnStandardOutputUnlessItIsOff(t *testing.T) {
	address, stop := serveAlone(t)
	ask(t, http.MethodGet, "http://"+address+"/token", nil)
	if output := stop(); strings.Count(output, `"action":"login"`) != 1 {
		t.Errorf("there is no entry: %s", output)
	}
	address, stop = serveAlone(t, "--audit-log", "")
	ask(t, http.MethodGet, "http://"+address+"/token", nil)
	if output := stop(); strings.Contains(output, `"action"`) {
		t.Errorf("there is an entry: %s", output)
	}
}
