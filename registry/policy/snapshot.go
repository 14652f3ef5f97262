// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// Snapshot is an immutable Policy with the indexes that requests need. It is safe
// for concurrent use, and its look-ups do not allocate.
type Snapshot struct {
	policy       Policy
	revision     string
	repositories map[string]*Repository
	// teams are the users of each team, by its name.
	teams map[string][]string
	// prefixes are OWNER/REPOSITORY/ of all repositories, sorted.
	prefixes []string
	byHash   map[credential.Hash]*Credential
	byID     map[string]*Credential
	// workloads verifies tokens of ServiceAccounts, nil for none; accounts are the
	// credentials that these stand for, by user.
	workloads *workload.Verifier
	accounts  map[string]*Credential
}

// NewSnapshot checks a policy, sorts it and indexes it. It refuses what this
// release does not understand, such as an unknown role, rather than guess. The
// caller must not change p's slices afterwards.
func NewSnapshot(p Policy) (*Snapshot, error) {
	p = sorted(p)
	_, revision, err := splitSorted(p)
	if err != nil {
		return nil, err
	}
	return newSnapshot(p, revision)
}

// newSnapshot takes a policy that sorted returned.
func newSnapshot(p Policy, revision string) (*Snapshot, error) {
	s := &Snapshot{
		policy:       p,
		revision:     revision,
		repositories: make(map[string]*Repository, len(p.Repositories)),
		teams:        make(map[string][]string, len(p.Teams)),
		byHash:       make(map[credential.Hash]*Credential, len(p.Credentials)),
		byID:         make(map[string]*Credential, len(p.Credentials)),
	}
	if err := checkSettings(&s.policy); err != nil {
		return nil, err
	}
	for i := range s.policy.Teams {
		team := &s.policy.Teams[i]
		if err := checkTeam(team); err != nil {
			return nil, err
		}
		if s.teams[team.Name] != nil {
			return nil, fmt.Errorf("team %s is there twice", team.Name)
		}
		s.teams[team.Name] = team.Users
	}
	for i := range s.policy.Repositories {
		r := &s.policy.Repositories[i]
		if err := s.checkRepository(r); err != nil {
			return nil, err
		}
		key := r.Owner + "/" + r.Name
		if s.repositories[key] != nil {
			return nil, fmt.Errorf("repository %s is there twice", key)
		}
		s.repositories[key] = r
		s.prefixes = append(s.prefixes, key+"/")
	}
	slices.Sort(s.prefixes)
	for i := range s.policy.Credentials {
		c := &s.policy.Credentials[i]
		if err := checkCredential(c); err != nil {
			return nil, err
		}
		if s.byID[c.ID] != nil || s.byHash[c.Hash] != nil {
			return nil, fmt.Errorf("credential %s is there twice", c.ID)
		}
		s.byID[c.ID], s.byHash[c.Hash] = c, c
	}
	if err := s.admitWorkloads(); err != nil {
		return nil, err
	}
	return s, nil
}

// admitWorkloads makes a credential of every ServiceAccount: it may be used for
// everything that its roles allow, as long as there is a token for it.
func (s *Snapshot) admitWorkloads() error {
	if !s.policy.Issuer.IsZero() {
		verifier, err := workload.NewVerifier(s.policy.Issuer)
		if err != nil {
			return err
		}
		s.workloads = verifier
	}
	s.accounts = make(map[string]*Credential, len(s.policy.ServiceAccounts))
	for i := range s.policy.ServiceAccounts {
		account := &s.policy.ServiceAccounts[i]
		if !workload.IsUser(account.User) || account.UID == "" {
			return fmt.Errorf("service account %q of UID %q is incomplete", account.User, account.UID)
		}
		c := &Credential{
			ID: workload.ID(account.User, account.UID), User: account.User,
			Scopes: []Scope{ScopeDelete, ScopeRead, ScopeWrite}, Repositories: account.Repositories,
		}
		if err := checkNarrowing(c); err != nil {
			return err
		}
		if s.byID[c.ID] != nil || s.accounts[c.User] != nil {
			return fmt.Errorf("service account %s is there twice", c.User)
		}
		s.byID[c.ID], s.accounts[c.User] = c, c
	}
	return nil
}

// Policy is the whole policy, sorted as its fields say. The caller must not change
// it.
func (s *Snapshot) Policy() *Policy { return &s.policy }

// Revision names the policy's content: equal revisions mean equal policies.
func (s *Snapshot) Revision() string { return s.revision }

