// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry"
	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// processVariable makes the test binary a registry: a process of its own, which
// can be killed, run as somebody else, or see another file system.
const processVariable = "PACKAGES_REGISTRY_TEST_PROCESS"

// processLogFile is the descriptor of the file that the process logs to.
const processLogFile = 3

func TestMain(m *testing.M) {
	if text := os.Getenv(processVariable); text != "" {
		if err := runProcess(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// processOptions say how a registry of its own process starts.
type processOptions struct {
	DataDir string
	// Listen and AdminListen are addresses; empty means a free port of loopback.
	Listen, AdminListen string
	// InstanceUID other than the sample policy's; Adopt takes over its data.
	InstanceUID string
	Adopt       bool
	// DatabaseURL of a database in place of a file.
	DatabaseURL string
	// S3 is the endpoint of an s3test.Server that keeps the blobs; S3Prefix is where,
	// unless it is empty.
	S3, S3Prefix string
	// AuditLog is the path of a file, empty for none.
	AuditLog string
	// Tmpfs, if not empty, puts a file system of that size over DataDir, seen by
	// the process alone.
	Tmpfs string
}

// runProcess is the process: it writes its addresses to standard output, serves
// the sample policy until SIGTERM, and drains.
func runProcess(text string) error {
	var o processOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	if o.Tmpfs != "" {
		if err := errors.Join(
			syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
			syscall.Mount("tmpfs", o.DataDir, "tmpfs", 0, "size="+o.Tmpfs),
		); err != nil {
			return err
		}
	}
	keys, err := access.NewKeys(map[string][]byte{"0001": []byte(strings.Repeat("k", access.KeySize))})
	if err != nil {
		return err
	}
	p := samplePolicy()
	if o.InstanceUID != "" {
		p.Instance.UID = o.InstanceUID
	}
	snapshot, err := policy.NewSnapshot(p)
	if err != nil {
		return err
	}
	live := &policy.Live{}
	live.Publish(snapshot)
	var bucket *s3.Options
	if o.S3 != "" {
		bucket = bucketOf(&s3test.Server{Endpoint: o.S3, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey})
		bucket.Prefix = cmp.Or(o.S3Prefix, bucket.Prefix)
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(os.NewFile(processLogFile, "log"), nil))
	auditLog, err := audit.Open(o.AuditLog, nil, log)
	if err != nil {
		return err
	}
	const freePort = "127.0.0.1:0"
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return registry.Run(ctx, registry.Options{
		Listen: cmp.Or(o.Listen, freePort), AdminListen: cmp.Or(o.AdminListen, freePort),
		DataDir: o.DataDir, InstanceUID: p.Instance.UID, Adopt: o.Adopt, DatabaseURL: o.DatabaseURL, S3: bucket,
		Keys: keys, Policy: live, Source: &registrytest.Source{},
		Loopback: true, Version: "test", Log: log, Audit: auditLog,
		Ready: func(listen, admin net.Addr) { fmt.Println(listen, admin) },
	})
}

// process is a running registry.
type process struct {
	addr, admin string
	cmd         *exec.Cmd
	stderr      *strings.Builder
}

// startProcess starts a registry and waits until it serves.
func startProcess(t *testing.T, o processOptions) *process {
	t.Helper()
	p, err := tryProcess(t, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// openProcessLog opens a file for the log of a registry, which a test that failed
// shows in the end.
func openProcessLog(t *testing.T) *os.File {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer func() { _ = log.Close() }()
		if !t.Failed() {
			return
		}
		if text, err := os.ReadFile(log.Name()); err == nil && len(text) > 0 {
			t.Logf("a registry's log:\n%s", text)
		}
	})
	return log
}

// tryProcess starts a registry. A process that ends before it serves is an error
// that says what it said.
func tryProcess(t *testing.T, o processOptions, as *syscall.Credential) (*process, error) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	// Unlike its path, the program itself can be run by every user.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), processVariable+"="+string(text))
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{openProcessLog(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: as}
	if o.Tmpfs != "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
		if id := os.Geteuid(); id != 0 {
			// Who is not the superuser becomes that in a namespace of the process.
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		}
	}
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a registry: %v", err)
	}
	p := &process{cmd: cmd, stderr: stderr}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	if readErr != nil {
		err := cmd.Wait()
		if err == nil {
			t.Fatal("the registry ended without an error, and without serving")
		}
		return nil, errors.New(strings.TrimSpace(stderr.String()))
	}
	t.Cleanup(func() { p.kill() })
	if _, err := fmt.Sscan(line, &p.addr, &p.admin); err != nil {
		t.Fatalf("the registry said %q: %v", line, err)
	}
	return p, nil
}

// kill ends the process as a power cut would, as far as its memory goes.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// terminate drains the process.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the registry ended with %v: %s", err, p.stderr)
	}
}

// wantTroubles fails unless the process says that exactly this is wrong with it.
func (p *process) wantTroubles(t *testing.T, want ...registry.Trouble) {
	t.Helper()
	wantTroubles(t, client{t: t, addr: p.admin}, want...)
}

func wantTroubles(t *testing.T, admin client, want ...registry.Trouble) {
	t.Helper()
	var got registry.Status
	if err := json.Unmarshal(admin.do("GET", "/status", nil).want(t, http.StatusOK).body, &got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Troubles, want) {
		t.Errorf("the troubles are %q, want %q", got.Troubles, want)
	}
}

// path is where the test sees a file of the process.
func (p *process) path(name string) string {
	return filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "root", name)
}

// randomBytes are incompressible and never the same.
func randomBytes(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return b
}
