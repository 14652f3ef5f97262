// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// issuer is a cluster's.
var issuer = sync.OnceValue(func() workload.Issuer {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return workload.Issuer{Name: "https://cluster.test", Keys: []workload.Key{{ID: "k", Algorithm: "ES256", DER: der}}}
})

func employing(r v1alpha1.PackagesRepository, entries ...v1alpha1.ServiceAccountAccess) v1alpha1.PackagesRepository {
	r.Spec.Access.ServiceAccounts = entries
	return r
}

func accountAccess(namespace, name string, role v1alpha1.RepositoryRole) v1alpha1.ServiceAccountAccess {
	return v1alpha1.ServiceAccountAccess{Namespace: namespace, Name: name, Role: role}
}

func TestServiceAccountsAreLetIn(t *testing.T) {
	builder, reader := accountAccess("ci", "builder", v1alpha1.RoleWrite), accountAccess("ci", "reader", v1alpha1.RoleRead)
	got := Compile(Input{
		Instance: sharing(),
		Repositories: []v1alpha1.PackagesRepository{
			employing(repo("app", "octocat", "app"), builder, accountAccess("ci", "gone", v1alpha1.RoleRead)),
			// Another namespace lets in whom it likes, and to what it may speak for.
			employing(repoFrom("team-a", "tools", "hubot", "tools"), builder, reader),
		},
		Namespaces:      map[string]map[string]string{"team-a": {}},
		ServiceAccounts: map[types.NamespacedName]types.UID{{Namespace: "ci", Name: "builder"}: "b1", {Namespace: "ci", Name: "reader"}: "r1", {Namespace: "ci", Name: "idle"}: "i1"},
		Issuer:          issuer(),
	})
	if diff := cmp.Diff([]policy.ServiceAccount{
		{User: "system:serviceaccount:ci:builder", UID: "b1"},
		{User: "system:serviceaccount:ci:reader", UID: "r1", Repositories: []string{"hubot/*", "octo-org/*"}},
	}, got.Policy.ServiceAccounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]policy.Member{
		{{Name: "system:serviceaccount:ci:builder", Role: policy.RoleWrite}, {Name: "system:serviceaccount:ci:reader", Role: policy.RoleRead}},
		{{Name: "system:serviceaccount:ci:builder", Role: policy.RoleWrite}},
	}, [][]policy.Member{got.Policy.Repositories[0].Users, got.Policy.Repositories[1].Users}); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(issuer(), got.Policy.Issuer); diff != "" {
		t.Errorf("issuer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Problem{{
		Kind: KindRepository, Namespace: "registry", Name: "app", Reason: v1alpha1.ReasonServiceAccountNotFound,
		Field: "spec.access.serviceAccounts[1]", Partial: true,
		Message: "spec.access.serviceAccounts[1]: the operator sees no ServiceAccount gone in the namespace ci: create it, or take the entry out",
	}}, got.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// Who does not use it has a policy as before, which earlier releases read.
func TestAPolicyWithoutServiceAccountsHasNoIssuer(t *testing.T) {
	in := Input{
		Instance: instance(), Repositories: []v1alpha1.PackagesRepository{repo("app", "octocat", "app")},
		Issuer: issuer(), ServiceAccounts: map[types.NamespacedName]types.UID{{Namespace: "ci", Name: "idle"}: "i1"},
	}
	if got := Compile(in); !got.Policy.Issuer.IsZero() || len(got.Policy.ServiceAccounts) != 0 {
		t.Errorf("got %+v", got.Policy)
	}
}

func TestNobodyIsLetInWithoutAnIssuer(t *testing.T) {
	got := Compile(Input{
		Instance:        instance(),
		Repositories:    []v1alpha1.PackagesRepository{employing(repo("app", "octocat", "app"), accountAccess("ci", "builder", v1alpha1.RoleWrite))},
		ServiceAccounts: map[types.NamespacedName]types.UID{{Namespace: "ci", Name: "builder"}: "b1"},
		IssuerFault:     "it publishes nothing",
	})
	if len(got.Policy.ServiceAccounts) != 0 || len(got.Policy.Repositories[0].Users) != 0 {
		t.Errorf("got %+v", got.Policy)
	}
	if len(got.Problems) != 1 || got.Problems[0].Reason != v1alpha1.ReasonIssuerUnknown || !got.Problems[0].Partial ||
		got.Problems[0].Message != "spec.access.serviceAccounts: tokens of ServiceAccounts are not accepted: it publishes nothing" {
		t.Errorf("got %+v", got.Problems)
	}
}

// No name that is listed as a user's is taken for a ServiceAccount's, should it have
// come past the schema.
func TestAUserIsNoServiceAccount(t *testing.T) {
	pretender := workload.User("ci", "builder")
	r := repo("app", "octo-org", "app", v1alpha1.UserAccess{Name: pretender, Role: v1alpha1.RoleAdmin})
	r.Spec.Access.Teams = []v1alpha1.TeamAccess{{Organization: "octo-org", Name: "all", Role: v1alpha1.RoleAdmin}}
	o := organizationFrom("registry", "octo-org", pretender)
	o.Spec.Members, o.Spec.Teams = []string{pretender}, []v1alpha1.OrganizationTeam{{Name: "all", Members: []string{pretender}}}
	got := Compile(Input{
		Instance: instance(), Organizations: []v1alpha1.PackagesOrganization{o},
		Repositories:    []v1alpha1.PackagesRepository{r, employing(repo("other", "octocat", "other"), accountAccess("ci", "builder", v1alpha1.RoleRead))},
		ServiceAccounts: map[types.NamespacedName]types.UID{{Namespace: "ci", Name: "builder"}: "b1"}, Issuer: issuer(),
	})
	s, err := policy.NewSnapshot(got.Policy)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]policy.Role{"octo-org/app": "", "octocat/other": policy.RoleRead} {
		declared, _ := s.Repository(name)
		if role, _ := s.Role(pretender, declared); role != want {
			t.Errorf("%s: %q, want %q", name, role, want)
		}
	}
}
