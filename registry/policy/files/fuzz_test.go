// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/policy"
)

// wantPlaces fails unless every fault of a directory with one file says where in
// the file it is, and what is wrong.
func wantPlaces(t *testing.T, err error, file, content string) {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range joined.Unwrap() {
			wantPlaces(t, each, file, content)
		}
		return
	}
	if strings.HasPrefix(err.Error(), "and ") && strings.HasSuffix(err.Error(), " more faults") {
		return
	}
	place, ok := err.(*Error) //nolint:errorlint // each fault itself, not what it wraps
	switch {
	case !ok || place.Reason == "":
		t.Errorf("a fault without a place or a reason: %v", err)
	case place.File == filepath.Dir(file):
		if !strings.Contains(place.Reason, "declares a PackagesInstance") {
			t.Errorf("a fault that says of no file: %v", err)
		}
	case place.File != file || place.Line < 1 || place.Line > strings.Count(content, "\n")+1:
		t.Errorf("a fault that is not in the %d lines of the file: %v", strings.Count(content, "\n")+1, err)
	}
}

// FuzzLoad: whatever a file holds, Load answers with faults that say where they
// are, or with a policy that survives its way to a registry.
func FuzzLoad(f *testing.F) {
	// To compile the schemas again and again would take most of the time.
	schemas, err := loadSchemas()
	if err != nil {
		f.Fatal(err)
	}
	defer runtime.KeepAlive(schemas)
	all := instanceYAML + "---\n" + repositoryYAML + "---\n" + tokenYAML + "---\n" + secretYAML
	for _, seed := range []string{
		all, strings.ReplaceAll(all, "\n", "\r\n"), "\ufeff" + all, "%YAML 1.2\n---\n" + all, strings.ReplaceAll(all, "---\n", "--- # next\n"),
		"", "---", "a: &a [*a]", "- a\n", "\t", "apiVersion: v1\nkind: Secret\nmetadata: []\n", "kind: {}", "a: 1\na: 2", "? x\n: y", "x: !!binary x", "<<: {a: b}",
		"{apiVersion: packages-operator.io/v1alpha1, kind: PackagesInstance, metadata: {name: x}, spec: {hostname: x.test, storage: {filesystem: {size: 1}}}}",
		strings.Replace(all, "  name: octo-app\nspec", "  name: octo-app\n  deletionTimestamp: 2026-11-22T12:00:00Z\n  finalizers: [packages-operator.io/data]\nspec:\n  deletionPolicy: Delete", 1),
		strings.Replace(all, "  name: local\n", "  name: local\n  uid: x\n  creationTimestamp: yesterday\n", 1),
		strings.Replace(all, "size: 1Gi", "size: 1e999999999", 1),
		strings.Replace(all, "  name: octo-app\nspec", "  name: &n octo-app\n  labels: {a: *n}\nspec", 1),
		strings.Replace(all, "  - write:packages", "  - write:packages\n  expiresAt: 0001-01-01T00:00:00Z", 1),
		strings.Replace(all, "  - write:packages", "  - write:packages\n  repositories: [octocat/*, '*/x']", 1),
		strings.Replace(all, "stringData", "immutable: 1\nstringData", 1),
		all + "---\n" + strings.Replace(repositoryYAML, "name: octo-app", "name: again", 1),
	} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "a.yaml")
	f.Fuzz(func(t *testing.T, content string) {
		write(t, file, content)
		s, err := Load(filepath.Dir(file), "")
		if err != nil {
			if s != nil {
				t.Error("there is a policy, and a fault")
			}
			wantPlaces(t, err, file, content)
			return
		}
		shards, revision, err := policy.Split(*s.Policy())
		if err != nil || revision != s.Revision() {
			t.Fatalf("the policy is split as revision %s, %v; want %s", revision, err, s.Revision())
		}
		joined, revision, err := policy.Join(shards)
		if err != nil || revision != s.Revision() {
			t.Fatalf("the policy is joined as revision %s, %v; want %s", revision, err, s.Revision())
		}
		if diff := cmp.Diff(s.Policy(), &joined); diff != "" {
			t.Errorf("on its way the policy changed:\n%s", diff)
		}
		if again, err := Load(filepath.Dir(file), ""); err != nil || again.Revision() != s.Revision() {
			t.Errorf("read again it is another one, %v", err)
		}
	})
}

// FuzzSecretStaysSecret: however a value is written in a Secret, and whatever
// stands before and behind it in its line, no fault shows it.
func FuzzSecretStaysSecret(f *testing.F) {
	for _, around := range [][2]string{
		{"", ""}, {"*", ""}, {"!!int ", ""}, {"!!binary ", ""}, {"&a *", ""}, {"{", ""}, {"{", ": }"}, {"%", ""}, {"`", ""}, {"@", ""}, {"'", ""}, {`"\q`, `"`}, {"? ", ""}, {"- ", ""},
		{"[", ", &x y]"}, {"!", " x"}, {"!<", "> x"}, {"{a: &", " b, a: c}"}, {"|", ""}, {">", ""}, {"x: ", ""}, {"", ": x"}, {"{<<: *", "}"}, {"\"\\u", "\""}, {"!!timestamp ", ""}, {"{x: y, ", ": z, x: y}"},
	} {
		f.Add(around[0], around[1])
	}
	file := filepath.Join(f.TempDir(), "a.yaml")
	others := instanceYAML + "---\n" + repositoryYAML + "---\n" + tokenYAML + "---\n"
	f.Fuzz(func(t *testing.T, before, behind string) {
		if strings.ContainsAny(before+behind, "\n\r\u0085\u2028\u2029") {
			return // a line of its own may be anything, such as a name
		}
		content := others + strings.Replace(secretYAML, value, before+value+behind, 1)
		write(t, file, content)
		_, err := Load(filepath.Dir(file), "")
		if err == nil {
			return
		}
		if middle := value[10:26]; strings.Contains(err.Error(), middle) {
			t.Errorf("the fault shows the value: %v", err)
		}
		wantPlaces(t, err, file, content)
	})
}
