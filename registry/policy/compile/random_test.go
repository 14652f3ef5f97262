// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// names are what random objects draw users and organizations from, so that they
// collide often.
var names = []string{"ada", "bob", "cleo", "dora", "emil", "fay"}

func draw(random *rand.Rand, most int) []string {
	var list []string
	for range random.IntN(most + 1) {
		list = append(list, names[random.IntN(len(names))])
	}
	return sortedSet(list)
}

// world is a random input. No two objects are of one age.
func world(random *rand.Rand) Input {
	in := Input{Instance: instance()}
	born := func(meta *metav1.ObjectMeta) {
		meta.CreationTimestamp = metav1.NewTime(epoch.Add(time.Duration(random.Uint32()) * time.Second))
		if random.IntN(8) == 0 {
			meta.DeletionTimestamp = &metav1.Time{Time: epoch}
		}
	}
	for i := range random.IntN(4) {
		o := v1alpha1.PackagesOrganization{ObjectMeta: objectMeta(fmt.Sprint("org-", i)), Spec: v1alpha1.PackagesOrganizationSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, Name: names[random.IntN(len(names))],
			Owners: draw(random, 2), Members: draw(random, 3),
		}}
		born(&o.ObjectMeta)
		for j := range random.IntN(3) {
			o.Spec.Teams = append(o.Spec.Teams, v1alpha1.OrganizationTeam{Name: fmt.Sprint("team-", j), Members: draw(random, 4)})
		}
		in.Organizations = append(in.Organizations, o)
	}
	allRoles := []v1alpha1.RepositoryRole{v1alpha1.RoleRead, v1alpha1.RoleWrite, v1alpha1.RoleAdmin}
	for i := range random.IntN(4) {
		r := repo(fmt.Sprint("repository-", i), names[random.IntN(len(names))], "app")
		born(&r.ObjectMeta)
		for _, user := range draw(random, 3) {
			r.Spec.Access.Users = append(r.Spec.Access.Users, v1alpha1.UserAccess{Name: user, Role: allRoles[random.IntN(3)]})
		}
		for _, organization := range draw(random, 3) {
			r.Spec.Access.Teams = append(r.Spec.Access.Teams, teamAccess(organization, fmt.Sprint("team-", random.IntN(3)), allRoles[random.IntN(3)]))
		}
		in.Repositories = append(in.Repositories, r)
	}
	for i := range random.IntN(4) {
		in.Tokens = append(in.Tokens, token(fmt.Sprint("token-", i), names[random.IntN(len(names))], fmt.Sprint("value-", i)))
	}
	return in
}

// oldest is the first of the objects that were made for a name, nil for none.
func oldest[T any, O interface {
	*T
	metav1.Object
}](objects []T, matches func(O) bool) O {
	var found O
	for i := range objects {
		object := O(&objects[i])
		created := object.GetCreationTimestamp()
		if matches(object) && (found == nil || created.Time.Before(found.GetCreationTimestamp().Time)) {
			found = object
		}
	}
	return found
}

// roleIn says by the rules' own words what role a user has in a repository.
func roleIn(in Input, spec *v1alpha1.PackagesRepositorySpec, user string) v1alpha1.RepositoryRole {
	declared := func(name string) *v1alpha1.PackagesOrganization {
		return oldest(in.Organizations, func(o *v1alpha1.PackagesOrganization) bool { return o.Spec.Name == name })
	}
	if declared(user) != nil {
		return ""
	}
	if user == spec.Owner {
		return v1alpha1.RoleAdmin
	}
	if o := declared(spec.Owner); o != nil && o.DeletionTimestamp == nil && slices.Contains(o.Spec.Owners, user) {
		return v1alpha1.RoleAdmin
	}
	granted := map[v1alpha1.RepositoryRole]bool{}
	for _, entry := range spec.Access.Users {
		if entry.Name == user {
			granted[entry.Role] = true
		}
	}
	for _, entry := range spec.Access.Teams {
		o := declared(entry.Organization)
		if o == nil || o.DeletionTimestamp != nil || !slices.Contains(o.Spec.Owners, user) && !slices.Contains(o.Spec.Members, user) {
			continue
		}
		for _, team := range o.Spec.Teams {
			if team.Name == entry.Name && slices.Contains(team.Members, user) {
				granted[entry.Role] = true
			}
		}
	}
	for _, role := range []v1alpha1.RepositoryRole{v1alpha1.RoleAdmin, v1alpha1.RoleWrite, v1alpha1.RoleRead} {
		if granted[role] {
			return role
		}
	}
	return ""
}

// Whatever is declared, in whatever order, everybody has the role that the rules
// give, and a token of a name that is an organization's is no credential.
func TestAnyObjectsGiveTheRolesOfTheRulesInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	given, refused := 0, 0
	for round := range 1000 {
		in := world(random)
		got := Compile(in)
		s, err := policy.NewSnapshot(got.Policy)
		if err != nil {
			t.Fatalf("round %d: the registry refuses the policy: %v", round, err)
		}
		for _, owner := range names {
			declared := oldest(in.Repositories, func(r *v1alpha1.PackagesRepository) bool { return r.Spec.Owner == owner })
			r, found := s.Repository(owner + "/app")
			if want := declared != nil && declared.DeletionTimestamp == nil; found != want {
				t.Fatalf("round %d: %s/app is in the policy: %v, want %v", round, owner, found, want)
			}
			for _, user := range names {
				if !found || oldest(in.Organizations, func(o *v1alpha1.PackagesOrganization) bool { return o.Spec.Name == user }) != nil {
					continue
				}
				role, _ := s.Role(user, r)
				if want := roleIn(in, &declared.Spec, user); string(role) != string(want) {
					t.Fatalf("round %d: %s is %q in %s/app, want %q", round, user, role, owner, want)
				}
				if role != "" {
					given++
				}
			}
		}
		for _, c := range got.Policy.Credentials {
			if o := oldest(in.Organizations, func(o *v1alpha1.PackagesOrganization) bool { return o.Spec.Name == c.User }); o != nil {
				t.Fatalf("round %d: the organization %s has a credential", round, c.User)
			}
		}
		refused += len(got.Problems)

		random.Shuffle(len(in.Organizations), func(i, j int) {
			in.Organizations[i], in.Organizations[j] = in.Organizations[j], in.Organizations[i]
		})
		random.Shuffle(len(in.Repositories), func(i, j int) {
			in.Repositories[i], in.Repositories[j] = in.Repositories[j], in.Repositories[i]
		})
		random.Shuffle(len(in.Tokens), func(i, j int) { in.Tokens[i], in.Tokens[j] = in.Tokens[j], in.Tokens[i] })
		if diff := cmp.Diff(got, Compile(in)); diff != "" {
			t.Fatalf("round %d: another order gives another result:\n%s", round, diff)
		}
	}
	if given < 500 || refused < 500 {
		t.Errorf("%d roles and %d problems show too little", given, refused)
	}
}
