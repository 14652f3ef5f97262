// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// tokenReconciler mints the values of PackagesTokens and reports how they are.
type tokenReconciler struct {
	*writer
	references *references
	sources    *userSecrets
	verdicts   *verdicts
	reporter   reporter
	// announced are the values that rotation is about to write.
	announced announcedValues
	now       func() time.Time
	random    io.Reader
}

// tokenScope carries what one reconcile has loaded and decided.
type tokenScope struct {
	token *v1alpha1.PackagesToken
	// credentials are the values that work, the newest first.
	credentials []v1alpha1.TokenCredential
	// version is what the registry has to know of the token.
	version string
	// wake is when time alone changes something next; zero for never.
	wake       time.Time
	conclusion conclusion
}

func (r *tokenReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	token := &v1alpha1.PackagesToken{}
	if err := r.cached.Get(ctx, request.NamespacedName, token); err != nil {
		if apierrors.IsNotFound(err) {
			r.sources.forget(request.NamespacedName)
			r.announced.forget(request.NamespacedName)
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
	instance, err := r.references.instance(ctx, s.token)
	if err != nil {
		return s.refuse(err)
	}
	if !hasEffect(instance) {
		return progressing(v1alpha1.ReasonInstanceNotReady, instanceWithoutEffect(instance.Name))
	}
	if err := r.provide(ctx, s, instance); err != nil {
		return s.refuse(err)
	}
	if r.expired(s.token) {
		s.credentials, s.wake = nil, time.Time{}
		return s.refuse(stalled(v1alpha1.ReasonExpired, "spec.expiresAt has passed: write a later one, or delete the token"))
	}

	verdict, known := r.verdicts.of(client.ObjectKeyFromObject(instance), kindToken, s.token.UID, s.version)
	switch {
	case !known:
		return undecided(instance.Name, s.token.Status.ObservedGeneration, s.token.Generation)
	case verdict.problem != nil:
		if !verdict.problem.Partial {
			s.credentials = nil
		}
		return s.refuse(stalled(verdict.problem.Reason, verdict.problem.Message))
	}
	s.conclusion.accepted = &acceptance{true, v1alpha1.ReasonAccepted, "nothing stands in the token's way"}
	if !verdict.served && !r.reported(s) {
		return progressing(v1alpha1.ReasonInstanceNotReady, notServedYet(instance.Name))
	}
	return nil
}

// reported says whether the status already calls this very value ready, or the one
// before it: a value that follows another was served before it was written.
func (r *tokenReconciler) reported(s *tokenScope) bool {
	if !wasReady(s.token.Status.Conditions, s.token.Generation) {
		return false
	}
	return r.announced.written(client.ObjectKeyFromObject(s.token), s.credentials[0].ID) ||
		slices.ContainsFunc(s.token.Status.Credentials, func(known v1alpha1.TokenCredential) bool {
			return slices.ContainsFunc(s.credentials, func(c v1alpha1.TokenCredential) bool { return c.ID == known.ID })
		})
}

func (r *tokenReconciler) expired(token *v1alpha1.PackagesToken) bool {
	return token.Spec.ExpiresAt != nil && !r.now().Before(token.Spec.ExpiresAt.Time)
}

// refuse makes a finding the reason why the token is not accepted.
func (s *tokenScope) refuse(err error) error {
	if f := (*finding)(nil); errors.As(err, &f) {
		s.conclusion.accepted = &acceptance{false, f.reason, f.message}
	}
	return err
}

// provide finds or makes the token's values.
func (r *tokenReconciler) provide(ctx context.Context, s *tokenScope, instance *v1alpha1.PackagesInstance) error {
	end := s.token.Spec.ExpiresAt
	if end != nil {
		s.wake = end.Time
	}
	if s.token.Spec.Secret != nil {
		record, err := r.mint(ctx, s.token, compile.HostsOf(&instance.Spec).Docker)
		if err != nil {
			return err
		}
		s.version = tokenVersion(s.token, credentialsOf(record))
		s.credentials = []v1alpha1.TokenCredential{{ID: record.ID, IssuedAt: metav1.NewTime(record.IssuedAt), NotAfter: end}}
		if previous := record.Previous; previous != nil {
			notAfter := metav1.NewTime(previous.NotAfter)
			if end != nil && end.Before(&notAfter) {
				notAfter = *end
			}
			s.credentials = append(s.credentials, v1alpha1.TokenCredential{
				ID: previous.ID, IssuedAt: metav1.NewTime(previous.IssuedAt), NotAfter: &notAfter,
			})
		}
		if at := nextStep(record, s.token.Spec.Rotation); !at.IsZero() && (s.wake.IsZero() || at.Before(s.wake)) {
			s.wake = at
		}
		return nil
	}
	value, err := r.sources.value(ctx, s.token)
	if err != nil {
		return err
	}
	s.version = tokenVersion(s.token, []compile.Credential{{Hash: value.hash, ID: value.id}})
	// When a brought value was made nobody knows; this is when it was first seen.
	seen := v1alpha1.TokenCredential{ID: value.id, IssuedAt: metav1.NewTime(r.seconds()), NotAfter: end}
	for _, known := range s.token.Status.Credentials {
		if known.ID == value.id {
			seen.IssuedAt = known.IssuedAt
		}
	}
	s.credentials = []v1alpha1.TokenCredential{seen}
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
		status.Credentials = s.credentials
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
	if !s.wake.IsZero() {
		// Not now, but never zero, which would mean never.
		return ctrl.Result{RequeueAfter: max(s.wake.Sub(now), time.Millisecond)}, nil
	}
	return ctrl.Result{}, nil
}
