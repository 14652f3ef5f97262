// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/oci/ocitest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/test/accessmatrix"
)

const (
	owner = "octocat"
	// elsewhere is another owner.
	elsewhere = "hubot"
)

// repositoryPaths are the repositories of the cells.
var repositoryPaths = [...]string{
	accessmatrix.Private:    owner + "/octo-app",
	accessmatrix.Internal:   owner + "/octo-internal",
	accessmatrix.Public:     owner + "/octo-public",
	accessmatrix.Removed:    owner + "/octo-removed",
	accessmatrix.Undeclared: owner + "/octo-undeclared",
}

// image is the image that a cell's request is about.
func image[T ~int | ~uint8](r T) ref.Name { return ref.Name(repositoryPaths[r] + "/image") }

// Where blobs are mounted from.
const (
	imageOfMember    ref.Name = owner + "/depot/image"
	imageWithoutBlob ref.Name = owner + "/depot/empty"
	imageOfAnybody   ref.Name = elsewhere + "/commons/image"
	imageHidden      ref.Name = elsewhere + "/secret/image"
	imageMissing     ref.Name = elsewhere + "/nothing/image"
)

// users are the cells' actors. Those whose token was good once have every right, so
// that only the token can be why they are refused.
var users = [...]string{
	accessmatrix.Revoked:   "admin",
	accessmatrix.Expired:   "admin",
	accessmatrix.Namesake:  owner,
	accessmatrix.Stranger:  "stranger",
	accessmatrix.Colleague: "colleague",
	accessmatrix.Reader:    "reader",
	accessmatrix.Writer:    "writer",
	accessmatrix.Admin:     "admin",
	accessmatrix.Owner:     "founder",
}

// userOf is a cell's actor: a user who owns repositories goes by their name, and an
// organization has owners.
func userOf(actor accessmatrix.Actor, ownership accessmatrix.Ownership) string {
	if actor == accessmatrix.Owner && ownership == accessmatrix.ByUser {
		return owner
	}
	return users[actor]
}

// valueOf is the token of a cell's actor: one for each actor, set of scopes and
// narrowing, and one for each repository, since narrowings are relative to it.
func valueOf(c accessmatrix.Cell) string {
	if c.Actor == accessmatrix.Nobody {
		return ""
	}
	value := fmt.Sprintf("%s/%s/%s/%s", c.Actor, c.Scopes, c.Narrowing, c.Repository)
	return value + strings.Repeat("-", max(0, 40-len(value)))
}

// others are the repositories that a token is narrowed to when it is not for the
// cell's alone; one of them has a name that the cell's repository begins with.
func others(c accessmatrix.Cell) []string {
	path := repositoryPaths[c.Repository]
	return []string{elsewhere + "/*", owner + "/elsewhere", path[:len(path)-1]}
}

func narrowing(c accessmatrix.Cell) []string {
	this := repositoryPaths[c.Repository]
	switch c.Narrowing {
	case accessmatrix.ThisRepository:
		return []string{this}
	case accessmatrix.ThisAmongOthers, accessmatrix.ThisFromAnother:
		return append(others(c), this)
	case accessmatrix.AllOfOwner:
		return []string{owner + "/*"}
	case accessmatrix.ThreeOthers:
		return others(c)
	case accessmatrix.FourOthers:
		// The last one in the order of a policy.
		return append(others(c), "zeppelin/*")
	}
	return nil
}

// namespaceOf is where a cell's token is declared.
func namespaceOf(c accessmatrix.Cell) string {
	switch c.Narrowing {
	case accessmatrix.NamespaceOfOwner:
		return "for-" + owner
	case accessmatrix.NamespaceOfAnother, accessmatrix.ThisFromAnother:
		return "for-" + elsewhere
	}
	return instanceKey.Namespace
}

// allowedNamespaces lets one other namespace speak for each owner: one by its name, one
// by its labels.
var allowedNamespaces = []v1alpha1.AllowedNamespaces{
	{Names: []string{"for-" + owner}, Owners: []string{owner}},
	{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"speaks-for": elsewhere}}, Owners: []string{elsewhere}},
}

var namespaceLabels = map[string]map[string]string{"for-" + owner: {}, "for-" + elsewhere: {"speaks-for": elsewhere}}

// onceForEach computes a value once for each ownership.
func onceForEach[T any](compute func(accessmatrix.Ownership) T) func(accessmatrix.Ownership) T {
	var values [2]func() T
	for i := range values {
		values[i] = sync.OnceValue(func() T { return compute(accessmatrix.Ownership(i)) })
	}
	return func(ownership accessmatrix.Ownership) T { return values[ownership]() }
}

