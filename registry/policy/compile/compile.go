// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package compile turns declared objects into the policy that a registry enforces.
// It is pure: no client, no clock, and the same result for the same objects in any
// order.
package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// Input is everything that a policy depends on.
type Input struct {
	Instance *v1alpha1.PackagesInstance
	// URL is where clients reach the registry; empty means HTTPS at its host.
	URL string
	// Organizations, Repositories and Tokens that refer to other instances are
	// ignored.
	Organizations []v1alpha1.PackagesOrganization
	Repositories  []v1alpha1.PackagesRepository
	Tokens        []Token
	// Namespaces are the labels of those namespaces that selectors may choose, by
	// name.
	Namespaces map[string]map[string]string
	// ServiceAccounts are the UIDs of those that there are of the ServiceAccounts that
	// repositories name.
	ServiceAccounts map[types.NamespacedName]types.UID
	// Issuer signs their tokens. Where it is none, IssuerFault says why.
	Issuer      workload.Issuer
	IssuerFault string
}

// Token is a PackagesToken with the values that stand for it at the moment.
type Token struct {
	Object      *v1alpha1.PackagesToken
	Credentials []Credential
}

// Credential is one value of a token.
type Credential struct {
	Hash credential.Hash
	ID   string
	// NotAfter is the first instant at which this value is refused, beside the
	// token's spec.expiresAt; nil for none.
	NotAfter *time.Time
}

// Result is a policy, and what in its input has no effect.
type Result struct {
	Policy policy.Policy
	// Problems sorted by kind, namespace and name.
	Problems []Problem
}

// Compile makes the policy of one instance. Objects that are being deleted have no
// rights in it. A repository that is being deleted with deletionPolicy Delete, and
// held its owner and name, is a purge until its data finalizer is gone. Expired
// tokens stay in the policy, since the registry's clock decides about them.
//
// A name is a user's or an organization's, never both: where an organization is
// declared, whichever came first, a token of a user of that name, and an entry for
// one in a list, give nothing.
//
// Of another namespace than the instance's, only what the instance allows has effect,
// and only for the owners that it allows: a token from there sees nothing else,
// whatever its user may do.
func Compile(in Input) Result {
	instance := in.Instance
	hosts := HostsOf(&instance.Spec)
	if in.URL != "" {
		hosts.URL = in.URL
	}
	result := Result{Policy: policy.Policy{
		Instance:      policy.Instance{Namespace: instance.Namespace, Name: instance.Name, UID: string(instance.UID)},
		Hosts:         hosts,
		Support:       support(instance.Spec.Docker.Support),
		AnonymousPull: anonymousPull(instance.Spec.Docker.AnonymousPull),

		ForeignLayers:     acceptance(instance.Spec.Docker.ForeignLayers),
		MissingReferences: acceptance(instance.Spec.Docker.MissingReferences),
		Limits: policy.Limits{
			MaxLayerSize:  limit(instance.Spec.Docker.Limits.MaxLayerSize, policy.DefaultMaxLayerSize),
			WarnImageSize: limit(instance.Spec.Docker.Limits.WarnImageSize, policy.DefaultWarnImageSize),
		},
	}}
	s := newScope(in)
	names := compileOrganizations(&result, s, in.Organizations)
	compileRepositories(&result, s, in.Repositories, names)
	compileTokens(&result, s, in.Tokens, names)
	if result.Policy.ServiceAccounts = s.employed(); len(result.Policy.ServiceAccounts) > 0 {
		result.Policy.Issuer = in.Issuer
	}
	slices.SortFunc(result.Problems, func(a, b Problem) int {
		return slices.Compare([]string{a.Kind, a.Namespace, a.Name}, []string{b.Kind, b.Namespace, b.Name})
	})
	return result
}

