// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Action is what a request wants to do with an image.
type Action uint8

// The actions.
const (
	Pull Action = iota
	Push
	Delete
)

// rule is what an action needs, and how to speak of it.
type rule struct {
	// name is the action in Docker's scopes.
	name  string
	doing string
	// role is empty where it is enough to see the repository.
	role   policy.Role
	scopes []policy.Scope
}

// rules is the whole of it: right = token scope and the user's permission.
// ScopeWrite includes reading, and a greater role includes the lesser.
var rules = [...]rule{
	Pull:   {name: "pull", doing: "pulling", scopes: []policy.Scope{policy.ScopeRead, policy.ScopeWrite}},
	Push:   {name: "push", doing: "pushing", role: policy.RoleWrite, scopes: []policy.Scope{policy.ScopeWrite}},
	Delete: {name: "delete", doing: "deleting", role: policy.RoleAdmin, scopes: []policy.Scope{policy.ScopeDelete}},
}

// String is the action's name in Docker's scopes.
func (a Action) String() string { return rules[a].name }

// Verdict is how a request is answered. The zero Verdict does not allow.
type Verdict uint8

// The verdicts, and the answers they stand for (DESIGN §3).
const (
	// Challenge: nobody is signed in; 401.
	Challenge Verdict = iota
	// InsufficientScope: the actor has the right and the bearer token was issued
	// without it; 401, error="insufficient_scope".
	InsufficientScope
	// Hidden: the repository is missing, or the actor may not see it; 404
	// NAME_UNKNOWN, and both alike.
	Hidden
	// Denied: the actor sees the repository and lacks the right; 403 DENIED.
	Denied
	// ReadOnly: the registry refuses changes; 405 UNSUPPORTED.
	ReadOnly
	// Allow: go ahead.
	Allow
)

// String is the verdict's name, for logs.
func (v Verdict) String() string {
	return [...]string{"challenge", "insufficient scope", "hidden", "denied", "read-only", "allow"}[v]
}

// Decision is a Verdict with a sentence for the person behind the request, empty
// for Allow. It may be shown to the actor.
type Decision struct {
	Verdict Verdict
	Reason  string
}

var allowed = Decision{Verdict: Allow}

const (
	signIn      = "sign in with docker login"
	goneReason  = "the token is no longer valid"
	offReason   = "the Docker registry of this instance is disabled"
	readOnlyWhy = "the Docker registry of this instance is read-only: pulling works, pushing and deleting do not"
)

// Authorize decides about one action on one image under the snapshot s: the
// access of the bearer token, the scopes of the credential, its narrowing and the
// user's permission must all allow it. It is pure, and does not allocate to allow.
func Authorize(s *policy.Snapshot, actor Actor, name ref.Name, action Action) Decision {
	d := permitted(s, actor, name.Repository(), action)
	if d.Verdict == Hidden || d.Verdict == Challenge {
		return d
	}
	if action != Pull && s.Policy().Support == policy.SupportReadOnly {
		return Decision{ReadOnly, readOnlyWhy}
	}
	if d.Verdict != Allow {
		return d
	}
	if !actor.allows(typeRepository, string(name), rules[action].name) {
		return Decision{InsufficientScope, "the bearer token was not issued for " + rules[action].doing + " " + string(name)}
	}
	return allowed
}

