// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"strconv"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	apiac "github.com/packages-operator/packages-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// PolicyName is the name of the PackagesPolicy with the shard of that index.
func PolicyName(instance string, index int) string { return instance + "-" + strconv.Itoa(index) }

// PackagesPolicy carries one shard of an instance's policy to its pods.
func PackagesPolicy(instance *v1alpha1.PackagesInstance, shard policy.Shard) *apiac.PackagesPolicyApplyConfiguration {
	spec := apiac.PackagesPolicySpec().
		WithInstanceRef(apiac.LocalInstanceReference().WithName(instance.Name)).
		WithFormatVersion(int32(shard.FormatVersion)).
		WithIndex(int32(shard.Index)).
		WithDocument(shard.Document)
	if shard.Revision != "" {
		spec.WithRevision(shard.Revision)
	}
	if len(shard.Parts) > 0 {
		spec.WithParts(shard.Parts...)
	}
	return apiac.PackagesPolicy(PolicyName(instance.Name, shard.Index), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(spec)
}