// HostsOf is where an instance answers. Clients send credentials to the URL, so
// it is HTTPS whoever ends TLS: the Ingress with its own certificate or the
// controller's, or a load balancer or proxy in front.
func HostsOf(spec *v1alpha1.PackagesInstanceSpec) policy.Hosts {
	hosts := policy.Hosts{Docker: "docker." + spec.Hostname, Base: spec.Hostname}
	if spec.SubdomainIsolation == v1alpha1.SubdomainIsolationDisabled {
		hosts.Docker = spec.Hostname
	}
	hosts.URL = "https://" + hosts.Docker
	return hosts
}

// support closes what it does not know.
func support(mode v1alpha1.SupportMode) policy.Support {
	switch mode {
	case v1alpha1.SupportEnabled, "":
		return policy.SupportEnabled
	case v1alpha1.SupportReadOnly:
		return policy.SupportReadOnly
	}
	return policy.SupportDisabled
}

func anonymousPull(pull v1alpha1.AnonymousPull) policy.AnonymousPull {
	if pull == v1alpha1.AnonymousPullPublicRepositories {
		return policy.AnonymousPublic
	}
	return policy.AnonymousDeny
}

func acceptance(a v1alpha1.Acceptance) policy.Acceptance {
	if a == v1alpha1.AcceptanceAllow {
		return policy.Allow
	}
	return policy.Reject
}

// limit is a size in bytes, zero for its default, as a policy has it.
func limit(size *resource.Quantity, byDefault int64) int64 {
	if size == nil || size.Value() == byDefault {
		return 0
	}
	return size.Value()
}

func compileRepositories(result *Result, s *scope, objects []v1alpha1.PackagesRepository, names directory) {
	groups := map[string][]*v1alpha1.PackagesRepository{}
	for i := range objects {
		object := &objects[i]
		if !s.refers(object, object.Spec.InstanceRef) {
			continue
		}
		if problem := s.refuseOwner(KindRepository, object, "spec.owner", object.Spec.Owner); problem != nil {
			result.Problems = append(result.Problems, *problem)
			continue
		}
		if err := checkRepository(&object.Spec); err != nil {
			result.Problems = append(result.Problems, invalid(KindRepository, object, err))
			continue
		}
		key := object.Spec.Owner + "/" + object.Spec.Name
		groups[key] = append(groups[key], object)
	}
	for _, group := range groups {
		holder := Holder(group)
		for _, object := range group {
			if object != holder {
				result.Problems = append(result.Problems, s.duplicate(object, holder))
			}
		}
		switch {
		case holder.DeletionTimestamp.IsZero():
			compiled, faults := s.repository(holder, names)
			result.Policy.Repositories = append(result.Policy.Repositories, compiled)
			if len(faults) > 0 {
				result.Problems = append(result.Problems, partial(KindRepository, holder, faults))
			}
		case PurgeWanted(holder):
			result.Policy.Purges = append(result.Policy.Purges, policy.Purge{
				ID: string(holder.UID), Owner: holder.Spec.Owner, Name: holder.Spec.Name,
			})
		}
	}
	slices.SortFunc(result.Policy.Repositories, func(a, b policy.Repository) int {
		return slices.Compare([]string{a.Owner, a.Name}, []string{b.Owner, b.Name})
	})
	result.Policy.Teams = names.teams(result.Policy.Repositories)
	slices.SortFunc(result.Policy.Purges, func(a, b policy.Purge) int { return strings.Compare(a.ID, b.ID) })
}

// PurgeWanted says whether a repository's deletion waits for the deletion of its
// content.
func PurgeWanted(object *v1alpha1.PackagesRepository) bool {
	return !object.DeletionTimestamp.IsZero() &&
		object.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete &&
		slices.Contains(object.Finalizers, v1alpha1.FinalizerData)
}

func (s *scope) duplicate(object, holder *v1alpha1.PackagesRepository) Problem {
	return Problem{
		Kind: KindRepository, Namespace: object.Namespace, Name: object.Name,
		Reason: v1alpha1.ReasonDuplicateRepository,
		Message: fmt.Sprintf("%s/%s is already declared by %s: delete one of the two",
			object.Spec.Owner, object.Spec.Name, s.call(KindRepository, holder, object)),
	}
}

