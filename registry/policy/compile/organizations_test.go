// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// org is an organization that monalisa owns, with hubot and builder as members and
// a team for each.
func org(object, name string) v1alpha1.PackagesOrganization {
	return v1alpha1.PackagesOrganization{
		ObjectMeta: objectMeta(object),
		Spec: v1alpha1.PackagesOrganizationSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"},
			Name:        name, Owners: []string{"monalisa"}, Members: []string{"hubot", "builder"},
			Teams: []v1alpha1.OrganizationTeam{
				{Name: "platform", Members: []string{"hubot"}},
				{Name: "release", Members: []string{"builder", "monalisa"}},
				{Name: "empty"},
			},
		},
	}
}

func teamAccess(organization, team string, role v1alpha1.RepositoryRole) v1alpha1.TeamAccess {
	return v1alpha1.TeamAccess{Organization: organization, Name: team, Role: role}
}

// roles are the users with a role in a repository of a compiled policy. Names of
// organizations are not asked for: nobody has a credential of theirs.
func roles(t *testing.T, p policy.Policy, repository string) map[string]policy.Role {
	t.Helper()
	s, err := policy.NewSnapshot(p)
	if err != nil {
		t.Fatalf("the registry refuses the policy: %v", err)
	}
	r, found := s.Repository(repository)
	if !found {
		t.Fatalf("%s is not in the policy", repository)
	}
	got := map[string]policy.Role{}
	for _, user := range []string{"monalisa", "hubot", "builder", "octocat", "stranger"} {
		if role, has := s.Role(user, r); has {
			got[user] = role
		}
	}
	return got
}

func TestOrganizationsGiveRoles(t *testing.T) {
	const own, other = "octo-org/app", "octocat/app"
	tests := map[string]struct {
		organization func(*v1alpha1.PackagesOrganizationSpec)
		repository   func(*v1alpha1.PackagesRepositorySpec)
		owner        string
		want         map[string]policy.Role
	}{
		"its owners are Admin, and members as such nothing": {nil, nil, "octo-org",
			map[string]policy.Role{"monalisa": policy.RoleAdmin}},
		"a team gets its role": {nil, func(s *v1alpha1.PackagesRepositorySpec) {
			s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleWrite)}
		}, "octo-org", map[string]policy.Role{"monalisa": policy.RoleAdmin, "hubot": policy.RoleWrite}},
		"an owner in a team stays Admin": {nil, func(s *v1alpha1.PackagesRepositorySpec) {
			s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "release", v1alpha1.RoleRead)}
		}, "octo-org", map[string]policy.Role{"monalisa": policy.RoleAdmin, "builder": policy.RoleRead}},
		"a team has a role in a user's repository, and the organization's owners have none": {nil, func(s *v1alpha1.PackagesRepositorySpec) {
			s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleAdmin)}
		}, "octocat", map[string]policy.Role{"octocat": policy.RoleAdmin, "hubot": policy.RoleAdmin}},
		"the greatest of several roles counts": {
			func(s *v1alpha1.PackagesOrganizationSpec) { s.Teams[1].Members = []string{"hubot", "builder"} },
			func(s *v1alpha1.PackagesRepositorySpec) {
				s.Access.Users = []v1alpha1.UserAccess{{Name: "hubot", Role: v1alpha1.RoleRead}, {Name: "builder", Role: v1alpha1.RoleAdmin}}
				s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleRead), teamAccess("octo-org", "release", v1alpha1.RoleWrite)}
			}, "octocat", map[string]policy.Role{"octocat": policy.RoleAdmin, "hubot": policy.RoleWrite, "builder": policy.RoleAdmin}},
		"a team of nobody gives nothing": {nil, func(s *v1alpha1.PackagesRepositorySpec) {
			s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "empty", v1alpha1.RoleAdmin)}
		}, "octocat", map[string]policy.Role{"octocat": policy.RoleAdmin}},
		"a role that is unknown gives nothing": {nil, func(s *v1alpha1.PackagesRepositorySpec) {
			s.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", "Maintain")}
		}, "octocat", map[string]policy.Role{"octocat": policy.RoleAdmin}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o, r := org("octo-org", "octo-org"), repo("app", test.owner, "app")
			if test.organization != nil {
				test.organization(&o.Spec)
			}
			if test.repository != nil {
				test.repository(&r.Spec)
			}
			got := Compile(Input{
				Instance:      instance(),
				Organizations: []v1alpha1.PackagesOrganization{o},
				Repositories:  []v1alpha1.PackagesRepository{r},
			})
			if len(got.Problems) > 0 {
				t.Errorf("problems: %+v", got.Problems)
			}
			repository := map[string]string{"octo-org": own, "octocat": other}[test.owner]
			if diff := cmp.Diff(test.want, roles(t, got.Policy, repository)); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
		})
	}
}

