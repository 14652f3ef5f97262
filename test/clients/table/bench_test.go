// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

// user is somebody with a token.
type user struct{ name, token string }

var (
	octocat  = user{"octocat", "octocat" + strings.Repeat("-0123456789", 4)}   // owns octocat/octo-app
	monalisa = user{"monalisa", "monalisa" + strings.Repeat("-0123456789", 4)} // may write there
	hubot    = user{"hubot", "hubot" + strings.Repeat("-0123456789", 4)}       // may read there
	imposter = user{"octocat", "imposter" + strings.Repeat("-0123456789", 4)}  // has a token that nobody issued
)

const (
	repository = "octocat/octo-app"
	// smallLimit is the cap on layers of the registry that refuses large ones.
	smallLimit = "1Mi"
	// overLimit is a size, in bytes, above it.
	overLimit = 3 << 20
)

// registryKind is one of the registries that the table needs.
type registryKind string

const (
	open     registryKind = "open"
	readOnly registryKind = "read-only"
	limited  registryKind = "limited"
)

// docker is the part of the instance's specification that differs.
var dockerSettings = map[registryKind]string{
	open:     "{}",
	readOnly: "{support: ReadOnly}",
	limited:  "{limits: {maxLayerSize: " + smallLimit + "}}",
}

// registry is a running packages-operator registry --standalone.
type registry struct {
	addr string // HOST:PORT of loopback
}

// image is the name of an image there.
func (r *registry) image(name string) string { return r.addr + "/" + repository + "/" + name }

// bench is what all clients share: the registries and the contents.
type bench struct {
	dir        string
	root       string // of this repository's files
	registries map[registryKind]*registry
	contents   map[string]content
	tooLarge   part              // an image with a layer over smallLimit, which no registry has
	tools      map[string]string // directories by group of hack/tools.sh
}

// newBench builds and starts the registries, and makes the smaller contents.
func newBench(t *testing.T, dir string, bucket bool) *bench {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, root: root, registries: map[registryKind]*registry{}, contents: map[string]content{}, tools: map[string]string{}}
	binary := filepath.Join(dir, "packages-operator")
	b.build(t, "./cmd/packages-operator", binary)
	for kind := range dockerSettings {
		var s3 *s3test.Server
		if bucket {
			s3 = s3test.Start(t)
		}
		b.registries[kind] = b.startRegistry(t, binary, kind, s3)
	}
	for _, name := range but(contentNames, bigLayer) {
		b.ensure(t, name)
	}
	parts, err := single(func(l layout) (ocispec.Descriptor, error) { return imageOf(l, digest.SHA256, 1, overLimit) })(filepath.Join(dir, "too-large"))
	if err != nil {
		t.Fatal(err)
	}
	b.tooLarge = parts[0]
	return b
}

// ensure makes a content, and puts it into the open registry, unless that was done.
func (b *bench) ensure(t *testing.T, name string) {
	t.Helper()
	if _, done := b.contents[name]; done {
		return
	}
	c, err := makeContent(filepath.Join(b.dir, "contents", makers[name].path), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.parts {
		if err := (wire{b.registries[open].addr, monalisa}).push(t.Context(), seedOf(c), p); err != nil {
			t.Fatalf("push %s: %v", name, err)
		}
	}
	b.contents[name] = c
}

// seedOf is the repository that has a content from the start.
func seedOf(c content) string { return repository + "/seed/" + c.path }

// build compiles a command of this repository without C libraries.
func (b *bench) build(t *testing.T, pkg, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", output, pkg)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
}

// tool is the path of a program that hack/tools.sh builds. The build shows its
// progress.
func (b *bench) tool(t *testing.T, group, name string) string {
	t.Helper()
	if b.tools[group] == "" {
		cmd := exec.CommandContext(t.Context(), filepath.Join(b.root, "hack/tools.sh"), group)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("hack/tools.sh %s: %v", group, err)
		}
		b.tools[group] = strings.TrimSpace(string(out))
	}
	return filepath.Join(b.tools[group], name)
}

// objects are what the registry reads from its directory.
func objects(docker string) string {
	text := fmt.Sprintf(`apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata: {name: table}
spec: {hostname: packages.test, docker: %s, storage: {filesystem: {size: 1Gi}}}
---
apiVersion: packages-operator.io/v1alpha1
kind: PackagesRepository
metadata: {name: octo-app}
spec:
  instanceRef: {name: table}
  owner: octocat
  name: octo-app
  visibility: Private
  access: {users: [{name: monalisa, role: Write}, {name: hubot, role: Read}]}
`, docker)
	for _, u := range []user{octocat, monalisa, hubot} {
		text += fmt.Sprintf(`---
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata: {name: %[1]s}
spec:
  instanceRef: {name: table}
  user: %[1]s
  scopes: ["read:packages", "write:packages", "delete:packages"]
  source: {secretRef: {name: %[1]s, key: token}}
---
apiVersion: v1
kind: Secret
metadata: {name: %[1]s}
stringData: {token: %[2]s}
`, u.name, u.token)
	}
	return text
}

