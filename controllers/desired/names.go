// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// FieldOwner is the field manager of everything that the operator writes.
const FieldOwner = "packages-operator"

// Ports of a registry pod.
const (
	// RegistryPort serves the Docker registry; its name in the Service is http.
	RegistryPort = 5000
	// AdminPort serves health, status and metrics, to the cluster only.
	AdminPort = 8081
)

// AnnotationDataUID is on a volume claim and on the StatefulSet that mounts it:
// the UID of the instance that the volume was made for. An instance of the same
// name that takes the volume up later goes on under this identity, which the
// registry finds in its data directory.
const AnnotationDataUID = v1alpha1.GroupName + "/data-uid"

// LabelComponent is on every pod with the value ComponentRegistry.
const (
	LabelComponent    = "app.kubernetes.io/component"
	ComponentRegistry = "registry"
)

// RegistryName is the name of an instance's StatefulSet, Service, ServiceAccount,
// Role, RoleBinding, Ingress and Certificate.
func RegistryName(instance string) string { return instance + "-packages" }

// RouteName is the name of an instance's HTTPRoute for a host: the Docker registry's
// is told from the one of the instance itself, whatever the two are.
func RouteName(instance string, host RouteHost) string {
	if host.Docker {
		return instance + "-packages-docker"
	}
	return instance + "-packages"
}

// TLSSecretName is the Secret with the certificate of an instance's Ingress, empty if
// that has none.
func TLSSecretName(instance *v1alpha1.PackagesInstance) string {
	ingress := instance.Spec.Exposure.Ingress
	switch {
	case ingress == nil || ingress.TLS == nil:
		return ""
	case ingress.TLS.SecretName != "":
		return ingress.TLS.SecretName
	}
	return instance.Name + "-packages-tls"
}

// DataName is the name of an instance's volume claim.
func DataName(instance string) string { return instance + "-packages-data" }

// KeysName is the name of the Secret with an instance's signing keys.
func KeysName(instance string) string { return instance + "-packages-keys" }

// instanceLabels are on every object made for an instance. Argo CD may take
// app.kubernetes.io/instance for the name of one of its applications, and prune
// what it finds there, a volume claim without an owner first: so that label is
// left out.
func instanceLabels(instance string) map[string]string {
	return map[string]string{
		v1alpha1.LabelInstance:         instance,
		"app.kubernetes.io/name":       "packages-registry",
		"app.kubernetes.io/managed-by": FieldOwner,
	}
}

// PodLabels select the pods of an instance.
func PodLabels(instance string) map[string]string {
	return map[string]string{
		v1alpha1.LabelInstance: instance,
		LabelComponent:         ComponentRegistry,
	}
}

// podTemplateLabels are the instance's wishes under the operator's own labels, on
// which selectors and watches rest.
func podTemplateLabels(instance *v1alpha1.PackagesInstance) map[string]string {
	labels := stringLabels(instance.Spec.PodTemplate.Labels)
	maps.Copy(labels, instanceLabels(instance.Name))
	maps.Copy(labels, PodLabels(instance.Name))
	return labels
}

func stringLabels(values map[string]v1alpha1.LabelValue) map[string]string {
	labels := make(map[string]string, len(values))
	for key, value := range values {
		labels[key] = string(value)
	}
	return labels
}

// instanceOwner makes the garbage collector remove an object with its instance.
// It does not block the owner's deletion, which would need more rights.
func instanceOwner(instance *v1alpha1.PackagesInstance) *metav1ac.OwnerReferenceApplyConfiguration {
	return owner("PackagesInstance", instance)
}

func tokenOwner(token *v1alpha1.PackagesToken) *metav1ac.OwnerReferenceApplyConfiguration {
	return owner("PackagesToken", token)
}

func owner(kind string, object metav1.Object) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.GroupVersion.String()).
		WithKind(kind).
		WithName(object.GetName()).
		WithUID(object.GetUID()).
		WithController(true)
}
