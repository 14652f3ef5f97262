// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is cert-manager's.
var SchemeGroupVersion = schema.GroupVersion{Group: "cert-manager.io", Version: "v1"}

// AddToScheme makes the kinds known.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion, &Certificate{}, &CertificateList{})
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
}

// Types of conditions, and a reason.
const (
	// ConditionReady is True while the Secret holds what the spec asks for.
	ConditionReady = "Ready"
	// ConditionIssuing is True while another certificate is being got, and False with
	// ReasonFailed when that failed.
	ConditionIssuing = "Issuing"
	ReasonFailed     = "Failed"
)

// AnnotationCertificateName is on a Secret that cert-manager keeps: the name of the
// Certificate that it does so for.
const AnnotationCertificateName = "cert-manager.io/certificate-name"

// Certificate asks for a certificate in a Secret.
// +kubebuilder:object:root=true
// +kubebuilder:ac:generate=true
type Certificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CertificateSpec   `json:"spec"`
	Status CertificateStatus `json:"status,omitzero"`
}

// CertificateList is a list of Certificates.
// +kubebuilder:object:root=true
type CertificateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Certificate `json:"items"`
}

// CertificateSpec says what for, from whom and where to.
type CertificateSpec struct {
	// +listType=atomic
	DNSNames   []string        `json:"dnsNames,omitempty"`
	IssuerRef  IssuerReference `json:"issuerRef"`
	SecretName string          `json:"secretName"`
}

// IssuerReference names an issuer.
type IssuerReference struct {
	Name  string `json:"name"`
	Kind  string `json:"kind,omitempty"`
	Group string `json:"group,omitempty"`
}

// CertificateStatus is what became of it.
type CertificateStatus struct {
	// +listType=map
	// +listMapKey=type
	Conditions []CertificateCondition `json:"conditions,omitempty"`
}

// CertificateCondition is one aspect of it.
type CertificateCondition struct {
	Type               string                 `json:"type"`
	Status             metav1.ConditionStatus `json:"status"`
	LastTransitionTime *metav1.Time           `json:"lastTransitionTime,omitempty"`
	Reason             string                 `json:"reason,omitempty"`
	Message            string                 `json:"message,omitempty"`
	ObservedGeneration int64                  `json:"observedGeneration,omitempty"`
}
