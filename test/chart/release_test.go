// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// apiServer is a Kubernetes API server, without nodes and controllers.
type apiServer struct {
	kubeconfig string
	admin      client.Client
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	log.SetLogger(logr.Discard())
	t.Setenv("KUBEBUILDER_ASSETS", filepath.Dir(tool(t, "control-plane", "kubectl")))
	server := &envtest.Environment{ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme := clientgoscheme.Scheme
	for _, add := range []func() error{
		func() error { return apiextensionsv1.AddToScheme(scheme) },
		func() error { return v1alpha1.AddToScheme(scheme) },
	} {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, server.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return &apiServer{path, admin}
}

// run is helm or kubectl on the API server.
func (s *apiServer) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "HELM_NAMESPACE="+namespace,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "HTTPS_PROXY=", "https_proxy=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %s%s", filepath.Base(program), strings.Join(args, " "), out, &stderr)
	}
	return string(out)
}

// apply is kubectl apply of a folder of config/ with components.
func (s *apiServer) apply(t *testing.T, folder string, components ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(path, []byte(kustomize(t, folder, components...)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, tool(t, "control-plane", "kubectl"), "apply", "--server-side", "-f", path)
}

func (s *apiServer) args(t *testing.T) []string {
	t.Helper()
	deployment := &appsv1.Deployment{}
	if err := s.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "packages-operator-manager"}, deployment); err != nil {
		t.Fatal(err)
	}
	return deployment.Spec.Template.Spec.Containers[0].Args
}

func (s *apiServer) shortName(t *testing.T) string {
	t.Helper()
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := s.admin.Get(t.Context(), client.ObjectKey{Name: "packagestokens.packages-operator.io"}, definition); err != nil {
		t.Fatal(err)
	}
	return definition.Spec.Names.ShortNames[0]
}

// olderChart has another short name in one definition.
func olderChart(t *testing.T) string {
	t.Helper()
	older := filepath.Join(t.TempDir(), "chart")
	if err := os.CopyFS(older, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(older, "templates/generated/crds/packagestokens.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "- pkgtoken\n", "- oldtoken\n", 1)
	if changed == string(text) {
		t.Fatal("the definition has no such short name")
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return older
}

var revision = regexp.MustCompile(`(?m)^REVISION: (\d+)$`)

func TestAReleaseKeepsWhatPeopleDeclared(t *testing.T) {
	server := startAPIServer(t)
	eachHelm(t, func(t *testing.T, helm string) {
		server.run(t, helm, "install", release, olderChart(t), "--create-namespace")
		if got := server.shortName(t); got != "oldtoken" {
			t.Fatalf("the short name is %s", got)
		}
		instance := &v1alpha1.PackagesInstance{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "acme"},
			Spec: v1alpha1.PackagesInstanceSpec{
				Hostname: "packages.example.com",
				Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("1Gi")}},
			},
		}
		eventually(t, func() error { return client.IgnoreAlreadyExists(server.admin.Create(t.Context(), instance)) })

		// An upgrade brings the definitions along.
		server.run(t, helm, "upgrade", release, chart)
		if got := server.shortName(t); got != "pkgtoken" {
			t.Errorf("after an upgrade the short name is %s", got)
		}
		found := revision.FindStringSubmatch(server.run(t, helm, "status", release))
		if found == nil {
			t.Fatal("no revision")
		}
		server.run(t, helm, "upgrade", release, chart, "--set", "logging.level=debug")
		if !slices.Contains(server.args(t), "--log-level=debug") {
			t.Errorf("after an upgrade with another value: %v", server.args(t))
		}
		server.run(t, helm, "rollback", release, found[1])
		if slices.Contains(server.args(t), "--log-level=debug") {
			t.Errorf("after a rollback: %v", server.args(t))
		}

		before := &v1alpha1.PackagesInstance{}
		if err := server.admin.Get(t.Context(), client.ObjectKeyFromObject(instance), before); err != nil {
			t.Fatal(err)
		}
		server.run(t, helm, "uninstall", release)
		server.run(t, helm, "install", release, chart, "--set", "replicas=1")
		after := &v1alpha1.PackagesInstance{}
		if err := server.admin.Get(t.Context(), client.ObjectKeyFromObject(instance), after); err != nil {
			t.Fatal("after an uninstall and an install: ", err)
		}
		if after.UID != before.UID || after.DeletionTimestamp != nil {
			t.Error("the instance is another one")
		}
		if got := server.shortName(t); got != "pkgtoken" {
			t.Errorf("after a new install the short name is %s", got)
		}

		// An instance of the release, where its kind is served.
		declared := []string{
			"--set", "instances[0].name=declared", "--set", "instances[0].namespace=default",
			"--set", "instances[0].spec.hostname=declared.example.com", "--set", "instances[0].spec.storage.filesystem.size=1Gi",
		}
		key := client.ObjectKey{Namespace: "default", Name: "declared"}
		server.run(t, helm, append([]string{"upgrade", release, chart}, declared...)...)
		server.run(t, helm, append([]string{"upgrade", release, chart, "--set", "instances[0].spec.docker.support=ReadOnly"}, declared...)...)
		if err := server.admin.Get(t.Context(), key, after); err != nil {
			t.Fatal(err)
		}
		if after.Spec.Docker.Support != v1alpha1.SupportReadOnly {
			t.Errorf("docker.support is %s", after.Spec.Docker.Support)
		}
		server.run(t, helm, "upgrade", release, chart)
		server.run(t, helm, "uninstall", release)
		if err := server.admin.Get(t.Context(), key, after); err != nil {
			t.Error("an instance that was in values: ", err)
		}
	})
}

func TestTheAPIServerTakesWhatKustomizeMakes(t *testing.T) {
	server := startAPIServer(t)
	kubectl := tool(t, "control-plane", "kubectl")
	server.run(t, kubectl, "create", "namespace", "packages")
	for _, folder := range []string{"default", "namespaced"} {
		server.apply(t, folder, "network-policy")
	}
}

// eventually retries for kinds that are served a moment after their definitions.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}