// credentials are those of every cell that can be, revoked ones included.
var credentials = onceForEach(func(ownership accessmatrix.Ownership) []compile.Token {
	var list []compile.Token
	seen := map[string]bool{"": true}
	for c := range accessmatrix.Cells(accessmatrix.World{Ownership: ownership}) {
		value := valueOf(c)
		if seen[value] {
			continue
		}
		seen[value] = true
		object := &v1alpha1.PackagesToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(c), Name: c.Actor.String() + "-token"},
			Spec: v1alpha1.PackagesTokenSpec{
				InstanceRef: v1alpha1.InstanceReference{Name: instanceKey.Name, Namespace: instanceKey.Namespace},
				User:        userOf(c.Actor, ownership), Repositories: narrowing(c),
			},
		}
		for _, scope := range strings.Fields(c.Scopes.String()) {
			object.Spec.Scopes = append(object.Spec.Scopes, v1alpha1.Scope(scope))
		}
		switch c.Actor {
		case accessmatrix.Revoked:
			object.Name = revoked
		case accessmatrix.Expired:
			object.Spec.ExpiresAt = &metav1.Time{Time: ocitest.Now}
		}
		list = append(list, compile.Token{Object: object, Credentials: []compile.Credential{
			{Hash: credential.Sum(value), ID: credential.ID(value)},
		}})
	}
	return list
})

// revoked is the name of the tokens that are gone by the time of the cells.
const revoked = "revoked"

var instanceKey = types.NamespacedName{Namespace: "registry", Name: "acme"}

// instance is the world's, without anything declared for it.
func instance(w accessmatrix.World) *v1alpha1.PackagesInstance {
	return &v1alpha1.PackagesInstance{
		ObjectMeta: metav1.ObjectMeta{Namespace: instanceKey.Namespace, Name: instanceKey.Name, UID: "6a3b"},
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname: "packages.test",
			Docker: v1alpha1.DockerSpec{
				Support:       v1alpha1.SupportMode(w.Support.String()),
				AnonymousPull: v1alpha1.AnonymousPull(w.AnonymousPull.String()),
			},
			AllowedNamespaces: allowedNamespaces,
		},
	}
}

// declare adds a repository.
func declare(in *compile.Input, path string, visibility v1alpha1.Visibility, access v1alpha1.RepositoryAccess) {
	owner, name, _ := strings.Cut(path, "/")
	in.Repositories = append(in.Repositories, v1alpha1.PackagesRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: instanceKey.Namespace, Name: owner + "-" + name},
		Spec: v1alpha1.PackagesRepositorySpec{
			InstanceRef: v1alpha1.InstanceReference{Name: instanceKey.Name},
			Owner:       owner, Name: name, Visibility: visibility, Access: access,
		},
	})
}

// before is the policy under which bearer tokens are issued, and which ends when
// the cells' begins: everybody is a user and may do everything.
var before = onceForEach(func(ownership accessmatrix.Ownership) policy.Policy {
	in := compile.Input{Instance: instance(accessmatrix.World{AnonymousPull: accessmatrix.PublicRepositories})}
	var everybody v1alpha1.RepositoryAccess
	for _, user := range slices.Compact(slices.Sorted(slices.Values(users[accessmatrix.Revoked:]))) {
		everybody.Users = append(everybody.Users, v1alpha1.UserAccess{Name: user, Role: v1alpha1.RoleAdmin})
	}
	for r, path := range repositoryPaths {
		if accessmatrix.Repository(r) != accessmatrix.Undeclared {
			declare(&in, path, v1alpha1.VisibilityPublic, everybody)
		}
	}
	for _, c := range credentials(ownership) {
		c.Object = c.Object.DeepCopy()
		c.Object.Namespace = instanceKey.Namespace
		c.Object.Spec.Scopes = []v1alpha1.Scope{v1alpha1.ScopeDeletePackages, v1alpha1.ScopeReadPackages, v1alpha1.ScopeWritePackages}
		c.Object.Spec.Repositories, c.Object.Spec.ExpiresAt = nil, nil
		in.Tokens = append(in.Tokens, c)
	}
	return compile.Compile(in).Policy
})

// during is the policy of a world's cells.
func during(w accessmatrix.World) policy.Policy {
	in := tokensOf(w)
	access, ofDepot := accessOfUsers, depotOfUsers
	if w.Ownership == accessmatrix.ByOrganization {
		access, ofDepot = accessOfTeams, depotOfTeams
	}
	declare(&in, repositoryPaths[accessmatrix.Private], v1alpha1.VisibilityPrivate, access)
	declare(&in, repositoryPaths[accessmatrix.Internal], v1alpha1.VisibilityInternal, access)
	declare(&in, repositoryPaths[accessmatrix.Public], v1alpha1.VisibilityPublic, access)
	declare(&in, imageOfMember.Repository(), v1alpha1.VisibilityPrivate, ofDepot)
	declare(&in, imageOfAnybody.Repository(), v1alpha1.VisibilityPublic, v1alpha1.RepositoryAccess{})
	declare(&in, imageHidden.Repository(), v1alpha1.VisibilityPrivate, v1alpha1.RepositoryAccess{})
	return compile.Compile(in).Policy
}