// A fault in one entry costs that entry, and is told with the place that it is at.
func TestEntriesThatGiveNothingAreTold(t *testing.T) {
	octocats := map[string]policy.Role{"octocat": policy.RoleAdmin}
	tests := map[string]struct {
		change func(*Input)
		want   []Problem
		// roles in octocat/app.
		roles map[string]policy.Role
	}{
		"a user in access that is an organization": {func(in *Input) {
			in.Repositories[0].Spec.Access.Users = []v1alpha1.UserAccess{{Name: "hubot", Role: v1alpha1.RoleRead}, {Name: "octo-org", Role: v1alpha1.RoleAdmin}}
		}, []Problem{{Kind: KindRepository, Name: "app", Reason: v1alpha1.ReasonUserIsOrganization, Field: "spec.access.users[1]", Partial: true,
			Message: "spec.access.users[1]: octo-org is an organization and not a user: name its teams in spec.access.teams, or users"}},
			map[string]policy.Role{"octocat": policy.RoleAdmin, "hubot": policy.RoleRead}},
		"a team of an organization that is not declared": {func(in *Input) {
			in.Repositories[0].Spec.Access.Teams = []v1alpha1.TeamAccess{teamAccess("nobody", "platform", v1alpha1.RoleRead)}
		}, []Problem{{Kind: KindRepository, Name: "app", Reason: v1alpha1.ReasonTeamNotFound, Field: "spec.access.teams[0]", Partial: true,
			Message: "spec.access.teams[0]: there is no organization nobody: create a PackagesOrganization with this spec.name, or take the entry out"}}, octocats},
		"a team that its organization does not have": {func(in *Input) {
			in.Repositories[0].Spec.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleRead), teamAccess("octo-org", "nobody", v1alpha1.RoleAdmin)}
		}, []Problem{{Kind: KindRepository, Name: "app", Reason: v1alpha1.ReasonTeamNotFound, Field: "spec.access.teams[1]", Partial: true,
			Message: "spec.access.teams[1]: the organization octo-org has no team nobody: add it to the PackagesOrganization org, or take the entry out"}},
			map[string]policy.Role{"octocat": policy.RoleAdmin, "hubot": policy.RoleRead}},
		"a team of an organization that is being deleted": {func(in *Input) {
			deleting(&in.Organizations[0])
			in.Repositories[0].Spec.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleRead)}
		}, []Problem{{Kind: KindRepository, Name: "app", Reason: v1alpha1.ReasonTeamNotFound, Field: "spec.access.teams[0]", Partial: true,
			Message: "spec.access.teams[0]: the organization octo-org is being deleted: take the entry out"}}, octocats},
		"an owner that is an organization": {func(in *Input) {
			in.Organizations[0].Spec.Owners = []string{"monalisa", "other-org"}
			in.Organizations = append(in.Organizations, org("other", "other-org"))
		}, []Problem{{Kind: KindOrganization, Name: "org", Reason: v1alpha1.ReasonUserIsOrganization, Field: "spec.owners[1]", Partial: true,
			Message: "spec.owners[1]: other-org is an organization and not a user: name users in its place"}}, octocats},
		"a team member that does not belong to the organization": {func(in *Input) {
			in.Organizations[0].Spec.Teams[0].Members = []string{"hubot", "stranger"}
			in.Repositories[0].Spec.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "platform", v1alpha1.RoleRead)}
		}, []Problem{{Kind: KindOrganization, Name: "org", Reason: v1alpha1.ReasonNotAMember, Field: "spec.teams[0].members[1]", Partial: true,
			Message: "spec.teams[0].members[1]: stranger is neither in spec.owners nor in spec.members, and so has nothing from the team: add them there, or take them out of the team"}},
			map[string]policy.Role{"octocat": policy.RoleAdmin, "hubot": policy.RoleRead}},
		"many at once": {func(in *Input) {
			in.Repositories[0].Spec.Access.Users = []v1alpha1.UserAccess{{Name: "octo-org", Role: v1alpha1.RoleAdmin}}
			for i := range 4 {
				in.Repositories[0].Spec.Access.Teams = append(in.Repositories[0].Spec.Access.Teams, teamAccess("nobody", fmt.Sprint("t", i), v1alpha1.RoleRead))
			}
		}, []Problem{{Kind: KindRepository, Name: "app", Reason: v1alpha1.ReasonUserIsOrganization, Field: "spec.access.users[0]", Partial: true,
			Message: "spec.access.users[0]: octo-org is an organization and not a user: name its teams in spec.access.teams, or users; " +
				"spec.access.teams[0]: there is no organization nobody: create a PackagesOrganization with this spec.name, or take the entry out; " +
				"spec.access.teams[1]: there is no organization nobody: create a PackagesOrganization with this spec.name, or take the entry out; and 2 more"}}, octocats},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{
				Instance:      instance(),
				Organizations: []v1alpha1.PackagesOrganization{org("org", "octo-org")},
				Repositories:  []v1alpha1.PackagesRepository{repo("app", "octocat", "app")},
			}
			test.change(&in)
			got := Compile(in)
			for i := range test.want {
				test.want[i].Namespace = "registry"
			}
			if diff := cmp.Diff(test.want, got.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.roles, roles(t, got.Policy, "octocat/app")); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATokenOfAnOrganizationsNameGivesNothing(t *testing.T) {
	organization, tok := org("org", "octo-org"), token("bot", "octo-org", "value")
	accepted(&tok.Object.Status.Conditions)
	tests := map[string]struct {
		change  func(*Input)
		refused bool
	}{
		"whichever came first": {func(in *Input) {
			in.Tokens[0].Object.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour))
		}, true},
		"the organization came first": {func(in *Input) {
			in.Organizations[0].CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour))
		}, true},
		"until the organization is gone":                {func(in *Input) { deleting(&in.Organizations[0]) }, true},
		"not once it is":                                {func(in *Input) { in.Organizations = nil }, false},
		"not for an organization elsewhere":             {func(in *Input) { in.Organizations[0].Namespace = "elsewhere" }, false},
		"not for another instance's":                    {func(in *Input) { in.Organizations[0].Spec.InstanceRef.Name = "other" }, false},
		"not for the name of the object, or of another": {func(in *Input) { in.Organizations[0].Name, in.Organizations[0].Spec.Name = "octo-org", "other-org" }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{
				Instance: instance(), Organizations: []v1alpha1.PackagesOrganization{*organization.DeepCopy()},
				Tokens: []Token{{Object: tok.Object.DeepCopy(), Credentials: tok.Credentials}},
			}
			test.change(&in)
			got := Compile(in)
			var want []Problem
			if test.refused {
				want = []Problem{{Kind: KindToken, Namespace: "registry", Name: "bot", Reason: v1alpha1.ReasonUserIsOrganization, Field: "spec.user",
					Message: "octo-org is an organization, by the PackagesOrganization org, and only users have tokens: delete this token, and create one for a user"}}
			}
			if diff := cmp.Diff(want, got.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if refused := len(got.Policy.Credentials) == 0; refused != test.refused {
				t.Errorf("credentials: %v", got.Policy.Credentials)
			}
		})
	}
}

