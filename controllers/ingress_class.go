// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// legacyClass is the annotation that named a class before Ingresses had a field for
// it. Some controllers know no other name.
const legacyClass = "kubernetes.io/ingress.class"

// ingressClass finds the class that serves an instance's Ingress, and what is wrong
// with it.
func (r *instanceReconciler) ingressClass(ctx context.Context, exposure *v1alpha1.IngressExposure) (desired.IngressClass, *finding, error) {
	w, err := r.ingressClasses.use()
	if errors.Is(err, errNotAllowed) {
		// The API server and the controller see to it.
		return desired.IngressClass{Name: exposure.ClassName}, nil, nil
	}
	if err != nil {
		return desired.IngressClass{}, nil, fmt.Errorf("reading IngressClasses: %w", err)
	}
	var classes networkingv1.IngressClassList
	if err := w.cached.List(ctx, &classes); err != nil {
		return desired.IngressClass{}, nil, fmt.Errorf("listing IngressClasses: %w", err)
	}
	class, finding := chooseClass(classes.Items, exposure)
	return class, finding, nil
}

// chooseClass does as the API server does, but for every version of an Ingress and
// not for a new one alone, so that what is declared decides and not its history.
func chooseClass(classes []networkingv1.IngressClass, exposure *v1alpha1.IngressExposure) (desired.IngressClass, *finding) {
	named := func(name string) *networkingv1.IngressClass {
		for i := range classes {
			if classes[i].Name == name {
				return &classes[i]
			}
		}
		return nil
	}
	if exposure.ClassName != "" {
		class := desired.IngressClass{Name: exposure.ClassName}
		if found := named(class.Name); found != nil {
			class.Controller = found.Spec.Controller
			return class, nil
		}
		return class, progressing(v1alpha1.ReasonIngressClassNotFound, fmt.Sprintf(
			"there is no IngressClass %s: install its ingress controller, or name another in spec.exposure.ingress.className%s",
			class.Name, whatThereIs(classes)))
	}
	if name, said := exposure.Annotations[legacyClass]; said {
		if found := named(name); found != nil {
			return desired.IngressClass{Controller: found.Spec.Controller}, nil
		}
		return desired.IngressClass{}, nil
	}
	defaults := slices.DeleteFunc(slices.Clone(classes), func(class networkingv1.IngressClass) bool {
		return class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true"
	})
	if len(defaults) == 0 {
		return desired.IngressClass{}, progressing(v1alpha1.ReasonIngressClassNotFound,
			"the cluster has no default IngressClass: name one in spec.exposure.ingress.className"+whatThereIs(classes))
	}
	newest := slices.MinFunc(defaults, func(a, b networkingv1.IngressClass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return desired.IngressClass{Name: newest.Name, Controller: newest.Spec.Controller}, nil
}

// maxNames is how many names a message lists.
const maxNames = 5

func whatThereIs(classes []networkingv1.IngressClass) string {
	names := make([]string, 0, len(classes))
	for i := range classes {
		names = append(names, classes[i].Name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	if len(names) > maxNames {
		names = append(names[:maxNames], "…")
	}
	return "; there is " + strings.Join(names, ", ")
}
