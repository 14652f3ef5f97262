// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// ErrDown is returned by what needs a cluster that was brought up.
var ErrDown = errors.New("the cluster is not up")

// settings is what a cluster was made with, kept in Dir/cluster.json.
type settings struct {
	Network machine.Network `json:"network"`
	Tools   tools           `json:"tools"`
	// RegistryHosts resolve to Traefik on the node.
	RegistryHosts []string `json:"registryHosts,omitempty"`
}

// tools are the directories that hack/tools.sh printed.
type tools struct {
	ControlPlane string `json:"controlPlane"`
	Node         string `json:"node"`
	Traefik      string `json:"traefik"`
}

func (t tools) kubectl() string { return filepath.Join(t.ControlPlane, "kubectl") }

// path of a component's executable.
func (t tools) path(component string) string {
	switch component {
	case Etcd, APIServer:
		return filepath.Join(t.ControlPlane, component)
	case Traefik:
		return filepath.Join(t.Traefik, component)
	default:
		return filepath.Join(t.Node, component)
	}
}

func (c *Cluster) settingsFile() string { return filepath.Join(c.dir, "cluster.json") }

func (c *Cluster) load() (*settings, error) {
	data, err := os.ReadFile(c.settingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %s: %w", c.name, ErrDown)
	}
	if err != nil {
		return nil, err
	}
	s := &settings{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", c.settingsFile(), err)
	}
	return s, nil
}

func (c *Cluster) save(s *settings) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(c.settingsFile(), append(data, '\n'), 0o600)
}

// replaceFile writes a file so that a reader sees the old or the new content.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, data, mode); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
