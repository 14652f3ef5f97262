// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package postgrestest runs real PostgreSQL servers for tests.
package postgrestest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Password of the servers' user; no log and no error may hold it.
const Password = "pw-4Qz-of-the-test"

const startTimeout = 60 * time.Second

// Server is a server of its own directory that listens on a Unix socket in it.
type Server struct {
	t       testing.TB
	dir     string
	process *exec.Cmd
	output  bytes.Buffer
	schemas atomic.Int64
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	// A socket's path is short, and the server's user must reach it.
	dir, err := os.MkdirTemp("", "pg-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	passwords := filepath.Join(dir, "password")
	if err := os.WriteFile(passwords, []byte(Password), 0o600); err != nil {
		t.Fatal(err)
	}
	if who := credential(t); who != nil {
		for _, path := range []string{dir, passwords} {
			if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	initialize := s.command("initdb", "--pgdata", s.data(), "--username", "postgres", "--pwfile", passwords,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync")
	if output, err := initialize.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	s.Run()
	return s
}

// credential is whom a server runs as: it refuses to be root. Nil is this user.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("there is no user to run PostgreSQL as: postgres or nobody")
	return nil
}

// program finds one of PostgreSQL's programs, which Debian keeps out of PATH.
func (s *Server) program(name string) string {
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); err == nil && len(found) > 0 {
		return found[len(found)-1]
	}
	found, err := exec.LookPath(name)
	if err != nil {
		s.t.Fatalf("%v; hack/apt.sh postgresql installs it", err)
	}
	return found
}

func (s *Server) command(name string, arguments ...string) *exec.Cmd {
	c := exec.Command(s.program(name), arguments...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: credential(s.t)}
	return c
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Run starts the server, which does not run, and returns once it answers.
func (s *Server) Run() {
	s.t.Helper()
	s.process = s.command("postgres", "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=32MB",
		// Only the process crashes in tests, not the machine.
		"-c", "fsync=off")
	// A test binary that is killed leaves no server behind.
	s.process.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	s.output.Reset()
	s.process.Stdout, s.process.Stderr = io.Discard, &s.output
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.execute("SELECT 1"); err == nil {
			return
		}
	}
	s.Kill()
	s.t.Fatalf("the server does not answer: %v\n%s", err, s.output.String())
}

// Kill ends the server at once, as a crash would: what it has not written is
// lost. Its processes end before Kill returns.
func (s *Server) Kill() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	// SIGQUIT is PostgreSQL's immediate shutdown: nothing is written any more.
	_ = s.process.Process.Signal(syscall.SIGQUIT)
	_ = s.process.Wait()
	s.process = nil
}

// Demote ends the server and starts it again as a standby, which cannot be written;
// Promote makes it one to be written again.
func (s *Server) Demote() {
	s.t.Helper()
	s.Kill()
	signal := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if who := credential(s.t); who != nil {
		if err := os.Chown(signal, int(who.Uid), int(who.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Run()
}

// Promote returns once the server can be written.
func (s *Server) Promote() {
	s.t.Helper()
	s.Execute("SELECT pg_promote()")
}

// Schema makes an empty schema and returns a URL that selects it.
func (s *Server) Schema() string {
	s.t.Helper()
	name := fmt.Sprintf("s%d", s.schemas.Add(1))
	s.Execute("CREATE SCHEMA " + name)
	return s.URL() + "&search_path=" + name
}

// URL of the server's database.
func (s *Server) URL() string {
	return "postgres://postgres:" + Password + "@/postgres?sslmode=disable&host=" + url.QueryEscape(s.dir)
}

// Execute runs statements.
func (s *Server) Execute(statements string) {
	s.t.Helper()
	if err := s.execute(statements); err != nil {
		s.t.Fatal(err)
	}
}

// Ask returns the only value that a query at a URL gives, as text.
func (s *Server) Ask(at, query string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, at)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	var value any
	if err := c.QueryRow(ctx, query).Scan(&value); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprint(value)
}

func (s *Server) execute(statements string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.PgConn().Exec(ctx, statements).ReadAll()
	return err
}
