// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package files is the source of policies of a registry that runs alone: it reads
// the same objects that a cluster would hold from the YAML files of a directory,
// refuses what the cluster would refuse, and follows changes. It writes nothing there.
package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/packages-operator/packages-operator/registry/policy"
)

const (
	// settle is how long a directory must be quiet before it is read, and
	// maxSettle how long reading is put off at most: editors and Kubernetes make
	// one change in several steps.
	settle    = 50 * time.Millisecond
	maxSettle = 500 * time.Millisecond

	// pollInterval is how often the files are looked at without a notification,
	// which does not come for the targets of links, for a directory that was
	// replaced, or from some network file systems.
	pollInterval = 2 * time.Second
)

// Options of a Source.
type Options struct {
	// Dir holds the files.
	Dir string
	// URL is the registry as clients reach it; empty means HTTPS at its host.
	URL string
	// Keep is the path of a file that keeps the last policy, from one start to the
	// next; its directory is made. Empty for none. Version is that of the program:
	// what another has kept counts for nothing.
	Keep, Version string
	// Live is where policies are published.
	Live *policy.Live
	// Now is the clock.
	Now func() time.Time
	// Report is told of every change after the start, from the goroutine of Run:
	// nil when a new policy came into force, else why the last one stays.
	Report func(error)
}

// Source keeps a Live in step with a directory.
type Source struct {
	options   Options
	publisher *policy.Publisher
	// watcher is nil where the system has no notifications left.
	watcher *fsnotify.Watcher
	// unkept is what was checked last, nil where the file of Keep has it.
	unkept *checked
	seen   string
}

// Open reads the directory and publishes its policy. It fails if the policy is not
// faultless: the error joins an *Error for each fault. Run must follow; it ends
// what Open began.
func Open(options Options) (*Source, error) {
	s := &Source{options: options, publisher: policy.NewPublisher(options.Live, options.Now)}
	// Watching comes before reading, so that no change is missed.
	s.watch()
	s.seen = fingerprint(options.Dir)
	snapshot, err := s.load()
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.publisher.Publish(snapshot)
	s.keep()
	return s, nil
}

// Status says which policy is in force, and what is wrong with a newer one. It is
// safe for concurrent use.
func (s *Source) Status() policy.Status { return s.publisher.Status() }

// Run follows changes until ctx ends. A faulty directory changes nothing: the last
// good policy stays in force.
func (s *Source) Run(ctx context.Context) error {
	// To check files leaves more garbage than a registry has memory in use. Nobody
	// waits for it to be collected here.
	debug.FreeOSMemory()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			s.keep()
			return s.close()
		case <-s.events():
			s.quiet(ctx)
		case <-s.overflows(): //nolint:errcheck // that something was lost is all it says
		case <-poll.C:
			if s.seen == fingerprint(s.options.Dir) {
				s.publisher.Confirm()
				continue
			}
			s.watch()
		}
		s.read()
	}
}

// read publishes what the directory says now, or keeps what was.
func (s *Source) read() {
	s.seen = fingerprint(s.options.Dir)
	snapshot, err := s.load()
	var news bool
	if err == nil {
		news = s.publisher.Publish(snapshot)
	} else {
		news = s.publisher.Fail(err)
	}
	if news {
		s.options.Report(err)
	}
}

// quiet waits until nothing happens any more.
func (s *Source) quiet(ctx context.Context) {
	deadline := time.After(maxSettle)
	for {
		select {
		case <-s.events():
		case <-s.overflows(): //nolint:errcheck // that something was lost is all it says
		case <-time.After(settle):
			return
		case <-deadline:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watch asks for notifications about the directory, anew if it was replaced.
func (s *Source) watch() {
	if s.watcher == nil {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return // polling does it, more slowly
		}
		s.watcher = watcher
	}
	if err := s.watcher.Add(s.options.Dir); err != nil {
		return // the directory is away; polling sees it come back
	}
}

// events is a channel that never speaks if there are no notifications.
func (s *Source) events() <-chan fsnotify.Event {
	if s.watcher == nil {
		return nil
	}
	return s.watcher.Events
}

// overflows speaks when notifications were lost.
func (s *Source) overflows() <-chan error {
	if s.watcher == nil {
		return nil
	}
	return s.watcher.Errors
}

func (s *Source) close() error {
	if s.watcher == nil {
		return nil
	}
	return s.watcher.Close()
}

// fingerprint changes when a file to read does: by name, size, time of change, or
// the file behind a link. What cannot be read is part of it.
func fingerprint(dir string) string {
	names, err := yamlFiles(dir)
	if err != nil {
		return "error: " + err.Error()
	}
	var text strings.Builder
	for _, name := range names {
		target, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			fmt.Fprintf(&text, "%q error: %v\n", name, err)
			continue
		}
		info, err := os.Stat(target)
		if err != nil {
			fmt.Fprintf(&text, "%q error: %v\n", name, err)
			continue
		}
		fmt.Fprintf(&text, "%q %q %d %d\n", name, target, info.Size(), info.ModTime().UnixNano())
	}
	return text.String()
}
