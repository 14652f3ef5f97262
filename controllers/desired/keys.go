// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// KeyLength is the length of a signing key in bytes, as HS256 wants it.
const KeyLength = 32

// KeysSecret holds the keys, by key id, that an instance signs bearer tokens with.
func KeysSecret(instance *v1alpha1.PackagesInstance, keys map[string][]byte) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(KeysName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithOwnerReferences(instanceOwner(instance)).
		WithType(corev1.SecretTypeOpaque).
		WithData(keys)
}

// UsableKeys says whether a keys Secret's data can sign and verify: one key or
// more, all of the right length.
func UsableKeys(data map[string][]byte) bool {
	for _, key := range data {
		if len(key) != KeyLength {
			return false
		}
	}
	return len(data) > 0
}
