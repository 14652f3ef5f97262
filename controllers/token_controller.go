// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// tokenReconciler mints the values of PackagesTokens and reports how they are.
type tokenReconciler struct {
	*writer
	sources  *userSecrets
	verdicts *verdicts
	reporter reporter
	now      func() time.Time
	random   io.Reader
}

// tokenScope carries what one reconcile has loaded and decided.
type tokenScope struct {
	token *v1alpha1.PackagesToken
	// credential is the value that works, nil for none.
	credential *v1alpha1.TokenCredential
	conclusion conclusion
}

func (r *tokenReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	token := &v1alpha1.PackagesToken{}
	if err := r.cached.Get(ctx, request.NamespacedName, token); err != nil {
		if apierrors.IsNotFound(err) {
			r.sources.forget(request.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if !token.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	s := &tokenScope{token: token, conclusion: conclusion{ready: "the value works"}}
	err := r.reconcile(ctx, s)
	if f := (*finding)(nil); errors.As(err, &f) {
		s.conclusion.finding, err = f, nil
	}
	switch {
	case errors.Is(err, errUndecided):
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err):
		return ctrl.Result{}, err
	}
	s.conclusion.failure = err
	return r.summarize(ctx, s)
}

func (r *tokenReconciler) reconcile(ctx context.Context, s *tokenScope) error {
	instance, err := findInstance(ctx, r.cached, s.token.Namespace, s.token.Spec.InstanceRef.Name)
	if err != nil {
		return s.refuse(err)
	}
	if !hasEffect(instance) {
		return progressing(v1alpha1.ReasonInstanceNotReady, instanceWithoutEffect(instance.Name))
	}
	if err := r.provide(ctx, s, instance); err != nil {
		return s.refuse(err)
	}
	if expiresAt := s.token.Spec.ExpiresAt; expiresAt != nil && !r.now().Before(expiresAt.Time) {
		s.credential = nil
		return s.refuse(stalled(v1alpha1.ReasonExpired, "spec.expiresAt has passed: write a later one, or delete the token"))
	}

	key := types.NamespacedName{Namespace: s.token.Namespace, Name: instance.Name}
	verdict, known := r.verdicts.of(key, kindToken, s.token.UID, tokenVersion(s.token, s.credential.ID))
	switch {
	case !known:
		return undecided(instance.Name, s.token.Status.ObservedGeneration, s.token.Generation)
	case verdict.problem != nil:
		s.credential = nil
		return s.refuse(stalled(verdict.problem.Reason, verdict.problem.Message))
	}
	s.conclusion.accepted = &acceptance{true, v1alpha1.ReasonAccepted, "nothing stands in the token's way"}
	if !verdict.served && !r.reported(s) {
		return progressing(v1alpha1.ReasonInstanceNotReady, notServedYet(instance.Name))
	}
	return nil
}

// reported says whether the status already calls this very value ready.
func (r *tokenReconciler) reported(s *tokenScope) bool {
	credentials := s.token.Status.Credentials
	return wasReady(s.token.Status.Conditions, s.token.Generation) && len(credentials) == 1 && credentials[0].ID == s.credential.ID
}

// refuse makes a finding the reason why the token is not accepted.
func (s *tokenScope) refuse(err error) error {
	if f := (*finding)(nil); errors.As(err, &f) {
		s.conclusion.accepted = &acceptance{false, f.reason, f.message}
	}
	return err
}

// provide finds or makes the token's value.
func (r *tokenReconciler) provide(ctx context.Context, s *tokenScope, instance *v1alpha1.PackagesInstance) error {
	s.credential = &v1alpha1.TokenCredential{NotAfter: s.token.Spec.ExpiresAt}
	if s.token.Spec.Secret != nil {
		record, err := r.mint(ctx, s.token, compile.HostsOf(&instance.Spec).Docker)
		if err != nil {
			s.credential = nil
			return err
		}
		s.credential.ID, s.credential.IssuedAt = record.ID, metav1.NewTime(record.IssuedAt)
		return nil
	}
	value, err := r.sources.value(ctx, s.token)
	if err != nil {
		s.credential = nil
		return err
	}
	// When a brought value was made nobody knows; this is when it was first seen.
	s.credential.ID, s.credential.IssuedAt = value.id, metav1.NewTime(r.now().UTC().Truncate(time.Second))
	for _, known := range s.token.Status.Credentials {
		if known.ID == value.id {
			s.credential.IssuedAt = known.IssuedAt
		}
	}
	return nil
}

// summarize is the one place that writes a token's status.
func (r *tokenReconciler) summarize(ctx context.Context, s *tokenScope) (ctrl.Result, error) {
	before := s.token.DeepCopy()
	status := &s.token.Status
	now := r.now()
	status.Conditions = conditionsFor(status.Conditions, s.token.Generation, now, s.conclusion)
	status.ObservedGeneration = s.token.Generation
	if s.conclusion.failure == nil {
		status.Credentials = nil
		if s.credential != nil {
			status.Credentials = []v1alpha1.TokenCredential{*s.credential}
		}
	}
	if !equality.Semantic.DeepEqual(before.Status, *status) {
		if err := r.cached.Status().Patch(ctx, s.token, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, errors.Join(s.conclusion.failure, fmt.Errorf("writing the status: %w", err))
		}
		r.reporter.transition(s.token, before.Status.Conditions, status.Conditions)
	}
	if s.conclusion.failure != nil {
		return ctrl.Result{}, s.conclusion.failure
	}
	if expiresAt := s.token.Spec.ExpiresAt; expiresAt != nil && now.Before(expiresAt.Time) {
		return ctrl.Result{RequeueAfter: expiresAt.Sub(now)}, nil
	}
	return ctrl.Result{}, nil
}
