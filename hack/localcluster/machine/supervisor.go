// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// State of a component.
type State string

// The states: not started or stopped on request; running; ended by itself.
const (
	Stopped State = "stopped" // not started, or stopped on request
	Running State = "running"
	Failed  State = "failed" // ended by itself; it is not started again by itself
)

// ComponentStatus says how a component does.
type ComponentStatus struct {
	Name  string    `json:"name"`
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Exit says how the last run ended, if it has.
	Exit string `json:"exit,omitempty"`
}

// stopPatience is how long a component may take to end on request.
const stopPatience = 3 * time.Second

type supervisor struct {
	dir string

	mu    sync.Mutex
	order []string
	procs map[string]*process
}

type process struct {
	spec    Component
	status  ComponentStatus
	cmd     *exec.Cmd
	ended   chan struct{}
	stopped bool // on request
}

func newSupervisor(spec *Spec) *supervisor {
	s := &supervisor{dir: spec.Dir, procs: map[string]*process{}}
	for _, c := range spec.Components {
		s.order = append(s.order, c.Name)
		s.procs[c.Name] = &process{spec: c, status: ComponentStatus{Name: c.Name, State: Stopped, Since: time.Now()}}
	}
	return s
}

func runSupervisor(dir string) error {
	spec, err := loadSpec(dir)
	if err != nil {
		return err
	}
	listener, err := listenControl(dir)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newSupervisor(spec).handler(), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /components", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s.list()); err != nil {
			log.Printf("answer the list of components: %v", err)
		}
	})
	act := func(do func(*process) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			p := s.procs[r.PathValue("name")]
			if p == nil {
				http.Error(w, "no component "+r.PathValue("name"), http.StatusNotFound)
				return
			}
			if err := do(p); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux.HandleFunc("POST /components/{name}/start", act(s.start))
	mux.HandleFunc("POST /components/{name}/stop", act(s.stop))
	return mux
}

func (s *supervisor) list() []ComponentStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ComponentStatus, 0, len(s.order))
	for _, name := range s.order {
		list = append(list, s.procs[name].status)
	}
	return list
}

// start does nothing if the component runs already.
func (s *supervisor) start(p *process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.status.State == Running {
		return nil
	}
	out, err := os.OpenFile(logPath(s.dir, p.spec.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has its own copy
	cmd := exec.Command(p.spec.Args[0], p.spec.Args[1:]...)
	cmd.Env = append(append([]string{}, environment...), p.spec.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	p.cmd, p.ended, p.stopped = cmd, make(chan struct{}), false
	p.status.State, p.status.Since = Running, time.Now()
	log.Printf("%s started", p.spec.Name)
	go s.wait(p, cmd, p.ended)
	return nil
}

func (s *supervisor) wait(p *process, cmd *exec.Cmd, ended chan<- struct{}) {
	err := cmd.Wait()
	exit := "exit status 0"
	if err != nil {
		exit = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.status.State, p.status.Since, p.status.Exit = Failed, time.Now(), exit
	if p.stopped {
		p.status.State = Stopped
	}
	log.Printf("%s ended (%s): %s", p.spec.Name, p.status.State, exit)
	close(ended)
}

// stop asks the component to end, then makes it. It returns when it has ended.
func (s *supervisor) stop(p *process) error {
	s.mu.Lock()
	if p.status.State != Running {
		p.status.State = Stopped
		s.mu.Unlock()
		return nil
	}
	p.stopped = true
	cmd, ended := p.cmd, p.ended
	s.mu.Unlock()

	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", p.spec.Name, err)
		}
		select {
		case <-ended:
			return nil
		case <-time.After(stopPatience):
		}
	}
	return fmt.Errorf("stop %s: it does not end", p.spec.Name)
}

func logPath(dir, component string) string {
	return filepath.Join(dir, logsDir, component+".log")
}

// listenControl makes the socket. The path goes through an open directory,
// because a socket's path may have only about 100 characters.
func listenControl(dir string) (net.Listener, error) {
	path, release, err := controlPath(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}

func controlPath(dir string) (path string, release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlFile), func() { _ = d.Close() }, nil
}
