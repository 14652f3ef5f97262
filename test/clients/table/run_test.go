// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build clients

package table

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

var (
	write  = flag.String("write", "", "write the table to this file if every cell is as it should be")
	bucket = flag.Bool("bucket", false, "keep the registries' blobs in S3 storage")
	only   = flag.String("only", "", "fill in only the cells CLIENT/VERB/CONTENT that match this expression")
)

// cellTimeout is for the largest content with the slowest client.
const cellTimeout = 15 * time.Minute

func TestMain(m *testing.M) {
	machine.Main()
	// A daemon in a machine outlives this process, unless it is stopped.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		tidyUp()
		os.Exit(1)
	}()
	os.Exit(m.Run())
}

func TestTheTable(t *testing.T) {
	chosen, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	if *only != "" && *write != "" {
		t.Fatal("-write takes the whole table; leave -only out")
	}
	b := newBench(t, shortDir(t), *bucket)
	list := clients()
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) { (&run{bench: b, client: c, chosen: chosen}).all(t) })
	}
	if t.Failed() {
		t.Fatal("not every cell is as docs/clients.md says; see above")
	}
	if *only != "" {
		return
	}
	document := render(list)
	fmt.Println(document)
	if *write != "" {
		if err := os.WriteFile(*write, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// shortDir is a directory that is removed with the test. Unlike t.TempDir's, its
// path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clients-")
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, func() error { return os.RemoveAll(dir) })
	return dir
}

// run fills in one client's part of the table.
type run struct {
	bench   *bench
	client  client
	chosen  *regexp.Regexp
	started bool
}

func (r *run) all(t *testing.T) {
	for _, v := range r.client.verbs {
		contents := v.on
		switch {
		case v.on == nil:
			contents = contentNames
		case len(v.on) == 0:
			contents = []string{""} // about repositories
		}
		for _, name := range contents {
			r.cell(t, v.name, name, func(j *job) error { return judge(v.exceptionFor(name), v.run(j)) })
		}
	}
	if r.client.refusals == nil {
		return
	}
	for _, path := range unhappy {
		r.cell(t, "refused", path.name, func(j *job) error { return r.refused(j, path) })
	}
}

// cell runs one cell, if it is chosen, and shows how it went.
func (r *run) cell(t *testing.T, verb, content string, do func(*job) error) {
	name := strings.TrimSuffix(r.client.name+"/"+verb+"/"+content, "/")
	if !r.chosen.MatchString(name) {
		return
	}
	if !r.started {
		r.started = true
		r.client.start(t, r.bench)
	}
	if slices.Contains(contentNames, content) {
		r.bench.ensure(t, content)
	}
	t.Run(strings.TrimPrefix(name, r.client.name+"/"), func(t *testing.T) {
		dir, err := os.MkdirTemp(r.bench.dir, "job-")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), cellTimeout)
		defer cancel()
		began, result := time.Now(), "ok"
		err = do(&job{Context: ctx, bench: r.bench, client: r.client.name, content: r.bench.contents[content], dir: dir})
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Fail()
			result = "FAILED: " + shorten(err.Error())
		}
		fmt.Printf("%6.1fs  %s  %s\n", time.Since(began).Seconds(), name, result)
	})
}

// shorten keeps the begin and the end of a long text.
func shorten(text string) string {
	const keep = 1500
	if len(text) > 2*keep {
		text = text[:keep] + "\n[…]\n" + text[len(text)-keep:]
	}
	return text
}

// judge compares how a cell went with how it should have gone.
func judge(expected *exception, err error) error {
	switch {
	case expected == nil:
		return err
	case err == nil:
		return fmt.Errorf("it works now; take the exception away: %s", expected.note)
	case !strings.Contains(err.Error(), expected.says):
		return fmt.Errorf("it fails in another way than %q: %w", expected.says, err)
	}
	return nil
}

// refused goes down an unhappy path, and looks at what the client prints.
func (r *run) refused(j *job, path refusal) error {
	kind, as, name := open, monalisa, slug(r.client.name)+"/refused/"+filepath.Base(j.dir)
	target := func(kind registryKind) string {
		return j.bench.registries[kind].image(name) + ":" + chartVersion
	}
	image := target(kind)
	switch path.name {
	case "wrong token":
		as = imposter
	case "no right":
		as = hubot
	case "no such repository":
		image = j.open().addr + "/octocat/no-such-repository/" + name + ":" + chartVersion
	case "read-only":
		image = target(readOnly)
	case "over the limit":
		image = target(limited)
	}
	err := r.client.refusals.attempt(j, hostOf(image), as, image)
	if err == nil {
		return errors.New("it was not refused")
	}
	return contains(err.Error(), r.client.refusals.expected(path))
}
