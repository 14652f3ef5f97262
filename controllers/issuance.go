// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
	certmanagerac "github.com/packages-operator/packages-operator/controllers/certmanager/v1/applyconfiguration/certmanager/v1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// issuance is how far cert-manager has got with a certificate.
type issuance struct {
	// trouble is why it has none for what the spec says now.
	trouble *finding
}

func hasIssuer(instance *v1alpha1.PackagesInstance) bool {
	ingress := instance.Spec.Exposure.Ingress
	return ingress != nil && ingress.TLS != nil && ingress.TLS.IssuerRef != nil
}

// issueCertificate applies the Certificate of an instance, or removes it. What it
// returns is nil for an instance without an issuer.
func (r *instanceReconciler) issueCertificate(ctx context.Context, s *instanceScope) (*issuance, error) {
	want := desired.Certificate(s.instance, hostList(s.hosts))
	w, err := r.certManager.use()
	switch {
	case errors.Is(err, errNotServed):
		if want == nil {
			return nil, nil
		}
		return &issuance{certManagerNotInstalled()}, nil
	case errors.Is(err, errNotAllowed):
		if want == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("reading Certificates of %s: %w: grant it the rights of config/rbac/role.yaml", certmanagerv1.SchemeGroupVersion.Group, err)
	case err != nil:
		return nil, fmt.Errorf("reading Certificates: %w", err)
	case want == nil:
		return nil, removeCertificate(ctx, w, s)
	}
	if f, err := r.certificateSecretFinding(ctx, s); f != nil || err != nil {
		return &issuance{f}, err
	}
	err = ensure[certmanagerv1.Certificate](ctx, w, s.claim, want, certmanagerac.ExtractCertificate)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return &issuance{certManagerNotInstalled()}, nil
	}
	if isForeign(err) {
		f := stalled(v1alpha1.ReasonCertificateConflict, fmt.Sprintf(
			"the Certificate %s belongs to somebody else, so it is left alone: delete or rename it, or give the PackagesInstance another name", *want.GetName()))
		f.again = stalledRetry
		return &issuance{f}, nil
	}
	if f := (*finding)(nil); errors.As(s.exposureFinding("Certificate", err), &f) {
		return &issuance{f}, nil
	}
	if err != nil {
		return nil, err
	}
	certificate := &certmanagerv1.Certificate{}
	if err := w.cached.Get(ctx, types.NamespacedName{Namespace: *want.GetNamespace(), Name: *want.GetName()}, certificate); err != nil {
		return nil, fmt.Errorf("reading Certificate %s: %w", *want.GetName(), err)
	}
	return &issuance{issuanceTrouble(certificate)}, nil
}

func removeCertificate(ctx context.Context, w *writer, s *instanceScope) error {
	return remove[certmanagerv1.Certificate](ctx, w, s.claim,
		types.NamespacedName{Namespace: s.instance.Namespace, Name: desired.RegistryName(s.instance.Name)})
}

func certManagerNotInstalled() *finding {
	f := progressing(v1alpha1.ReasonCertManagerNotInstalled,
		"the cluster does not serve Certificate of cert-manager.io/v1: install cert-manager, or put a certificate into a Secret and name it in spec.exposure.ingress.tls.secretName without issuerRef")
	f.again = stalledRetry
	return f
}

// certificateSecretFinding keeps cert-manager from overwriting what is no
// certificate, such as a token.
func (r *instanceReconciler) certificateSecretFinding(ctx context.Context, s *instanceScope) (*finding, error) {
	name := desired.TLSSecretName(s.instance)
	secretType, err := r.certificates.typeOf(ctx, types.NamespacedName{Namespace: s.instance.Namespace, Name: name})
	if err != nil || secretType == "" || secretType == corev1.SecretTypeTLS {
		return nil, err
	}
	return stalled(v1alpha1.ReasonCertificateConflict, fmt.Sprintf(
		"the Secret %s is of the type %s, so no certificate is put there: name another in spec.exposure.ingress.tls.secretName, or delete it", name, secretType)), nil
}

// issuanceTrouble is why cert-manager has no certificate for a Certificate as it is
// now, by its own words; nil if it has.
func issuanceTrouble(certificate *certmanagerv1.Certificate) *finding {
	find := func(conditionType string) *certmanagerv1.CertificateCondition {
		for i := range certificate.Status.Conditions {
			if certificate.Status.Conditions[i].Type == conditionType {
				return &certificate.Status.Conditions[i]
			}
		}
		return nil
	}
	ready := find(certmanagerv1.ConditionReady)
	if ready == nil || ready.ObservedGeneration < certificate.Generation {
		return progressing(v1alpha1.ReasonCertificateNotIssued, fmt.Sprintf(
			"waiting for cert-manager to look at the Certificate %s", certificate.Name))
	}
	if ready.Status == metav1.ConditionTrue {
		return nil
	}
	message := sayings(ready.Reason, ready.Message)
	if issuing := find(certmanagerv1.ConditionIssuing); issuing != nil && issuing.Status == metav1.ConditionFalse && issuing.Reason == certmanagerv1.ReasonFailed {
		message += "; " + sayings(issuing.Reason, issuing.Message)
	}
	return progressing(v1alpha1.ReasonCertificateNotIssued, fmt.Sprintf(
		"cert-manager has no certificate for the Certificate %s: %s", certificate.Name, message))
}

// judgeIssued adds what cert-manager says to what its Secret is worth. A certificate
// that still works keeps clients going, whatever has become of the next one.
func judgeIssued(v certificateVerdict, i issuance) certificateVerdict {
	if i.trouble == nil {
		return v
	}
	if v.trouble != nil {
		v.trouble = i.trouble
	}
	v.condition = acceptance{false, i.trouble.reason, i.trouble.message}
	return v
}
