// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Mutate shows that tests see every branch of the code that decides who may do
// what. It breaks the code in every place, one at a time, and demands that a test
// fails: conditions are negated or fixed, comparisons and operators exchanged,
// returned booleans, verdicts, roles, scopes, actions and settings replaced, and
// cases dropped.
//
//	go run ./hack/mutate
//
// mutates registry/access/authorize.go against test/accessmatrix, and what cannot be
// reached over HTTP, since the handler refuses it before, against the unit tests of
// registry/access;
//
//	go run ./hack/mutate -tests PACKAGE,PACKAGE FILE...
//
// mutates other files of this module against other tests, such as the rest of
// registry/access against -tests ./registry/access. All mutants are compiled into one
// test binary for each package, through an overlay; an environment variable says
// which one is alive, and no file is changed. A mutant that no test can see, since it
// does the same, is listed with the reason in equivalent.txt. The exit code is 1 when
// another one survives, or when a listed one does not.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// variable chooses the mutant.
const variable = "MUTANT"

//go:embed equivalent.txt
var equivalentList string

func main() {
	tests := flag.String("tests", "./test/accessmatrix,./registry/access", "packages whose tests must see the mutants, separated by commas; a later one is asked about what survived the earlier")
	run := flag.String("run", "", "run only the tests that match this expression")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long a test may take; a mutant that hangs is seen")
	verbose := flag.Bool("v", false, "name every mutant")
	flag.Parse()
	files := flag.Args()
	if len(files) == 0 {
		files = []string{"registry/access/authorize.go"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &runner{packages: strings.Split(*tests, ","), expression: *run, timeout: *timeout}
	seenBy, err := r.all(ctx, files)
	if err == nil {
		err = report(r.mutants, seenBy, *verbose)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// report tells the result; an error is what is not as it should be.
func report(mutants []mutant, seenBy map[int]string, verbose bool) error {
	equivalents, err := parseEquivalents(equivalentList)
	if err != nil {
		return err
	}
	killed, equal, problems := map[string]int{}, 0, 0
	for _, m := range mutants {
		reason, listed := equivalents[m.name]
		by, seen := seenBy[m.id]
		alive := !seen
		verdict := "killed by " + by
		switch {
		case alive && listed:
			verdict = "equivalent: " + reason
			equal++
		case alive:
			verdict = "SURVIVED"
			problems++
		case listed:
			verdict = "KILLED, but listed as equivalent"
			problems++
		default:
			killed[by]++
			if !verbose {
				continue
			}
		}
		fmt.Printf("%s: %s\n", m.name, verdict)
	}
	fmt.Printf("%d mutants: %d equivalent, %d not as they should be\n", len(mutants), equal, problems)
	for _, by := range slices.Sorted(maps.Keys(killed)) {
		fmt.Printf("%d killed by %s\n", killed[by], by)
	}
	if problems > 0 {
		return errors.New("a branch can be broken without a test that fails")
	}
	return nil
}

// parseEquivalents reads lines of the form NAME | REASON; others are comments if
// they begin with #.
func parseEquivalents(text string) (map[string]string, error) {
	list := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, found := strings.Cut(line, " | ")
		if !found || reason == "" {
			return nil, fmt.Errorf("equivalent.txt: %q has no reason", line)
		}
		list[name] = reason
	}
	return list, nil
}

// runner compiles all mutants at once and runs the tests with each.
type runner struct {
	packages   []string
	expression string
	timeout    time.Duration
	mutants    []mutant
}

// all returns the package whose tests saw each mutant; those that none saw are not
// in it.
func (r *runner) all(ctx context.Context, files []string) (map[int]string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := r.overlay(root, dir, files)
	if err != nil {
		return nil, err
	}
	seenBy := map[int]string{}
	for _, pkg := range r.packages {
		binary := filepath.Join(dir, "mutants.test")
		build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, pkg)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("compile the tests of %s: %w\n%s", pkg, err, out)
		}
		folder := filepath.Join(root, pkg)
		if passes, out := r.run(ctx, binary, folder, 0); !passes {
			return nil, fmt.Errorf("the tests of %s fail without a mutant:\n%s", pkg, out)
		}
		r.hunt(ctx, binary, folder, pkg, seenBy)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return seenBy, nil
}

// hunt adds to seenBy what the tests of one package see of the rest.
func (r *runner) hunt(ctx context.Context, binary, folder, pkg string, seenBy map[int]string) {
	var left []int
	for _, m := range r.mutants {
		if _, seen := seenBy[m.id]; !seen {
			left = append(left, m.id)
		}
	}
	var (
		mu   sync.Mutex
		work sync.WaitGroup
	)
	ids := make(chan int)
	for range runtime.NumCPU() {
		work.Go(func() {
			for id := range ids {
				if passes, _ := r.run(ctx, binary, folder, id); !passes {
					mu.Lock()
					seenBy[id] = pkg
					mu.Unlock()
				}
			}
		})
	}
	for _, id := range left {
		ids <- id
	}
	close(ids)
	work.Wait()
}

func (r *runner) run(ctx context.Context, binary, folder string, id int) (passes bool, out []byte) {
	command := exec.CommandContext(ctx, binary, "-test.failfast", "-test.timeout", r.timeout.String(), "-test.run", r.expression)
	command.Dir = folder
	command.Env = append(os.Environ(), variable+"="+strconv.Itoa(id))
	out, err := command.CombinedOutput()
	return err == nil, out
}

// overlay writes the mutated files and says where they are, in the form that the go
// command reads.
func (r *runner) overlay(root, dir string, files []string) (string, error) {
	replace := map[string]string{}
	for i, name := range files {
		path := filepath.Join(root, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		mutated, pkg, mutants, err := mutate(filepath.ToSlash(name), source, len(r.mutants)+1)
		if err != nil {
			return "", err
		}
		r.mutants = append(r.mutants, mutants...)
		copies := map[string]string{
			path: mutated,
			filepath.Join(filepath.Dir(path), "mutant_chosen.go"): chooser(pkg),
		}
		for target, text := range copies {
			file := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(target)))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return "", err
			}
			replace[target] = file
		}
	}
	document, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, document, 0o600)
}

// chooser is the file that each mutated package gets.
func chooser(pkg string) string {
	return "package " + pkg + `

import "os"

var mutantChosen = os.Getenv("` + variable + `")
`
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	path := strings.TrimSpace(string(out))
	if path == "" || path == os.DevNull {
		return "", errors.New("run it inside the module")
	}
	return filepath.Dir(path), nil
}
