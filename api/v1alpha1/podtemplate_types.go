// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// PodTemplate is what a cluster may want of the pods of an instance. Everything
// else about them is the operator's. A change restarts them.
type PodTemplate struct {
	// labels are put on the pods, beside the operator's own, which win. Names under
	// packages-operator.io/ are the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: labels under packages-operator.io/ are the operator's own"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are put on the pods. Names under packages-operator.io/ are the
	// operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/note"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('packages-operator.io/'))",message="choose other names: annotations under packages-operator.io/ are the operator's own"
	Annotations map[string]string `json:"annotations,omitempty"`

	// resources of the registry. What is set takes the place of the default of the
	// same name: requests of 50m cpu and 64Mi memory, a limit of 512Mi memory.
	// +optional
	Resources PodResources `json:"resources,omitzero"`

	// nodeSelector are labels that a node must have to run the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations let the pods run on nodes with these taints.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity prefers or demands nodes, or the neighborhood of other pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// topologySpreadConstraints spread the pods, together with those of other
	// instances that the constraints select, over zones or nodes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName is the PriorityClass of the pods, such as
	// system-cluster-critical for a registry that the cluster's own images come from.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the name of a PriorityClass, as kubectl get priorityclass shows it"
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// PodResources are what a registry's container asks for, and what it may use.
// +kubebuilder:validation:XValidation:rule="!has(self.requests) || self.requests.all(k, !string(self.requests[k]).matches('e|E.'))",fieldPath=".requests",message="write amounts without an exponent and below Ei, such as 500m or 2Gi",messageExpression="'write ' + self.requests.filter(k, string(self.requests[k]).matches('e|E.'))[0] + ' without an exponent and below Ei, such as 500m or 2Gi'"
// +kubebuilder:validation:XValidation:rule="!has(self.limits) || self.limits.all(k, !string(self.limits[k]).matches('e|E.'))",fieldPath=".limits",message="write amounts without an exponent and below Ei, such as 500m or 2Gi",messageExpression="'write ' + self.limits.filter(k, string(self.limits[k]).matches('e|E.'))[0] + ' without an exponent and below Ei, such as 500m or 2Gi'"
// +kubebuilder:validation:XValidation:rule="!has(self.limits) || !('memory' in self.limits) || string(self.limits['memory']).matches('e|E.') || !isQuantity(string(self.limits['memory'])) || quantity(string(self.limits['memory'])).compareTo(quantity('128Mi')) >= 0",fieldPath=".limits",message="write a limit of at least 128Mi memory: uploads and listings need it"
type PodResources struct {
	// requests are what a node must have free to run the pod.
	// +optional
	// +kubebuilder:validation:MaxProperties=12
	Requests corev1.ResourceList `json:"requests,omitempty"`

	// limits are what the registry may use at most. Of memory it keeps a tenth free
	// for what its garbage collector does not see.
	// +optional
	// +kubebuilder:validation:MaxProperties=12
	Limits corev1.ResourceList `json:"limits,omitempty"`
}
