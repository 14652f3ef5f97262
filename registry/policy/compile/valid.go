// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// A registry takes a policy whole or not at all. What the schema refuses today may
// still be stored, from before a rule or while it was not in force; one such object
// must not keep all others from their effect, so that it is left out here.

// invalid is the problem of an object with a fault.
func invalid(kind string, object metav1.Object, fault error) Problem {
	return Problem{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		Reason: v1alpha1.ReasonInvalidSpec, Message: fault.Error(),
	}
}

// checkRepository says what makes a repository unusable, or nil.
func checkRepository(spec *v1alpha1.PackagesRepositorySpec) error {
	if err := ref.CheckComponent(spec.Owner); err != nil {
		return fmt.Errorf("spec.owner: %w", err)
	}
	if err := ref.CheckComponent(spec.Name); err != nil {
		return fmt.Errorf("spec.name: %w", err)
	}
	return nil
}

// checkToken says what makes a token unusable, or nil. A narrowing that cannot be
// read must not widen: the token is refused with it.
func checkToken(spec *v1alpha1.PackagesTokenSpec) error {
	if err := ref.CheckComponent(spec.User); err != nil {
		return fmt.Errorf("spec.user: %w", err)
	}
	for i, pattern := range spec.Repositories {
		owner, name, found := strings.Cut(pattern, "/")
		if !found {
			return fmt.Errorf("spec.repositories[%d]: %.80q is neither OWNER/REPOSITORY nor OWNER/*", i, pattern)
		}
		err := ref.CheckComponent(owner)
		if err == nil && name != "*" {
			err = ref.CheckComponent(name)
		}
		if err != nil {
			return fmt.Errorf("spec.repositories[%d]: %w", i, err)
		}
	}
	return nil
}
