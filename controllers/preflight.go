// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	apimachineryversion "k8s.io/apimachinery/pkg/version"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// MinimumKubernetes is the first release that selects custom resources by fields
// without a feature gate.
const MinimumKubernetes = "1.32"

// ErrOldKubernetes is what Preflight says of a release before MinimumKubernetes.
var ErrOldKubernetes = errors.New("packages-operator needs " + MinimumKubernetes + " or later, so upgrade the cluster first")

// Discovery is what Preflight asks of a cluster.
type Discovery interface {
	ServerVersion() (*apimachineryversion.Info, error)
	ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error)
}

// Preflight checks that a cluster can be served: it is new enough and has our
// kinds. Its errors say what to do.
func Preflight(cluster Discovery) error {
	info, err := cluster.ServerVersion()
	if err != nil {
		return fmt.Errorf("asking the Kubernetes API server for its version: %w", err)
	}
	found, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("reading the version of Kubernetes: %w", err)
	}
	if found.LessThan(version.MustParseGeneric(MinimumKubernetes)) {
		return fmt.Errorf("this cluster runs Kubernetes %s: %w", info.GitVersion, ErrOldKubernetes)
	}

	served, err := cluster.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("asking the Kubernetes API server for its kinds: %w", err)
	}
	var missing []string
	for _, kind := range []string{"PackagesInstance", "PackagesOrganization", "PackagesPolicy", "PackagesRepository", "PackagesToken"} {
		if served == nil || !slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this cluster does not serve %s of %s: install the CustomResourceDefinitions first, with kubectl apply --server-side -k config/crd",
			strings.Join(missing, ", "), v1alpha1.GroupVersion)
	}
	return nil
}
