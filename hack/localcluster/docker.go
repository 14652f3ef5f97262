// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

const (
	dockerd = "dockerd"
	// A unix socket's address has 107 characters and a zero.
	longestSocket = 107
)

// Docker is a Docker daemon to push and pull with: the one that runs on this
// machine already, or else one of its own in a machine (package machine) that
// shares this machine's network. The latter has its own /etc, so that names
// and certificates for it appear nowhere else, and it touches no packet
// filter; containers get no network from it.
type Docker struct {
	cluster *Cluster
}

// DockerOptions say which registries the daemon is to know.
type DockerOptions struct {
	// Hosts are the registries' names, all at Address.
	Hosts   []string
	Address netip.Addr
	// CA is the PEM certificate of the authority that signs for them.
	CA []byte
}

// dockerSettings is kept in docker.json.
type dockerSettings struct {
	// External says that the daemon is somebody else's.
	External bool     `json:"external"`
	Hosts    []string `json:"hosts"`
}

// Docker returns the daemon that goes with the cluster. The cluster itself
// need not be up.
func (c *Cluster) Docker() *Docker { return &Docker{cluster: c} }

// DockerOptions is what a daemon needs for registries behind the cluster's own Traefik.
func (c *Cluster) DockerOptions(hosts ...string) (DockerOptions, error) {
	ip, err := c.NodeIP()
	if err != nil {
		return DockerOptions{}, err
	}
	ca, err := os.ReadFile(c.CACert())
	return DockerOptions{Hosts: hosts, Address: ip, CA: ca}, err
}

// Up makes sure that a daemon answers and that it knows the registries. It may
// be called again with further ones.
func (d *Docker) Up(ctx context.Context, options DockerOptions) error {
	release, err := d.cluster.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, host := range options.Hosts {
		if !hostGrammar.MatchString(host) {
			return fmt.Errorf("registry host %q is not a host name in lower case", host)
		}
	}
	s, err := d.load()
	if err != nil {
		return err
	}
	if s == nil || !d.answers(ctx, s.External) {
		if _, err := d.down(ctx); err != nil {
			return err
		}
		if s, err = d.start(ctx); err != nil {
			return err
		}
	}
	for _, host := range options.Hosts {
		if !slices.Contains(s.Hosts, host) {
			s.Hosts = append(s.Hosts, host)
		}
	}
	// Written down before it is done, so that Down knows.
	if err := d.save(s); err != nil {
		return err
	}
	return d.teach(s, options)
}

// Down ends the daemon, if it is ours, and removes what it left and what
// another one was taught.
func (d *Docker) Down(ctx context.Context) (removed []string, err error) {
	release, err := d.cluster.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return d.down(ctx)
}

// Env is the environment with which docker commands reach the daemon. Logins
// are kept in a directory of the cluster's.
func (d *Docker) Env() ([]string, error) {
	s, err := d.load()
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errors.New("the Docker daemon is not up")
	}
	env := []string{"DOCKER_CONFIG=" + d.configDir()}
	if !s.External {
		env = append(env, "DOCKER_HOST="+d.Host())
	}
	return env, nil
}

// Components says how our own daemon does; it is an error if there is none.
func (d *Docker) Components(ctx context.Context) ([]machine.ComponentStatus, error) {
	return d.machine().Components(ctx)
}

// Host is the address of our own daemon.
func (d *Docker) Host() string { return "unix://" + d.socket() }

// Command returns a docker command for the daemon.
func (d *Docker) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	env, err := d.Env()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(WithoutProxies(os.Environ()), env...)
	return cmd, nil
}

// The daemon's state lies beside the cluster's, because it may come up first
// and outlive the node.
func (d *Docker) dir() string       { return d.cluster.dir + ".docker" }
func (d *Docker) socket() string    { return filepath.Join(d.dir(), "docker.sock") }
func (d *Docker) configDir() string { return filepath.Join(d.dir(), "config") }

func (d *Docker) machine() *machine.Machine { return machine.Open(d.dir()) }

