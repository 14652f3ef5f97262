// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// mib is what memory is given in.
func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// memoryNow is what a server keeps after all that was done with it.
func memoryNow(_ context.Context, s *server, _ scale) (work, error) {
	if s.process == nil {
		return nil, errNotSupported
	}
	return func(context.Context) (sample, error) {
		now, _, err := s.process.memory()
		return sample{value: mib(now)}, err
	}, nil
}

// memoryIdle is what a server takes that has just been started on what it has.
func memoryIdle(ctx context.Context, s *server, _ scale) (work, error) {
	if s.process == nil {
		return nil, errNotSupported
	}
	return func(context.Context) (sample, error) {
		if err := s.restart(ctx); err != nil {
			return sample{}, err
		}
		time.Sleep(time.Second) // what it does at its start is part of it
		now, _, err := s.process.memory()
		return sample{value: mib(now)}, err
	}, nil
}

// memoryAtUploads is the most that a server takes while many uploads run. None is
// finished: what was sent is dropped, so that the disk is not filled.
func memoryAtUploads(_ context.Context, s *server, scale scale) (work, error) {
	if s.process == nil {
		return nil, errNotSupported
	}
	return func(ctx context.Context) (sample, error) {
		if err := s.restart(ctx); err != nil {
			return sample{}, err
		}
		var all sync.WaitGroup
		failures := make([]error, scale.uploads)
		began := time.Now()
		for i := range scale.uploads {
			all.Go(func() {
				into := name(fmt.Sprint("parallel-", i))
				location, err := s.sendBlob(ctx, into, &content{size: scale.uploadSize, seed: seeds.Add(1)})
				if err == nil {
					err = s.cancelUpload(ctx, into, location)
				}
				failures[i] = err
			})
		}
		all.Wait()
		took := time.Since(began)
		_, most, err := s.process.memory()
		return sample{value: mib(most), operations: scale.uploads, latencies: []time.Duration{took}}, errors.Join(append(failures, err)...)
	}, nil
}

// coldStart is the time from the start of a server that has many manifests until
// it has served one of them, to a client without a token.
func coldStart(ctx context.Context, s *server, scale scale) (work, error) {
	if s.process == nil || s.fixed {
		return nil, errNotSupported
	}
	into, err := s.manyManifests(ctx, scale)
	if err != nil {
		return nil, err
	}
	get := getManifest(into, "v0")
	s.close()
	s.process.stop()
	return func(ctx context.Context) (sample, error) {
		began := time.Now()
		if err := s.process.start(ctx); err != nil {
			return sample{}, err
		}
		node := s.again()
		defer node.close()
		_, _, err := node.do(ctx, get)
		took := time.Since(began)
		return sample{value: took.Seconds() * 1000, operations: 1, latencies: []time.Duration{took}}, err
	}, nil
}

// withPolicy measures a row once thousands of repositories and tokens are declared.
func withPolicy(prepare func(context.Context, *server, scale) (work, error)) func(context.Context, *server, scale) (work, error) {
	return func(ctx context.Context, s *server, scale scale) (work, error) {
		if s.declare != nil {
			if err := s.once("declared", func() error { return s.declare(ctx, scale.declared) }); err != nil {
				return nil, err
			}
		}
		return prepare(ctx, s, scale)
	}
}
