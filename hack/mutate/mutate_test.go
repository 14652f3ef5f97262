// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

const sample = `package sample

var table = [...]rule{Pull: {role: policy.RoleRead}}

func decide(a int, list []int) bool {
	if a < 3 && ready() {
		return true
	}
	for _, b := range list {
		if b == a {
			continue
		}
	}
	return ready()
}
`

func TestEveryBranchHasItsMutants(t *testing.T) {
	mutated, pkg, mutants, err := mutate("sample.go", []byte(sample), 7)
	if err != nil {
		t.Fatal(err)
	}
	if pkg != "sample" {
		t.Errorf("package %q", pkg)
	}
	var names []string
	for i, m := range mutants {
		if m.id != 7+i {
			t.Errorf("%s has the id %d", m.name, m.id)
		}
		names = append(names, strings.TrimPrefix(m.name, "sample.go "))
	}
	want := []string{
		"table: policy.RoleRead -> policy.RoleWrite",
		"table: policy.RoleRead -> policy.RoleAdmin",
		"decide: a < 3 && ready() -> true",
		"decide: a < 3 && ready() -> false",
		"decide: a < 3 && ready() -> !(a < 3 && ready())",
		"decide: a < 3 && ready() -> a < 3 || ready()",
		"decide: a < 3 && ready() -> a < 3",
		"decide: a < 3 && ready() -> ready()",
		"decide: a < 3 -> a <= 3",
		"decide: a < 3 -> a >= 3",
		"decide: true -> false",
		"decide: b == a -> true",
		"decide: b == a -> false",
		"decide: b == a -> b != a",
		"decide: continue -> nothing",
		"decide: ready() -> !(ready())",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "mutated.go", mutated, 0); err != nil {
		t.Errorf("%v in:\n%s", err, mutated)
	}
	// Keys stay constant, and what nothing is chosen for is the original.
	if !strings.Contains(mutated, "{Pull: {role: func() policy.Role {") || !strings.Contains(mutated, "return policy.RoleRead\n}()") {
		t.Errorf("got:\n%s", mutated)
	}
}

func TestReportsWhatIsNotAsItShouldBe(t *testing.T) {
	mutants := []mutant{{1, "a"}, {2, "b"}}
	if err := report(mutants, map[int]string{1: "x", 2: "x"}, false); err != nil {
		t.Errorf("all are killed: %v", err)
	}
	if err := report(mutants, map[int]string{1: "x"}, false); err == nil {
		t.Error("a survivor is fine")
	}
}

func TestEquivalentsNeedAReason(t *testing.T) {
	if _, err := parseEquivalents(equivalentList); err != nil {
		t.Error(err)
	}
	if _, err := parseEquivalents("a.go f: x -> y"); err == nil {
		t.Error("no reason is fine")
	}
}