func (d *Docker) start(ctx context.Context) (*dockerSettings, error) {
	if err := os.MkdirAll(d.configDir(), 0o700); err != nil {
		return nil, err
	}
	if d.answers(ctx, true) {
		d.cluster.say("docker: using the daemon that runs on this machine")
		return &dockerSettings{External: true}, nil
	}
	if len(d.socket()) > longestSocket {
		return nil, fmt.Errorf("the path of the Docker socket is longer than %d characters (%s): set PACKAGES_OPERATOR_CACHE to a shorter directory", longestSocket, d.socket())
	}
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	if _, err := d.cluster.output(ctx, root, filepath.Join(root, "hack/apt.sh"), "docker"); err != nil {
		return nil, err
	}
	executable, err := d.cluster.buildMachine(ctx, root, d.dir())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s := &dockerSettings{}
	if err := d.save(s); err != nil {
		return nil, err
	}
	name := "packages-operator-" + d.cluster.name + "-docker"
	m := d.machine()
	if err := m.Start(ctx, &machine.Spec{
		Dir: d.dir(), Hostname: d.cluster.name + "-docker", Cgroup: name,
		Components: []machine.Component{{Name: dockerd, Args: []string{
			dockerd,
			"--data-root=" + filepath.Join(d.dir(), "data"), "--exec-root=/run/docker", "--pidfile=/run/docker.pid",
			"--host=" + d.Host(), "--group=root",
			"--cgroup-parent=/" + name, "--exec-opt=native.cgroupdriver=cgroupfs",
			"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
		}}},
	}, executable); err != nil {
		return nil, err
	}
	if err := m.StartComponent(ctx, dockerd); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(upPatience); !d.answers(ctx, false); {
		if err := m.CheckComponents(ctx); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("dockerd does not answer after %s; its log ends:\n%s", upPatience, m.LogTail(dockerd, 15))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	d.cluster.say("docker: a daemon of its own, up in %.1fs; export DOCKER_HOST=%s", time.Since(began).Seconds(), d.Host())
	return s, nil
}

// answers says whether the daemon that runs on this machine answers, or ours.
// Both are asked as they will be used, with our own configuration directory.
func (d *Docker) answers(ctx context.Context, external bool) bool {
	env := append(WithoutProxies(os.Environ()), "DOCKER_CONFIG="+d.configDir())
	if !external {
		if running, err := d.machine().Running(); err != nil || !running {
			return false
		}
		env = append(env, "DOCKER_HOST="+d.Host())
	}
	cmd := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}")
	cmd.Env = env
	return cmd.Run() == nil
}

// teach gives the daemon the names and certificates: in its own /etc, or, for
// a daemon that runs on this machine, in the machine's.
func (d *Docker) teach(s *dockerSettings, options DockerOptions) error {
	etc := "/etc"
	if !s.External {
		etc = filepath.Join(d.dir(), "etc")
	}
	for _, host := range s.Hosts {
		if !slices.Contains(options.Hosts, host) {
			continue // taught before
		}
		if err := writeFile(filepath.Join(etc, certsDir, host, d.caName()), string(options.CA), 0o644); err != nil {
			return err
		}
	}
	return updateHosts(filepath.Join(etc, "hosts"), d.cluster.name, options.Address, s.Hosts)
}

const certsDir = "docker/certs.d"

// caName is a file of the cluster's own: a directory of certs.d may have several.
func (d *Docker) caName() string { return "packages-operator-" + d.cluster.name + ".crt" }

func (d *Docker) down(ctx context.Context) ([]string, error) {
	s, err := d.load()
	if err != nil {
		return nil, err
	}
	removed, err := d.machine().Stop(ctx)
	if err != nil {
		return removed, err
	}
	if s != nil && s.External {
		more, err := d.unteach(s)
		removed = append(removed, more...)
		if err != nil {
			return removed, err
		}
	}
	if _, err := os.Stat(d.dir()); errors.Is(err, fs.ErrNotExist) {
		return removed, nil
	}
	return append(removed, d.dir()), os.RemoveAll(d.dir())
}

func (d *Docker) unteach(s *dockerSettings) (removed []string, err error) {
	for _, host := range s.Hosts {
		dir := filepath.Join("/etc", certsDir, host)
		ca := filepath.Join(dir, d.caName())
		if err := os.Remove(ca); err == nil {
			removed = append(removed, ca)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		// Only what is empty goes, up to where Docker's own settings begin.
		_ = os.Remove(dir)
	}
	_ = os.Remove(filepath.Join("/etc", certsDir))
	if err := updateHosts("/etc/hosts", d.cluster.name, netip.Addr{}, nil); err != nil {
		return removed, err
	}
	if len(s.Hosts) > 0 {
		removed = append(removed, "/etc/hosts: "+strings.Join(s.Hosts, " "))
	}
	return removed, nil
}

// updateHosts edits in place: where /etc/hosts is a mount, it cannot be replaced.
func updateHosts(path, cluster string, addr netip.Addr, hosts []string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if edited := editHosts(string(old), cluster, addr, hosts); edited != string(old) {
		return os.WriteFile(path, []byte(edited), 0o644)
	}
	return nil
}

func (d *Docker) settingsFile() string { return filepath.Join(d.dir(), "docker.json") }

// load returns nil without an error if there is no daemon.
func (d *Docker) load() (*dockerSettings, error) {
	data, err := os.ReadFile(d.settingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &dockerSettings{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", d.settingsFile(), err)
	}
	return s, nil
}

func (d *Docker) save(s *dockerSettings) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir(), 0o755); err != nil {
		return err
	}
	return replaceFile(d.settingsFile(), append(data, '\n'), 0o644)
}