// A value that is known to two tokens is known to too many, even if one of them is
// refused already.
func TestATokenOfAnOrganizationStillTellsThatItsValueIsAnothers(t *testing.T) {
	got := Compile(Input{
		Instance:      instance(),
		Organizations: []v1alpha1.PackagesOrganization{org("org", "octo-org")},
		Tokens:        []Token{token("bot", "octo-org", "value"), token("hubot", "hubot", "value")},
	})
	if len(got.Problems) != 2 || got.Problems[1].Reason != v1alpha1.ReasonDuplicateValue || len(got.Policy.Credentials) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestOneOrganizationNameHasOneHolder(t *testing.T) {
	older := func(o *v1alpha1.PackagesOrganization) { o.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour)) }
	incumbent := func(o *v1alpha1.PackagesOrganization) { accepted(&o.Status.Conditions) }
	refusedFor := func(reason string) func(o *v1alpha1.PackagesOrganization) {
		return func(o *v1alpha1.PackagesOrganization) {
			o.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: reason}}
		}
	}
	tests := map[string]struct {
		a, b   func(*v1alpha1.PackagesOrganization)
		holder string
	}{
		"the incumbent keeps it":                      {incumbent, older, "a"},
		"the oldest wins the first time":              {nil, older, "b"},
		"the least UID wins a tie":                    {nil, nil, "a"},
		"one that was refused is no incumbent":        {refusedFor(v1alpha1.ReasonDuplicateOrganization), older, "b"},
		"one of whom a part was refused is incumbent": {refusedFor(v1alpha1.ReasonNotAMember), older, "a"},
		"and also one with a user that is none":       {refusedFor(v1alpha1.ReasonUserIsOrganization), older, "a"},
		"an incumbent that is being deleted keeps it": {func(o *v1alpha1.PackagesOrganization) { incumbent(o); deleting(o) }, older, "a"},
		"of two incumbents the oldest keeps it":       {incumbent, func(o *v1alpha1.PackagesOrganization) { incumbent(o); older(o) }, "b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := org("a", "octo-org"), org("b", "octo-org")
			a.Spec.Owners, b.Spec.Owners = []string{"owner-of-a"}, []string{"owner-of-b"}
			a.Spec.Teams, b.Spec.Teams = nil, nil
			for change, object := range map[*v1alpha1.PackagesOrganization]func(*v1alpha1.PackagesOrganization){&a: test.a, &b: test.b} {
				if object != nil {
					object(change)
				}
			}
			got := Compile(Input{
				Instance: instance(), Organizations: []v1alpha1.PackagesOrganization{b, a},
				Repositories: []v1alpha1.PackagesRepository{repo("app", "octo-org", "app")},
			})
			other := map[string]string{"a": "b", "b": "a"}[test.holder]
			want := []Problem{{
				Kind: KindOrganization, Namespace: "registry", Name: other, Reason: v1alpha1.ReasonDuplicateOrganization,
				Message: "the organization octo-org is already declared by the PackagesOrganization " + test.holder + ": delete one of the two",
			}}
			if diff := cmp.Diff(want, got.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, team := range got.Policy.Teams {
				if diff := cmp.Diff([]string{"owner-of-" + test.holder}, team.Users); diff != "" {
					t.Errorf("owners (-want +got):\n%s", diff)
				}
			}
			if deleted := strings.Contains(name, "deleted"); deleted != (len(got.Policy.Teams) == 0) {
				t.Errorf("teams: %v", got.Policy.Teams)
			}
		})
	}
}

