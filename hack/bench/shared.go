// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"
)

// The account of the S3 server, which lives as long as the run.
const (
	s3Bucket    = "packages"
	s3Region    = "us-east-1"
	s3AccessKey = "bench-access-key"
	s3SecretKey = "bench-secret-key"
)

// s3Driver is distribution's configuration of its S3 driver. Like our registry it
// hands the bytes through, rather than send clients to the bucket.
const s3Driver = `  redirect:
    disable: true
  s3:
    region: ` + s3Region + `
    regionendpoint: %s
    forcepathstyle: true
    secure: false
    accesskey: ` + s3AccessKey + `
    secretkey: ` + s3SecretKey + `
    bucket: ` + s3Bucket + `
    rootdirectory: /distribution`

// startS3 runs an S3 server on a directory, with one bucket, and returns its URL.
func startS3(ctx context.Context, program, dir string) (stop func(), endpoint string, err error) {
	dir = filepath.Join(dir, "s3")
	for _, sub := range []string{"data", "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, "", err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	endpoint = "http://" + address
	p := &process{
		command: func() *exec.Cmd {
			cmd := exec.Command(program, "--port", address, "--region", s3Region, "--health", "/health", "--quiet",
				"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
			cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3AccessKey, "ROOT_SECRET_KEY="+s3SecretKey)
			return cmd
		},
		ready:   answers(endpoint + "/health"),
		logPath: filepath.Join(dir, "log"),
	}
	if err := p.start(ctx); err != nil {
		return nil, "", fmt.Errorf("start the S3 server: %w", err)
	}
	client := s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: s3Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3AccessKey, s3SecretKey, ""),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(s3Bucket)}); err != nil {
		p.stop()
		return nil, "", fmt.Errorf("create the bucket: %w", err)
	}
	return p.stop, endpoint, nil
}

// startPostgres runs a PostgreSQL server that listens in its directory, and returns
// the URL of its database.
func startPostgres(ctx context.Context) (stop func(), databaseURL string, err error) {
	// A socket's path is short, and the server's user must reach it.
	dir, err := os.MkdirTemp("", "bench-pg-")
	if err != nil {
		return nil, "", err
	}
	remove := func() { _ = os.RemoveAll(dir) } // a temporary directory
	defer func() {
		if err != nil {
			remove()
		}
	}()
	who, err := postgresUser()
	if err != nil {
		return nil, "", err
	}
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			return nil, "", err
		}
	}
	data := filepath.Join(dir, "data")
	command := func(name string, arguments ...string) *exec.Cmd {
		cmd := exec.Command(postgresProgram(name), arguments...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
		return cmd
	}
	if output, err := command("initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-locale").CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb (hack/apt.sh postgresql installs it): %w\n%s", err, output)
	}
	databaseURL = "postgres://postgres@/postgres?host=" + dir
	p := &process{
		command: func() *exec.Cmd {
			return command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=50")
		},
		ready: func(ctx context.Context) error {
			c, err := pgx.Connect(ctx, databaseURL)
			if err != nil {
				return err
			}
			return c.Close(ctx)
		},
		logPath: filepath.Join(dir, "log"),
	}
	if err := p.start(ctx); err != nil {
		return nil, "", fmt.Errorf("start PostgreSQL: %w", err)
	}
	return func() { p.stop(); remove() }, databaseURL, nil
}

// postgresUser is whom to run PostgreSQL as, which refuses to be root; nil is this
// user.
func postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w; hack/apt.sh postgresql makes the user", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// postgresProgram finds one of PostgreSQL's programs: Debian keeps them out of PATH.
func postgresProgram(name string) string {
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); err == nil && len(found) > 0 {
		return found[len(found)-1]
	}
	return name
}