// startRegistry runs a registry, with its blobs in a bucket if there is a server,
// until the test ends.
func (b *bench) startRegistry(t *testing.T, binary string, kind registryKind, s3 *s3test.Server) *registry {
	t.Helper()
	dir := filepath.Join(b.dir, "registry-"+string(kind))
	policy := filepath.Join(dir, "objects")
	if err := errors.Join(
		os.MkdirAll(policy, 0o755),
		os.WriteFile(filepath.Join(policy, "objects.yaml"), []byte(objects(dockerSettings[kind])), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"registry", "--standalone", policy, "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
	environment := os.Environ()
	if s3 != nil {
		arguments = append(arguments, "--s3-bucket", s3test.Bucket, "--s3-endpoint", s3.Endpoint, "--s3-region", s3test.Region, "--s3-force-path-style")
		environment = append(environment, "AWS_ACCESS_KEY_ID="+s3.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3.SecretKey)
	}
	cmd := exec.Command(binary, arguments...)
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logged, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addresses, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		follow(logged, filepath.Join(dir, "log"), addresses)
		_ = cmd.Wait() // what it says is in the log
	}()
	atEnd(t, func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
		return nil
	})
	select {
	case addr := <-addresses:
		return &registry{addr: addr}
	case <-ended:
	case <-time.After(time.Minute):
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Fatalf("the %s registry does not serve; it says:\n%s", kind, text)
	return nil
}

// follow copies a registry's log to a file and sends the address that it names.
func follow(logged io.Reader, path string, addresses chan<- string) {
	file, err := os.Create(path)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(io.TeeReader(logged, file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Message string `json:"msg"`
			Address string `json:"address"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "Serving" {
			addresses <- line.Address
		}
	}
}

// leftovers are what has to be done when the tests are interrupted.
var leftovers struct {
	sync.Mutex
	list []func() error
}

// atEnd does something when the test ends, or when it is interrupted. Twice must
// be no error.
func atEnd(t *testing.T, do func() error) {
	t.Helper()
	leftovers.Lock()
	defer leftovers.Unlock()
	leftovers.list = append(leftovers.list, do)
	t.Cleanup(func() {
		if err := do(); err != nil {
			t.Error(err)
		}
	})
}

// tidyUp does what is to be done at the end, the last first.
func tidyUp() {
	leftovers.Lock()
	defer leftovers.Unlock()
	for _, do := range slices.Backward(leftovers.list) {
		if err := do(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// job is one cell's work.
type job struct {
	context.Context
	bench   *bench
	client  string
	content content
	// dir is empty, and is removed with all in it after the cell.
	dir string
}

// open is the registry that refuses nothing.
func (j *job) open() *registry { return j.bench.registries[open] }

// wire looks at the open registry as its owner.
func (j *job) wire() wire { return wire{j.open().addr, octocat} }

// seeded is a part's image that the registry has from the start.
func (j *job) seeded(p part) string { return j.open().addr + "/" + seedOf(j.content) + ":" + p.tag }

// own is a part's image in a place of the client's, named for what it is used for.
func (j *job) own(use string, p part) string {
	return j.open().image(j.place(use)) + ":" + p.tag
}

// place is the name, in the repository, that own has.
func (j *job) place(use string) string { return slug(j.client) + "/" + use + "/" + j.content.path }

// slug makes a client's name a component of an image's name.
func slug(name string) string {
	return strings.NewReplacer(" ", "-", ".", "-").Replace(strings.ToLower(name))
}

// planted puts a part into the client's place, for the client to change.
func (j *job) planted(use string, p part) (string, error) {
	w := wire{j.open().addr, monalisa}
	return j.own(use, p), w.mount(j, seedOf(j.content), repository+"/"+j.place(use), p)
}

// path is a path in the job's directory.
func (j *job) path(name string) string { return filepath.Join(j.dir, name) }

// homes gives every user of a client a directory, logged in to a registry.
type homes struct {
	dir   string
	login func(ctx context.Context, home string, r *registry, as user) error
	mu    sync.Mutex
	done  map[string]bool
}

func newHomes(t *testing.T, login func(context.Context, string, *registry, user) error) *homes {
	return &homes{dir: t.TempDir(), login: login, done: map[string]bool{}}
}

// of returns the directory of a user who logged in to the registry.
func (h *homes) of(ctx context.Context, r *registry, as user) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dir := filepath.Join(h.dir, slug(r.addr)+"-"+as.token[:8])
	if h.done[dir] {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := h.login(ctx, dir, r, as); err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	h.done[dir] = true
	return dir, nil
}

// command runs a program and returns what it writes to standard output. Its
// error has what it wrote to standard error.
func command(ctx context.Context, environment []string, stdin string, program string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env = append(os.Environ(), environment...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s%s", filepath.Base(program), arguments[0], err, stderr.String(), stdout.String())
	}
	return stdout.String(), nil
}

// sha256Of is a digest without its algorithm.
func sha256Of(data []byte) string { return digest.FromBytes(data).Encoded() }
