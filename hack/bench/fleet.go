// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// programs are the paths of what the servers are.
type programs struct {
	ours, distribution, floor, s3 string
}

// check says which program is missing, before anything is measured.
func (p programs) check(fleets []fleet) error {
	needed := []struct{ flag, path string }{{"-ours", p.ours}, {"-distribution", p.distribution}, {"-floor", p.floor}}
	if slices.Contains(fleets, shared) {
		needed = append(needed, struct{ flag, path string }{"-s3", p.s3})
	}
	for _, program := range needed {
		info, err := os.Stat(program.path)
		if program.path == "" || err != nil || info.Mode()&0o111 == 0 {
			return fmt.Errorf("%s %q is no program; make bench builds it and names it", program.flag, program.path)
		}
	}
	return nil
}

// servers are those of a fleet, which run.
type servers struct {
	all   []*server
	stops []func()
}

// stop ends all, in the reverse order of their start.
func (s *servers) stop() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
}

func (s *servers) add(started *server, err error) error {
	if err == nil {
		s.all = append(s.all, started)
		s.stops = append(s.stops, started.stop)
	}
	return err
}

// startFleet starts the servers of a fleet with their data below dir. remotes run
// already, and are part of the standard fleet.
func startFleet(ctx context.Context, which fleet, p programs, dir string, remotes []*server) (_ *servers, err error) {
	s := &servers{}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	dir = filepath.Join(dir, which.String())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var environment, arguments []string
	var driver string
	if which == shared {
		stop, endpoint, err := startS3(ctx, p.s3, dir)
		if err != nil {
			return nil, err
		}
		s.stops = append(s.stops, stop)
		stop, database, err := startPostgres(ctx)
		if err != nil {
			return nil, err
		}
		s.stops = append(s.stops, stop)
		environment = []string{
			"PACKAGES_DATABASE_URL=" + database, "AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3SecretKey,
		}
		arguments = []string{
			"--s3-bucket", s3Bucket, "--s3-prefix", oursName, "--s3-endpoint", endpoint, "--s3-region", s3Region, "--s3-force-path-style",
		}
		driver = fmt.Sprintf(s3Driver, endpoint)
	}
	err = errors.Join(
		s.add(startDistribution(ctx, p.distribution, dir, driver)),
		s.add(startFloor(ctx, p.floor, dir)),
		s.add(startOurs(ctx, p.ours, dir, environment, arguments)),
	)
	if err != nil {
		return nil, err
	}
	for _, started := range s.all {
		stop, err := secureFront(started)
		if err != nil {
			return nil, err
		}
		s.stops = append(s.stops, stop)
	}
	if which == standard {
		s.all = append(s.all, remotes...)
	}
	return s, nil
}