// bare is the same without any repository: there everything is missing.
func bare(w accessmatrix.World) policy.Policy { return compile.Compile(tokensOf(w)).Policy }

// tokensOf is what is declared in a world beside its repositories.
func tokensOf(w accessmatrix.World) compile.Input {
	in := compile.Input{Instance: instance(w), Namespaces: namespaceLabels}
	if w.Ownership == accessmatrix.ByOrganization {
		in.Organizations = []v1alpha1.PackagesOrganization{organization}
	}
	in.Tokens = slices.DeleteFunc(slices.Clone(credentials(w.Ownership)), func(c compile.Token) bool { return c.Object.Name == revoked })
	return in
}

// organization owns the repositories of half of the worlds. Whoever is in several
// teams has the greatest of their roles.
var organization = v1alpha1.PackagesOrganization{
	ObjectMeta: metav1.ObjectMeta{Namespace: instanceKey.Namespace, Name: owner},
	Spec: v1alpha1.PackagesOrganizationSpec{
		InstanceRef: v1alpha1.InstanceReference{Name: instanceKey.Name},
		Name:        owner,
		Owners:      []string{"founder"},
		Members:     []string{"admin", "colleague", "reader", "writer"},
		Teams: []v1alpha1.OrganizationTeam{
			{Name: "readers", Members: []string{"admin", "founder", "reader", "writer"}},
			{Name: "writers", Members: []string{"admin", "writer"}},
			{Name: "admins", Members: []string{"admin"}},
			{Name: "idle", Members: []string{"colleague"}},
			// Nobody is in a team without belonging to the organization.
			{Name: "guests", Members: []string{"stranger"}},
		},
	},
}

// Who has which role, as users and through teams; an entry for the organization's
// name, as if it were a user's, gives nothing.
var (
	accessOfUsers = v1alpha1.RepositoryAccess{Users: []v1alpha1.UserAccess{
		{Name: "admin", Role: v1alpha1.RoleAdmin}, {Name: "reader", Role: v1alpha1.RoleRead}, {Name: "writer", Role: v1alpha1.RoleWrite},
	}}
	accessOfTeams = v1alpha1.RepositoryAccess{
		Users: []v1alpha1.UserAccess{{Name: owner, Role: v1alpha1.RoleAdmin}, {Name: "writer", Role: v1alpha1.RoleRead}},
		Teams: []v1alpha1.TeamAccess{
			{Organization: owner, Name: "readers", Role: v1alpha1.RoleRead},
			{Organization: owner, Name: "writers", Role: v1alpha1.RoleWrite},
			{Organization: owner, Name: "admins", Role: v1alpha1.RoleAdmin},
			{Organization: owner, Name: "guests", Role: v1alpha1.RoleAdmin},
		},
	}
	depotOfUsers = v1alpha1.RepositoryAccess{Users: []v1alpha1.UserAccess{
		{Name: "admin", Role: v1alpha1.RoleRead}, {Name: "writer", Role: v1alpha1.RoleRead},
	}}
	depotOfTeams = v1alpha1.RepositoryAccess{Teams: []v1alpha1.TeamAccess{
		{Organization: owner, Name: "writers", Role: v1alpha1.RoleRead},
	}}
)

// newRegistry serves the policy that was, and then another one if it is given.
func newRegistry(t *testing.T, ownership accessmatrix.Ownership, then ...policy.Policy) *registry {
	t.Helper()
	was, err := policy.NewSnapshot(before(ownership))
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{catalog: &fullCatalog{}, was: was, is: was}
	for _, p := range then {
		if r.is, err = policy.NewSnapshot(p); err != nil {
			t.Fatal(err)
		}
	}
	r.live.Publish(r.was)
	r.live.Publish(r.is)
	if r.handler, err = ocitest.Handler(&r.live, r.catalog); err != nil {
		t.Fatal(err)
	}
	return r
}

// The narrowings' names must stay in the order that a policy keeps them in, since
// the reasons list them.
func TestNarrowingsAreInOrder(t *testing.T) {
	snapshot, err := policy.NewSnapshot(bare(accessmatrix.World{}))
	if err != nil {
		t.Fatal(err)
	}
	for c := range accessmatrix.Cells(accessmatrix.World{}) {
		held, found := snapshot.CredentialByValue(valueOf(c))
		if found && c.Narrowing == accessmatrix.FourOthers && strings.Join(held.Repositories[:3], ", ") != strings.Join(others(c), ", ") {
			t.Fatalf("%s: the policy has %v", c, held.Repositories)
		}
	}
}
