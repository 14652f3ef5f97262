// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// organizationReconciler reports how PackagesOrganizations are.
type organizationReconciler struct {
	*writer
	references *references
	verdicts   *verdicts
	reporter   reporter
	now        func() time.Time
}

func (r *organizationReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	organization := &v1alpha1.PackagesOrganization{}
	if err := r.cached.Get(ctx, request.NamespacedName, organization); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !organization.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	d := declaration{
		object:     organization,
		kind:       kindOrganization,
		version:    organizationVersion(organization),
		conditions: &organization.Status.Conditions,
		observed:   &organization.Status.ObservedGeneration,
		ready:      fmt.Sprintf("%s may own repositories, and its teams may be named in their access", organization.Spec.Name),
		accepted:   "no other object declares this organization",
	}
	outcome, err := r.verdicts.conclude(ctx, r.references, d)
	if f := (*finding)(nil); errors.As(err, &f) {
		outcome.finding, err = f, nil
	}
	switch {
	case errors.Is(err, errUndecided):
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err):
		return ctrl.Result{}, err
	}
	outcome.failure = err
	return ctrl.Result{}, r.reporter.report(ctx, r.writer, d, r.now(), outcome)
}
