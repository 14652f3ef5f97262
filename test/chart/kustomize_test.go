// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kustomize renders a folder of config/ with components.
func kustomize(t *testing.T, folder string, components ...string) string {
	t.Helper()
	config, err := filepath.Abs(root + "/config")
	if err != nil {
		t.Fatal(err)
	}
	// Kustomize refuses absolute paths.
	overlay := t.TempDir()
	relative, err := filepath.Rel(overlay, config)
	if err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [" + relative + "/" + folder + "]\ncomponents:\n"
	for _, component := range components {
		text += "  - " + relative + "/components/" + component + "\n"
	}
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, tool(t, "control-plane", "kubectl"), "kustomize", overlay)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same is an object without what must differ: labels that say who installed it, and
// what only helm wants to know.
func same(object *unstructured.Unstructured) map[string]any {
	labels := object.GetLabels()
	for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"} {
		delete(labels, label)
	}
	if len(labels) == 0 {
		labels = nil
	}
	object.SetLabels(labels)
	annotations := object.GetAnnotations()
	delete(annotations, "helm.sh/resource-policy")
	if len(annotations) == 0 {
		annotations = nil
	}
	object.SetAnnotations(annotations)
	return object.Object
}

func TestTheChartAndKustomizeRenderTheSameObjects(t *testing.T) {
	all := "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true,networkPolicy.enabled=true,rbac.restrictTokenUsers=true"
	for name, test := range map[string]struct {
		folder     string
		components []string
		args       []string
	}{
		"default":         {"default", nil, nil},
		"namespaced":      {"namespaced", nil, []string{"--set", "watchNamespaces={packages}"}},
		"with components": {"default", []string{"monitoring", "network-policy", "token-users"}, []string{"--set", all}},
	} {
		t.Run(name, func(t *testing.T) {
			byKustomize := map[string]any{}
			for _, object := range objects(t, kustomize(t, test.folder, test.components...)) {
				if object.GetKind() == "Namespace" { // helm install --create-namespace
					continue
				}
				byKustomize[key(object)] = same(object)
			}
			if len(byKustomize) < 10 {
				t.Fatalf("kustomize made %d objects", len(byKustomize))
			}
			eachHelm(t, func(t *testing.T, helm string) {
				out, err := helmTemplate(t, helm, test.args...)
				if err != nil {
					t.Fatal(err)
				}
				byHelm := map[string]any{}
				for _, object := range objects(t, out) {
					if strings.HasPrefix(object.GetAnnotations()["helm.sh/hook"], "test") {
						continue
					}
					byHelm[key(object)] = same(object)
				}
				if diff := cmp.Diff(byKustomize, byHelm); diff != "" {
					t.Errorf("(-kustomize +helm):\n%s", diff)
				}
			})
		})
	}
}
