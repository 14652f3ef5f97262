// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chart tests the Helm chart with the real helm, v3 and v4, and compares it
// with what kustomize makes of config/. On a cluster it is test/e2e that tries it.
package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../.."
	chart = root + "/charts/packages-operator"
	// What config/ is written for.
	release   = "packages-operator"
	namespace = "packages-operator-system"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tool is the path of a program that hack/tools.sh builds.
func tool(t *testing.T, group, name string) string {
	t.Helper()
	dir, err := toolDirectories(group)()
	if err != nil {
		t.Fatalf("hack/tools.sh %s: %v", group, err)
	}
	return filepath.Join(dir, name)
}

var (
	toolsMutex sync.Mutex
	tools      = map[string]func() (string, error){}
)

func toolDirectories(group string) func() (string, error) {
	toolsMutex.Lock()
	defer toolsMutex.Unlock()
	if tools[group] == nil {
		tools[group] = sync.OnceValues(func() (string, error) {
			cmd := exec.Command(root+"/hack/tools.sh", group)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			return strings.TrimSpace(string(out)), err
		})
	}
	return tools[group]
}

// run returns standard output, or what standard error says as an error.
func run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), errors.New(stderr.String())
	}
	return string(out), nil
}

// eachHelm runs a test with both versions of helm.
func eachHelm(t *testing.T, test func(t *testing.T, helm string)) {
	t.Helper()
	for _, group := range []string{"helm3", "helm4"} {
		t.Run(group, func(t *testing.T) { test(t, tool(t, group, "helm")) })
	}
}

func helmTemplate(t *testing.T, helm string, args ...string) (string, error) {
	t.Helper()
	return run(t, helm, append([]string{"template", release, chart, "--namespace", namespace, "--kube-version", "1.32.0"}, args...)...)
}

func TestLint(t *testing.T) {
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no values:", err)
	}
	eachHelm(t, func(t *testing.T, helm string) {
		for _, args := range append([][]string{nil}, withFlag("--values", files)...) {
			if out, err := run(t, helm, append([]string{"lint", "--strict", chart}, args...)...); err != nil {
				t.Errorf("%v: %s%s", args, out, err)
			}
		}
	})
}

func withFlag(name string, values []string) [][]string {
	var all [][]string
	for _, v := range values {
		all = append(all, []string{name, v})
	}
	return all
}

// Definitions and rights are generated, and compared with config/ below: golden
// files have their names alone, and of labels those that are not the release's.
func TestTemplatesAreAsTheGoldenFilesSay(t *testing.T) {
	for name, args := range map[string][]string{
		"default":    nil,
		"full":       {"--values", "testdata/values/full.yaml", "--api-versions", "packages-operator.io/v1alpha1/PackagesInstance"},
		"namespaced": {"--values", "testdata/values/namespaced.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, helm string) {
				out, err := helmTemplate(t, helm, args...)
				if err != nil {
					t.Fatal(err)
				}
				var text bytes.Buffer
				for _, object := range objects(t, out) {
					text.WriteString("---\n# " + key(object) + "\n")
					ours := len(object.GetLabels()["helm.sh/chart"]) > 0
					if ours {
						requireLabels(t, object)
					}
					if generated(object) {
						continue
					}
					switch object.GetKind() {
					case "ConfigMap":
						unstructured.RemoveNestedField(object.Object, "data")
					case "PrometheusRule":
						unstructured.RemoveNestedField(object.Object, "spec")
					}
					if ours {
						object.Object = same(object)
					}
					one, err := yaml.Marshal(object.Object)
					if err != nil {
						t.Fatal(err)
					}
					text.Write(one)
				}
				golden(t, "testdata/"+name+".golden.yaml", text.Bytes())
			})
		})
	}
}

// generated says whether an object's template is made from config/.
func generated(object *unstructured.Unstructured) bool {
	switch object.GetKind() {
	case "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
		return object.GetAnnotations()["helm.sh/hook"] == ""
	}
	return false
}

func requireLabels(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	for label, want := range map[string]string{
		"app.kubernetes.io/name": "packages-operator", "app.kubernetes.io/instance": release,
		"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/version": "dev",
	} {
		if got := object.GetLabels()[label]; got != want {
			t.Errorf("%s: the label %s is %q, want %q", key(object), label, got, want)
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; if that is meant, run go test ./test/chart -update (-want +got):\n%s", path, diff)
	}
}

// objects reads YAML documents, in an order of their own.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		all = append(all, object)
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int { return strings.Compare(key(a), key(b)) })
	for i := 1; i < len(all); i++ {
		if key(all[i]) == key(all[i-1]) {
			t.Errorf("%s is there twice", key(all[i]))
		}
	}
	return all
}