// Repository finds a declared OWNER/REPOSITORY.
func (s *Snapshot) Repository(ownerRepository string) (*Repository, bool) {
	r, found := s.repositories[ownerRepository]
	return r, found
}

// PrefixesFrom are those OWNER/REPOSITORY/ of declared repositories that are not
// before from, in the byte order that names have. The caller must not change them.
func (s *Snapshot) PrefixesFrom(from string) []string {
	i, _ := slices.BinarySearch(s.prefixes, from)
	return s.prefixes[i:]
}

// Role is the user's permission in a repository of this snapshot: Admin for its
// owner, else the greatest of what the repository grants to the user by name and to
// the teams that they are in.
func (s *Snapshot) Role(user string, r *Repository) (Role, bool) {
	if user == "" {
		return "", false
	}
	if user == r.Owner {
		return RoleAdmin, true
	}
	var role Role
	i, found := slices.BinarySearchFunc(r.Users, user, func(m Member, name string) int {
		return strings.Compare(m.Name, name)
	})
	if found {
		role = r.Users[i].Role
	}
	for _, team := range r.Teams {
		if role.Includes(team.Role) {
			continue
		}
		if _, in := slices.BinarySearch(s.teams[team.Name], user); in {
			role = team.Role
		}
	}
	return role, role != ""
}

// CredentialByValue finds the credential that a token's value stands for. It does
// not look at NotAfter.
func (s *Snapshot) CredentialByValue(value string) (*Credential, bool) {
	c, found := s.byHash[credential.Sum(value)]
	return c, found
}

// CredentialByWorkload finds the credential that a token of a ServiceAccount stands
// for, and returns it with the time in which the token holds. It does not look at that.
func (s *Snapshot) CredentialByWorkload(token string) (*Credential, workload.Token, bool) {
	said, ok := s.workloads.Verify(token, s.policy.Hosts.Docker)
	if !ok {
		return nil, workload.Token{}, false
	}
	c := s.accounts[said.User]
	if c == nil || c.ID != workload.ID(said.User, said.UID) {
		return nil, workload.Token{}, false
	}
	return c, said, true
}

// CredentialByID finds a credential by its public ID, that of a ServiceAccount too. It
// does not look at NotAfter.
func (s *Snapshot) CredentialByID(id string) (*Credential, bool) {
	c, found := s.byID[id]
	return c, found
}

// sorted returns p in the order that its fields document, without empty slices,
// and with instants in UTC. It copies what it changes.
func sorted(p Policy) Policy {
	p.Repositories = slices.Clone(p.Repositories)
	for i := range p.Repositories {
		r := &p.Repositories[i]
		r.Users = sortedBy(r.Users, compareMembers)
		r.Teams = sortedBy(r.Teams, compareMembers)
	}
	p.Repositories = sortedBy(p.Repositories, compareRepositories)
	p.Credentials = slices.Clone(p.Credentials)
	for i := range p.Credentials {
		c := &p.Credentials[i]
		c.Scopes = sortedBy(c.Scopes, cmp.Compare)
		c.Repositories = sortedBy(c.Repositories, strings.Compare)
		if c.NotAfter != nil {
			// Without a zone and a monotonic clock, equal instants are equal values.
			if utc := c.NotAfter.UTC().Round(0); *c.NotAfter != utc {
				c.NotAfter = &utc
			}
		}
	}
	p.Credentials = sortedBy(p.Credentials, func(a, b Credential) int { return strings.Compare(a.ID, b.ID) })
	p.Purges = sortedBy(p.Purges, func(a, b Purge) int { return strings.Compare(a.ID, b.ID) })
	p.Teams = slices.Clone(p.Teams)
	for i := range p.Teams {
		p.Teams[i].Users = sortedBy(p.Teams[i].Users, strings.Compare)
	}
	p.Teams = sortedBy(p.Teams, func(a, b Team) int { return strings.Compare(a.Name, b.Name) })
	p.Issuer.Keys = sortedBy(p.Issuer.Keys, func(a, b workload.Key) int { return strings.Compare(a.ID, b.ID) })
	p.ServiceAccounts = slices.Clone(p.ServiceAccounts)
	for i := range p.ServiceAccounts {
		p.ServiceAccounts[i].Repositories = sortedBy(p.ServiceAccounts[i].Repositories, strings.Compare)
	}
	p.ServiceAccounts = sortedBy(p.ServiceAccounts, func(a, b ServiceAccount) int { return strings.Compare(a.User, b.User) })
	return p
}

func compareMembers(a, b Member) int { return strings.Compare(a.Name, b.Name) }

