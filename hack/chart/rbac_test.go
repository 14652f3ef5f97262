// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/packages-operator/packages-operator/test/rights"
)

// documentedRow is a row of a table of rules in docs/rbac.md: RESOURCE.GROUP or a
// path, verbs and a reason.
var documentedRow = regexp.MustCompile("(?m)^\\| `([a-z0-9./-]+)` \\| ([a-z, ]+) \\| .+ \\|$")

// documentedRights are those in a section, as VERB RESOURCE.GROUP.
func documentedRights(t *testing.T, section string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/rbac.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, there := strings.Cut(string(text), "\n## "+section+"\n")
	if !there {
		t.Fatalf("docs/rbac.md has no section %s", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var found []string
	for _, row := range documentedRow.FindAllStringSubmatch(rest, -1) {
		for _, verb := range strings.Split(row[2], ", ") {
			found = append(found, verb+" "+row[1])
		}
	}
	slices.Sort(found)
	return found
}

func rightsOf(t *testing.T, file, name string) []string {
	t.Helper()
	objects, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, object := range objects {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var role rbacv1.ClusterRole
		if err := json.Unmarshal(text, &role); err != nil {
			t.Fatal(err)
		}
		if role.Name != name {
			continue
		}
		for _, right := range rights.Of(role.Rules) {
			found = append(found, right.String())
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no rules of %s", file, name)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEveryRuleIsDocumentedWithItsReason(t *testing.T) {
	for section, role := range map[string]struct{ file, name string }{
		"The manager":     {"../../config/rbac/role.yaml", "packages-operator-manager"},
		"Leader election": {"../../config/manager/leader_election.yaml", "packages-operator-leader-election"},
		"Metrics":         {"../../config/metrics/rbac.yaml", "packages-operator-metrics-auth"},
	} {
		t.Run(section, func(t *testing.T) {
			if diff := cmp.Diff(rightsOf(t, role.file, role.name), documentedRights(t, section)); diff != "" {
				t.Errorf("docs/rbac.md (-granted +documented):\n%s", diff)
			}
		})
	}
}

func TestNoRuleIsWiderThanItHasToBe(t *testing.T) {
	for _, right := range rightsOf(t, "../../config/rbac/role.yaml", "packages-operator-manager") {
		verb, resource, _ := strings.Cut(right, " ")
		if slices.Contains([]string{"*", "update", "deletecollection", "escalate", "bind", "impersonate"}, verb) || strings.Contains(resource, "*") {
			t.Errorf("the manager may %s", right)
		}
	}
}
