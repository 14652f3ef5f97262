// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// ServicePort is where an instance's Service answers.
const ServicePort = 80

// Service gives the registry one address inside the cluster. The admin port is
// not part of it. ingressController is that of the IngressClass, if it is known.
func Service(instance *v1alpha1.PackagesInstance, ingressController string) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(RegistryName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithAnnotations(serviceAnnotations(instance, ingressController)).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(corev1ac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithSelector(PodLabels(instance.Name)).
			WithPorts(corev1ac.ServicePort().
				WithName("http").
				WithPort(ServicePort).
				WithTargetPort(intstr.FromString("http")).
				WithProtocol(corev1.ProtocolTCP)))
}
