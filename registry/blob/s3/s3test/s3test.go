// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package s3test runs a real S3 server on a loopback port for tests.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// Region that the server expects in signatures.
	Region = "us-east-1"
	// Bucket that every server has.
	Bucket = "packages"

	// AccessKey of every server's account.
	AccessKey = "test-access-key"
	// SecretKey of that account.
	SecretKey = "test-secret-key"

	startTimeout = 30 * time.Second
)

// Server is a running S3 server with one bucket and one account.
type Server struct {
	// Endpoint is the server's URL.
	Endpoint string
	// AccessKey and SecretKey are the account's.
	AccessKey, SecretKey string
	// Stop ends the server before the test does; stopping twice is no error.
	Stop func()
}

// Retrieve makes a Server an aws.CredentialsProvider.
func (s *Server) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, Source: "s3test"}, nil
}

// Client returns a client of the server, to look at what a store made there.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: Region, UsePathStyle: true, Credentials: s,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// Start runs a versitygw until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, sub := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{AccessKey: AccessKey, SecretKey: SecretKey}
	// Between choosing a port and taking it, another program may take it.
	for attempt := 1; ; attempt++ {
		err := s.start(t, program, dir)
		if err == nil {
			break
		}
		if attempt == 3 {
			t.Fatal(err)
		}
	}
	if _, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		t.Fatalf("create the bucket: %v", err)
	}
	return s
}

func (s *Server) start(t testing.TB, program, dir string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	var output lockedBuffer
	cmd := exec.Command(program, "--port", address, "--region", Region, "--health", "/health", "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start versitygw: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed, or says why in its output
		close(ended)
	}()
	s.Stop = func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	}
	s.Endpoint = "http://" + address
	if err := waitUntilHealthy(s.Endpoint, ended); err != nil {
		s.Stop()
		return fmt.Errorf("%w; versitygw says:\n%s", err, output.String())
	}
	t.Cleanup(s.Stop)
	return nil
}

func waitUntilHealthy(endpoint string, ended <-chan struct{}) error {
	deadline := time.After(startTimeout)
	client := http.Client{Timeout: time.Second}
	for {
		response, err := client.Get(endpoint + "/health")
		if err == nil {
			err = response.Body.Close()
			if err == nil && response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ended:
			return errors.New("versitygw ended")
		case <-deadline:
			return fmt.Errorf("versitygw did not get ready within %s: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// program builds versitygw, if it is not in the cache of tools, and returns where
// it is.
var program = sync.OnceValues(func() (string, error) {
	script, err := find("hack/tools.sh")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(script, "versitygw")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s versitygw: %w", script, err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "versitygw"), nil
})

// find looks for a file of this module from the working directory upwards.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is nowhere above the working directory", name)
		}
		dir = parent
	}
}

// lockedBuffer is written by a process while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