func TestARepositoryOfWhichAPartIsRefusedKeepsItsName(t *testing.T) {
	holder, older := repo("a", "octocat", "app"), repo("b", "octocat", "app")
	older.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour))
	for _, reason := range []string{v1alpha1.ReasonUserIsOrganization, v1alpha1.ReasonTeamNotFound} {
		holder.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: reason}}
		if got := Holder([]*v1alpha1.PackagesRepository{&older, &holder}); got != &holder {
			t.Errorf("Accepted=False for %s loses the name to %s", reason, got.Name)
		}
	}
}

func TestOnlyTeamsThatRepositoriesNameAreInThePolicy(t *testing.T) {
	r := repo("app", "octocat", "app")
	r.Spec.Access.Teams = []v1alpha1.TeamAccess{teamAccess("octo-org", "release", v1alpha1.RoleRead)}
	got := Compile(Input{
		Instance:      instance(),
		Organizations: []v1alpha1.PackagesOrganization{org("org", "octo-org"), org("other", "other-org")},
		Repositories:  []v1alpha1.PackagesRepository{r, repo("tools", "other-org", "tools")},
	}).Policy.Teams
	want := []policy.Team{{Name: "octo-org/release", Users: []string{"builder", "monalisa"}}, {Name: "other-org", Users: []string{"monalisa"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("teams (-want +got):\n%s", diff)
	}
}
