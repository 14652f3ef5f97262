// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PackagesOrganizationSpec is an organization: an owner of repositories that
// several people share.
// +kubebuilder:validation:XValidation:rule="!(self.name in self.owners)",fieldPath=".owners",message="write users: an organization does not own itself"
// +kubebuilder:validation:XValidation:rule="!has(self.members) || !(self.name in self.members)",fieldPath=".members",message="write users: an organization is not a member of itself"
// +kubebuilder:validation:XValidation:rule="!has(self.teams) || self.teams.all(t, !has(t.members) || !(self.name in t.members))",fieldPath=".teams",message="write users: an organization is not in its own teams"
type PackagesOrganizationSpec struct {
	// instanceRef names the PackagesInstance that the organization belongs to. It
	// cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instanceRef cannot change: create another PackagesOrganization for the other instance"
	InstanceRef InstanceReference `json:"instanceRef,omitzero"`

	// name is the organization's name, in lower case, such as octo-org: the owner of
	// its repositories, and so the first part of their images' names:
	// NAME/REPOSITORY/IMAGE. A name is a user's or an organization's: tokens and
	// access entries of a user of this name give nothing. These names are reserved:
	// v2, token, api, healthz, readyz, metrics, login, logout, settings, assets. It
	// cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as octo-org",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as octo-org'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="name cannot change: create another PackagesOrganization",messageExpression="'name cannot change: keep ' + oldSelf + ', or create another PackagesOrganization'"
	Name string `json:"name"`

	// owners are the users that own the organization. Each is Admin in every
	// repository whose owner is the organization.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as monalisa",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as monalisa'"
	Owners []string `json:"owners"`

	// members are the other users that belong to the organization. By itself that
	// gives a user nothing that other users with a token do not have; it is what
	// lets a user be in teams. Who is taken off is out of all of them at once.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as monalisa",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as monalisa'"
	Members []string `json:"members,omitempty"`

	// teams are groups of the organization's owners and members, to be named in
	// access.teams of repositories. Together they list users at most 5000 times, which
	// keeps the object small enough to be stored.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self.map(t, has(t.members) ? size(t.members) : 0).sum() <= 5000",message="list users at most 5000 times in all teams together: put further teams into another organization"
	Teams []OrganizationTeam `json:"teams,omitempty"`
}

// OrganizationTeam is a group of users of an organization.
type OrganizationTeam struct {
	// name is the team's name within the organization, in lower case, such as
	// platform.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$')",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as platform",messageExpression="self.contains('/') ? 'leave out the slash: write the team alone, such as platform' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as platform'"
	Name string `json:"name"`

	// members are the users in the team. Whoever is neither in owners nor in members
	// of the organization has nothing from the team; the condition Accepted names
	// them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as monalisa",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as monalisa'"
	Members []string `json:"members,omitempty"`
}

// PackagesOrganizationStatus is what the operator last saw of an organization.
type PackagesOrganizationStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1
	// until the operator has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions say how the organization is: Ready, Reconciling and Stalled as
	// kstatus defines them, and Accepted, which is False while another object stands
	// in its way: one of the same name, or an organization named like a user in its
	// lists.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PackagesOrganization is an organization of an instance: repositories may have
// it as their owner. Its owners are Admin in all of them; its teams get roles in a
// repository's access.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=packagesorganizations,singular=packagesorganization,shortName=pkgorg,categories=packages
// +kubebuilder:selectablefield:JSONPath=`.spec.instanceRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.name`
// +kubebuilder:printcolumn:name="Organization",type=string,JSONPath=`.spec.name`,description="The organization's name: the owner of its repositories"
// +kubebuilder:printcolumn:name="Owners",type=string,JSONPath=`.spec.owners`,description="The users that are Admin in all of its repositories"
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.spec.instanceRef.name`,description="The instance that the organization belongs to"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the organization is in force as its spec says"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the organization is ready or not"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="Time since the object was made"
// +kubebuilder:printcolumn:name="Members",type=string,JSONPath=`.spec.members`,priority=1,description="The other users that belong to the organization"
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1,description="What to do if the organization is not ready"
type PackagesOrganization struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the organization that you want.
	// +required
	Spec PackagesOrganizationSpec `json:"spec"`

	// status is what the operator last saw; it is written by the operator alone.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PackagesOrganizationStatus `json:"status,omitzero"`
}

// PackagesOrganizationList is a list of PackagesOrganization objects.
// +kubebuilder:object:root=true
type PackagesOrganizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PackagesOrganization `json:"items"`
}
