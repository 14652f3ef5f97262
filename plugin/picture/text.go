// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// WriteText draws the picture for a person.
func (p Picture) WriteText(w io.Writer) error {
	var out bytes.Buffer
	for i, one := range p.Instances {
		if i > 0 {
			out.WriteByte('\n')
		}
		one.write(&out)
	}
	if len(p.Instances) > 0 {
		out.WriteByte('\n')
	}
	for _, resource := range p.Unseen {
		fmt.Fprintf(&out, "You may not see %s, so the picture is without.\n", resource)
	}
	if p.Well {
		fmt.Fprintln(&out, "All is well.")
	} else {
		fmt.Fprintln(&out, "What is wrong:")
		for _, problem := range p.Problems {
			fmt.Fprintf(&out, "  %s %s/%s: %s\n      %s\n", problem.Kind, problem.Namespace, problem.Name, problem.Reason, problem.Message)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (i Instance) write(out *bytes.Buffer) {
	fmt.Fprintf(out, "PackagesInstance %s/%s: %s\n", i.Namespace, i.Name, i.State.word())
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name string, parts ...string) {
		parts = compact(parts)
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", name, strings.Join(parts, ", "))
	}
	if i.Docker != nil {
		row("Docker", i.Docker.Host, i.Docker.URL, string(i.Support))
	} else {
		row("Docker", "no endpoint", string(i.Support))
	}
	if i.Certificate != nil {
		row("Certificate", i.Certificate.Secret, i.Certificate.word())
	}
	if i.Ingress != nil {
		at := "no address yet"
		if len(i.Ingress.Addresses) > 0 {
			at = "at " + strings.Join(i.Ingress.Addresses, " ")
		}
		class := "the default class"
		if i.Ingress.Class != "" {
			class = "class " + i.Ingress.Class
		}
		row("Ingress", class, at)
	}
	for _, volume := range i.Storage {
		class := ""
		if volume.StorageClass != "" {
			class = "class " + volume.StorageClass
		}
		row("Storage", volume.Claim, volume.Capacity, class, volume.Phase)
	}
	if i.Pods != nil {
		row("Pods", append([]string{fmt.Sprintf("%d of %d ready", i.Pods.Ready, i.Pods.Wanted)}, i.Pods.Waiting...)...)
	}
	if i.PolicyRevision != "" {
		row("Policy", i.PolicyRevision)
	}
	if i.Version != "" {
		row("Version", i.Version)
	}
	_ = table.Flush()

	if len(i.Organizations) > 0 {
		rows := [][]string{{"ORGANIZATION", "OWNERS", "MEMBERS", "TEAMS", "STATE"}}
		for _, o := range i.Organizations {
			rows = append(rows, []string{i.named(o.Namespace, o.Name), fmt.Sprint(o.Owners), fmt.Sprint(o.Members), fmt.Sprint(o.Teams), o.State.word()})
		}
		section(out, rows)
	}
	if len(i.Repositories) > 0 {
		rows := [][]string{{"REPOSITORY", "VISIBILITY", "STATE"}}
		for _, r := range i.Repositories {
			rows = append(rows, []string{i.named(r.Namespace, r.Name), string(r.Visibility), r.State.word()})
		}
		section(out, rows)
	}
	if len(i.Tokens) > 0 {
		rows := [][]string{{"TOKEN", "USER", "SCOPES", "REPOSITORIES", "EXPIRES", "STATE"}}
		for _, t := range i.Tokens {
			expires := "never"
			if t.ExpiresAt != nil {
				expires = t.ExpiresAt.UTC().Format(time.RFC3339)
			}
			repositories := "all of the user's"
			if len(t.Repositories) > 0 {
				repositories = strings.Join(t.Repositories, ",")
			}
			rows = append(rows, []string{i.named(t.Namespace, t.Object), t.User, joinScopes(t.Scopes), repositories, expires, t.State.word()})
		}
		section(out, rows)
	}
}

// named tells of an object that another namespace than the instance's declares.
func (i Instance) named(namespace, name string) string {
	if namespace == i.Namespace {
		return name
	}
	return name + " (of " + namespace + ")"
}

// word is how an object is, in a word.
func (s State) word() string {
	if s.Ready {
		return "Ready"
	}
	return s.Reason
}

func joinScopes(scopes []v1alpha1.Scope) string {
	words := make([]string, 0, len(scopes))
	for _, scope := range scopes {
		words = append(words, string(scope))
	}
	return strings.Join(words, ",")
}

func section(out *bytes.Buffer, rows [][]string) {
	out.WriteByte('\n')
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintf(table, "  %s\n", strings.Join(row, "\t"))
	}
	_ = table.Flush()
}

func compact(parts []string) []string {
	kept := make([]string, 0, len(parts))
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return kept
}
