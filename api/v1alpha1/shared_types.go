// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// InstanceReference names a PackagesInstance.
type InstanceReference struct {
	// name is the PackagesInstance's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="write the metadata.name of a PackagesInstance: lower-case letters, digits and '-', beginning with a letter, such as acme"
	Name string `json:"name"`

	// namespace is the PackagesInstance's metadata.namespace. An instance of another
	// namespace than this object's must let this one refer to it, in its
	// spec.allowedNamespaces. Default: this object's own namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write the name of a namespace: lower-case letters, digits and '-', such as registry"
	Namespace string `json:"namespace,omitempty"`
}

// LocalInstanceReference names a PackagesInstance in the same namespace.
type LocalInstanceReference struct {
	// name is the PackagesInstance's metadata.name. It lives in the namespace of
	// the object that refers to it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="write the metadata.name of a PackagesInstance: lower-case letters, digits and '-', beginning with a letter, such as acme"
	Name string `json:"name"`
}

// DeletionPolicy says what becomes of data when the object that declares it is
// deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionPolicyRetain keeps the data.
	DeletionPolicyRetain DeletionPolicy = "Retain"
	// DeletionPolicyDelete deletes the data with the object.
	DeletionPolicyDelete DeletionPolicy = "Delete"
)
