// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// upPatience bounds each wait for a part of the cluster. Everything is local;
// what takes longer is stuck.
const upPatience = 90 * time.Second

// UpOptions says what a cluster is to have.
type UpOptions struct {
	// RegistryHosts are names that the node resolves to its own Traefik, and whose
	// certificates it trusts if they come from the cluster's authority. More
	// can follow with AddRegistryHosts.
	RegistryHosts []string
}

// Up brings the cluster up: afterwards its node is Ready, and Traefik answers.
// A cluster that is up is only checked. What an interrupted Up, a crash or a
// reboot left behind is removed first. If Up fails, the state stays for
// inspection but nothing runs.
func (c *Cluster) Up(ctx context.Context, options UpOptions) error {
	release, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer release()

	if c.isComplete() {
		if err := c.check(ctx); err != nil {
			c.say("cluster %s is not healthy, making it anew: %v", c.name, err)
		} else {
			c.say("cluster %s is up already", c.name)
			return c.addRegistryHosts(options.RegistryHosts)
		}
	}
	if _, err := c.removeNode(ctx); err != nil {
		return fmt.Errorf("remove what was there: %w", err)
	}
	if err := c.create(ctx, options); err != nil {
		// The caller's context may be what ended it.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), upPatience)
		defer cancel()
		if _, stopErr := c.node().Stop(cleanup); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
		return fmt.Errorf("bring up cluster %s (logs in %s): %w", c.name, c.LogDir(), err)
	}
	return nil
}

func (c *Cluster) create(ctx context.Context, options UpOptions) error {
	began := time.Now()
	step := func(format string, args ...any) {
		c.say("[%5.1fs] %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	step("cluster %s: programs (hack/apt.sh, hack/tools.sh)", c.name)
	built, executable, err := c.provideTools(ctx)
	if err != nil {
		return err
	}
	step("configuration and certificates in %s", c.dir)
	s, l, err := c.prepare(ctx, built, options.RegistryHosts)
	if err != nil {
		return err
	}
	node := c.node()
	if err := node.Start(ctx, &machine.Spec{
		Dir: c.dir, Hostname: c.name, Network: &s.Network, Cgroup: c.cgroup(),
		Binds:         []string{built.ControlPlane, built.Node, built.Traefik},
		PinnedSysctls: pinnedSysctls,
		Components:    components(l, built),
	}, executable); err != nil {
		return err
	}
	step("etcd, API server and containerd, at https://%s:%d", l.NodeIP, apiServerPort)
	if err := startAll(ctx, node, Etcd, APIServer, Containerd); err != nil {
		return err
	}
	if err := c.waitFor(ctx, "containerd", c.importPause); err != nil {
		return err
	}
	if err := c.waitForAPIServer(ctx); err != nil {
		return err
	}
	step("controller manager, scheduler, kubelet and kube-proxy")
	if err := startAll(ctx, node, ControllerManager, Scheduler, Kubelet, Proxy); err != nil {
		return err
	}
	if err := c.waitFor(ctx, "the first objects", func(ctx context.Context) error {
		return c.apply(ctx, baseObjects+volumes(l))
	}); err != nil {
		return err
	}
	step("the Gateway API")
	if err := c.installGatewayAPI(ctx); err != nil {
		return err
	}
	step("Traefik, at http://%s and https://%s", l.NodeIP, l.NodeIP)
	if err := c.startTraefik(ctx); err != nil {
		return err
	}
	if err := c.waitFor(ctx, "the node and Traefik", c.check); err != nil {
		return err
	}
	step("node %s is Ready; export KUBECONFIG=%s", c.name, c.Kubeconfig())
	return os.WriteFile(c.completeFile(), nil, 0o644)
}

// completeFile exists when Up reached its end.
func (c *Cluster) completeFile() string { return filepath.Join(c.dir, "complete") }

func (c *Cluster) isComplete() bool {
	_, err := os.Stat(c.completeFile())
	return err == nil
}

func (c *Cluster) cgroup() string { return "packages-operator-" + c.name }

// provideTools installs and builds what is missing, the machine's own first
// process too.
func (c *Cluster) provideTools(ctx context.Context) (tools, string, error) {
	if os.Geteuid() != 0 {
		return tools{}, "", errors.New("a local cluster needs root: namespaces, mounts and network links are its parts")
	}
	root, err := repositoryRoot()
	if err != nil {
		return tools{}, "", err
	}
	if _, err := c.output(ctx, root, filepath.Join(root, "hack/apt.sh"), "node"); err != nil {
		return tools{}, "", err
	}
	out, err := c.output(ctx, root, filepath.Join(root, "hack/tools.sh"), "control-plane", "node", "traefik")
	if err != nil {
		return tools{}, "", err
	}
	dirs := strings.Fields(out)
	if len(dirs) != 3 {
		return tools{}, "", fmt.Errorf("hack/tools.sh printed %q, want three directories", out)
	}
	executable, err := c.buildMachine(ctx, root, c.dir)
	return tools{ControlPlane: dirs[0], Node: dirs[1], Traefik: dirs[2]}, executable, err
}

// buildMachine builds the command that package machine runs inside, in dir, and
// without C libraries, so that it works in an empty image too.
func (c *Cluster) buildMachine(ctx context.Context, root, dir string) (string, error) {
	path := filepath.Join(dir, "cluster")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	_, err := c.output(ctx, root, "go", "build", "-ldflags=-s -w", "-o", path, "./hack/cluster")
	return path, err
}

// output runs a command of this repository, with its progress shown.
func (c *Cluster) output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.Log != nil {
		cmd.Stderr = io.MultiWriter(c.Log, &stderr)
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, lastLines(stderr.String(), 10))
	}
	return stdout.String(), nil
}

