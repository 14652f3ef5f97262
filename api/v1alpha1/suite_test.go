// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The tests of this package apply objects to a real API server that has the
// CustomResourceDefinitions of config/crd, and check what it says.

package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	packagesv1alpha1 "github.com/packages-operator/packages-operator/api/v1alpha1"
)

var (
	crdDir     = filepath.Join("..", "..", "config", "crd", "bases")
	samplesDir = filepath.Join("..", "..", "config", "samples")
)

// api speaks to the API server of this run; restConfig is how it is reached.
var (
	api        client.Client
	restConfig *rest.Config
	scheme     = runtime.NewScheme()
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
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return 0, fmt.Errorf("these tests need a kube-apiserver and an etcd: use `make test`, or name their folder in KUBEBUILDER_ASSETS")
	}
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return 0, err
	}
	if err := packagesv1alpha1.AddToScheme(scheme); err != nil {
		return 0, err
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{crdDir},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// Start can fail with the API server running, when a definition is refused.
	defer func() {
		if stopErr := env.Stop(); stopErr != nil && err == nil {
			err = fmt.Errorf("stop the API server: %w", stopErr)
		}
	}()
	restConfig, err = env.Start()
	if err != nil {
		return 0, fmt.Errorf("start an API server with the definitions: %w", err)
	}
	restConfig.QPS, restConfig.Burst = 1000, 1000
	api, err = client.New(restConfig, client.Options{Scheme: scheme})
	if err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// newNamespace makes a namespace for one test. It is left behind: nothing in
// this API server would empty it.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "crd-"}}
	if err := api.Create(context.Background(), namespace); err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	return namespace.Name
}
