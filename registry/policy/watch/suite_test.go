// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var (
	// admin writes what the manager would write.
	admin      client.Client
	restConfig *rest.Config
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run starts a real API server with the definitions.
func run(m *testing.M) (code int, err error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return 0, errors.New("these tests need a kube-apiserver and an etcd: use `make test`, or name their folder in KUBEBUILDER_ASSETS")
	}
	if err := v1alpha1.AddToScheme(clientgoscheme.Scheme); err != nil {
		return 0, err
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{"../../../config/crd/bases"},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	if restConfig, err = env.Start(); err != nil {
		return 0, fmt.Errorf("start an API server with the definitions: %w", err)
	}
	restConfig.QPS, restConfig.Burst = 1000, 1000
	if admin, err = client.New(restConfig, client.Options{Scheme: clientgoscheme.Scheme}); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "watch-"}}
	if err := admin.Create(context.Background(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}
