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
)

// distributionConfig is the reference registry at its fastest: descriptors in
// memory, no log of requests, nothing else running beside.
const distributionConfig = `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
  maintenance:
    uploadpurging:
      enabled: false
%s
http:
  addr: %s
health:
  storagedriver:
    enabled: false
catalog:
  maxentries: 1000
`

// startDistribution starts distribution; storage is the driver's part of its
// configuration, or empty for files.
func startDistribution(ctx context.Context, program, dir, storage string) (*server, error) {
	return launch(ctx, dir, distributionName, func(dir, address string) (func() *exec.Cmd, error) {
		if storage == "" {
			storage = "  filesystem:\n    rootdirectory: " + filepath.Join(dir, "data")
		}
		config := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(config, fmt.Appendf(nil, distributionConfig, storage, address), 0o600); err != nil {
			return nil, err
		}
		return func() *exec.Cmd {
			cmd := exec.Command(program, "serve", config)
			// It would send traces to a collector that nobody runs.
			cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
			return cmd
		}, nil
	})
}

func startFloor(ctx context.Context, program, dir string) (*server, error) {
	s, err := launch(ctx, dir, floorName, func(dir, address string) (func() *exec.Cmd, error) {
		return func() *exec.Cmd {
			return exec.Command(program, "-listen", address, "-dir", filepath.Join(dir, "data"))
		}, nil
	})
	if err != nil {
		return nil, err
	}
	s.fixed = true
	return s, nil
}

// parseRemote reads NAME=URL, a registry that runs already. Its user and their token
// or password stand in the URL.
func parseRemote(text string) (*server, error) {
	name, address, found := strings.Cut(text, "=")
	base, err := url.Parse(address)
	if !found || name == "" || err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("-registry %q: write NAME=URL, such as zot=http://127.0.0.1:5000", name)
	}
	for _, taken := range []string{oursName, distributionName, floorName} {
		if name == taken {
			return nil, fmt.Errorf("-registry %s: this program starts a server of that name itself; choose another", name)
		}
	}
	user := base.User
	base.User, base.Path = nil, "/"
	return &server{name: name, client: newClient(base, user, "")}, nil
}
