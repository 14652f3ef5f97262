// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/credential"
)

func tokenClaim(token *v1alpha1.PackagesToken) claim {
	return claim{owner: token, label: v1alpha1.LabelToken}
}

// mint makes sure that the token's Secret holds the value that the operator made
// and that is due, with what goes with it. It returns the record.
func (r *tokenReconciler) mint(ctx context.Context, token *v1alpha1.PackagesToken, registry string) (desired.TokenValue, error) {
	key := types.NamespacedName{Namespace: token.Namespace, Name: token.Spec.Secret.Name}
	current, err := find[corev1.Secret](ctx, r.writer, tokenClaim(token), "Secret", key)
	if err != nil {
		return desired.TokenValue{}, secretFinding(err)
	}
	if current == nil {
		// Of two tokens that name one Secret the older gets it, whichever is seen first.
		if err := r.yield(ctx, token); err != nil {
			return desired.TokenValue{}, err
		}
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
		r.announced.forget(client.ObjectKeyFromObject(token))
		value, err := r.generate()
		if err != nil {
			return desired.TokenValue{}, err
		}
		record = desired.TokenValue{Value: value, ID: credential.ID(value), IssuedAt: r.seconds()}
		if err := put(ctx, r.writer, current, desired.TokenSecret(token, record, registry), corev1ac.ExtractSecret); err != nil {
			return desired.TokenValue{}, err
		}
		r.reporter.minted(token, len(token.Status.Credentials) > 0)
		return record, nil
	}
	return r.rotate(ctx, token, current, record, registry)
}

// yield is a finding if an older token is to be kept in the same Secret.
func (r *tokenReconciler) yield(ctx context.Context, token *v1alpha1.PackagesToken) error {
	var others v1alpha1.PackagesTokenList
	if err := r.cached.List(ctx, &others, client.InNamespace(token.Namespace), client.MatchingFields{indexSecret: token.Spec.Secret.Name}); err != nil {
		return fmt.Errorf("listing the tokens of a Secret: %w", err)
	}
	for i := range others.Items {
		other := &others.Items[i]
		if other.UID == token.UID || other.Spec.Secret == nil || other.DeletionTimestamp != nil {
			continue
		}
		if other.CreationTimestamp.Before(&token.CreationTimestamp) ||
			other.CreationTimestamp.Equal(&token.CreationTimestamp) && other.UID < token.UID {
			return stalled(v1alpha1.ReasonSecretConflict, fmt.Sprintf(
				"the Secret %s is that of the PackagesToken %s, which is older: delete that one, or create another PackagesToken with another spec.secret.name",
				token.Spec.Secret.Name, other.Name))
		}
	}
	return nil
}

// rotate takes a record one step further, if there is one to take.
func (r *tokenReconciler) rotate(ctx context.Context, token *v1alpha1.PackagesToken, current *corev1.Secret, record desired.TokenValue, registry string) (desired.TokenValue, error) {
	key := client.ObjectKeyFromObject(token)
	verdict, _ := r.verdicts.of(instanceOf(token), kindToken, token.UID, tokenVersion(token, credentialsOf(record)))
	step := rotation{
		spec:   token.Spec.Rotation,
		now:    r.seconds(),
		held:   func(id string) string { return r.announced.of(key, id) },
		served: verdict.served && (verdict.problem == nil || verdict.problem.Partial),
		mint:   r.generate,
	}
	if r.expired(token) {
		step.spec = nil
	}
	next, announced, err := step.step(record)
	if err != nil {
		return desired.TokenValue{}, err
	}
	if announced != "" {
		r.announced.set(key, announcedValue{id: next.Next.ID, value: announced})
	}
	if err := put(ctx, r.writer, current, desired.TokenSecret(token, next, registry), corev1ac.ExtractSecret); err != nil {
		return desired.TokenValue{}, err
	}
	if next.Value != record.Value {
		r.announced.set(key, announcedValue{id: next.ID})
		r.reporter.rotated(token)
	}
	return next, nil
}

func (r *tokenReconciler) generate() (string, error) {
	value, err := credential.Generate(r.random)
	if err != nil {
		return "", fmt.Errorf("making a value: %w", err)
	}
	return value, nil
}

// seconds is the time as a Secret's annotations record it.
func (r *tokenReconciler) seconds() time.Time { return r.now().UTC().Truncate(time.Second) }

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
