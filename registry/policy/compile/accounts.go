// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// account is a ServiceAccount with a role in some repository. It is limited to what
// the namespaces of those repositories may speak for, since it reads from there what
// is Internal or Public: not at all, if one of them is the instance's own.
type account struct {
	uid    types.UID
	every  bool
	owners []string
}

// employ returns the roles that a repository gives to ServiceAccounts that are there.
func (s *scope) employ(object *v1alpha1.PackagesRepository) (roles []policy.Member, faults []fault) {
	entries := object.Spec.Access.ServiceAccounts
	if len(entries) > 0 && s.Issuer.IsZero() {
		return nil, []fault{{v1alpha1.ReasonIssuerUnknown, "spec.access.serviceAccounts",
			"tokens of ServiceAccounts are not accepted: " + cmp.Or(s.IssuerFault, "nobody is known to sign them")}}
	}
	allowance := s.allowance(object.Namespace)
	for i, entry := range entries {
		user := workload.User(entry.Namespace, entry.Name)
		role, known := role(entry.Role)
		if !known || !workload.IsUser(user) {
			continue
		}
		uid, found := s.ServiceAccounts[types.NamespacedName{Namespace: entry.Namespace, Name: entry.Name}]
		if !found || uid == "" {
			faults = append(faults, fault{v1alpha1.ReasonServiceAccountNotFound, fmt.Sprintf("spec.access.serviceAccounts[%d]", i),
				fmt.Sprintf("the operator sees no ServiceAccount %s in the namespace %s: create it, or take the entry out", entry.Name, entry.Namespace)})
			continue
		}
		roles = append(roles, policy.Member{Name: user, Role: role})
		a := s.accounts[user]
		if a == nil {
			a = &account{uid: uid}
			s.accounts[user] = a
		}
		a.every = a.every || allowance.every
		a.owners = append(a.owners, allowance.owners...)
	}
	return roles, faults
}

// employed are the ServiceAccounts that repositories gave a role.
func (s *scope) employed() (accounts []policy.ServiceAccount) {
	for user, a := range s.accounts {
		compiled := policy.ServiceAccount{User: user, UID: string(a.uid)}
		if !a.every {
			compiled.Repositories, _ = Allowance{owners: sortedSet(a.owners)}.narrow(nil)
		}
		accounts = append(accounts, compiled)
	}
	slices.SortFunc(accounts, func(a, b policy.ServiceAccount) int { return strings.Compare(a.User, b.User) })
	return accounts
}