// repository keeps what has effect: the owner is Admin without being listed, and
// of two roles of one user or team the greater.
func (s *scope) repository(object *v1alpha1.PackagesRepository, names directory) (policy.Repository, []fault) {
	var faults []fault
	spec := &object.Spec
	users := make([]policy.Member, 0, len(spec.Access.Users))
	for i, user := range spec.Access.Users {
		if names[user.Name] != nil {
			faults = append(faults, fault{v1alpha1.ReasonUserIsOrganization, fmt.Sprintf("spec.access.users[%d]", i),
				user.Name + " is an organization and not a user: name its teams in spec.access.teams, or users"})
			continue
		}
		if role, known := role(user.Role); known && user.Name != "" && user.Name != spec.Owner && !workload.IsUser(user.Name) {
			users = append(users, policy.Member{Name: user.Name, Role: role})
		}
	}
	accounts, absent := s.employ(object)
	users, faults = append(users, accounts...), append(faults, absent...)
	teams, missing := s.grants(object, names)
	return policy.Repository{
		Owner: spec.Owner, Name: spec.Name, Visibility: visibility(spec.Visibility),
		Users: distinctMembers(users), Teams: distinctMembers(append(teams, names.ownersOf(spec.Owner)...)),
	}, append(faults, missing...)
}

