// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// references finds the instances that objects refer to.
type references struct {
	cached client.Reader
	labels *namespaceLabels
}

// instance returns the instance that an object refers to, or a finding. It is no
// error of the user's yet: objects are applied in any order.
func (r *references) instance(ctx context.Context, object client.Object) (*v1alpha1.PackagesInstance, error) {
	key := instanceOf(object)
	instance := &v1alpha1.PackagesInstance{}
	err := r.cached.Get(ctx, key, instance)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the instance: %w", err)
	}
	found := err == nil
	if namespace := object.GetNamespace(); namespace != key.Namespace {
		allowed := false
		if found {
			allowance, err := r.labels.allowance(ctx, instance, namespace)
			if err != nil {
				return nil, err
			}
			allowed = allowance.Any()
		}
		if !allowed {
			return nil, progressing(v1alpha1.ReasonNamespaceNotAllowed, compile.NamespaceNotAllowed(key, namespace))
		}
	}
	switch {
	case !found:
		return nil, progressing(v1alpha1.ReasonInstanceNotFound, fmt.Sprintf(
			"there is no PackagesInstance %s in this namespace: create it, or delete this object and create one that refers to another", key.Name))
	case !instance.DeletionTimestamp.IsZero():
		return nil, progressing(v1alpha1.ReasonInstanceNotFound, fmt.Sprintf("the PackagesInstance %s is being deleted", key.Name))
	}
	return instance, nil
}

// namespaceLabels reads the labels of namespaces from a cache of metadata. The zero
// value knows none, as a manager that is limited to some namespaces.
type namespaceLabels struct{ metadata client.Reader }

// of are the labels of a namespace, nil if they are not known.
func (n *namespaceLabels) of(ctx context.Context, namespace string) (map[string]string, error) {
	if n.metadata == nil {
		return nil, nil
	}
	object := namespaceMetadata()
	if err := n.metadata.Get(ctx, types.NamespacedName{Name: namespace}, object); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the labels of namespace %s: %w", namespace, err)
	}
	if object.Labels == nil {
		return map[string]string{}, nil
	}
	return object.Labels, nil
}

// allowance is what an instance allows a namespace.
func (n *namespaceLabels) allowance(ctx context.Context, instance *v1alpha1.PackagesInstance, namespace string) (compile.Allowance, error) {
	labels, err := n.of(ctx, namespace)
	return compile.AllowanceOf(instance, namespace, labels), err
}

// selected says whether the selectors of an instance choose namespaces; nil without
// one.
func (n *namespaceLabels) selected(instance *v1alpha1.PackagesInstance) *acceptance {
	entry := slices.IndexFunc(instance.Spec.AllowedNamespaces, func(entry v1alpha1.AllowedNamespaces) bool { return entry.Selector != nil })
	switch {
	case entry < 0:
		return nil
	case n.metadata == nil:
		return &acceptance{false, v1alpha1.ReasonNamespaceLabelsUnknown, fmt.Sprintf(
			"the operator is limited to some namespaces and reads no labels of any, so that selectors choose none: write names in spec.allowedNamespaces[%d]", entry)}
	}
	return &acceptance{true, v1alpha1.ReasonNamespacesSelected, "selectors choose namespaces by their labels"}
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
