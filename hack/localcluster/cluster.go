// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package localcluster runs a whole Kubernetes node on this machine, from
// binaries that are built from Go modules: etcd, the control plane, a kubelet
// with containerd, kube-proxy and Traefik as ingress controller. Each cluster
// has a name and lives in a machine (package machine) with a network of its
// own, so that several can run side by side; taking one down leaves nothing.
//
// It also starts a Docker daemon beside a cluster where the machine has none.
//
// The process must be root on Linux; hack/apt.sh and hack/tools.sh provide
// what is missing. Methods that change a cluster exclude each other across
// processes.
package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// Names of the components that can be stopped and started.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Containerd        = "containerd"
	Kubelet           = "kubelet"
	Proxy             = "kube-proxy"
	Traefik           = "traefik"
)

// Cluster is a local cluster, up or not.
type Cluster struct {
	name string
	dir  string
	// Log is where progress is written, a line for each step; nil is nowhere.
	Log io.Writer
}

// The name ends up in an interface's name, which has 15 characters.
var nameGrammar = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$`)

// Open returns the cluster called name. Its state lives below [Root].
func Open(name string) (*Cluster, error) {
	if !nameGrammar.MatchString(name) {
		return nil, fmt.Errorf("cluster name %q: use 1 to 12 lower-case letters, digits and '-', starting with a letter", name)
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return &Cluster{name: name, dir: filepath.Join(root, "clusters", name)}, nil
}

// List returns the clusters that have state on this machine.
func List() ([]*Cluster, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(root, "clusters"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []*Cluster
	for _, e := range entries {
		if e.IsDir() && nameGrammar.MatchString(e.Name()) {
			list = append(list, &Cluster{name: e.Name(), dir: filepath.Join(root, "clusters", e.Name())})
		}
	}
	return list, nil
}

// Root is the directory for built tools and clusters:
// $PACKAGES_OPERATOR_CACHE, or packages-operator in the user's cache directory.
func Root() (string, error) {
	if dir := os.Getenv("PACKAGES_OPERATOR_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "packages-operator"), nil
}

// Name is the cluster's name, and its node's.
func (c *Cluster) Name() string { return c.name }

// Dir is the directory that holds the cluster's state.
func (c *Cluster) Dir() string { return c.dir }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// AuditLog is the path of the API server's audit log: a JSON object a line,
// every request that is answered, without bodies.
func (c *Cluster) AuditLog() string { return filepath.Join(c.dir, "audit.log") }

// LogDir is the directory with a log file for each component.
func (c *Cluster) LogDir() string { return filepath.Join(c.dir, "logs") }

// CACert is the path of the certificate of the cluster's own authority.
func (c *Cluster) CACert() string { return filepath.Join(c.dir, "pki", "ca.crt") }

// NodeIP is the address, reachable from this machine, at which the API server
// (port 6443) and Traefik (80 and 443) answer.
func (c *Cluster) NodeIP() (netip.Addr, error) {
	settings, err := c.load()
	if err != nil {
		return netip.Addr{}, err
	}
	return settings.Network.Node.Addr(), nil
}

// Kubectl returns a kubectl command for this cluster.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (*exec.Cmd, error) {
	settings, err := c.load()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, settings.Tools.kubectl(), args...)
	cmd.Env = append(WithoutProxies(os.Environ()), "KUBECONFIG="+c.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(c.dir, "kubectl"))
	return cmd, nil
}

// KubectlPath is the path of a kubectl that fits the cluster's version.
func (c *Cluster) KubectlPath() (string, error) {
	settings, err := c.load()
	if err != nil {
		return "", err
	}
	return settings.Tools.kubectl(), nil
}

// LoadImage imports a docker or OCI archive into the node, where pods can use
// it without pulling.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	cmd, err := c.node().Command(ctx, "ctr", "--namespace", "k8s.io", "images", "import", "-")
	if err != nil {
		return err
	}
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, out)
	}
	return nil
}

// StopComponent stops one of the cluster's programs and returns when it has
// ended. The others go on.
func (c *Cluster) StopComponent(ctx context.Context, name string) error {
	return c.node().StopComponent(ctx, name)
}

// StartComponent starts a program that was stopped. The API server is ready
// when it returns, other programs may still be on their way.
func (c *Cluster) StartComponent(ctx context.Context, name string) error {
	if err := c.node().StartComponent(ctx, name); err != nil {
		return err
	}
	if name != APIServer {
		return nil
	}
	return c.waitForAPIServer(ctx)
}

// Components says how each of the cluster's programs does.
func (c *Cluster) Components(ctx context.Context) ([]machine.ComponentStatus, error) {
	return c.node().Components(ctx)
}

func (c *Cluster) node() *machine.Machine { return machine.Open(c.dir) }

func (c *Cluster) say(format string, args ...any) {
	if c.Log != nil {
		_, _ = fmt.Fprintf(c.Log, format+"\n", args...)
	}
}

// lock keeps other processes from changing the cluster until release is called.
func (c *Cluster) lock(ctx context.Context) (release func(), err error) {
	return lockPath(ctx, filepath.Join(filepath.Dir(c.dir), "."+c.name+".lock"))
}

func lockPath(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another command that works on this cluster: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// WithoutProxies removes the settings of HTTP proxies from an environment: no
// address of a local cluster is behind one.
func WithoutProxies(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		return proxySetting.MatchString(entry)
	})
}

var proxySetting = regexp.MustCompile(`(?i)^(https?|all|no)_proxy=`)
