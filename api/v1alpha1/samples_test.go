// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// The samples apply as they are, without a field that the API does not know, and
// what they refer to is among them.
func TestSamplesApply(t *testing.T) {
	for _, dir := range []string{samplesDir, filepath.Join(samplesDir, "standalone")} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			namespace := newNamespace(t)
			objects := readDir(t, dir)
			if len(objects) == 0 {
				t.Fatalf("no object in %s", dir)
			}
			var names []string
			for _, u := range objects {
				names = append(names, u.GetKind()+"/"+u.GetName())
			}
			for _, u := range objects {
				if u.GetNamespace() != "" {
					t.Errorf("%s names a namespace: leave it to whoever applies it", u.GetName())
				}
				u.SetNamespace(namespace)
				if err := api.Create(context.Background(), u, client.FieldValidation("Strict")); err != nil {
					t.Errorf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
				}
				for _, ref := range [][2]string{
					{"PackagesInstance", field(u, "spec", "instanceRef", "name")},
					{"Secret", field(u, "spec", "source", "secretRef", "name")},
				} {
					if ref[1] != "" && !slices.Contains(names, ref[0]+"/"+ref[1]) {
						t.Errorf("%s %s refers to the %s %s, which is not in %s", u.GetKind(), u.GetName(), ref[0], ref[1], dir)
					}
				}
			}
		})
	}
}

// kubectl apply -k applies every sample.
func TestKustomizationsNameEveryFile(t *testing.T) {
	for _, row := range []struct{ dir, pattern string }{
		{samplesDir, "packages*.yaml"},
		{filepath.Dir(crdDir), filepath.Join("bases", "*.yaml")},
	} {
		files, err := filepath.Glob(filepath.Join(row.dir, row.pattern))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(row.dir, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var kustomization struct{ Resources []string }
		if err := yaml.Unmarshal(data, &kustomization); err != nil {
			t.Fatal(err)
		}
		if len(files) != len(kustomization.Resources) {
			t.Errorf("%s has %d files and its kustomization names %d", row.dir, len(files), len(kustomization.Resources))
		}
		for _, file := range files {
			name, err := filepath.Rel(row.dir, file)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(kustomization.Resources, name) {
				t.Errorf("the kustomization of %s lacks %s", row.dir, name)
			}
		}
	}
}

// readDir reads the objects of every YAML file of a folder, but not of the
// folders in it.
func readDir(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("read %s: %v", file, err)
			}
			u := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(document, &u.Object); err != nil {
				t.Fatalf("read %s: %v", file, err)
			}
			if gv := u.GetAPIVersion(); gv != v1alpha1.GroupVersion.String() && gv != "v1" {
				t.Fatalf("%s holds an object of %q", file, gv)
			}
			objects = append(objects, u)
		}
	}
	return objects
}

func field(u *unstructured.Unstructured, path ...string) string {
	value, _, _ := unstructured.NestedString(u.Object, path...)
	return value
}
