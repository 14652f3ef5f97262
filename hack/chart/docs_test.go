// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func describeText(t *testing.T, text string) (schema, []value, error) {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	return describe("", document.Content[0])
}

func TestValuesDescribeTheirSchema(t *testing.T) {
	got, values, err := describeText(t, `
# About the file, and not about a value.

# The image.
image:
  # Without a tag,
  # whatever it is.
  # +minLength=1
  repository: registry
  # +enum=Always,Never
  # When to pull.
  pull: Always
# How many.
# +minimum=0
replicas: 2
`)
	if err != nil {
		t.Fatal(err)
	}
	want := schema{"type": "object", "additionalProperties": false, "properties": schema{
		"image": schema{"type": "object", "additionalProperties": false, "description": "The image.", "properties": schema{
			"repository": schema{"type": "string", "minLength": 1, "description": "Without a tag, whatever it is."},
			"pull":       schema{"type": "string", "enum": []string{"Always", "Never"}, "description": "When to pull."},
		}},
		"replicas": schema{"type": "integer", "minimum": 0, "description": "How many."},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]value{
		{"image", "The image.", ""},
		{"image.repository", "Without a tag, whatever it is.", `"registry"`},
		{"image.pull", "When to pull.", `"Always"`},
		{"replicas", "How many.", "2"},
	}, values, cmp.AllowUnexported(value{})); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestValuesThatSayTooLittleAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no comment":            {"a: {b: 1}", "a (line 1) has no comment that says what it is"},
		"no comment below":      {"# A.\na:\n  b: 1", "a.b (line 3) has no comment"},
		"a marker alone":        {"# +minimum=1\na: 1", "a (line 2) has no comment"},
		"a list of anything":    {"# A.\na: []", "a (line 2): a list needs +items={…}"},
		"a marker out of place": {"# A.\n# +enum=x\na: 1", "a (line 3): +enum is not for a value like this"},
		"null":                  {"# A.\na:", "a (line 2): a default of type !!null"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := describeText(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestObjectsBecomeTemplatesOfARelease(t *testing.T) {
	object := map[string]any{"metadata": map[string]any{"name": "packages-operator-manager"}, "kind": "Role"}
	got, err := template(object, true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "namespace: '{{ . }}'") || !strings.Contains(got, `name: '{{ include "packages-operator.fullname" $ }}-manager'`) {
		t.Error(got)
	}
	if _, err := template(map[string]any{"metadata": map[string]any{"name": "{{ evil }}"}}, false); err == nil {
		t.Error("what Helm takes for a template was let pass")
	}
}
