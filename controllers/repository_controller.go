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
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// repositoryReconciler reports how PackagesRepositories are, and holds one back
// from deletion until its images are deleted, if its policy says so.
type repositoryReconciler struct {
	*writer
	references *references
	verdicts   *verdicts
	reporter   reporter
	now        func() time.Time
}

func (r *repositoryReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	repository := &v1alpha1.PackagesRepository{}
	if err := r.cached.Get(ctx, request.NamespacedName, repository); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	deleting := !repository.DeletionTimestamp.IsZero()
	if deleting && !controllerutil.ContainsFinalizer(repository, v1alpha1.FinalizerData) {
		return ctrl.Result{}, nil
	}
	// Only content that is to be deleted holds the object back.
	holds := repository.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete
	if !deleting || !holds {
		if _, err := r.setFinalizer(ctx, repository, holds); err != nil || deleting {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}

	decide := r.declare
	if deleting {
		decide = r.purge
	}
	outcome, err := decide(ctx, repository)
	if f := (*finding)(nil); errors.As(err, &f) {
		outcome.finding, err = f, nil
	}
	switch {
	case errors.Is(err, errUndecided), deleting && err == nil && outcome.finding == nil:
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err):
		return ctrl.Result{}, err
	}
	outcome.failure = err
	return ctrl.Result{}, r.reporter.report(ctx, r.writer, r.declaration(repository), r.now(), outcome)
}

// declare decides about a repository that is to be served.
func (r *repositoryReconciler) declare(ctx context.Context, repository *v1alpha1.PackagesRepository) (conclusion, error) {
	return r.verdicts.conclude(ctx, r.references, r.declaration(repository))
}

func (r *repositoryReconciler) declaration(repository *v1alpha1.PackagesRepository) declaration {
	return declaration{
		object:     repository,
		kind:       kindRepository,
		version:    repositoryVersion(repository),
		conditions: &repository.Status.Conditions,
		observed:   &repository.Status.ObservedGeneration,
		ready:      fmt.Sprintf("images are at OWNER/REPOSITORY %s/%s", repository.Spec.Owner, repository.Spec.Name),
		accepted:   "no other object declares this owner and name, and every entry of access has effect",
	}
}

// purge lets a repository go when its images are deleted, or when there is nothing
// left that could delete them. Its policy asks for the deletion as long as the
// object is there; nothing else ever deletes content.
func (r *repositoryReconciler) purge(ctx context.Context, repository *v1alpha1.PackagesRepository) (conclusion, error) {
	_, err := r.references.instance(ctx, repository)
	gone := (*finding)(nil)
	if err != nil && !errors.As(err, &gone) {
		return conclusion{}, err
	}
	instance := instanceOf(repository)
	verdict, known := r.verdicts.of(instance, kindRepository, repository.UID, repositoryVersion(repository))
	// Content of an owner and name that another object holds is the other's, and what a
	// namespace is no longer allowed it cannot delete.
	if gone != nil || known && (verdict.purged || verdict.dataless || verdict.problem != nil && !verdict.problem.Partial) {
		_, err := r.setFinalizer(ctx, repository, false)
		return conclusion{}, client.IgnoreNotFound(err)
	}
	return conclusion{}, progressing(v1alpha1.ReasonProgressing, fmt.Sprintf(
		"waiting for the registry of the PackagesInstance %s to delete the images, as spec.deletionPolicy says; set it to Retain to keep them", instance.Name))
}
