// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// Names of the servers that this program starts.
const (
	oursName         = "ours"
	distributionName = "distribution"
	floorName        = "floor"
)

// server is a registry that is measured.
type server struct {
	name string
	*client
	// secure is a client of the same server behind TLS; nil if there is none.
	secure *client
	// process is nil for a server that was started by others.
	process *process
	// fixed says that the server answers with what fix taught it: the floor.
	fixed bool
	// declare tells the server of further repositories, users and tokens, and
	// returns once it has heard; nil if it knows none.
	declare func(ctx context.Context, count int) error

	// fixtures are what was prepared on the server, and how that went.
	fixtures map[string]error
	// small and large are images that it has; filled counts names that were
	// filled with tags.
	small, large *image
	filled       int
	// signed is the path of the list of an image's referrers.
	signed string
}

// once prepares something on the server at its first call.
func (s *server) once(fixture string, prepare func() error) error {
	if err, done := s.fixtures[fixture]; done {
		return err
	}
	err := prepare()
	if s.fixtures == nil {
		s.fixtures = map[string]error{}
	}
	s.fixtures[fixture] = err
	return err
}

// fix teaches the floor the answer to a request.
func (s *server) fix(ctx context.Context, path, contentType string, body []byte) error {
	_, _, err := s.do(ctx, request{
		method: http.MethodPut, path: "/fixed" + path, contentType: contentType, body: newText(body), want: http.StatusCreated,
	})
	return err
}

// restart ends the server and starts it again on the same data. The floor forgets
// what it was taught.
func (s *server) restart(ctx context.Context) error {
	s.close()
	s.process.stop()
	if s.fixed {
		s.fixtures = nil
	}
	return s.process.start(ctx)
}

// stop ends the server.
func (s *server) stop() {
	s.close()
	if s.secure != nil {
		s.secure.close()
	}
	if s.process != nil {
		s.process.stop()
	}
}

// launch starts a server's program, with a directory of its own. configure writes
// what it needs there and returns how to run it.
func launch(ctx context.Context, dir, name string, configure func(dir, address string) (func() *exec.Cmd, error)) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	command, err := configure(dir, address)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	process := &process{command: command}
	process.ready, process.logPath = answers("http://"+address+"/v2/"), filepath.Join(dir, "log")
	if err := process.start(ctx); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	base := &url.URL{Scheme: "http", Host: address}
	return &server{name: name, client: newClient(base, nil, ""), process: process}, nil
}

// freeAddress is a loopback address whose port nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
