// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"

	networkingv1 "k8s.io/api/networking/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// IngressClass is what serves an Ingress. Fields that are not known are empty.
type IngressClass struct {
	Name string
	// Controller is its spec.controller.
	Controller string
}

// Ingress leads every given host to the Service. It is nil for an instance that
// is not exposed through an Ingress.
func Ingress(instance *v1alpha1.PackagesInstance, hosts []string, class IngressClass) *networkingv1ac.IngressApplyConfiguration {
	exposure := instance.Spec.Exposure.Ingress
	if exposure == nil {
		return nil
	}
	labels := stringLabels(exposure.Labels)
	// The operator's own labels win: selectors and watches rest on them.
	maps.Copy(labels, instanceLabels(instance.Name))

	spec := networkingv1ac.IngressSpec()
	if class.Name != "" {
		spec.WithIngressClassName(class.Name)
	}
	for _, host := range hosts {
		spec.WithRules(networkingv1ac.IngressRule().
			WithHost(host).
			WithHTTP(networkingv1ac.HTTPIngressRuleValue().
				WithPaths(networkingv1ac.HTTPIngressPath().
					WithPath("/").
					WithPathType(networkingv1.PathTypePrefix).
					WithBackend(networkingv1ac.IngressBackend().
						WithService(networkingv1ac.IngressServiceBackend().
							WithName(RegistryName(instance.Name)).
							WithPort(networkingv1ac.ServiceBackendPort().WithName("http")))))))
	}
	if exposure.TLS != nil {
		spec.WithTLS(networkingv1ac.IngressTLS().WithHosts(hosts...).WithSecretName(TLSSecretName(instance)))
	}
	return networkingv1ac.Ingress(RegistryName(instance.Name), instance.Namespace).
		WithLabels(labels).
		WithAnnotations(ingressAnnotations(exposure.Annotations, class.Controller)).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(spec)
}
