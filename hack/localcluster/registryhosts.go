// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// A registry's host, with or without a port.
var hostGrammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// AddRegistryHosts lets the node pull from further hosts that its own Traefik
// serves, as [UpOptions] does. The next pull knows them.
func (c *Cluster) AddRegistryHosts(ctx context.Context, hosts ...string) error {
	release, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.addRegistryHosts(hosts)
}

func (c *Cluster) addRegistryHosts(hosts []string) error {
	for _, host := range hosts {
		if !hostGrammar.MatchString(host) {
			return fmt.Errorf("registry host %q is not a host name in lower case", host)
		}
	}
	s, err := c.load()
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if !slices.Contains(s.RegistryHosts, host) {
			s.RegistryHosts = append(s.RegistryHosts, host)
		}
	}
	if err := c.writeRegistryHosts(s); err != nil {
		return err
	}
	return c.save(s)
}

func (c *Cluster) writeRegistryHosts(s *settings) error {
	base := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s\n", s.Network.Node.Addr(), c.name)
	hosts := editHosts(base, c.name, s.Network.Node.Addr(), s.RegistryHosts)
	if err := os.MkdirAll(filepath.Join(c.dir, "etc"), 0o755); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(c.dir, "etc/hosts"), []byte(hosts), 0o644); err != nil {
		return err
	}
	for _, host := range s.RegistryHosts {
		config := fmt.Sprintf("server = %q\n[host.%[1]q]\ncapabilities = [\"pull\", \"resolve\"]\nca = %[2]q\n", "https://"+host, c.CACert())
		if err := writeFile(filepath.Join(c.dir, "etc/containerd/certs.d", host, "hosts.toml"), config, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// EnsureAuthority makes the cluster's authority if there is none, for the case
// that certificates are wanted for a cluster that is somebody else's. Up
// makes a new one.
func (c *Cluster) EnsureAuthority() error {
	if _, err := os.Stat(c.CACert()); err == nil {
		return nil
	}
	_, err := writeAuthority(filepath.Dir(c.CACert()), c.name)
	return err
}

// IssueCertificate signs a server certificate for hosts (DNS names, wildcards
// or addresses) with the cluster's authority. Both results are PEM.
func (c *Cluster) IssueCertificate(hosts ...string) (cert, key []byte, err error) {
	if len(hosts) == 0 {
		return nil, nil, errors.New("a certificate needs a host")
	}
	ca, err := loadAuthority(c.CACert(), filepath.Join(c.dir, "pki", "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	return ca.issue(pkix.Name{CommonName: hosts[0]}, hosts...)
}
