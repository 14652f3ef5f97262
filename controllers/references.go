// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// findInstance returns the instance that an object refers to, or a finding. It is
// no error of the user's yet: objects are applied in any order.
func findInstance(ctx context.Context, reader client.Reader, namespace, name string) (*v1alpha1.PackagesInstance, error) {
	instance := &v1alpha1.PackagesInstance{}
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, instance)
	switch {
	case apierrors.IsNotFound(err):
		return nil, progressing(v1alpha1.ReasonInstanceNotFound, fmt.Sprintf(
			"there is no PackagesInstance %s in this namespace: create it, or delete this object and create one that refers to another", name))
	case err != nil:
		return nil, fmt.Errorf("reading the instance: %w", err)
	case !instance.DeletionTimestamp.IsZero():
		return nil, progressing(v1alpha1.ReasonInstanceNotFound, fmt.Sprintf("the PackagesInstance %s is being deleted", name))
	}
	return instance, nil
}

// hasEffect says whether nothing keeps an instance from its hosts, as far as known.
func hasEffect(instance *v1alpha1.PackagesInstance) bool {
	return !meta.IsStatusConditionFalse(instance.Status.Conditions, v1alpha1.ConditionAccepted)
}

func instanceWithoutEffect(name string) string {
	return fmt.Sprintf("the PackagesInstance %s is not accepted: see its conditions", name)
}

// errUndecided ends a reconcile that has to wait for the instance's verdict, as
// after a start of the manager: what the status says stands until then.
var errUndecided = errors.New("the instance has not been compiled with this object yet")

// undecided is errUndecided for an object whose status speaks of its generation,
// and for a newer one a finding.
func undecided(instance string, observed, generation int64) error {
	if observed == generation {
		return errUndecided
	}
	return progressing(v1alpha1.ReasonInstanceNotReady, notServedYet(instance))
}

func notServedYet(name string) string {
	return fmt.Sprintf("waiting for the registry of the PackagesInstance %s to take it up: see its conditions", name)
}
