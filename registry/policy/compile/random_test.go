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
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
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

// spaces are the namespaces of random objects: the instance's own, and two others.
var spaces = map[string]map[string]string{
	"registry": {"team": "registry"}, "north": {"team": "north"}, "south": {"team": "south", "guest": "yes"},
}

// allowedNamespaces is what a random instance says of them.
func allowedNamespaces(random *rand.Rand) (entries []v1alpha1.AllowedNamespaces) {
	for range random.IntN(3) {
		entry := v1alpha1.AllowedNamespaces{Owners: draw(random, 4)}
		switch random.IntN(4) {
		case 0:
			entry.Names = []string{"north"}
		case 1:
			entry.Names = []string{"registry", "south"}
		case 2:
			entry.Selector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"guest": "yes"}}
		case 3:
			entry.Selector = &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceRequirement{
				{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []v1alpha1.LabelValue{"north", "elsewhere"}},
			}}
		}
		entries = append(entries, entry)
	}
	return entries
}

// mayDeclare says by the rules' own words whether a namespace may speak for an owner.
func mayDeclare(in Input, namespace, owner string) bool {
	if namespace == "registry" {
		return true
	}
	for _, entry := range in.Instance.Spec.AllowedNamespaces {
		chosen := slices.Contains(entry.Names, namespace)
		if s := entry.Selector; s != nil {
			chosen = len(s.MatchLabels) > 0 && namespace == "south" || len(s.MatchExpressions) > 0 && namespace == "north"
		}
		if chosen && slices.Contains(entry.Owners, owner) {
			return true
		}
	}
	return false
}

// reaches says whether the narrowing that a token declares, and its namespace, leave
// it OWNER/app.
func reaches(in Input, token *v1alpha1.PackagesToken, owner string) bool {
	list := token.Spec.Repositories
	return mayDeclare(in, token.Namespace, owner) &&
		(len(list) == 0 || slices.Contains(list, owner+"/*") || slices.Contains(list, owner+"/app"))
}

