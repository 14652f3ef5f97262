// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// recipe is what the Dockerfile says. The image of a release is assembled from it
// without docker, so that it has the same bytes each time.
type recipe struct {
	from, to   string // COPY
	user       string
	entrypoint []string
}

// readDockerfile understands the instructions that the project's Dockerfile has,
// and refuses every other, so that an image never lacks what docker would put in.
func readDockerfile(text []byte) (recipe, error) {
	var r recipe
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		instruction, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		fail := func(why string) (recipe, error) {
			return recipe{}, fmt.Errorf("line %d of the Dockerfile: %s: %s", number, instruction, why)
		}
		if seen[instruction] {
			return fail("a release knows it once only")
		}
		seen[instruction] = true
		switch instruction {
		case "FROM":
			if rest != "scratch" {
				return fail("a release is assembled FROM scratch")
			}
		case "COPY":
			words := strings.Fields(rest)
			if len(words) != 2 || strings.HasPrefix(rest, "-") || !strings.HasPrefix(words[1], "/") || strings.HasSuffix(words[1], "/") {
				return fail("a release copies one file to one absolute path")
			}
			r.from, r.to = words[0], words[1]
		case "USER":
			r.user = rest
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &r.entrypoint); err != nil {
				return fail("write a JSON array")
			}
		default:
			return fail("a release does not know this instruction: teach hack/release")
		}
	}
	for _, instruction := range []string{"FROM", "COPY", "USER", "ENTRYPOINT"} {
		if !seen[instruction] {
			return recipe{}, fmt.Errorf("the Dockerfile has no %s", instruction)
		}
	}
	return r, nil
}
