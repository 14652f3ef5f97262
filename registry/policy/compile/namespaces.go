// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// InstanceKey names the instance that an object of a namespace refers to.
func InstanceKey(namespace string, to v1alpha1.InstanceReference) types.NamespacedName {
	return types.NamespacedName{Namespace: cmp.Or(to.Namespace, namespace), Name: to.Name}
}

// Allowance is for which owners a namespace may refer to an instance. The zero
// Allowance is for none: the namespace may not refer to it.
type Allowance struct {
	// every says for every owner, as the instance's own namespace may.
	every bool
	// owners sorted.
	owners []string
}

// AllowanceOf is what an instance allows a namespace with these labels. Selectors
// do not choose a namespace whose labels are nil, since nothing is known of it.
func AllowanceOf(instance *v1alpha1.PackagesInstance, namespace string, namespaceLabels map[string]string) Allowance {
	if namespace == instance.Namespace {
		return Allowance{every: true}
	}
	var owners []string
	for i := range instance.Spec.AllowedNamespaces {
		entry := &instance.Spec.AllowedNamespaces[i]
		if slices.Contains(entry.Names, namespace) || Selects(entry.Selector, namespaceLabels) {
			owners = append(owners, entry.Owners...)
		}
	}
	// What no owner can be called is left out, since a narrowing is made of it.
	owners = slices.DeleteFunc(owners, func(owner string) bool { return ref.CheckComponent(owner) != nil })
	return Allowance{owners: sortedSet(owners)}
}

// Selects says whether a selector chooses namespaces with these labels. One that is
// not there, or that cannot be read, chooses none.
func Selects(selector *v1alpha1.NamespaceSelector, namespaceLabels map[string]string) bool {
	if selector == nil || namespaceLabels == nil {
		return false
	}
	plain := &metav1.LabelSelector{}
	if len(selector.MatchLabels) > 0 {
		plain.MatchLabels = make(map[string]string, len(selector.MatchLabels))
		for key, value := range selector.MatchLabels {
			plain.MatchLabels[key] = string(value)
		}
	}
	for _, requirement := range selector.MatchExpressions {
		values := make([]string, len(requirement.Values))
		for i, value := range requirement.Values {
			values[i] = string(value)
		}
		plain.MatchExpressions = append(plain.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: requirement.Key, Operator: requirement.Operator, Values: values,
		})
	}
	parsed, err := metav1.LabelSelectorAsSelector(plain)
	return err == nil && parsed.Matches(labels.Set(namespaceLabels))
}

// Any says whether the namespace may refer to the instance at all.
func (a Allowance) Any() bool { return a.every || len(a.owners) > 0 }

func (a Allowance) includes(owner string) bool { return a.every || contains(a.owners, owner) }

// narrow limits what a token, or whoever else acts, is narrowed to. A narrowing that
// is left with nothing is not the same as none: it returns false then.
func (a Allowance) narrow(patterns []string) (narrowed []string, left bool) {
	if a.every {
		return patterns, true
	}
	if len(patterns) == 0 {
		for _, owner := range a.owners {
			narrowed = append(narrowed, owner+"/*")
		}
	}
	for _, pattern := range patterns {
		if owner, _, _ := strings.Cut(pattern, "/"); a.includes(owner) {
			narrowed = append(narrowed, pattern)
		}
	}
	return narrowed, len(narrowed) > 0
}

// NamespaceNotAllowed is what an object is told that refers to an instance of another
// namespace without being allowed to. It is the same where there is no such instance,
// so that nobody learns of instances that they may not use.
func NamespaceNotAllowed(instance types.NamespacedName, namespace string) string {
	return fmt.Sprintf("no PackagesInstance %s of the namespace %s lets the namespace %s refer to it: ask whoever keeps it to list this namespace in spec.allowedNamespaces",
		instance.Name, instance.Namespace, namespace)
}

// scope is from where an instance takes objects, and whom it lets in by them.
type scope struct {
	Input
	instance   *v1alpha1.PackagesInstance
	allowances map[string]Allowance
	// accounts with a role, by their users.
	accounts map[string]*account
}

func newScope(in Input) *scope {
	return &scope{Input: in, instance: in.Instance, allowances: map[string]Allowance{}, accounts: map[string]*account{}}
}

func (s *scope) allowance(namespace string) Allowance {
	allowance, known := s.allowances[namespace]
	if !known {
		allowance = AllowanceOf(s.instance, namespace, s.Namespaces[namespace])
		s.allowances[namespace] = allowance
	}
	return allowance
}

// refers says whether an object refers to the instance.
func (s *scope) refers(object metav1.Object, to v1alpha1.InstanceReference) bool {
	return InstanceKey(object.GetNamespace(), to) == types.NamespacedName{Namespace: s.instance.Namespace, Name: s.instance.Name}
}

// refuse is the problem of an object whose namespace may not refer to the instance,
// nil if it may.
func (s *scope) refuse(kind string, object metav1.Object) *Problem {
	if s.allowance(object.GetNamespace()).Any() {
		return nil
	}
	return &Problem{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Field: "spec.instanceRef",
		Reason:  v1alpha1.ReasonNamespaceNotAllowed,
		Message: NamespaceNotAllowed(types.NamespacedName{Namespace: s.instance.Namespace, Name: s.instance.Name}, object.GetNamespace()),
	}
}

// refuseOwner is the same for an object that speaks for an owner.
func (s *scope) refuseOwner(kind string, object metav1.Object, field, owner string) *Problem {
	if problem := s.refuse(kind, object); problem != nil || s.allowance(object.GetNamespace()).includes(owner) {
		return problem
	}
	return &Problem{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Field: field,
		Reason: v1alpha1.ReasonOwnerNotAllowed, Message: owner + " is not allowed here: " + s.owners(object),
	}
}

// owners says for which owners the namespace of an object may speak.
func (s *scope) owners(object metav1.Object) string {
	const most = 3
	owners := s.allowance(object.GetNamespace()).owners
	list := strings.Join(owners[:min(most, len(owners))], ", ")
	if more := len(owners) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("the PackagesInstance %s of the namespace %s allows the namespace %s to speak for %s alone, in spec.allowedNamespaces",
		s.instance.Name, s.instance.Namespace, object.GetNamespace(), list)
}

// call is how one object is called where another is told of it. Namespaces learn
// nothing of each other's objects; that of the instance does.
func (s *scope) call(kind string, object, to metav1.Object) string {
	switch to.GetNamespace() {
	case object.GetNamespace():
		return "the " + kind + " " + object.GetName()
	case s.instance.Namespace:
		return "the " + kind + " " + object.GetNamespace() + "/" + object.GetName()
	}
	return "a " + kind + " of another namespace"
}
