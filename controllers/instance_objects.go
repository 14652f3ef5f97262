// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// applyObjects makes everything that the registry runs on. One object that cannot
// be made keeps no other from being made; the first reason is reported.
func (r *instanceReconciler) applyObjects(ctx context.Context, s *instanceScope) error {
	var errs []error
	for _, apply := range []func(context.Context, *instanceScope) error{
		r.applyKeys,
		r.applyRBAC,
		r.applyStorage,
		r.applyService,
		r.applyStatefulSet,
	} {
		if err := apply(ctx, s); err != nil {
			errs = append(errs, s.objectFinding(err))
		}
	}
	for _, err := range errs {
		if errors.As(err, &s.blocked) {
			return nil
		}
	}
	return errors.Join(errs...)
}

// applyKeys makes the signing keys once. What is there is kept, since pods and
// clients rely on it, unless it cannot work.
func (r *instanceReconciler) applyKeys(ctx context.Context, s *instanceScope) error {
	current, err := find[corev1.Secret](ctx, r.writer, s.claim, "Secret",
		types.NamespacedName{Namespace: s.instance.Namespace, Name: desired.KeysName(s.instance.Name)})
	if err != nil {
		return err
	}
	var keys map[string][]byte
	if current != nil && desired.UsableKeys(current.Data) {
		keys = current.Data
	} else {
		// What somebody else wrote into it would stay, so it is made anew.
		if current != nil {
			if err := r.discard(ctx, current); err != nil {
				return err
			}
			current = nil
		}
		if keys, err = newKeys(r.random); err != nil {
			return err
		}
	}
	return put(ctx, r.writer, current, desired.KeysSecret(s.instance, keys), corev1ac.ExtractSecret)
}

func newKeys(random io.Reader) (map[string][]byte, error) {
	var id [8]byte
	key := make([]byte, desired.KeyLength)
	for _, b := range [][]byte{id[:], key} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("making a signing key: %w", err)
		}
	}
	return map[string][]byte{hex.EncodeToString(id[:]): key}, nil
}

func (r *instanceReconciler) applyRBAC(ctx context.Context, s *instanceScope) error {
	if err := ensure[corev1.ServiceAccount](ctx, r.writer, s.claim, desired.ServiceAccount(s.instance), corev1ac.ExtractServiceAccount); err != nil {
		return err
	}
	if err := ensure[rbacv1.Role](ctx, r.writer, s.claim, desired.Role(s.instance), rbacv1ac.ExtractRole); err != nil {
		return err
	}
	want := desired.RoleBinding(s.instance)
	current, err := find[rbacv1.RoleBinding](ctx, r.writer, s.claim, "RoleBinding",
		types.NamespacedName{Namespace: *want.GetNamespace(), Name: *want.GetName()})
	if err != nil {
		return err
	}
	// A role reference cannot change, so a wrong one is made anew.
	if current != nil && (current.RoleRef.Kind != *want.RoleRef.Kind || current.RoleRef.Name != *want.RoleRef.Name) {
		if err := r.discard(ctx, current); err != nil {
			return err
		}
		current = nil
	}
	return put(ctx, r.writer, current, want, rbacv1ac.ExtractRoleBinding)
}

func (r *instanceReconciler) applyService(ctx context.Context, s *instanceScope) error {
	return ensure[corev1.Service](ctx, r.writer, s.claim, desired.Service(s.instance, s.exposure.controller), corev1ac.ExtractService)
}

func (r *instanceReconciler) applyStatefulSet(ctx context.Context, s *instanceScope) error {
	err := ensure[appsv1.StatefulSet](ctx, r.writer, s.claim, desired.StatefulSet(s.instance, r.image, s.dataUID, r.trustedProxies), appsv1ac.ExtractStatefulSet)
	if apierrors.IsInvalid(err) {
		return stalled(v1alpha1.ReasonPodTemplateInvalid, "the pods cannot be as spec.podTemplate says: "+invalidFields(err))
	}
	return err
}

// invalidFields is what the API server refuses of a StatefulSet, under the names
// that the fields have in an instance. It repeats names that may be long.
func invalidFields(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return statusMessage(err)
	}
	var faults []string
	for _, cause := range status.Status().Details.Causes {
		field := cause.Field
		for _, of := range []struct{ statefulSet, instance string }{
			{"spec.template.spec.containers[0].", "spec.podTemplate."},
			{"spec.template.spec.", "spec.podTemplate."},
			{"spec.template.metadata.", "spec.podTemplate."},
		} {
			if rest, found := strings.CutPrefix(field, of.statefulSet); found {
				field = of.instance + rest
				break
			}
		}
		faults = append(faults, field+": "+cause.Message)
	}
	return shorten(strings.Join(faults, "; "))
}

// objectFinding says what a person can do about an object that cannot be made.
func (s *instanceScope) objectFinding(err error) error {
	var conflict *conflictError
	var outgoing *outgoingError
	switch {
	case errors.As(err, &conflict):
		f := stalled(v1alpha1.ReasonObjectConflict, fmt.Sprintf(
			"the %s %s belongs to somebody else, so it is left alone: delete or rename it, or give the PackagesInstance another name",
			conflict.kind, conflict.name))
		f.again = stalledRetry
		return f
	case errors.As(err, &outgoing):
		return progressing(v1alpha1.ReasonProgressing, outgoing.Error())
	}
	return err
}

// isForeign says whether err is about an object that is not ours to write.
func isForeign(err error) bool {
	var conflict *conflictError
	var outgoing *outgoingError
	return errors.As(err, &conflict) || errors.As(err, &outgoing)
}

// statusMessage is the API server's sentence alone, without what it shows on lines of
// their own.
func statusMessage(err error) string {
	message := err.Error()
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		message = status.Status().Message
	}
	message, _, _ = strings.Cut(message, "\n")
	return shorten(message)
}