// prepare writes everything that the programs read.
func (c *Cluster) prepare(ctx context.Context, built tools, hosts []string) (*settings, layout, error) {
	root, err := Root()
	if err != nil {
		return nil, layout{}, err
	}
	// Two clusters that come up at once must not choose the same network. The
	// link appears only later, so the other's settings count too.
	release, err := lockPath(ctx, filepath.Join(root, "clusters", ".network.lock"))
	if err != nil {
		return nil, layout{}, err
	}
	defer release()
	used, err := usedNetworks()
	if err != nil {
		return nil, layout{}, err
	}
	others, err := List()
	if err != nil {
		return nil, layout{}, err
	}
	for _, other := range others {
		if s, err := other.load(); err == nil && other.name != c.name {
			used = append(used, s.Network.Host.Masked())
		}
	}
	network, err := chooseNetwork(c.name, used)
	if err != nil {
		return nil, layout{}, err
	}
	s := &settings{Network: *network, Tools: built}
	if err := c.save(s); err != nil {
		return nil, layout{}, err
	}

	l := layout{
		Name: c.name, Dir: c.dir, NodeIP: network.Node.Addr().String(), Cgroup: "/" + c.cgroup(),
		CNIBin: cniDirectory(), Snapshotter: snapshotterFor(c.dir),
	}
	if err := writePKI(filepath.Join(c.dir, "pki"), c.name, l.NodeIP); err != nil {
		return nil, layout{}, err
	}
	if err := writeConfig(l); err != nil {
		return nil, layout{}, err
	}
	for i := range volumeCount {
		if err := os.MkdirAll(filepath.Join(c.dir, "volumes", volumeName(i)), 0o755); err != nil {
			return nil, layout{}, err
		}
	}
	return s, l, c.addRegistryHosts(hosts)
}

func cniDirectory() string {
	const debian, upstream = "/usr/lib/cni", "/opt/cni/bin"
	if _, err := os.Stat(filepath.Join(upstream, "ptp")); err == nil {
		return upstream
	}
	return debian
}

// snapshotterFor avoids overlayfs on overlayfs, which the kernel refuses: the
// case when this machine is a container itself.
func snapshotterFor(dir string) string {
	const overlayMagic = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == overlayMagic {
		return "native"
	}
	return "overlayfs"
}

// importPause gives the node the image that holds a pod's namespaces. It also
// tells whether containerd answers.
func (c *Cluster) importPause(ctx context.Context) error {
	archive := filepath.Join(c.dir, "pause.tar")
	if _, err := os.Stat(archive); errors.Is(err, fs.ErrNotExist) {
		executable, err := os.ReadFile(filepath.Join(c.dir, "cluster"))
		if err != nil {
			return err
		}
		err = WriteImageArchive(archive, pauseImage, ImageConfig{User: "65535:65535", Entrypoint: []string{"/pause", machine.PauseCommand}},
			[]ImageFile{{Path: "pause", Data: executable, Mode: 0o755}})
		if err != nil {
			return err
		}
	}
	return c.LoadImage(ctx, archive)
}

