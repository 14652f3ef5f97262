// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The tests of this package run the plugin against a real API server; they play the
// operator where a test needs what it writes. End-to-end tests have the real one.

package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/plugin"
)

const value = "pkgt_0123456789012345678901234567890123456789"

var (
	testEnv *envtest.Environment
	api     client.Client
	// assets has kubectl beside the API server.
	assets string
	// admin is the kubeconfig file of somebody with all rights.
	admin string
	// bare is what status said before the cluster had the CRDs.
	bare outcome
	// program is the plugin's binary, and the folder has its link for completion.
	program string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	assets = os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return 0, errors.New("these tests need a kube-apiserver and an etcd: use `make test`, or name their folder in KUBEBUILDER_ASSETS")
	}
	log.SetLogger(logr.Discard())
	folder, err := os.MkdirTemp("", "plugin-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	program = filepath.Join(folder, "kubectl-packages")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3-test", "-o", program, "../cmd/kubectl-packages")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the plugin: %w: %s", err, out)
	}
	if err := os.Symlink(program, filepath.Join(folder, plugin.CompletionProgram)); err != nil {
		return 0, err
	}

	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return 0, err
	}
	testEnv = &envtest.Environment{
		BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}
	defer func() { err = errors.Join(err, testEnv.Stop()) }()
	config, err := testEnv.Start()
	if err != nil {
		return 0, fmt.Errorf("starting an API server: %w", err)
	}
	config.QPS, config.Burst = 1000, 1000
	admin = filepath.Join(folder, "admin.kubeconfig")
	if err := os.WriteFile(admin, testEnv.KubeConfig, 0o600); err != nil {
		return 0, err
	}
	bare = execute(context.Background(), "status", "--kubeconfig", admin, "--all-namespaces")
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{
		Paths: []string{filepath.Join("..", "config", "crd", "bases")}, ErrorIfPathMissing: true,
	}); err != nil {
		return 0, err
	}
	if api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// outcome is what a command did.
type outcome struct {
	out, err string
	status   int
}

// execute runs the plugin as this process.
func execute(ctx context.Context, args ...string) outcome {
	var out, errOut bytes.Buffer
	env := plugin.OfProcess("v1.2.3-test")
	env.Out, env.Err = &out, &errOut
	env.Now = func() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }
	status := plugin.Run(ctx, env, append([]string{"kubectl-packages"}, args...))
	return outcome{out.String(), errOut.String(), status}
}

// desk is a person at a terminal, in a namespace of their own, with a docker
// configuration of their own.
type desk struct {
	t          *testing.T
	kubeconfig string
	namespace  string
	docker     string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "plugin-"}}
	if err := api.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, kubeconfig: admin, namespace: namespace.Name, docker: filepath.Join(t.TempDir(), "docker")}
	t.Setenv("DOCKER_CONFIG", d.docker)
	return d
}

// run runs the plugin.
func (d *desk) run(args ...string) outcome {
	d.t.Helper()
	o := execute(d.t.Context(), append(args, "--kubeconfig", d.kubeconfig, "--namespace", d.namespace)...)
	d.t.Logf("$ kubectl packages %s\n%s%s(%d)", strings.Join(args, " "), o.out, o.err, o.status)
	return o
}

// works runs what has to work, and returns what it prints.
func (d *desk) works(args ...string) string {
	d.t.Helper()
	o := d.run(args...)
	if o.status != plugin.ExitWell {
		d.t.Fatalf("kubectl packages %v: exit status %d: %s", args, o.status, o.err)
	}
	return o.out
}

// fails runs what has to fail, saying why.
func (d *desk) fails(status int, why string, args ...string) {
	d.t.Helper()
	o := d.run(args...)
	if o.status != status || !strings.Contains(o.err, why) {
		d.t.Errorf("kubectl packages %v: exit status %d and %q, not %d and %q", args, o.status, o.err, status, why)
	}
	if strings.Contains(o.err+o.out, value) {
		d.t.Error("an error has the token's value")
	}
}

func (d *desk) config() string {
	text, err := os.ReadFile(filepath.Join(d.docker, "config.json"))
	if err != nil {
		return ""
	}
	return string(text)
}

func (d *desk) create(objects ...client.Object) {
	d.t.Helper()
	for _, object := range objects {
		object.SetNamespace(d.namespace)
		status := object.DeepCopyObject().(client.Object)
		if err := api.Create(d.t.Context(), object); err != nil {
			d.t.Fatal(err)
		}
		switch o := object.(type) {
		case *v1alpha1.PackagesInstance:
			o.Status = status.(*v1alpha1.PackagesInstance).Status
		case *v1alpha1.PackagesToken:
			o.Status = status.(*v1alpha1.PackagesToken).Status
		case *v1alpha1.PackagesRepository:
			o.Status = status.(*v1alpha1.PackagesRepository).Status
		default:
			continue
		}
		if err := api.Status().Update(d.t.Context(), object); err != nil {
			d.t.Fatal(err)
		}
	}
}

// somebody gives a person the rights of a rule in the namespace, and nothing else.
func (d *desk) somebody(name string, grant func() client.Object) {
	d.t.Helper()
	user, err := testEnv.AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		d.t.Fatal(err)
	}
	d.kubeconfig = filepath.Join(d.t.TempDir(), name)
	if err := os.WriteFile(d.kubeconfig, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
	if grant != nil {
		if err := api.Create(d.t.Context(), grant()); err != nil {
			d.t.Fatal(err)
		}
	}
}
