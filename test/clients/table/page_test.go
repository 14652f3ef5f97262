// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clients lists all clients in the order of the table.
func clients() []client {
	return []client{
		dockerClient(), newDockerClient(), containerdClient(), newContainerdClient(), skopeoClient(), craneClient(), orasClient(), regctlClient(),
		helmClient(3), helmClient(4), cosignClient(), buildkitClient(),
	}
}

const (
	works  = "✓"
	cannot = "no"
	beside = "·"
)

const preface = `# Clients

Which commands people use with the registry, tried one by one:

    make clients

fills in every cell of the tables below against the registry as a process of its
own, with tokens, on loopback and over plain HTTP, and writes this page. It takes
root (for the daemons), and builds most of the clients from Go modules. With
` + "`CLIENTS_FLAGS=-bucket`" + ` the blobs are in S3 storage; with ` + "`CLIENTS_FLAGS='-only ^crane/'`" + `
only those cells are tried, and the page stays as it is.

- **` + works + `** works, and what arrived was compared byte for byte: in the registry after a
  push, over plain HTTP; on disk after a pull.
- **` + cannot + `** the client cannot, for the reason below the table. It is tried all the same.
- **` + beside + `** the command is not about this content.

The contents: an index of two architectures with attestations as BuildKit writes
them; an image of 60 layers; an image with a layer of 2 GiB; an image with a layer
without files, twice; an OCI artifact; a Helm chart; an image to which an SBOM and a
signature refer; an image whose manifest, config and layers are named by SHA-512.

The libraries of crane, oras and regctl are tested with skopeo in ` + "`make test`" + ` (` + "`test/clients`" + `).
A pod's pull through CRI and docker over TLS, behind an ingress controller, are part of ` + "`make e2e`" + `.
`

const untried = `
## What is not tried

- BuildKit v0.34: its dependency ` + "`github.com/tonistiigi/fsutil`" + ` at a72de9dcf763 is not on the
  Go module proxy (“403 Forbidden: This module version is not available”).
- podman 5, nerdctl 2 and a newer skopeo: none of their modules' versions are on the
  proxy (“version is not available”). podman pulls and pushes with skopeo's library.
- TLS: these clients reach the registry over plain HTTP, on loopback. ` + "`make e2e`" + ` has TLS.
`

// render writes the page as it is when every cell is as it should be.
func render(list []client) string {
	var out strings.Builder
	out.WriteString(preface)
	for _, c := range list {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n", c.name, c.origin())
		renderClient(&out, c)
	}
	renderRefusals(&out, list)
	out.WriteString(untried)
	return out.String()
}

func renderClient(out *strings.Builder, c client) {
	// Columns that no verb is about are left out.
	var columns, onRepositories []string
	for _, name := range contentNames {
		if slices.ContainsFunc(c.verbs, func(v verb) bool { return v.concerns(name) }) {
			columns = append(columns, name)
		}
	}
	fmt.Fprintf(out, "| | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat(":-:|", len(columns)))
	var notes notes
	for _, v := range c.verbs {
		if v.on != nil && len(v.on) == 0 {
			onRepositories = append(onRepositories, v.name)
			continue
		}
		row := []string{v.name}
		for _, name := range columns {
			row = append(row, v.mark(name, &notes))
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
	}
	if len(onRepositories) > 0 {
		fmt.Fprintf(out, "\nAnd, about no content: %s %s.\n", strings.Join(onRepositories, " "+works+", "), works)
	}
	if len(c.lacks) > 0 {
		fmt.Fprintf(out, "\nIt has no command to %s.\n", strings.Join(c.lacks, ", "))
	}
	for i, n := range notes {
		if i == 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(out, "%d. %s It says: `%s`.\n", i+1, n.text, strings.Join(n.says, "` or `"))
	}
}

// origin says where a client comes from, with the version if that is pinned here.
func (c client) origin() string {
	if c.module == "" {
		return c.about
	}
	version := "of no version"
	if data, err := os.ReadFile(filepath.Join("..", "..", "..", "hack", "tools", c.group, "go.mod")); err == nil {
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(fields) > 1 && fields[0] == c.module {
				version = fields[1]
			}
		}
	}
	return fmt.Sprintf("From the Go module `%s` %s%s", c.module, version, c.about)
}

// notes are the reasons why a client cannot do something, each with all that it
// says then.
type notes []note

type note struct {
	text string
	says []string
}

// add returns the number of a reason.
func (n *notes) add(e exception) int {
	i := slices.IndexFunc(*n, func(one note) bool { return one.text == e.note })
	if i < 0 {
		*n, i = append(*n, note{text: e.note}), len(*n)
	}
	if one := &(*n)[i]; !slices.Contains(one.says, e.says) {
		one.says = append(one.says, e.says)
	}
	return i + 1
}

// mark is what a cell shows.
func (v verb) mark(content string, n *notes) string {
	if !v.concerns(content) {
		return beside
	}
	if e := v.exceptionFor(content); e != nil {
		return fmt.Sprintf("%s (%d)", cannot, n.add(*e))
	}
	return works
}

func renderRefusals(out *strings.Builder, list []client) {
	out.WriteString("\n## What a refused person reads\n\n")
	out.WriteString("The registry answers with these sentences:\n\n")
	for _, path := range unhappy {
		fmt.Fprintf(out, "- %s: “%s”\n", path.name, path.sentence)
	}
	fmt.Fprintf(out, "\n%s: the client prints the sentence. Otherwise the cell has what it prints instead.\n\n| |", works)
	for _, path := range unhappy {
		fmt.Fprintf(out, " %s |", path.name)
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", len(unhappy)))
	for _, c := range list {
		if c.refusals == nil {
			continue
		}
		fmt.Fprintf(out, "| %s |", c.name)
		for _, path := range unhappy {
			mark := works
			if text := c.refusals.instead[path.name]; text != "" {
				mark = "`" + text + "`"
			}
			fmt.Fprintf(out, " %s |", mark)
		}
		out.WriteString("\n")
	}
}

func TestThePageIsWhatTheTableSays(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(render(clients()), "\n"), strings.Split(string(page), "\n")
	for i := range max(len(want), len(got)) {
		var w, g string
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Fatalf("docs/clients.md, line %d, is not what this package tries; run make clients\nit has:  %s\nit needs: %s", i+1, g, w)
		}
	}
}
