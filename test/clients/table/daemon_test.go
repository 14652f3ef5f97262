// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// daemonPatience bounds the wait until a daemon answers.
const daemonPatience = time.Minute

// daemon is a program that a client needs to run all the time. It runs as a
// machine of its own (package machine), with this machine's network, so that it
// leaves nothing behind and finds no other daemon of its kind.
type daemon struct {
	dir     string
	machine *machine.Machine
	name    string
}

// daemonSpec says what to run. Arguments and files may name dir.
type daemonSpec struct {
	name string
	// args of the program, with DIR in place of the daemon's directory.
	args []string
	// path has directories with further programs.
	path []string
	// files by path below the daemon's directory.
	files map[string]string
}

// dirMark is replaced by the daemon's directory.
const dirMark = "DIR"

// newDaemon starts a daemon, which ends with the test. answers says whether it is
// ready to work.
func newDaemon(t *testing.T, b *bench, spec daemonSpec, answers func(*daemon) error) *daemon {
	t.Helper()
	dir := filepath.Join(b.dir, spec.name)
	d := &daemon{dir: dir, machine: machine.Open(dir), name: spec.name}
	for path, text := range spec.files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(d.fill(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	executable := filepath.Join(dir, "machine")
	if err := copySelf(executable); err != nil {
		t.Fatal(err)
	}
	component := machine.Component{Name: spec.name}
	for _, argument := range spec.args {
		component.Args = append(component.Args, d.fill(argument))
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, one := range spec.path {
		search = one + ":" + search
	}
	component.Env = []string{"PATH=" + search}
	atEnd(t, func() error {
		_, err := d.machine.Stop(context.Background())
		return err
	})
	if err := d.machine.Start(t.Context(), &machine.Spec{
		Dir: dir, Hostname: spec.name, Cgroup: filepath.Base(b.dir) + "-" + spec.name, Binds: spec.path, Components: []machine.Component{component},
	}, executable); err != nil {
		t.Fatal(err)
	}
	if err := d.machine.StartComponent(t.Context(), spec.name); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(daemonPatience); ; time.Sleep(100 * time.Millisecond) {
		err := answers(d)
		if err == nil {
			return d
		}
		if ended := d.machine.CheckComponents(t.Context()); ended != nil {
			t.Fatal(ended)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer after %s: %v; its log ends:\n%s", spec.name, daemonPatience, err, d.machine.LogTail(spec.name, 20))
		}
	}
}

// path is a path in the daemon's directory, which it sees under the same name.
func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d *daemon) fill(text string) string {
	return os.Expand(text, func(name string) string {
		if name == dirMark {
			return d.dir
		}
		return "$" + name
	})
}

// copySelf copies this program, which is what package machine runs inside.
func copySelf(to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	return file.Close()
}
