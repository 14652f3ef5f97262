// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerac "github.com/packages-operator/packages-operator/controllers/certmanager/v1/applyconfiguration/certmanager/v1"
)

// Certificate asks cert-manager for a certificate that covers the hosts and nothing
// else. It is nil for an instance without an issuer.
func Certificate(instance *v1alpha1.PackagesInstance, hosts []string) *certmanagerac.CertificateApplyConfiguration {
	ingress := instance.Spec.Exposure.Ingress
	if ingress == nil || ingress.TLS == nil || ingress.TLS.IssuerRef == nil {
		return nil
	}
	issuer := ingress.TLS.IssuerRef
	return certmanagerac.Certificate(RegistryName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(certmanagerac.CertificateSpec().
			WithDNSNames(hosts...).
			WithSecretName(TLSSecretName(instance)).
			WithIssuerRef(certmanagerac.IssuerReference().
				WithName(issuer.Name).
				WithKind(issuer.Kind).
				WithGroup(issuer.Group)))
}
