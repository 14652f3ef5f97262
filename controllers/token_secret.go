// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/credential"
)

func tokenClaim(token *v1alpha1.PackagesToken) claim {
	return claim{owner: token, label: v1alpha1.LabelToken}
}

// recordOf reads a token's value and its history from the Secret. It is not ok
// when the value is not one that the operator made for this token: then it must
// not work, and another is made. An annotation that somebody removed is restored
// from the status.
func recordOf(token *v1alpha1.PackagesToken, secret *corev1.Secret) (desired.TokenValue, bool) {
	if secret == nil || secret.Type != desired.TokenSecretType(token) {
		return desired.TokenValue{}, false
	}
	value := string(secret.Data[desired.TokenKeyPassword])
	if value == "" || credential.Check(value) != nil {
		return desired.TokenValue{}, false
	}
	record := desired.TokenValue{Value: value, ID: credential.ID(value)}
	known := slices.IndexFunc(token.Status.Credentials, func(c v1alpha1.TokenCredential) bool { return c.ID == record.ID })
	issuedAt, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationIssuedAt])
	switch {
	case err == nil && secret.Annotations[v1alpha1.AnnotationCredentialID] == record.ID:
		record.IssuedAt = issuedAt
	case known >= 0:
		record.IssuedAt = token.Status.Credentials[known].IssuedAt.Time
	default:
		return desired.TokenValue{}, false
	}
	return record, true
}

// mint makes sure that the token's Secret holds a value that the operator made,
// and what goes with it. It returns the record of that value.
func (r *tokenReconciler) mint(ctx context.Context, token *v1alpha1.PackagesToken, registry string) (desired.TokenValue, error) {
	key := types.NamespacedName{Namespace: token.Namespace, Name: token.Spec.Secret.Name}
	current, err := find[corev1.Secret](ctx, r.writer, tokenClaim(token), "Secret", key)
	if err != nil {
		return desired.TokenValue{}, secretFinding(err)
	}
	if current != nil && current.Type != desired.TokenSecretType(token) {
		// A Secret's type cannot change, so it is made anew.
		if err := r.discard(ctx, current); err != nil {
			return desired.TokenValue{}, err
		}
		current = nil
	}
	record, ok := recordOf(token, current)
	if !ok {
		value, err := credential.Generate(r.random)
		if err != nil {
			return desired.TokenValue{}, fmt.Errorf("making a value: %w", err)
		}
		record = desired.TokenValue{Value: value, ID: credential.ID(value), IssuedAt: r.now().UTC().Truncate(time.Second)}
	}
	if err := put(ctx, r.writer, current, desired.TokenSecret(token, record, registry), corev1ac.ExtractSecret); err != nil {
		return desired.TokenValue{}, err
	}
	if !ok {
		r.reporter.minted(token, len(token.Status.Credentials) > 0)
	}
	return record, nil
}

func secretFinding(err error) error {
	var conflict *conflictError
	var outgoing *outgoingError
	switch {
	case errors.As(err, &conflict):
		return stalled(v1alpha1.ReasonSecretConflict, fmt.Sprintf(
			"the Secret %s belongs to somebody else, so it is left alone: delete or rename it, or create another PackagesToken with another spec.secret.name",
			conflict.name))
	case errors.As(err, &outgoing):
		return progressing(v1alpha1.ReasonProgressing, outgoing.Error())
	}
	return err
}