// installGatewayAPI applies the definitions that are in the module whose version this
// repository pins.
func (c *Cluster) installGatewayAPI(ctx context.Context) error {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	out, err := c.output(ctx, root, "go", "mod", "download", "-json", gatewayModule)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return fmt.Errorf("go mod download %s: %w", gatewayModule, err)
	}
	var definitions strings.Builder
	for _, kind := range gatewayKinds {
		text, err := os.ReadFile(filepath.Join(module.Dir, "config/crd/standard/gateway.networking.k8s.io_"+kind+".yaml"))
		if err != nil {
			return err
		}
		definitions.WriteString("---\n")
		definitions.Write(text)
	}
	if err := c.apply(ctx, definitions.String()); err != nil {
		return err
	}
	return c.waitFor(ctx, "the Gateway API", func(ctx context.Context) error { return c.apply(ctx, gatewayObjects) })
}

func (c *Cluster) startTraefik(ctx context.Context) error {
	cmd, err := c.Kubectl(ctx, "create", "token", Traefik, "--namespace", systemNamespace, "--duration", "8760h")
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	token, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("make Traefik's token: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	if err := os.WriteFile(filepath.Join(c.dir, traefikTokenFile), bytes.TrimSpace(token), 0o600); err != nil {
		return err
	}
	return c.node().StartComponent(ctx, Traefik)
}

func (c *Cluster) apply(ctx context.Context, objects string) error {
	cmd, err := c.Kubectl(ctx, "apply", "--server-side", "--filename", "-")
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(objects)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply: %w: %s", err, lastLines(string(out), 5))
	}
	return nil
}

// check says why the cluster is not ready to run a pod behind an Ingress.
func (c *Cluster) check(ctx context.Context) error {
	if err := c.node().CheckComponents(ctx); err != nil {
		return err
	}
	components, err := c.Components(ctx)
	if err != nil {
		return err
	}
	for _, component := range components {
		if component.State != machine.Running {
			return fmt.Errorf("%s does not run", component.Name)
		}
	}
	cmd, err := c.Kubectl(ctx, "get", "node/"+c.name, "serviceaccount/default", "--request-timeout=5s",
		"--output", `jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status} {.items[0].spec.taints[*].key}`)
	if err != nil {
		return err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask the API server: %w: %s", err, lastLines(string(out), 3))
	}
	if got := strings.TrimSpace(string(out)); got != "True" {
		return fmt.Errorf("node %s is not Ready (Ready condition and taints: %q)", c.name, got)
	}
	return c.checkTraefik(ctx)
}

func (c *Cluster) checkTraefik(ctx context.Context) error {
	ip, err := c.NodeIP()
	if err != nil {
		return err
	}
	return probe(ctx, "https://"+ip.String()+"/", http.StatusNotFound)
}

func (c *Cluster) waitForAPIServer(ctx context.Context) error {
	ip, err := c.NodeIP()
	if err != nil {
		return err
	}
	return c.waitFor(ctx, "the API server", func(ctx context.Context) error {
		return probe(ctx, fmt.Sprintf("https://%s:%d/readyz", ip, apiServerPort), http.StatusOK)
	})
}

// probe asks only whether a server answers; who it is, nobody else can be at
// an address of the cluster's own link.
func probe(ctx context.Context, url string, want int) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// waitFor repeats attempt until it succeeds, a component ends or time is up.
func (c *Cluster) waitFor(ctx context.Context, what string, attempt func(context.Context) error) error {
	deadline := time.Now().Add(upPatience)
	for {
		err := attempt(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%s not ready after %s: %w", what, upPatience, err)
		}
		if err := c.node().CheckComponents(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func startAll(ctx context.Context, m *machine.Machine, names ...string) error {
	for _, name := range names {
		if err := m.StartComponent(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// repositoryRoot finds the directory of the operator's go.mod, upwards from
// the working directory.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack/tools.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside a clone of packages-operator")
		}
		dir = parent
	}
}

func lastLines(text string, n int) string {
	lines := slices.Collect(strings.Lines(strings.TrimSpace(text)))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
