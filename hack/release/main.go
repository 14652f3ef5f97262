// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command release writes a release into a folder: static programs, the image for
// every architecture, the chart if there is one, install.yaml that names the image by
// its digest, a bill of materials of every program, and checksums of all of it. The
// same commit gives the same bytes, wherever and whenever it is built. It can push the
// image and the chart to a registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	out := flag.String("out", "dist", "the folder to write to; what is in it is deleted")
	version := flag.String("version", "", "the version (default: from git describe)")
	name := flag.String("name", "packages-operator", "the image's name in install.yaml and the chart, without a tag: where it will be pushed")
	push := flag.String("push", "", "push the image to this name, such as docker.packages.example.com/octocat/octo-app/packages-operator, and the chart beside it under charts/; with docker's logins. It is -name as well")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64", "what to build for")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("what is %q? -help lists the flags", flag.Arg(0))
	}
	if *push != "" {
		*name = *push
	}

	source, err := describeSource(ctx, *version)
	if err != nil {
		return err
	}
	if err := makeEmpty(*out); err != nil {
		return err
	}
	programs, err := buildPrograms(ctx, *out, source, strings.Split(*platforms, ","))
	if err != nil {
		return err
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		return err
	}
	manifests, err := kustomize(ctx, "config/default")
	if err != nil {
		return err
	}
	r, err := assemble(release{
		source: source, name: *name, programs: programs, dockerfile: dockerfile, manifests: manifests, chart: os.DirFS(chartFolder),
	})
	if err != nil {
		return err
	}
	if err := r.write(*out); err != nil {
		return err
	}
	fmt.Printf("%s %s\n", *name, source.version)
	fmt.Printf("  image  %s@%s\n", *name, r.index.digest)
	fmt.Printf("  folder %s\n", *out)
	if *push == "" {
		return nil
	}
	pushed, err := r.push(ctx, *push)
	for _, reference := range pushed {
		fmt.Println("  pushed " + reference)
	}
	return err
}

// source is what a release is made of.
type source struct {
	version string
	// revision is the commit.
	revision string
	// time is when the commit was made: the time of every file in the release.
	time time.Time
}

// describeSource asks git, and for the time SOURCE_DATE_EPOCH first.
func describeSource(ctx context.Context, version string) (source, error) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", args...).Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", args[0], err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	s := source{version: version}
	var err error
	if s.revision, err = git("rev-parse", "HEAD"); err != nil {
		return s, err
	}
	if s.version == "" {
		// Of a fixed length, so that it does not depend on what else a clone has.
		if s.version, err = git("describe", "--tags", "--always", "--dirty", "--abbrev=12"); err != nil {
			return s, err
		}
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = git("log", "-1", "--format=%ct"); err != nil {
			return s, err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return s, fmt.Errorf("SOURCE_DATE_EPOCH is %q: write seconds since 1970", epoch)
	}
	s.time = time.Unix(seconds, 0).UTC()
	return s, nil
}

// makeEmpty makes a folder that has nothing in it. It deletes nothing but what an earlier
// release wrote, or make dist/install.yaml.
func makeEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	if len(entries) == 1 && entries[0].Name() == installFile {
		return os.Remove(filepath.Join(folder, installFile))
	}
	if _, err := os.Stat(filepath.Join(folder, checksums)); err != nil {
		return fmt.Errorf("%s has files and no %s: choose another folder, or empty it", folder, checksums)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// kustomize is what kubectl would apply of a folder.
func kustomize(ctx context.Context, folder string) ([]byte, error) {
	tools := exec.CommandContext(ctx, "hack/tools.sh", "kubectl")
	tools.Stderr = os.Stderr
	path, err := tools.Output()
	if err != nil {
		return nil, fmt.Errorf("building kubectl: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(strings.TrimSpace(string(path)), "kubectl"), "kustomize", folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl kustomize %s: %w", folder, err)
	}
	return out, nil
}
