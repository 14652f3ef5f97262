// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command reference prints docs/reference.md: every field of the objects that people
// write, as the CustomResourceDefinitions describe them.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/config/crd"
)

// kinds are what people write, in the order in which they meet them. PackagesPolicy
// is the manager's alone.
var kinds = []string{"packagesinstances", "packagesorganizations", "packagesrepositories", "packagestokens"}

// kubernetes are fields whose form is Kubernetes' own, with its name for it.
var kubernetes = map[string]string{
	"spec.podTemplate.affinity":                  "Affinity",
	"spec.podTemplate.tolerations":               "list of Toleration",
	"spec.podTemplate.topologySpreadConstraints": "list of TopologySpreadConstraint",
	"status.conditions":                          "list of Condition",
}

func main() {
	text, err := reference()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference: "+err.Error())
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(text)
}

func reference() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(`# Every field

Written by ` + "`make manifests`" + ` from the CustomResourceDefinitions; ` + "`kubectl explain`" + ` says
the same. [The objects](objects.md) explains how they go together.

All are of ` + "`apiVersion: packages-operator.io/v1alpha1`" + `. *Fixed* fields cannot change once
the object is made. ` + "`PackagesPolicy`" + ` is not here: the manager writes it for the registries.
`)
	for _, plural := range kinds {
		text, err := crd.Bases.ReadFile("bases/packages-operator.io_" + plural + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("reading the definition of %s: %w", plural, err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			return nil, fmt.Errorf("reading the definition of %s: %w", plural, err)
		}
		writeKind(&out, &definition)
	}
	return out.Bytes(), nil
}

func writeKind(out *bytes.Buffer, definition *apiextensionsv1.CustomResourceDefinition) {
	names := definition.Spec.Names
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	fmt.Fprintf(out, "\n## %s\n\n%s Short name: `%s`.\n", names.Kind, oneLine(schema.Description), strings.Join(names.ShortNames, "`, `"))
	for _, part := range []string{"spec", "status"} {
		properties := schema.Properties[part]
		fmt.Fprintf(out, "\n| `%s` | | |\n|---|---|---|\n", part)
		writeFields(out, part, "", &properties)
	}
}

// writeFields writes the rows of an object's fields, the fields of each below it.
func writeFields(out *bytes.Buffer, path, shown string, object *apiextensionsv1.JSONSchemaProps) {
	names := make([]string, 0, len(object.Properties))
	for name := range object.Properties {
		names = append(names, name)
	}
	// What must be written comes first.
	slices.SortFunc(names, func(a, b string) int {
		needA, needB := slices.Contains(object.Required, a), slices.Contains(object.Required, b)
		if needA != needB {
			if needA {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		field := object.Properties[name]
		at, label := path+"."+name, shown+name
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", label, describe(at, &field, slices.Contains(object.Required, name)), cell(field.Description))
		if kubernetes[at] != "" {
			continue
		}
		writeFields(out, at, label+".", &field)
		if field.Items != nil && field.Items.Schema != nil {
			writeFields(out, at+"[]", label+"[].", field.Items.Schema)
		}
	}
}

// describe is a field's type and what it may be.
func describe(path string, field *apiextensionsv1.JSONSchemaProps, required bool) string {
	words := []string{typeOf(path, field)}
	switch {
	case field.Default != nil && string(field.Default.Raw) != "{}":
		words = append(words, "default `"+strings.Trim(string(field.Default.Raw), `"`)+"`")
	case required && strings.HasPrefix(path, "spec"):
		words = append(words, "required")
	}
	if field.MaxItems != nil {
		words = append(words, fmt.Sprintf("at most %d", *field.MaxItems))
	}
	if slices.ContainsFunc(field.XValidations, func(rule apiextensionsv1.ValidationRule) bool { return rule.Rule == "self == oldSelf" }) {
		words = append(words, "*fixed*")
	}
	return strings.Join(words, ", ")
}

func typeOf(path string, field *apiextensionsv1.JSONSchemaProps) string {
	if name := kubernetes[path]; name != "" {
		return name
	}
	if len(field.Enum) > 0 {
		values := make([]string, 0, len(field.Enum))
		for _, value := range field.Enum {
			values = append(values, "`"+strings.Trim(string(value.Raw), `"`)+"`")
		}
		return strings.Join(values, ", ")
	}
	switch {
	case field.XIntOrString:
		return "quantity"
	case field.Type == "array" && field.Items != nil && field.Items.Schema != nil:
		return "list of " + typeOf(path+"[]", field.Items.Schema)
	case field.Type == "object" && field.AdditionalProperties != nil:
		return "map"
	case field.Format == "date-time":
		return "instant"
	}
	return field.Type
}

// cell is a description in a table.
func cell(text string) string {
	return strings.ReplaceAll(oneLine(text), "|", `\|`)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
