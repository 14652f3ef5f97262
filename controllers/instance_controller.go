// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// instanceReconciler makes a PackagesInstance a running registry, and compiles
// its policy.
type instanceReconciler struct {
	*writer
	sources      *userSecrets
	labels       *namespaceLabels
	accounts     *serviceAccounts
	issuer       *clusterIssuer
	certificates *certificates
	verdicts     *verdicts
	pods         PodStatusReader
	health       *podHealth
	reporter     reporter
	// namespaces are those that the manager serves; none is all.
	namespaces []string
	// Kinds that the cluster may lack, or keep from the manager:
	ingressClasses *foreignKind
	gatewayAPI     gatewayAPI
	certManager    *foreignKind
	// image is the registry's, and version what it is called.
	image   string
	version string
	// trustedProxies are believed by the registries.
	trustedProxies []netip.Prefix
	now            func() time.Time
	random         io.Reader
}

// instanceScope carries what one reconcile has loaded and decided.
type instanceScope struct {
	instance *v1alpha1.PackagesInstance
	claim    claim
	hosts    policy.Hosts
	// volume is the claim as it was found, nil for none, and dataUID the identity of
	// the data on it.
	volume  *corev1.PersistentVolumeClaim
	dataUID types.UID
	// blocked is why something that the registry runs on cannot be as wanted. What
	// runs is looked at nevertheless: it serves what it was told.
	blocked *finding
	// ungrown is why the claim does not ask for as much as the spec says.
	ungrown *finding

	purges      []string
	revision    string
	certificate certificateVerdict
	// issuerAfter is when to ask again who signs tokens of ServiceAccounts, 0 for never.
	issuerAfter time.Duration
	exposure    exposureVerdict
	// exposureFailure and certificateFailure are errors of the API that are reported
	// last.
	exposureFailure, certificateFailure error
	// pollAfter is when pods have to be asked again, 0 for not at all.
	pollAfter time.Duration

	conclusion conclusion
}

func (r *instanceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	instance := &v1alpha1.PackagesInstance{}
	if err := r.cached.Get(ctx, request.NamespacedName, instance); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
			forgetInstance(request.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if !instance.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finalize(ctx, instance)
	}
	// The finalizer is there before the first object that it answers for.
	if changed, err := r.setFinalizer(ctx, instance, true); changed || err != nil {
		return ctrl.Result{}, err
	}

	s := &instanceScope{
		instance: instance,
		claim:    claim{owner: instance, label: v1alpha1.LabelInstance},
		conclusion: conclusion{also: map[string]*acceptance{
			v1alpha1.ConditionNamespacesSelected: r.labels.selected(instance),
		}},
	}
	err := r.reconcile(ctx, s)
	if f := (*finding)(nil); errors.As(err, &f) {
		s.conclusion.finding, err = f, nil
	}
	if apierrors.IsConflict(err) {
		// Somebody was faster; what they wrote wakes us again, if not sooner.
		return ctrl.Result{}, err
	}
	s.conclusion.failure = err
	return r.summarize(ctx, s)
}

// reconcile goes through the steps in order. The first finding or error ends it.
func (r *instanceReconciler) reconcile(ctx context.Context, s *instanceScope) error {
	for _, step := range []func(context.Context, *instanceScope) error{
		r.accept,
		r.identify,
		// The policy comes first, so that nothing else keeps a right from being
		// taken away.
		r.applyPolicy,
		r.expose,
		r.inspectCertificate,
		r.applyObjects,
		r.observe,
		r.requireVolume,
		r.requireExposure,
		r.requireCertificate,
	} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// summarize is the one place that writes an instance's status.
func (r *instanceReconciler) summarize(ctx context.Context, s *instanceScope) (ctrl.Result, error) {
	before := s.instance.DeepCopy()
	status := &s.instance.Status
	status.Conditions = conditionsFor(status.Conditions, s.instance.Generation, r.now(), s.conclusion)
	status.ObservedGeneration = s.instance.Generation
	status.Endpoints = v1alpha1.InstanceEndpoints{}
	if accepted := s.conclusion.accepted; accepted == nil || accepted.accepted {
		status.Version = r.version
		if s.instance.Spec.Docker.Support != v1alpha1.SupportDisabled {
			status.Endpoints.Docker = &v1alpha1.Endpoint{Host: s.hosts.Docker, URL: s.hosts.URL}
		}
	}
	if s.revision != "" {
		status.PolicyRevision = s.revision
	}
	if !equality.Semantic.DeepEqual(before.Status, *status) {
		if err := r.cached.Status().Patch(ctx, s.instance, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, errors.Join(s.conclusion.failure, fmt.Errorf("writing the status: %w", err))
		}
		r.reporter.transition(s.instance, before.Status.Conditions, status.Conditions)
	}
	measureInstance(s.instance)
	result := ctrl.Result{RequeueAfter: s.pollAfter}
	sooner := func(after time.Duration) {
		if result.RequeueAfter == 0 || after < result.RequeueAfter {
			result.RequeueAfter = after
		}
	}
	if f := s.conclusion.finding; f != nil && f.again > 0 {
		sooner(f.again)
	}
	if s.issuerAfter > 0 {
		sooner(s.issuerAfter)
	}
	if again := s.certificate.again; !again.IsZero() {
		sooner(max(again.Sub(r.now()), time.Second))
	}
	if s.conclusion.failure != nil {
		result = ctrl.Result{}
	}
	return result, s.conclusion.failure
}

// finalize deletes the volume if the deletion policy says so now. Everything else
// goes with its owner. It creates nothing, which a namespace that is being
// deleted would refuse.
func (r *instanceReconciler) finalize(ctx context.Context, instance *v1alpha1.PackagesInstance) error {
	if instance.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete {
		key := types.NamespacedName{Namespace: instance.Namespace, Name: desired.DataName(instance.Name)}
		if err := remove[corev1.PersistentVolumeClaim](ctx, r.writer, claim{instance, v1alpha1.LabelInstance}, key); err != nil {
			return err
		}
	}
	r.forget(client.ObjectKeyFromObject(instance))
	_, err := r.setFinalizer(ctx, instance, false)
	return client.IgnoreNotFound(err)
}

func (r *instanceReconciler) forget(instance types.NamespacedName) {
	r.verdicts.forget(instance)
	r.health.found(instance)
}
