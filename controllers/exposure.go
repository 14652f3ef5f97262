// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// exposureVerdict is whether clients outside the cluster can be expected to reach an
// instance.
type exposureVerdict struct {
	// condition is ExposureReady; nil for an instance that is not exposed.
	condition *acceptance
	// trouble is why they cannot.
	trouble *finding
	// controller serves the instance's Ingress, if it is known.
	controller string
}

func exposed(message string) exposureVerdict {
	return exposureVerdict{condition: &acceptance{true, v1alpha1.ReasonExposed, message}}
}

func notExposed(f *finding) exposureVerdict {
	return exposureVerdict{condition: &acceptance{false, f.reason, f.message}, trouble: f}
}

// expose makes what leads clients to the registry, and takes away what no longer
// should. What is wrong with it is told once all else is in place, and keeps nothing
// else from being made.
func (r *instanceReconciler) expose(ctx context.Context, s *instanceScope) error {
	ingress, failure := r.exposeThroughIngress(ctx, s)
	routes, alsoFailure := r.exposeThroughGateway(ctx, s)
	s.exposure, s.exposureFailure = ingress, errors.Join(failure, alsoFailure)
	if s.instance.Spec.Exposure.Gateway != nil {
		s.exposure = routes
	}
	if s.exposureFailure == nil {
		s.conclusion.also[v1alpha1.ConditionExposureReady] = s.exposure.condition
	}
	return nil
}

func (r *instanceReconciler) requireExposure(_ context.Context, s *instanceScope) error {
	if s.exposureFailure != nil {
		return s.exposureFailure
	}
	if s.exposure.trouble != nil {
		return s.exposure.trouble
	}
	return nil
}

// withdraw takes away all that leads clients to an instance.
func (r *instanceReconciler) withdraw(ctx context.Context, s *instanceScope) error {
	s.conclusion.also[v1alpha1.ConditionExposureReady] = nil
	s.conclusion.also[v1alpha1.ConditionCertificateReady] = nil
	if err := r.removeIngress(ctx, s); err != nil {
		return err
	}
	// What the manager cannot see, it has not made either.
	if w, err := r.gatewayAPI.routes.use(); err == nil {
		if err := removeRoutes(ctx, w, s, nil); err != nil {
			return err
		}
	}
	if w, err := r.certManager.use(); err == nil {
		return removeCertificate(ctx, w, s)
	}
	return nil
}

func (r *instanceReconciler) exposeThroughIngress(ctx context.Context, s *instanceScope) (exposureVerdict, error) {
	exposure := s.instance.Spec.Exposure.Ingress
	if exposure == nil {
		return exposureVerdict{}, r.removeIngress(ctx, s)
	}
	class, missing, err := r.ingressClass(ctx, exposure)
	if err != nil {
		return exposureVerdict{}, err
	}
	want := desired.Ingress(s.instance, hostList(s.hosts), class)
	err = s.exposureFinding("Ingress", ensure[networkingv1.Ingress](ctx, r.writer, s.claim, want, networkingv1ac.ExtractIngress))
	var verdict exposureVerdict
	switch f := (*finding)(nil); {
	case errors.As(err, &f):
		verdict = notExposed(f)
	case err != nil:
		return exposureVerdict{}, err
	case missing != nil:
		verdict = notExposed(missing)
	case class.Controller == "":
		verdict = exposed("the Ingress " + *want.GetName() + " has the hosts " + strings.Join(hostList(s.hosts), " and "))
	default:
		verdict = exposed(fmt.Sprintf("the Ingress %s has the hosts %s; %s serves it",
			*want.GetName(), strings.Join(hostList(s.hosts), " and "), class.Controller))
	}
	verdict.controller = class.Controller
	return verdict, nil
}

// exposureFinding says what a person can do about an object of the exposure that
// cannot be made: one that the API server, or an admission webhook, refuses.
func (s *instanceScope) exposureFinding(kind string, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) {
		f := stalled(v1alpha1.ReasonExposureInvalid, fmt.Sprintf("the %s cannot be as spec.exposure says: %s", kind, statusMessage(err)))
		if apierrors.IsForbidden(err) {
			// A quota or a webhook may think otherwise later.
			f.again = stalledRetry
		}
		return f
	}
	return s.objectFinding(err)
}

// hostList is every host of an instance once, the Docker registry's first.
func hostList(hosts policy.Hosts) []string {
	if hosts.Base == hosts.Docker {
		return []string{hosts.Docker}
	}
	return []string{hosts.Docker, hosts.Base}
}

func (r *instanceReconciler) removeIngress(ctx context.Context, s *instanceScope) error {
	return remove[networkingv1.Ingress](ctx, r.writer, s.claim,
		types.NamespacedName{Namespace: s.instance.Namespace, Name: desired.RegistryName(s.instance.Name)})
}
