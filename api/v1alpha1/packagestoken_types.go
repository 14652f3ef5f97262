// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Scope is what a token may be used for. What it can do is the scope and the
// user's role in the repository together.
// +kubebuilder:validation:Enum="read:packages";"write:packages";"delete:packages"
type Scope string

const (
	// ScopeReadPackages lets the user pull where they have the role Read.
	ScopeReadPackages Scope = "read:packages"
	// ScopeWritePackages lets the user push where they have the role Write; it
	// includes ScopeReadPackages.
	ScopeWritePackages Scope = "write:packages"
	// ScopeDeletePackages lets the user delete where they have the role Admin.
	ScopeDeletePackages Scope = "delete:packages"
)

// TokenSecretType is the form of the Secret that the operator writes.
// +kubebuilder:validation:Enum=Opaque;DockerConfigJSON
type TokenSecretType string

const (
	// TokenSecretOpaque has the keys username, password and registry.
	TokenSecretOpaque TokenSecretType = "Opaque"
	// TokenSecretDockerConfigJSON has the key .dockerconfigjson as well, so that
	// pods can name the Secret in imagePullSecrets.
	TokenSecretDockerConfigJSON TokenSecretType = "DockerConfigJSON"
)

// PackagesTokenSpec is a token: whose it is, what it may be used for, and
// where its value is kept.
// +kubebuilder:validation:XValidation:rule="has(self.secret) != has(self.source)",message="write one of secret and source",messageExpression="has(self.secret) ? 'write secret or source, not both: secret has the operator make the value, source brings your own' : 'write secret, such as secret: {name: monalisa-token}, to have the operator make the value, or source to bring your own'"
// +kubebuilder:validation:XValidation:rule="has(self.secret) == has(oldSelf.secret)",message="secret and source cannot replace each other: create another PackagesToken",messageExpression="has(oldSelf.secret) ? 'secret cannot be taken away: keep it, or create another PackagesToken with source' : 'source cannot be replaced by secret: keep source, or create another PackagesToken with secret'"
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || has(self.secret)",fieldPath=".rotation",message="rotation has no effect on a value that you bring: leave it out, and change the value in its Secret"
type PackagesTokenSpec struct {
	// instanceRef names the PackagesInstance that the token is for. It cannot
	// change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instanceRef cannot change: create another PackagesToken for the other instance"
	InstanceRef InstanceReference `json:"instanceRef,omitzero"`

	// user is whom the token acts as, in lower case, such as monalisa. These names
	// are reserved: v2, token, api, healthz, readyz, metrics, login, logout,
	// settings, assets. It cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*$') && !(self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'])",message="write lower-case letters and digits, joined by '.', '_', '__' or '-', such as monalisa",messageExpression="self in ['v2', 'token', 'api', 'healthz', 'readyz', 'metrics', 'login', 'logout', 'settings', 'assets', '-'] ? 'the name ' + self + ' is reserved: write another' : self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", such as monalisa'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="user cannot change: create another PackagesToken",messageExpression="'user cannot change: keep ' + oldSelf + ', or create another PackagesToken'"
	User string `json:"user"`

	// scopes are what the token may be used for: read:packages to pull,
	// write:packages to pull and push, delete:packages to delete. Each also needs
	// the user's role in the repository: Read, Write or Admin.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Scopes []Scope `json:"scopes"`

	// repositories narrow the token to these repositories, each written
	// OWNER/REPOSITORY, or OWNER/* for all of an owner's. Without it the token
	// works wherever its user has a role.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=140
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*/([*]|[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)$') && self.indexOf('/') <= 39 && size(self) - self.indexOf('/') <= 101",message="write OWNER/REPOSITORY or OWNER/*, such as octocat/octo-app",messageExpression="self != self.lowerAscii() ? 'write it in lower case: ' + self.lowerAscii() : 'write OWNER/REPOSITORY or OWNER/*, such as octocat/octo-app'"
	Repositories []string `json:"repositories,omitempty"`

	// expiresAt is the instant from which the token is refused, such as
	// 2027-01-01T00:00:00Z. Without it the token never expires.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z')",message="write an instant since 1970, such as 2027-01-01T00:00:00Z"
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// rotation has the operator replace the value at intervals. Without it the value
	// stays the same until the Secret is deleted.
	// +optional
	Rotation *TokenRotation `json:"rotation,omitempty"`

	// secret has the operator make the token's value and keep it in this Secret.
	// Write either secret or source.
	// +optional
	Secret *TokenSecret `json:"secret,omitempty"`

	// source brings your own value, which the operator reads and never writes.
	// Write either secret or source.
	// +optional
	Source *TokenSource `json:"source,omitempty"`
}

// TokenRotation says how often a token's value is replaced, and how long the one
// before goes on working.
// +kubebuilder:validation:XValidation:rule="!self.interval.matches('^[0-9]{1,6}(h([0-9]{1,6}m)?([0-9]{1,6}s)?|m([0-9]{1,6}s)?|s)$') || !self.overlap.matches('^[0-9]{1,6}(h([0-9]{1,6}m)?([0-9]{1,6}s)?|m([0-9]{1,6}s)?|s)$') || duration(self.overlap) < duration(self.interval)",fieldPath=".overlap",message="write an overlap that is shorter than the interval",messageExpression="'write an overlap that is shorter than the interval of ' + self.interval"
type TokenRotation struct {
	// interval is how long a value is the newest, such as 168h; at least 1h. When it
	// has passed, another value is written to the Secret.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=21
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,6}(h([0-9]{1,6}m)?([0-9]{1,6}s)?|m([0-9]{1,6}s)?|s)$')",message="write hours, minutes and seconds, such as 168h or 1h30m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,6}(h([0-9]{1,6}m)?([0-9]{1,6}s)?|m([0-9]{1,6}s)?|s)$') || duration(self) >= duration('1h')",message="write an interval of at least 1h"
	Interval metav1.Duration `json:"interval"`

	// overlap is how long the value before goes on working beside the newest, such
	// as 24h: the time that whoever uses the token has to read the Secret again. It
	// is shorter than interval.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=21
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,6}(h([0-9]{1,6}m)?([0-9]{1,6}s)?|m([0-9]{1,6}s)?|s)$')",message="write hours, minutes and seconds, such as 24h or 1h30m"
	Overlap metav1.Duration `json:"overlap"`
}

// TokenSecret is the Secret that the operator writes a token's value to.
type TokenSecret struct {
	// name is the Secret's metadata.name, in the token's namespace. The operator
	// makes it and never takes over a Secret of somebody else's. It cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write a metadata.name for the Secret: lower-case letters, digits, '-' and '.', such as monalisa-token"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="secret.name cannot change: create another PackagesToken",messageExpression="'secret.name cannot change: keep ' + oldSelf + ', or create another PackagesToken'"
	Name string `json:"name"`

	// type is the form of the Secret. Opaque has the keys username, password and
	// registry; DockerConfigJSON has .dockerconfigjson as well, so that pods can
	// name it in imagePullSecrets. It cannot change. Default: Opaque.
	// +optional
	// +kubebuilder:default=Opaque
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="secret.type cannot change: create another PackagesToken",messageExpression="'secret.type cannot change: keep ' + oldSelf + ', or create another PackagesToken'"
	Type TokenSecretType `json:"type,omitempty"`
}

// TokenSource says where a value that the user brings is read from.
type TokenSource struct {
	// secretRef names the key of a Secret that holds the value: 40 to 255
	// printable ASCII characters without spaces, made by a random generator.
	// +required
	SecretRef SecretKeyReference `json:"secretRef,omitzero"`
}

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name is the Secret's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="write the metadata.name of a Secret: lower-case letters, digits, '-' and '.', such as monalisa-value"
	Name string `json:"name"`

	// key is the key in the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="write a key of the Secret's data: letters, digits, '-', '_' and '.', such as token"
	Key string `json:"key"`
}

// PackagesTokenStatus is what the operator last saw of a token. It never holds
// the token's value.
type PackagesTokenStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1
	// until the operator has looked at the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions say how the token is: Ready, Reconciling and Stalled as kstatus
	// defines them, and Accepted, which is False while the token gives no access.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// credentials are the values of this token that work, the newest first, without
	// the values.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=8
	Credentials []TokenCredential `json:"credentials,omitempty"`
}

// TokenCredential describes one value of a token.
type TokenCredential struct {
	// id names the value in logs. It says nothing about the value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`

	// issuedAt is when the value was made, or first seen.
	// +required
	IssuedAt metav1.Time `json:"issuedAt,omitzero"`

	// notAfter is the instant from which the value is refused. Without it the
	// value works until the token is deleted.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}

// PackagesToken lets a user log in to an instance: docker login takes its
// value as the password.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=packagestokens,singular=packagestoken,shortName=pkgtoken,categories=packages
// +kubebuilder:selectablefield:JSONPath=`.spec.instanceRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.user`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`,description="Whom the token acts as"
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.spec.instanceRef.name`,description="The instance that the token is for"
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.spec.secret.name`,description="The Secret that the operator keeps the value in"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`,description="The instant from which the token is refused"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the token works"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the token works or not"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`,description="Time since the object was made"
// +kubebuilder:printcolumn:name="Scopes",type=string,JSONPath=`.spec.scopes`,priority=1,description="What the token may be used for"
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1,description="What to do if the token does not work"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="write a metadata.name of at most 63 characters: it becomes a label of the token's Secret"
type PackagesToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the token that you want.
	// +required
	Spec PackagesTokenSpec `json:"spec"`

	// status is what the operator last saw; it is written by the operator alone.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PackagesTokenStatus `json:"status,omitzero"`
}

// PackagesTokenList is a list of PackagesToken objects.
// +kubebuilder:object:root=true
type PackagesTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PackagesToken `json:"items"`
}