// world is a random input. No two objects are of one age.
func world(random *rand.Rand) Input {
	in := Input{Instance: instance(), Namespaces: spaces}
	in.Instance.Spec.AllowedNamespaces = allowedNamespaces(random)
	born := func(meta *metav1.ObjectMeta, to *v1alpha1.InstanceReference) {
		if random.IntN(2) == 0 {
			meta.Namespace, to.Namespace = []string{"registry", "north", "south"}[random.IntN(3)], "registry"
		}
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
		born(&o.ObjectMeta, &o.Spec.InstanceRef)
		for j := range random.IntN(3) {
			o.Spec.Teams = append(o.Spec.Teams, v1alpha1.OrganizationTeam{Name: fmt.Sprint("team-", j), Members: draw(random, 4)})
		}
		in.Organizations = append(in.Organizations, o)
	}
	allRoles := []v1alpha1.RepositoryRole{v1alpha1.RoleRead, v1alpha1.RoleWrite, v1alpha1.RoleAdmin}
	for i := range random.IntN(4) {
		r := repo(fmt.Sprint("repository-", i), names[random.IntN(len(names))], "app")
		born(&r.ObjectMeta, &r.Spec.InstanceRef)
		for _, user := range draw(random, 3) {
			r.Spec.Access.Users = append(r.Spec.Access.Users, v1alpha1.UserAccess{Name: user, Role: allRoles[random.IntN(3)]})
		}
		for _, organization := range draw(random, 3) {
			r.Spec.Access.Teams = append(r.Spec.Access.Teams, teamAccess(organization, fmt.Sprint("team-", random.IntN(3)), allRoles[random.IntN(3)]))
		}
		for _, name := range draw(random, 2) {
			r.Spec.Access.ServiceAccounts = append(r.Spec.Access.ServiceAccounts, v1alpha1.ServiceAccountAccess{
				Namespace: "ci", Name: name, Role: allRoles[random.IntN(3)],
			})
		}
		in.Repositories = append(in.Repositories, r)
	}
	// Some are not there.
	in.Issuer, in.ServiceAccounts = issuer(), map[types.NamespacedName]types.UID{}
	for _, name := range draw(random, len(names)) {
		in.ServiceAccounts[types.NamespacedName{Namespace: "ci", Name: name}] = types.UID("uid-of-" + name)
	}
	for i := range random.IntN(4) {
		t := token(fmt.Sprint("token-", i), names[random.IntN(len(names))], fmt.Sprint("value-", random.IntN(9)))
		born(&t.Object.ObjectMeta, &t.Object.Spec.InstanceRef)
		for _, owner := range draw(random, 2) {
			t.Object.Spec.Repositories = append(t.Object.Spec.Repositories, owner+[]string{"/*", "/app"}[random.IntN(2)])
		}
		in.Tokens = append(in.Tokens, t)
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

// organizationOf is the organization of a name, and repositoryOf the repository
// OWNER/app: the oldest that was declared where it may be.
func organizationOf(in Input, name string) *v1alpha1.PackagesOrganization {
	return oldest(in.Organizations, func(o *v1alpha1.PackagesOrganization) bool {
		return o.Spec.Name == name && mayDeclare(in, o.Namespace, name)
	})
}

func repositoryOf(in Input, owner string) *v1alpha1.PackagesRepository {
	return oldest(in.Repositories, func(r *v1alpha1.PackagesRepository) bool {
		return r.Spec.Owner == owner && mayDeclare(in, r.Namespace, owner)
	})
}

// works says whether a token gives anything.
func works(in Input, token *v1alpha1.PackagesToken, value string) bool {
	for _, other := range in.Tokens {
		if other.Object != token && other.Object.DeletionTimestamp == nil && other.Credentials[0].ID == value && mayDeclareAny(in, other.Object.Namespace) {
			return false
		}
	}
	return token.DeletionTimestamp == nil && organizationOf(in, token.Spec.User) == nil &&
		slices.ContainsFunc(names, func(owner string) bool { return reaches(in, token, owner) })
}

func mayDeclareAny(in Input, namespace string) bool {
	return slices.ContainsFunc(names, func(owner string) bool { return mayDeclare(in, namespace, owner) })
}

// employs says with which role a repository that is declared names a ServiceAccount
// that is there, empty for none.
func employs(in Input, r *v1alpha1.PackagesRepository, name string) v1alpha1.RepositoryRole {
	if r == nil || r.DeletionTimestamp != nil || in.ServiceAccounts[types.NamespacedName{Namespace: "ci", Name: name}] == "" {
		return ""
	}
	for _, entry := range r.Spec.Access.ServiceAccounts {
		if entry.Name == name {
			return entry.Role
		}
	}
	return ""
}

// sees says whether a ServiceAccount sees what is Internal in OWNER/app: it is named in
// a repository of the instance's namespace, or of one that may speak for the owner.
func sees(in Input, name, owner string) bool {
	return slices.ContainsFunc(names, func(other string) bool {
		r := repositoryOf(in, other)
		return employs(in, r, name) != "" && mayDeclare(in, r.Namespace, owner)
	})
}

// roleIn says by the rules' own words what role a user has in a repository.
func roleIn(in Input, spec *v1alpha1.PackagesRepositorySpec, user string) v1alpha1.RepositoryRole {
	declared := func(name string) *v1alpha1.PackagesOrganization { return organizationOf(in, name) }
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

// Whatever is declared, in whatever order and namespace, everybody has the role that
// the rules give, a token reaches what it and its namespace are allowed, and one of a
// name that is an organization's is no credential.
func TestAnyObjectsGiveTheRolesOfTheRulesInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	given, refused, narrowed, employed := 0, 0, 0, 0
	for round := range 3000 {
		in := world(random)
		got := Compile(in)
		s, err := policy.NewSnapshot(got.Policy)
		if err != nil {
			t.Fatalf("round %d: the registry refuses the policy: %v", round, err)
		}
		for _, owner := range names {
			declared := repositoryOf(in, owner)
			r, found := s.Repository(owner + "/app")
			if want := declared != nil && declared.DeletionTimestamp == nil; found != want {
				t.Fatalf("round %d: %s/app is in the policy: %v, want %v", round, owner, found, want)
			}
			for _, user := range names {
				if !found || organizationOf(in, user) != nil {
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
		for _, token := range in.Tokens {
			called := token.Object.Name
			if token.Object.Namespace != "registry" {
				called = token.Object.Namespace + "/" + called
			}
			c, found := s.CredentialByID(token.Credentials[0].ID)
			found = found && c.Token == called
			if want := works(in, token.Object, token.Credentials[0].ID); found != want {
				t.Fatalf("round %d: the token %s of %s works: %v, want %v", round, token.Object.Name, token.Object.Namespace, found, want)
			}
			for _, owner := range names {
				if !found {
					continue
				}
				reached := len(c.Repositories) == 0 || slices.Contains(c.Repositories, owner+"/*") || slices.Contains(c.Repositories, owner+"/app")
				if want := reaches(in, token.Object, owner); reached != want {
					t.Fatalf("round %d: the token %s of %s reaches %s/app: %v, want %v", round, token.Object.Name, token.Object.Namespace, owner, reached, want)
				}
				if !reached {
					narrowed++
				}
			}
		}
		for _, name := range names {
			user := workload.User("ci", name)
			c, found := s.CredentialByID(workload.ID(user, "uid-of-"+name))
			if want := slices.ContainsFunc(names, func(owner string) bool { return employs(in, repositoryOf(in, owner), name) != "" }); found != want {
				t.Fatalf("round %d: the ServiceAccount %s may sign in: %v, want %v", round, name, found, want)
			}
			for _, owner := range names {
				if !found {
					continue
				}
				reached := len(c.Repositories) == 0 || slices.Contains(c.Repositories, owner+"/*")
				if want := sees(in, name, owner); reached != want {
					t.Fatalf("round %d: the ServiceAccount %s sees %s/app: %v, want %v", round, name, owner, reached, want)
				}
				if r, declared := s.Repository(owner + "/app"); declared {
					if role, _ := s.Role(user, r); string(role) != string(employs(in, repositoryOf(in, owner), name)) {
						t.Fatalf("round %d: the ServiceAccount %s is %q in %s/app", round, name, role, owner)
					}
					employed++
				}
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
	if given < 500 || refused < 500 || narrowed < 500 || employed < 500 {
		t.Errorf("%d roles, %d problems, %d limits of tokens and %d ServiceAccounts show too little", given, refused, narrowed, employed)
	}
}