func compareRepositories(a, b Repository) int {
	return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
}

func sortedBy[E any](list []E, compare func(a, b E) int) []E {
	if len(list) == 0 {
		return nil
	}
	if slices.IsSortedFunc(list, compare) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return list
}

func checkSettings(p *Policy) error {
	switch {
	case p.Instance.Name == "" || p.Instance.UID == "":
		return errors.New("policy names no instance")
	case p.Hosts.Docker == "" || p.Hosts.Base == "" || p.Hosts.URL == "":
		return errors.New("policy lacks a host")
	}
	switch p.Support {
	case SupportEnabled, SupportReadOnly, SupportDisabled:
	default:
		return fmt.Errorf("support %q is unknown", p.Support)
	}
	switch p.AnonymousPull {
	case AnonymousDeny, AnonymousPublic:
	default:
		return fmt.Errorf("anonymousPull %q is unknown", p.AnonymousPull)
	}
	for setting, value := range map[string]Acceptance{"foreignLayers": p.ForeignLayers, "missingReferences": p.MissingReferences} {
		if value != Reject && value != Allow {
			return fmt.Errorf("%s %q is unknown", setting, value)
		}
	}
	if p.Limits.MaxLayerSize < 0 || p.Limits.WarnImageSize < 0 {
		return fmt.Errorf("limits of %d and %d bytes are less than nothing", p.Limits.MaxLayerSize, p.Limits.WarnImageSize)
	}
	for i, purge := range p.Purges {
		if purge.ID == "" || !component(purge.Owner) || !component(purge.Name) {
			return fmt.Errorf("purge %q of repository %q/%q is incomplete", purge.ID, purge.Owner, purge.Name)
		}
		if i > 0 && p.Purges[i-1].ID == purge.ID {
			return fmt.Errorf("purge %s is there twice", purge.ID)
		}
	}
	return nil
}

func checkTeam(t *Team) error {
	if t.Name == "" || len(t.Users) == 0 {
		return fmt.Errorf("team %q has no name or nobody in it", t.Name)
	}
	for i, user := range t.Users {
		if user == "" || i > 0 && t.Users[i-1] == user {
			return fmt.Errorf("team %s: user %q is nobody or there twice", t.Name, user)
		}
	}
	return nil
}

func (s *Snapshot) checkRepository(r *Repository) error {
	if !component(r.Owner) || !component(r.Name) {
		return fmt.Errorf("repository %q/%q has no usable name", r.Owner, r.Name)
	}
	switch r.Visibility {
	case Private, Internal, Public:
	default:
		return fmt.Errorf("repository %s/%s: visibility %q is unknown", r.Owner, r.Name, r.Visibility)
	}
	for i, user := range r.Users {
		if !user.Role.known() {
			return fmt.Errorf("repository %s/%s: role %q is unknown", r.Owner, r.Name, user.Role)
		}
		if user.Name == "" || i > 0 && r.Users[i-1].Name == user.Name {
			return fmt.Errorf("repository %s/%s: user %q is nobody or there twice", r.Owner, r.Name, user.Name)
		}
	}
	for i, team := range r.Teams {
		if !team.Role.known() {
			return fmt.Errorf("repository %s/%s: role %q is unknown", r.Owner, r.Name, team.Role)
		}
		if s.teams[team.Name] == nil || i > 0 && r.Teams[i-1].Name == team.Name {
			return fmt.Errorf("repository %s/%s: team %q is unknown or there twice", r.Owner, r.Name, team.Name)
		}
	}
	return nil
}

func checkCredential(c *Credential) error {
	if c.ID == "" || c.User == "" || c.Hash == (credential.Hash{}) {
		return fmt.Errorf("credential %q of user %q is incomplete", c.ID, c.User)
	}
	for _, scope := range c.Scopes {
		switch scope {
		case ScopeRead, ScopeWrite, ScopeDelete:
		default:
			return fmt.Errorf("credential %s: scope %q is unknown", c.ID, scope)
		}
	}
	return checkNarrowing(c)
}

func checkNarrowing(c *Credential) error {
	for _, pattern := range c.Repositories {
		owner, name, found := strings.Cut(pattern, "/")
		if !found || !component(owner) || !component(name) {
			return fmt.Errorf("credential %s: %q is neither OWNER/REPOSITORY nor OWNER/*", c.ID, pattern)
		}
	}
	return nil
}

// component keeps OWNER/NAME unambiguous; the grammar of names is the API's.
func component(s string) bool { return s != "" && !strings.Contains(s, "/") }