func key(o *unstructured.Unstructured) string {
	return strings.Join([]string{o.GetKind(), o.GetNamespace(), o.GetName()}, " ")
}

func TestBadValuesAreRefusedWithTheirPath(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		// Both versions of helm write paths, v3 as a pointer or with dots.
		want []string
	}{
		"an unknown key": {
			[]string{"--set", "replicaCount=2"},
			[]string{"additional properties 'replicaCount' not allowed"},
		},
		"an unknown key below another": {
			[]string{"--set", "image.tagg=1"},
			[]string{"/image", "additional properties 'tagg' not allowed"},
		},
		"a wrong type": {
			[]string{"--set-string", "replicas=two"},
			[]string{"/replicas", "got string, want integer"},
		},
		"a value that is none of those allowed": {
			[]string{"--set", "metrics.access=Everybody"},
			[]string{"/metrics/access", "'Authorized', 'Anyone'"},
		},
		"a digest that is none": {
			[]string{"--set", "image.digest=sha256:abc"},
			[]string{"/image/digest", "does not match pattern"},
		},
		"a namespace that cannot be": {
			[]string{"--set", "watchNamespaces={Team_A}"},
			[]string{"/watchNamespaces/0", "does not match pattern"},
		},
		"an instance with a misspelled field": {
			[]string{"--set", "instances[0].name=acme,instances[0].spec.hostnam=a.example.com"},
			[]string{"/instances/0/spec", "additional properties 'hostnam' not allowed"},
		},
		"an instance with a wrong value deep inside": {
			[]string{"--set", "instances[0].name=acme,instances[0].spec.hostname=a.example.com,instances[0].spec.storage.filesystem.size=1Gi,instances[0].spec.docker.support=Sometimes"},
			[]string{"/instances/0/spec/docker/support", "'Enabled', 'ReadOnly', 'Disabled'"},
		},
		"an instance without a name": {
			[]string{"--set", "instances[0].spec.hostname=a.example.com"},
			[]string{"/instances/0", "missing property 'name'"},
		},
		"an instance where the manager does not look": {
			[]string{"--values", "testdata/values/namespaced.yaml", "--set", "instances[0].name=acme,instances[0].namespace=elsewhere,instances[0].spec.hostname=a.example.com,instances[0].spec.storage.filesystem.size=1Gi"},
			[]string{"instances[0].namespace: the manager does not serve elsewhere: add it to watchNamespaces"},
		},
		"an instance without its kind": {
			[]string{"--set", "crds.enabled=false,instances[0].name=acme,instances[0].spec.hostname=a.example.com,instances[0].spec.storage.filesystem.size=1Gi"},
			[]string{"instances: the cluster does not serve PackagesInstance, and crds.enabled is false"},
		},
		"a monitor of metrics that are not served": {
			[]string{"--set", "metrics.enabled=false,metrics.serviceMonitor.enabled=true"},
			[]string{"metrics.serviceMonitor.enabled: the manager serves no metrics"},
		},
		"a limit of memory that cannot be read": {
			[]string{"--set", "resources.limits.memory=256M"},
			[]string{"/resources/limits/memory", "does not match pattern"},
		},
		"an old cluster": {
			[]string{"--kube-version", "1.31.9"},
			[]string{"chart requires kubeVersion: >=1.32.0-0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, helm string) {
				_, err := helmTemplate(t, helm, test.args...)
				if err == nil {
					t.Fatal("not refused")
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("the error lacks %q: %s", want, err)
					}
				}
			})
		})
	}
}

func TestDefinitionsAreKeptUnlessValuesSayOtherwise(t *testing.T) {
	const definitions = 5
	for name, test := range map[string]struct {
		args       []string
		want, kept int
	}{
		"by default": {nil, definitions, definitions},
		"keep":       {[]string{"--set", "crds.keep=false"}, definitions, 0},
		"enabled":    {[]string{"--set", "crds.enabled=false"}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, helm string) {
				out, err := helmTemplate(t, helm, test.args...)
				if err != nil {
					t.Fatal(err)
				}
				var found, kept int
				for _, object := range objects(t, out) {
					if object.GetKind() != "CustomResourceDefinition" {
						continue
					}
					found++
					if object.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
						kept++
					}
				}
				if found != test.want || kept != test.kept {
					t.Errorf("%d definitions, %d kept; want %d and %d", found, kept, test.want, test.kept)
				}
			})
		})
	}
}
