// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policy turns the objects that people declare into what a registry
// enforces, and brings it to the registry. Compile is pure; the sources in its
// subpackages watch Kubernetes or files and publish through Live.
package policy

import (
	"cmp"
	"time"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// FormatVersion is the version of the Policy document written by this release.
// A reader refuses another one and any field that it does not know, and keeps
// the last policy that it understood.
const FormatVersion = 1

// Policy is everything that a registry needs to decide about requests. It holds
// hashes, never a token's value or a key.
type Policy struct {
	Instance Instance `json:"instance"`
	// Hosts that the instance answers on.
	Hosts         Hosts         `json:"hosts"`
	Support       Support       `json:"support"`
	AnonymousPull AnonymousPull `json:"anonymousPull"`
	// ForeignLayers are those of images whose bytes are kept elsewhere, and
	// MissingReferences are what a manifest refers to and its name does not have.
	ForeignLayers     Acceptance `json:"foreignLayers,omitempty"`
	MissingReferences Acceptance `json:"missingReferences,omitempty"`
	Limits            Limits     `json:"limits,omitzero"`
	// Repositories sorted by owner, then name.
	Repositories []Repository `json:"repositories,omitempty"`
	// Teams that repositories refer to, sorted by name. They are apart from the
	// repositories so that a change of one team changes one item.
	Teams []Team `json:"teams,omitempty"`
	// Credentials sorted by ID.
	Credentials []Credential `json:"credentials,omitempty"`
	// Purges whose content is to be deleted for good, sorted by ID.
	Purges []Purge `json:"purges,omitempty"`
	// Issuer signs the tokens of the cluster's ServiceAccounts; none if no repository
	// has a role for one.
	Issuer workload.Issuer `json:"issuer,omitzero"`
	// ServiceAccounts that may sign in with such tokens, sorted by user. Repositories
	// have their roles among those of users.
	ServiceAccounts []ServiceAccount `json:"serviceAccounts,omitempty"`
}

// Instance names the PackagesInstance that a policy was compiled from.
type Instance struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// UID ties the policy to the data: a registry refuses the policy of
	// another instance.
	UID string `json:"uid"`
}

// Hosts are host names without a port.
type Hosts struct {
	// Docker is the name that the Docker registry answers on.
	Docker string `json:"docker"`
	// Base is the instance's own name; it equals Docker without subdomain
	// isolation.
	Base string `json:"base"`
	// URL is the registry as clients reach it, without a trailing slash, for
	// example https://docker.packages.example.com. Token challenges point to it.
	URL string `json:"url"`
}

// Support is what the site admin allows of an ecosystem.
type Support string

// The support modes of GitHub Enterprise Server's packages.
const (
	SupportEnabled  Support = "Enabled"
	SupportReadOnly Support = "ReadOnly"
	SupportDisabled Support = "Disabled"
)

// AnonymousPull says whom requests without a credential may read.
type AnonymousPull string

// The values of AnonymousPull.
const (
	AnonymousDeny   AnonymousPull = "Deny"
	AnonymousPublic AnonymousPull = "PublicRepositories"
)

// Acceptance says whether something that is not usual is taken.
type Acceptance string

// The values of Acceptance. Reject is the default and not written, so that
// releases that do not know the setting read the policy as well.
const (
	Reject Acceptance = ""
	Allow  Acceptance = "Allow"
)

// Default limits in bytes, those of GitHub Packages.
const (
	DefaultMaxLayerSize  = 5 << 30
	DefaultWarnImageSize = 10 << 30
)

// Limits bound what may be pushed, in bytes. Zero means the default and is what is
// written for it.
type Limits struct {
	// MaxLayerSize is the largest blob that is accepted.
	MaxLayerSize int64 `json:"maxLayerSize,omitempty"`
	// WarnImageSize is how much an image's config and layers take together at
	// most without a warning.
	WarnImageSize int64 `json:"warnImageSize,omitempty"`
}

// LayerSize is MaxLayerSize or its default.
func (l Limits) LayerSize() int64 { return cmp.Or(l.MaxLayerSize, DefaultMaxLayerSize) }

// ImageSize is WarnImageSize or its default.
func (l Limits) ImageSize() int64 { return cmp.Or(l.WarnImageSize, DefaultWarnImageSize) }

// Visibility of a repository, as on GitHub.
type Visibility string

// The visibilities: the people with a role; any signed-in user; everybody.
const (
	Private  Visibility = "Private"
	Internal Visibility = "Internal"
	Public   Visibility = "Public"
)

// Role is a user's permission in a repository. Each includes the one before.
type Role string

// The roles.
const (
	RoleRead  Role = "Read"
	RoleWrite Role = "Write"
	RoleAdmin Role = "Admin"
)

// Includes says whether whoever has r may do all that other allows. No role
// includes only no role.
func (r Role) Includes(other Role) bool { return r.rank() >= other.rank() }

func (r Role) known() bool { return r.rank() > 0 }

func (r Role) rank() int {
	switch r {
	case RoleRead:
		return 1
	case RoleWrite:
		return 2
	case RoleAdmin:
		return 3
	}
	return 0
}

// Scope is what a token may be used for, in GitHub's words.
type Scope string

// The scopes. ScopeWrite includes ScopeRead.
const (
	ScopeRead   Scope = "read:packages"
	ScopeWrite  Scope = "write:packages"
	ScopeDelete Scope = "delete:packages"
)

// Repository is a declared OWNER/REPOSITORY.
type Repository struct {
	Owner      string     `json:"owner"`
	Name       string     `json:"name"`
	Visibility Visibility `json:"visibility"`
	// Users and ServiceAccounts with a role of their own, sorted by name. The owner is
	// Admin without being listed.
	Users []Member `json:"users,omitempty"`
	// Teams with a role, sorted by name.
	Teams []Member `json:"teams,omitempty"`
}

// Member is a user's role, or a team's.
type Member struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// Team is a group of users, with a role where repositories give it one.
type Team struct {
	// Name is ORGANIZATION/TEAM, or ORGANIZATION for its owners.
	Name string `json:"name"`
	// Users in the team, sorted.
	Users []string `json:"users"`
}

// Credential is one accepted value of a token.
type Credential struct {
	// ID is credential.ID of the value: public, safe in logs, and different
	// for every value.
	ID   string          `json:"id"`
	Hash credential.Hash `json:"hash"`
	// Token is the PackagesToken's name, for people who read an audit log.
	Token  string  `json:"token"`
	User   string  `json:"user"`
	Scopes []Scope `json:"scopes"`
	// Repositories narrows the credential to OWNER/NAME or OWNER/* patterns;
	// empty does not narrow.
	Repositories []string `json:"repositories,omitempty"`
	// NotAfter is the first instant at which the credential is refused; nil
	// means that it does not expire.
	NotAfter *time.Time `json:"notAfter,omitempty"`
}

// ServiceAccount is a ServiceAccount of the cluster with a role in some repository.
type ServiceAccount struct {
	// User is workload.User of it, and UID its metadata.uid: a later one of the same
	// name is another.
	User string `json:"user"`
	UID  string `json:"uid"`
	// Repositories narrows what it may do, as those of a Credential; empty does not
	// narrow.
	Repositories []string `json:"repositories,omitempty"`
}

// Purge asks for the deletion of a repository's content.
type Purge struct {
	// ID is the UID of the PackagesRepository that asks, so that a purge is
	// done once, and never again for a later object of the same name.
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Name  string `json:"name"`
}
