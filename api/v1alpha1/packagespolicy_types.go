// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxPolicyDocumentLength is the largest number of bytes that the manager puts
// into one PackagesPolicy document. The schema counts characters, so no
// document of this many bytes is refused.
const MaxPolicyDocumentLength = 262144

// PackagesPolicySpec is one part of a compiled policy.
// +kubebuilder:validation:XValidation:rule="self.index == 0 ? has(self.revision) && has(self.parts) : !has(self.revision) && !has(self.parts)",message="write revision and parts with index 0, and with no other index"
type PackagesPolicySpec struct {
	// instanceRef names the PackagesInstance that the policy is for.
	// +required
	InstanceRef LocalInstanceReference `json:"instanceRef,omitzero"`

	// formatVersion says how to read document. A pod that does not know it keeps
	// the policy it has.
	// +required
	// +kubebuilder:validation:Minimum=1
	FormatVersion int32 `json:"formatVersion"`

	// index is the place of this part among the parts of the policy, from 0.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1023
	Index int32 `json:"index"`

	// revision names the whole policy. It is in the part with index 0 only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Revision string `json:"revision,omitempty"`

	// parts are the digests of the documents of all parts, in order, so that a pod
	// takes a policy only when it has seen all of it. They are in the part with
	// index 0 only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=71
	// +kubebuilder:validation:items:Pattern=`^sha256:[0-9a-f]{64}$`
	Parts []string `json:"parts,omitempty"`

	// document is this part of the policy, as JSON. It is a string so that it
	// reaches the pods byte for byte.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	Document string `json:"document"`
}

// PackagesPolicy is internal: it is what the operator compiled from the
// instance, its organizations, repositories and tokens for the registry pods to
// enforce. Never write one: declare PackagesInstance, PackagesOrganization,
// PackagesRepository and PackagesToken objects instead, and the operator undoes
// any change made here.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=packagespolicies,singular=packagespolicy,shortName=pkgpolicy,categories=packages
// +kubebuilder:selectablefield:JSONPath=`.spec.instanceRef.name`
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.spec.instanceRef.name`,description="The instance that the policy is for"
// +kubebuilder:printcolumn:name="Part",type=integer,JSONPath=`.spec.index`,description="The place of this part among the parts of the policy"
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`,description="The revision of the whole policy"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="Time since the object was made"
// +kubebuilder:printcolumn:name="Format",type=integer,JSONPath=`.spec.formatVersion`,priority=1,description="How to read the document"
type PackagesPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is one part of the compiled policy; it is written by the operator
	// alone.
	// +required
	Spec PackagesPolicySpec `json:"spec"`
}

// PackagesPolicyList is a list of PackagesPolicy objects.
// +kubebuilder:object:root=true
type PackagesPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PackagesPolicy `json:"items"`
}
