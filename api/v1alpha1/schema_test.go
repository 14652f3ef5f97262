// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// kubectl explain says something about every field, nothing is without a bound,
// and no list item has a default: tools that compare Git with the cluster would
// see a difference that nobody made.
func TestSchemaHabits(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 5 {
		t.Fatalf("%d definitions in %s, want 5", len(files), crdDir)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &definition); err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		root := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		kind := definition.Spec.Names.Kind
		if root.Description == "" {
			t.Errorf("%s has no description", kind)
		}
		for _, name := range []string{"spec", "status"} {
			if property, ok := root.Properties[name]; ok {
				checkSchema(t, kind+"."+name, property, false)
			}
		}
	}
}

// foreign are fields whose insides Kubernetes defines, without bounds of their
// own; the API server bounds the request.
var foreign = []string{
	"PackagesInstance.spec.podTemplate.affinity",
	"PackagesInstance.spec.podTemplate.tolerations[]",
	"PackagesInstance.spec.podTemplate.topologySpreadConstraints[]",
}

func checkSchema(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps, inList bool) {
	t.Helper()
	if inList && schema.Default != nil {
		t.Errorf("%s is inside a list and has a default", path)
	}
	if slices.Contains(foreign, path) {
		return
	}
	switch {
	case schema.XIntOrString:
	case schema.Type == "string":
		if schema.MaxLength == nil && len(schema.Enum) == 0 && schema.Format != "date-time" {
			t.Errorf("%s has no greatest length", path)
		}
	case schema.Type == "array":
		if schema.MaxItems == nil {
			t.Errorf("%s has no greatest number of items", path)
		}
		if schema.XListType == nil {
			t.Errorf("%s does not say how its items are merged", path)
		}
		checkSchema(t, path+"[]", *schema.Items.Schema, true)
	case schema.AdditionalProperties != nil:
		if schema.MaxProperties == nil {
			t.Errorf("%s has no greatest number of entries", path)
		}
	}
	for name, property := range schema.Properties {
		if property.Description == "" {
			t.Errorf("%s.%s has no description", path, name)
		}
		checkSchema(t, path+"."+name, property, inList)
	}
}