// permitted is Authorize without the bearer token's access and without ReadOnly:
// what the actor's credential may do with OWNER/REPOSITORY.
func permitted(s *policy.Snapshot, actor Actor, repository string, action Action) Decision {
	p := s.Policy()
	if p.Support == policy.SupportDisabled {
		return Decision{Hidden, offReason}
	}
	c, ok := actor.under(s)
	if !ok {
		return Decision{Challenge, goneReason}
	}
	r, found := s.Repository(repository)
	if c == nil {
		if action == Pull && found && r.Visibility == policy.Public && p.AnonymousPull == policy.AnonymousPublic {
			return allowed
		}
		return Decision{Challenge, signIn}
	}
	if !covers(c.Repositories, repository) {
		// Said of any name, declared or not, so that it tells nothing about it.
		return Decision{Hidden, "this token is limited to " + enumerate(c.Repositories)}
	}
	if !found {
		return hidden(repository)
	}
	role, member := s.Role(c.User, r)
	if !member && r.Visibility == policy.Private {
		return hidden(repository)
	}
	needs := &rules[action]
	if !role.Includes(needs.role) {
		if !member {
			return Decision{Denied, fmt.Sprintf("you have no role in %s; %s needs %s", repository, needs.doing, needs.role)}
		}
		return Decision{Denied, fmt.Sprintf("your role in %s is %s; %s needs %s", repository, role, needs.doing, needs.role)}
	}
	for _, scope := range c.Scopes {
		if slices.Contains(needs.scopes, scope) {
			return allowed
		}
	}
	return Decision{Denied, "this token lacks the scope " + string(needs.scopes[0])}
}

func hidden(repository string) Decision {
	return Decision{Hidden, "there is no repository " + repository + " that this token may see"}
}

// AuthorizeVersion decides about the version check of the API, which clients log
// in by: it needs a credential, if only a bearer token for nobody.
func AuthorizeVersion(s *policy.Snapshot, actor Actor) Decision {
	if s.Policy().Support == policy.SupportDisabled {
		return Decision{Hidden, offReason}
	}
	if _, ok := actor.under(s); !ok {
		return Decision{Challenge, goneReason}
	}
	if actor.Anonymous() && actor.bearer == nil {
		return Decision{Challenge, signIn}
	}
	return allowed
}

// AuthorizeCatalog decides about listing repositories; Visible says which to list.
func AuthorizeCatalog(s *policy.Snapshot, actor Actor) Decision {
	if d := mayList(s, actor); d.Verdict != Allow {
		return d
	}
	if !actor.allows(typeRegistry, catalogName, catalogAction) {
		return Decision{InsufficientScope, "the bearer token was not issued for listing repositories"}
	}
	return allowed
}

func mayList(s *policy.Snapshot, actor Actor) Decision {
	if s.Policy().Support == policy.SupportDisabled {
		return Decision{Hidden, offReason}
	}
	c, ok := actor.under(s)
	if !ok {
		return Decision{Challenge, goneReason}
	}
	if c == nil {
		if s.Policy().AnonymousPull == policy.AnonymousPublic {
			return allowed
		}
		return Decision{Challenge, signIn}
	}
	for _, scope := range c.Scopes {
		if slices.Contains(rules[Pull].scopes, scope) {
			return allowed
		}
	}
	return Decision{Denied, "this token lacks the scope " + string(policy.ScopeRead)}
}

// Visible says whether a listing shows the actor an OWNER/REPOSITORY: whether the
// actor's credential may pull from it. The bearer token's access to single images
// does not matter for a listing.
func Visible(s *policy.Snapshot, actor Actor, repository string) bool {
	return permitted(s, actor, repository, Pull).Verdict == Allow
}

// MayMount says whether a blob of from may be mounted elsewhere. The actor's
// credential decides; clients do not ask for bearer access to the source.
func MayMount(s *policy.Snapshot, actor Actor, from ref.Name) bool {
	return permitted(s, actor, from.Repository(), Pull).Verdict == Allow
}

// covers says whether a credential's narrowing leaves it a repository.
func covers(patterns []string, repository string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, pattern := range patterns {
		if pattern == repository {
			return true
		}
		// OWNER/* covers OWNER/ANYTHING.
		if owner, all := strings.CutSuffix(pattern, "*"); all && strings.HasPrefix(repository, owner) {
			return true
		}
	}
	return false
}

// enumerate writes the first few of a list.
func enumerate(list []string) string {
	const most = 3
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
