// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What our registry is told: one instance, and a user who owns the repository that
// every image of a run is in.
const (
	hostname   = "packages.test"
	dockerHost = "docker." + hostname
	owner      = "bench"
	repository = owner + "/app"
)

const instanceYAML = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata:
  name: bench
spec:
  hostname: ` + hostname + `
  storage:
    filesystem:
      size: 1Gi
`

// ownerYAML declares a user, a repository of theirs and their token. %[1]s is the
// user, %[2]s the repository's name, %[3]s the token's value.
const ownerYAML = `---
apiVersion: packages-operator.io/v1alpha1
kind: PackagesRepository
metadata:
  name: %[1]s-%[2]s
spec:
  instanceRef:
    name: bench
  owner: %[1]s
  name: %[2]s
  visibility: Private
---
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata:
  name: %[1]s
spec:
  instanceRef:
    name: bench
  user: %[1]s
  scopes:
    - read:packages
    - write:packages
  source:
    secretRef:
      name: %[1]s
      key: token
---
apiVersion: v1
kind: Secret
metadata:
  name: %[1]s
stringData:
  token: %[3]s
`

// valueOf is the value of a user's token. Whoever can reach the registry of a run
// may know it.
func valueOf(user string) string { return fmt.Sprintf("bench-only-%s-%040d", user, 0) }

// startOurs starts our registry as users run it: tokens are checked, and what is
// acknowledged is on the disk.
func startOurs(ctx context.Context, program, dir string, environment, arguments []string) (*server, error) {
	objects := filepath.Join(dir, oursName, "objects")
	s, err := launch(ctx, dir, oursName, func(dir, address string) (func() *exec.Cmd, error) {
		if err := os.MkdirAll(objects, 0o700); err != nil {
			return nil, err
		}
		text := instanceYAML + fmt.Sprintf(ownerYAML, owner, "app", valueOf(owner))
		if err := os.WriteFile(filepath.Join(objects, "objects.yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
		return func() *exec.Cmd {
			cmd := exec.Command(program, append([]string{
				"registry", "--standalone", objects, "--data-dir", filepath.Join(dir, "data"),
				"--listen", address, "--url", "https://" + dockerHost,
			}, arguments...)...)
			cmd.Env = append(os.Environ(), environment...)
			return cmd
		}, nil
	})
	if err != nil {
		return nil, err
	}
	s.user = url.UserPassword(owner, valueOf(owner))
	s.declare = func(ctx context.Context, count int) error {
		last, err := declare(objects, count)
		if err != nil {
			return err
		}
		return s.awaitUser(ctx, last)
	}
	return s, nil
}

// declare writes users with a repository and a token each, and returns the last.
func declare(objects string, count int) (last string, err error) {
	var text strings.Builder
	for i := range count {
		last = fmt.Sprintf("user-%05d", i)
		fmt.Fprintf(&text, ownerYAML, last, "app", valueOf(last))
	}
	return last, os.WriteFile(filepath.Join(objects, "more.yaml"), []byte(text.String()), 0o600)
}

// policyTimeout bounds how long a registry may take to heed thousands of objects.
const policyTimeout = 5 * time.Minute

// awaitUser returns once the user gets tokens.
func (s *server) awaitUser(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	other := newClient(s.base, url.UserPassword(user, valueOf(user)), "")
	defer other.close()
	for {
		_, err := other.token(ctx, pullScope(user+"/app/image"))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the objects are not in force within %s: %w", policyTimeout, err)
		}
	}
}
