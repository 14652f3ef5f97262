// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	rbacv1 "k8s.io/api/rbac/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// ServiceAccount is whom an instance's pods act as.
func ServiceAccount(instance *v1alpha1.PackagesInstance) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(RegistryName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance))
}

// Role lets an instance's pods follow the policies of their namespace, and
// nothing else: no Secret and no other kind.
func Role(instance *v1alpha1.PackagesInstance) *rbacv1ac.RoleApplyConfiguration {
	return rbacv1ac.Role(RegistryName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance)).
		WithRules(rbacv1ac.PolicyRule().
			WithAPIGroups(v1alpha1.GroupName).
			WithResources("packagespolicies").
			WithVerbs("get", "list", "watch"))
}

// RoleBinding gives the Role to the ServiceAccount.
func RoleBinding(instance *v1alpha1.PackagesInstance) *rbacv1ac.RoleBindingApplyConfiguration {
	name := RegistryName(instance.Name)
	return rbacv1ac.RoleBinding(name, instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance)).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacv1ac.Subject().WithKind(rbacv1.ServiceAccountKind).WithNamespace(instance.Namespace).WithName(name))
}
