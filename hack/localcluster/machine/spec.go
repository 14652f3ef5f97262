// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package machine runs a set of programs as one machine of their own inside
// this one: own processes, mounts, root directory, host name and, if asked for,
// own network. Nothing such a program does to its mounts, interfaces, packet
// filter or /run, /var and /etc reaches the host, and killing the machine's
// first process makes the kernel take all of it back at once.
//
// It needs root, Linux, iproute2 and the host's /usr (the programs run from
// there). The command that uses it must call [Main] first thing in its own
// main, because the machine's first process is that same executable.
package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// Spec says what a machine is made of. It is stored in Dir as machine.json.
type Spec struct {
	// Dir is the machine's state directory on the host, visible inside under
	// the same path. Dir/etc is the machine's /etc (Start adds what is missing),
	// Dir/logs has a file for each component.
	Dir string `json:"dir"`
	// Hostname is the host name inside.
	Hostname string `json:"hostname"`
	// Binds are further host paths that are visible inside under the same path.
	Binds []string `json:"binds,omitempty"`
	// Network gives the machine a network of its own; nil shares the host's.
	Network *Network `json:"network,omitempty"`
	// Cgroup names a top-level control group that the components may fill. It
	// is made by Start and removed, with everything below it, by Stop.
	Cgroup string `json:"cgroup"`
	// PinnedSysctls are kernel settings (paths below /proc/sys) that belong to
	// the whole host. Components read the value given here and may write to it,
	// but the host's own setting stays as it is.
	PinnedSysctls map[string]string `json:"pinnedSysctls,omitempty"`
	// Components are the programs, started one by one with [Machine.StartComponent].
	Components []Component `json:"components"`
}

// Network is a point-to-point link between the host and the machine.
type Network struct {
	// Link is the name of the host's end, at most 15 characters.
	Link string `json:"link"`
	// Host and Node are the two addresses, with the length of their common prefix.
	Host netip.Prefix `json:"host"`
	Node netip.Prefix `json:"node"`
}

// Component is one program of a machine.
type Component struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
}

var componentName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Validate reports the first thing in the spec that cannot work.
func (s *Spec) Validate() error {
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("machine directory %q is not absolute", s.Dir)
	}
	for _, b := range s.Binds {
		if !filepath.IsAbs(b) {
			return fmt.Errorf("bind %q is not absolute", b)
		}
	}
	if s.Cgroup == "" || s.Cgroup != filepath.Base(s.Cgroup) || s.Cgroup == "." || s.Cgroup == ".." {
		return fmt.Errorf("cgroup %q is not a plain name", s.Cgroup)
	}
	if n := s.Network; n != nil {
		if n.Link == "" || len(n.Link) > 15 {
			return fmt.Errorf("link name %q must have 1 to 15 characters", n.Link)
		}
		if n.Host.Masked() != n.Node.Masked() || n.Host.Addr() == n.Node.Addr() {
			return fmt.Errorf("addresses %s and %s are not two ends of one link", n.Host, n.Node)
		}
	}
	seen := map[string]bool{}
	for _, c := range s.Components {
		switch {
		case !componentName.MatchString(c.Name):
			return fmt.Errorf("component name %q is not a plain lower-case name", c.Name)
		case seen[c.Name]:
			return fmt.Errorf("component %s is given twice", c.Name)
		case len(c.Args) == 0:
			return fmt.Errorf("component %s has no command", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// Files of a machine, below its directory.
const (
	specFile    = "machine.json"
	lockFile    = "machine.lock"
	pidFile     = "machine.pid"
	controlFile = "control.sock"
	etcDir      = "etc"
	logsDir     = "logs"
	rootDir     = "root"
	sysctlDir   = "sysctl"
)

func (s *Spec) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, specFile), append(data, '\n'), 0o600)
}

// loadSpec returns nil without an error if dir holds no machine.
func loadSpec(dir string) (*Spec, error) {
	data, err := os.ReadFile(filepath.Join(dir, specFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &Spec{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, specFile), err)
	}
	return s, nil
}
