// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
)

// knownValue is what may be remembered of a token's value.
type knownValue struct {
	hash credential.Hash
	id   string
}

func knownValueOf(value string) *knownValue {
	return &knownValue{hash: credential.Sum(value), id: credential.ID(value)}
}

// userSecrets reads the values that users bring in Secrets of their own. Those
// Secrets carry no label of ours, and caching every Secret of the cluster would
// put all of its secrets into our memory. So the cache watches nothing but their
// metadata, whose resource version says when a value has to be read again from
// the API server, and only a hash of it is kept. Safe for concurrent use.
type userSecrets struct {
	// metadata reads PartialObjectMetadata from a cache.
	metadata client.Reader
	live     client.Reader

	mu    sync.Mutex
	known map[types.NamespacedName]rememberedValue
}

type rememberedValue struct {
	ref     v1alpha1.SecretKeyReference
	version secretVersion
	value   *knownValue
	finding *finding
}

// secretVersion is a state of a Secret; the zero value is its absence.
type secretVersion struct {
	uid             types.UID
	resourceVersion string
}

// versionOf asks the cache of metadata.
func versionOf(ctx context.Context, metadata client.Reader, secret types.NamespacedName) (secretVersion, error) {
	object := secretMetadata()
	if err := metadata.Get(ctx, secret, object); apierrors.IsNotFound(err) {
		return secretVersion{}, nil
	} else if err != nil {
		return secretVersion{}, fmt.Errorf("reading the metadata of Secret %s: %w", secret.Name, err)
	}
	return secretVersion{object.UID, object.ResourceVersion}, nil
}

// value returns the value of a token with a source, or a finding that says why it
// has none.
func (u *userSecrets) value(ctx context.Context, token *v1alpha1.PackagesToken) (*knownValue, error) {
	if token.Spec.Source == nil {
		return nil, nil
	}
	ref := token.Spec.Source.SecretRef
	key := types.NamespacedName{Namespace: token.Namespace, Name: ref.Name}
	version, err := versionOf(ctx, u.metadata, key)
	if err != nil {
		return nil, err
	}
	if version == (secretVersion{}) {
		u.forget(client.ObjectKeyFromObject(token))
		return nil, secretNotFound(ref)
	}

	u.mu.Lock()
	remembered, ok := u.known[client.ObjectKeyFromObject(token)]
	u.mu.Unlock()
	if !ok || remembered.ref != ref || remembered.version != version {
		var secret corev1.Secret
		if err := u.live.Get(ctx, key, &secret); apierrors.IsNotFound(err) {
			return nil, secretNotFound(ref)
		} else if err != nil {
			return nil, fmt.Errorf("reading Secret %s: %w", ref.Name, err)
		}
		remembered = rememberedValue{ref: ref, version: secretVersion{secret.UID, secret.ResourceVersion}}
		remembered.value, remembered.finding = readValue(&secret, ref)
		u.mu.Lock()
		if u.known == nil {
			u.known = map[types.NamespacedName]rememberedValue{}
		}
		u.known[client.ObjectKeyFromObject(token)] = remembered
		u.mu.Unlock()
	}
	if remembered.finding != nil {
		return nil, remembered.finding
	}
	return remembered.value, nil
}

// forget drops what is remembered for a token.
func (u *userSecrets) forget(token types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.known, token)
}

// readValue takes the value as it is: a line end that an editor left is the user's
// to remove, since it could be meant.
func readValue(secret *corev1.Secret, ref v1alpha1.SecretKeyReference) (*knownValue, *finding) {
	value, ok := secret.Data[ref.Key]
	if !ok {
		return nil, stalled(v1alpha1.ReasonSecretKeyMissing, fmt.Sprintf(
			"the Secret %s has no key %s: add it, or name another in spec.source.secretRef.key", ref.Name, ref.Key))
	}
	if err := credential.ValidateSupplied(string(value)); err != nil {
		return nil, stalled(v1alpha1.ReasonSecretValueInvalid, fmt.Sprintf(
			"the value at key %s of the Secret %s cannot be a token: %s", ref.Key, ref.Name, err))
	}
	return knownValueOf(string(value)), nil
}

func secretNotFound(ref v1alpha1.SecretKeyReference) *finding {
	return progressing(v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
		"there is no Secret %s in this namespace: create it with the token's value at key %s", ref.Name, ref.Key))
}
