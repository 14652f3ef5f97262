// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Visibility says who may pull from a repository without being named in it.
// +kubebuilder:validation:Enum=Private;Internal;Public
type Visibility string

const (
	// VisibilityPrivate shows the repository to its owner and to the users named
	// in its access list.
	VisibilityPrivate Visibility = "Private"
	// VisibilityInternal lets every user with a token of the instance pull.
	VisibilityInternal Visibility = "Internal"
	// VisibilityPublic is as Internal, and open to pulls without a token if the
	// instance's docker.anonymousPull is PublicRepositories.
	VisibilityPublic Visibility = "Public"
)

// RepositoryRole is what a user may do in a repository. Each role includes the
// one before it.
// +kubebuilder:validation:Enum=Read;Write;Admin
type RepositoryRole string

const (
	// RoleRead may pull.
	RoleRead RepositoryRole = "Read"
	// RoleWrite may pull and push.
	RoleWrite RepositoryRole = "Write"
	// RoleAdmin may pull, push and delete.
	RoleAdmin RepositoryRole = "Admin"
)

// PackagesRepositorySpec is a repository and who may use it.
type PackagesRepositorySpec struct {
	// instanceRef names the PackagesInstance that serves the repository. It cannot
	// change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instanceRef cannot change: create another PackagesRepository for the other instance"
	InstanceRef InstanceReference `json:"instanceRef,omitzero"`

	// owner is the user or the organization that the repository belongs to, in lower
	// case, such as octocat; that user, or the organization's owners, are Admin in
	// it. It is the first part of an image's name: OWNER/REPOSITORY/IMAGE. These names are reserved: v2, token, api, healthz,
	// readyz, metrics, login, logout, settings, assets. It cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as octocat",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as octocat'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="owner cannot change: create another PackagesRepository",messageExpression="'owner cannot change: keep ' + oldSelf + ', or create another PackagesRepository'"
	Owner string `json:"owner"`

	// name is the repository's name, in lower case, such as octo-app: the second
	// part of an image's name. It cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$')",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as octo-app",messageExpression="self.contains('/') ? 'leave out the slash: write the repository alone, such as octo-app, and its owner in owner' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as octo-app'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="name cannot change: create another PackagesRepository",messageExpression="'name cannot change: keep ' + oldSelf + ', or create another PackagesRepository'"
	Name string `json:"name"`

	// visibility says who may pull without being named in access: Private, nobody;
	// Internal, every user with a token of the instance; Public, these too, and
	// without a token if the instance's docker.anonymousPull allows it. Default:
	// Private.
	// +optional
	// +kubebuilder:default=Private
	Visibility Visibility `json:"visibility,omitempty"`

	// access names who may use the repository, beside its owner.
	// +optional
	Access RepositoryAccess `json:"access,omitzero"`

	// deletionPolicy says what becomes of the images when this object is deleted:
	// Retain hides them, and declaring the same owner and name again from the same
	// namespace shows them; Delete deletes them. Default: Retain.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// RepositoryAccess names who may use a repository.
type RepositoryAccess struct {
	// users are the users that may use the repository and what they may do in it,
	// each named once.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=500
	Users []UserAccess `json:"users,omitempty"`

	// teams are the teams whose members may use the repository and what they may do
	// in it, each named once. Of several roles of one user the greatest counts.
	// +optional
	// +listType=map
	// +listMapKey=organization
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Teams []TeamAccess `json:"teams,omitempty"`

	// serviceAccounts are the ServiceAccounts of the cluster whose pods may use the
	// repository and what they may do in it, each named once. A pod signs in with a
	// token of its ServiceAccount that is projected into it for the audience of the
	// Docker registry's host, and for no other; there is no PackagesToken and no
	// Secret. Beside the repositories that name it a ServiceAccount may pull from those
	// whose visibility is Internal or Public.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	ServiceAccounts []ServiceAccountAccess `json:"serviceAccounts,omitempty"`
}

// ServiceAccountAccess is a ServiceAccount's role in a repository.
type ServiceAccountAccess struct {
	// namespace is the ServiceAccount's metadata.namespace; any of the cluster.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write the name of a namespace: lower-case letters, digits and '-', such as ci"
	Namespace string `json:"namespace"`

	// name is the ServiceAccount's metadata.name. One that is deleted and made again
	// under this name has the role as well; tokens of the one before have nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the metadata.name of a ServiceAccount: lower-case letters, digits, '-' and '.', such as builder"
	Name string `json:"name"`

	// role is Read (pull), Write (pull and push) or Admin (pull, push and delete).
	// +required
	Role RepositoryRole `json:"role"`
}

// UserAccess is one user's role in a repository.
type UserAccess struct {
	// name is the user, in lower case, as in the user field of a PackagesToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as monalisa",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as monalisa'"
	Name string `json:"name"`

	// role is Read (pull), Write (pull and push) or Admin (pull, push and delete).
	// +required
	Role RepositoryRole `json:"role"`
}

// TeamAccess is a team's role in a repository.
type TeamAccess struct {
	// organization is the spec.name of the PackagesOrganization that has the team; it
	// need not own the repository.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as octo-org",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as octo-org'"
	Organization string `json:"organization"`

	// name is the team's name in the organization's teams.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$')",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as platform",messageExpression="self.contains('/') ? 'leave out the slash: write the team alone, such as platform' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as platform'"
	Name string `json:"name"`

	// role is Read (pull), Write (pull and push) or Admin (pull, push and delete).
	// +required
	Role RepositoryRole `json:"role"`
}

// PackagesRepositoryStatus is what the operator last saw of a repository.
type PackagesRepositoryStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1
	// until the operator has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions say how the repository is: Ready, Reconciling and Stalled as
	// kstatus defines them, and Accepted, which is False while another object
	// holds the same owner and name, or while an entry of access gives nothing: one
	// for a user whose name is an organization's, for a team that is not there, or for
	// a ServiceAccount that is not there.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PackagesRepository is a repository of an instance: a place for any number of
// images, OWNER/REPOSITORY/IMAGE:VERSION, and the users that may use them.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=packagesrepositories,singular=packagesrepository,shortName=pkgrepo,categories=packages
// +kubebuilder:selectablefield:JSONPath=`.spec.instanceRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`,description="The user or organization that the repository belongs to"
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.name`,description="The repository's name"
// +kubebuilder:printcolumn:name="Visibility",type=string,JSONPath=`.spec.visibility`,description="Who may pull without being named"
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.spec.instanceRef.name`,description="The instance that serves the repository"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the repository is served as its spec says"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the repository is ready or not"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="Time since the object was made"
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1,description="What to do if the repository is not ready"
type PackagesRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the repository that you want.
	// +required
	Spec PackagesRepositorySpec `json:"spec"`

	// status is what the operator last saw; it is written by the operator alone.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PackagesRepositoryStatus `json:"status,omitzero"`
}

// PackagesRepositoryList is a list of PackagesRepository objects.
// +kubebuilder:object:root=true
type PackagesRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PackagesRepository `json:"items"`
}
