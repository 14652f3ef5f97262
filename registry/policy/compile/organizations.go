// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// directory is who is who in an instance: the organizations by name, and so which
// names are no user's.
type directory map[string]*organization

// organization is what an organization gives. One that is being deleted keeps its
// name and gives nothing.
type organization struct {
	holder *v1alpha1.PackagesOrganization
	// owners, and the users in each team, by the team's name; sorted. A team that is
	// declared is there, if with nobody in it.
	owners []string
	teams  map[string][]string
}

// compileOrganizations needs all names before it looks at any list, since what is
// a user in one object may be an organization by another.
func compileOrganizations(result *Result, s *scope, objects []v1alpha1.PackagesOrganization) directory {
	groups := map[string][]*v1alpha1.PackagesOrganization{}
	for i := range objects {
		object := &objects[i]
		if !s.refers(object, object.Spec.InstanceRef) {
			continue
		}
		if problem := s.refuseOwner(KindOrganization, object, "spec.name", object.Spec.Name); problem != nil {
			result.Problems = append(result.Problems, *problem)
			continue
		}
		groups[object.Spec.Name] = append(groups[object.Spec.Name], object)
	}
	d := directory{}
	for name, group := range groups {
		holder := Holder(group)
		d[name] = &organization{holder: holder}
		for _, object := range group {
			if object != holder {
				result.Problems = append(result.Problems, Problem{
					Kind: KindOrganization, Namespace: object.Namespace, Name: object.Name,
					Reason: v1alpha1.ReasonDuplicateOrganization,
					Message: fmt.Sprintf("the organization %s is already declared by %s: delete one of the two",
						name, s.call(KindOrganization, holder, object)),
				})
			}
		}
	}
	for _, organization := range d {
		if !organization.holder.DeletionTimestamp.IsZero() {
			continue
		}
		if faults := organization.fill(d); len(faults) > 0 {
			result.Problems = append(result.Problems, partial(KindOrganization, organization.holder, faults))
		}
	}
	return d
}

// fill takes over of an organization's lists what has effect.
func (o *organization) fill(d directory) (faults []fault) {
	spec := &o.holder.Spec
	users := func(field string, names []string) []string {
		var kept []string
		for i, name := range names {
			if d[name] != nil {
				faults = append(faults, fault{v1alpha1.ReasonUserIsOrganization, fmt.Sprintf("%s[%d]", field, i),
					name + " is an organization and not a user: name users in its place"})
				continue
			}
			if !workload.IsUser(name) {
				kept = append(kept, name)
			}
		}
		return sortedSet(kept)
	}
	o.owners = users("spec.owners", spec.Owners)
	members := users("spec.members", spec.Members)
	o.teams = make(map[string][]string, len(spec.Teams))
	for i, team := range spec.Teams {
		field := fmt.Sprintf("spec.teams[%d].members", i)
		o.teams[team.Name] = slices.DeleteFunc(users(field, team.Members), func(name string) bool {
			if contains(o.owners, name) || contains(members, name) {
				return false
			}
			faults = append(faults, fault{v1alpha1.ReasonNotAMember, fmt.Sprintf("%s[%d]", field, slices.Index(team.Members, name)),
				name + " is neither in spec.owners nor in spec.members, and so has nothing from the team: add them there, or take them out of the team"})
			return true
		})
	}
	return faults
}

// ownersOf is the role that a repository's owner gives to others, none if the owner
// is a user.
func (d directory) ownersOf(owner string) []policy.Member {
	if organization := d[owner]; organization != nil && len(organization.owners) > 0 {
		return []policy.Member{{Name: owner, Role: policy.RoleAdmin}}
	}
	return nil
}

// grants are the roles that a repository gives to teams with somebody in them.
func (s *scope) grants(object *v1alpha1.PackagesRepository, d directory) (grants []policy.Member, faults []fault) {
	for i, entry := range object.Spec.Access.Teams {
		users, missing := s.team(object, d, entry.Organization, entry.Name)
		if missing != "" {
			faults = append(faults, fault{v1alpha1.ReasonTeamNotFound, fmt.Sprintf("spec.access.teams[%d]", i), missing})
		}
		if role, known := role(entry.Role); known && len(users) > 0 {
			grants = append(grants, policy.Member{Name: teamName(entry.Organization, entry.Name), Role: role})
		}
	}
	return grants, faults
}

// team is the users in a team that an object names, or why there is no such team.
func (s *scope) team(object *v1alpha1.PackagesRepository, d directory, organization, name string) (users []string, missing string) {
	o := d[organization]
	switch {
	case o == nil:
		return nil, fmt.Sprintf("there is no organization %s: create a PackagesOrganization with this spec.name, or take the entry out", organization)
	case !o.holder.DeletionTimestamp.IsZero():
		return nil, fmt.Sprintf("the organization %s is being deleted: take the entry out", organization)
	}
	users, found := o.teams[name]
	if !found {
		return nil, fmt.Sprintf("the organization %s has no team %s: add it to %s, or take the entry out",
			organization, name, s.call(KindOrganization, o.holder, object))
	}
	return users, ""
}

// teamName names a team in a policy, where an organization's owners go by its name
// alone. Neither part has a slash.
func teamName(organization, team string) string { return organization + "/" + team }

// teams are those that repositories refer to, sorted.
func (d directory) teams(repositories []policy.Repository) []policy.Team {
	used := map[string]bool{}
	for i := range repositories {
		for _, team := range repositories[i].Teams {
			used[team.Name] = true
		}
	}
	var teams []policy.Team
	for name, organization := range d {
		if used[name] {
			teams = append(teams, policy.Team{Name: name, Users: organization.owners})
		}
		for team, users := range organization.teams {
			if name := teamName(name, team); used[name] {
				teams = append(teams, policy.Team{Name: name, Users: users})
			}
		}
	}
	slices.SortFunc(teams, func(a, b policy.Team) int { return strings.Compare(a.Name, b.Name) })
	return teams
}

func contains(sorted []string, name string) bool {
	_, found := slices.BinarySearch(sorted, name)
	return found
}
