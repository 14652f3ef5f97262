// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is a built program.
type program struct {
	// name is the command's, such as packages-operator.
	name     string
	platform v1.Platform
	// path is where it is.
	path string
}

// file is the program's name in the release.
func (p program) file() string {
	return fmt.Sprintf("%s_%s_%s", p.name, p.platform.OS, p.platform.Architecture)
}

// operator and plugin are the commands in cmd/; the first is in the image.
const (
	operator = "packages-operator"
	plugin   = "kubectl-packages"
)

// tags are those that the Makefile builds the commands with, and says why.
const tags = "grpcnotrace"

// buildPrograms compiles the commands for every platform into a folder.
func buildPrograms(ctx context.Context, folder string, s source, platforms []string) ([]program, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	var programs []program
	for _, text := range platforms {
		platform, err := v1.ParsePlatform(text)
		if err != nil || platform.OS == "" || platform.Architecture == "" {
			return nil, fmt.Errorf("the platform %q is none: write such as linux/arm64", text)
		}
		for _, name := range []string{operator, plugin} {
			p := program{name: name, platform: *platform}
			p.path = filepath.Join(folder, p.file())
			// Neither where nor when it is built is in the program.
			cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", tags,
				"-ldflags", "-s -w -buildid= -X main.version="+s.version, "-o", p.path, "./cmd/"+name)
			cmd.Env = append(withoutGo(os.Environ()), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=local", "GOWORK=off",
				"GOOS="+platform.OS, "GOARCH="+platform.Architecture)
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			fmt.Fprintln(os.Stderr, "release: building "+p.file())
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("building %s: %w", p.file(), err)
			}
			programs = append(programs, p)
		}
	}
	return programs, nil
}

// withoutGo leaves out the variables that would change what is built, such as
// GOAMD64 and GOEXPERIMENT. Where modules and caches are does not.
func withoutGo(environment []string) []string {
	keep := map[string]bool{
		"GOPATH": true, "GOCACHE": true, "GOMODCACHE": true, "GOPROXY": true, "GOSUMDB": true, "GOPRIVATE": true,
		"GONOSUMDB": true, "GONOPROXY": true, "GOROOT": true, "GOTMPDIR": true, "GOAUTH": true, "GOMAXPROCS": true, "GOINSECURE": true,
	}
	var kept []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "GO") || keep[name] {
			kept = append(kept, variable)
		}
	}
	return append(kept, "GOENV=off")
}