// distinctMembers sorts members by name and keeps the greatest role of each.
func distinctMembers(members []policy.Member) []policy.Member {
	slices.SortFunc(members, func(a, b policy.Member) int {
		if a.Name == b.Name && a.Role != b.Role {
			if a.Role.Includes(b.Role) {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Clip(slices.CompactFunc(members, func(a, b policy.Member) bool { return a.Name == b.Name }))
}

func visibility(v v1alpha1.Visibility) policy.Visibility {
	switch v {
	case v1alpha1.VisibilityInternal:
		return policy.Internal
	case v1alpha1.VisibilityPublic:
		return policy.Public
	}
	return policy.Private
}

func role(r v1alpha1.RepositoryRole) (policy.Role, bool) {
	switch r {
	case v1alpha1.RoleRead:
		return policy.RoleRead, true
	case v1alpha1.RoleWrite:
		return policy.RoleWrite, true
	case v1alpha1.RoleAdmin:
		return policy.RoleAdmin, true
	}
	return "", false
}

func compileTokens(result *Result, s *scope, tokens []Token, names directory) {
	users := map[credential.Hash][]*v1alpha1.PackagesToken{}
	var effective []Token
	for _, token := range tokens {
		object := token.Object
		if !s.refers(object, object.Spec.InstanceRef) || !object.DeletionTimestamp.IsZero() {
			continue
		}
		if problem := s.refuse(KindToken, object); problem != nil {
			result.Problems = append(result.Problems, *problem)
			continue
		}
		if err := checkToken(&object.Spec); err != nil {
			result.Problems = append(result.Problems, invalid(KindToken, object, err))
			continue
		}
		token.Credentials = distinct(token.Credentials)
		effective = append(effective, token)
		for _, c := range token.Credentials {
			users[c.Hash] = append(users[c.Hash], object)
		}
	}
	for _, token := range effective {
		object := token.Object
		narrowing, problem := s.judge(token, names, users)
		if problem != nil {
			result.Problems = append(result.Problems, *problem)
			if !problem.Partial {
				continue
			}
		}
		name := object.Name
		if object.Namespace != s.instance.Namespace {
			name = object.Namespace + "/" + name
		}
		for _, c := range token.Credentials {
			result.Policy.Credentials = append(result.Policy.Credentials, compileCredential(&object.Spec, name, narrowing, c))
		}
	}
	slices.SortFunc(result.Policy.Credentials, func(a, b policy.Credential) int { return strings.Compare(a.ID, b.ID) })
}

// judge says what a token is narrowed to, and what of it has no effect.
func (s *scope) judge(token Token, names directory, users map[credential.Hash][]*v1alpha1.PackagesToken) ([]string, *Problem) {
	object := token.Object
	problem := func(reason, field, message string) *Problem {
		return &Problem{Kind: KindToken, Namespace: object.Namespace, Name: object.Name, Reason: reason, Field: field, Message: message}
	}
	if organization := names[object.Spec.User]; organization != nil {
		return nil, problem(v1alpha1.ReasonUserIsOrganization, "spec.user",
			fmt.Sprintf("%s is an organization, by %s, and only users have tokens: delete this token, and create one for a user",
				object.Spec.User, s.call(KindOrganization, organization.holder, object)))
	}
	if others := s.sharers(token, users); len(others) > 0 {
		return nil, problem(v1alpha1.ReasonDuplicateValue, "",
			"the value is also that of "+strings.Join(others, ", ")+": give each token a value of its own")
	}
	allowance := s.allowance(object.Namespace)
	narrowing, left := allowance.narrow(object.Spec.Repositories)
	if !left {
		return nil, problem(v1alpha1.ReasonOwnerNotAllowed, "spec.repositories", "no entry is allowed here: "+s.owners(object))
	}
	var faults []fault
	for i, pattern := range object.Spec.Repositories {
		if owner, _, _ := strings.Cut(pattern, "/"); !allowance.includes(owner) {
			faults = append(faults, fault{v1alpha1.ReasonOwnerNotAllowed, fmt.Sprintf("spec.repositories[%d]", i),
				owner + " is not allowed here: " + s.owners(object)})
		}
	}
	if len(faults) > 0 {
		partly := partial(KindToken, object, faults)
		return narrowing, &partly
	}
	return narrowing, nil
}

// distinct drops repetitions within one token, keeping the end that comes first.
func distinct(credentials []Credential) []Credential {
	var kept []Credential
	for _, c := range credentials {
		i := slices.IndexFunc(kept, func(k Credential) bool { return k.Hash == c.Hash })
		if i < 0 {
			kept = append(kept, c)
			continue
		}
		kept[i].NotAfter = earlier(kept[i].NotAfter, c.NotAfter)
	}
	return kept
}

// sharers are the other tokens that have one of a token's values.
func (s *scope) sharers(token Token, users map[credential.Hash][]*v1alpha1.PackagesToken) []string {
	var others []string
	for _, c := range token.Credentials {
		for _, user := range users[c.Hash] {
			if user != token.Object {
				others = append(others, s.call(KindToken, user, token.Object))
			}
		}
	}
	slices.Sort(others)
	return slices.Compact(others)
}

func compileCredential(spec *v1alpha1.PackagesTokenSpec, name string, narrowing []string, c Credential) policy.Credential {
	compiled := policy.Credential{
		ID: c.ID, Hash: c.Hash, Token: name, User: spec.User,
		Repositories: sortedSet(narrowing),
		NotAfter:     c.NotAfter,
	}
	for _, scope := range sortedSet(spec.Scopes) {
		switch scope := policy.Scope(scope); scope {
		case policy.ScopeRead, policy.ScopeWrite, policy.ScopeDelete:
			compiled.Scopes = append(compiled.Scopes, scope)
		}
	}
	if spec.ExpiresAt != nil {
		compiled.NotAfter = earlier(compiled.NotAfter, &spec.ExpiresAt.Time)
	}
	if compiled.NotAfter != nil {
		utc := compiled.NotAfter.UTC()
		compiled.NotAfter = &utc
	}
	return compiled
}

// earlier is the first of two ends, either of which may be none.
func earlier(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.Before(*a) {
		return b
	}
	return a
}

func sortedSet[S ~string](list []S) []S {
	set := slices.Clone(list)
	slices.Sort(set)
	return slices.Compact(set)
}
