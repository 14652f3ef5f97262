// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// A value is replaced in two steps, so that whoever reads the Secret never holds
// a value that the registry does not know yet: first the Secret's annotations
// announce the hash of the next value, while the value itself is in memory alone;
// once the registry's pods accept it, the Secret gets it, and the value before
// becomes the previous one. A manager that restarts in between announces another.

// recordOf reads a token's value and its history from the Secret. It is not ok
// when the value is not one that the operator made for this token: then it must
// not work, and another is made. When the value was made is restored from the
// status if somebody removed the annotation.
func recordOf(token *v1alpha1.PackagesToken, secret *corev1.Secret) (desired.TokenValue, bool) {
	if secret == nil || secret.Type != desired.TokenSecretType(token) {
		return desired.TokenValue{}, false
	}
	value := string(secret.Data[v1alpha1.TokenKeyPassword])
	if value == "" || credential.Check(value) != nil {
		return desired.TokenValue{}, false
	}
	record := desired.TokenValue{Value: value, ID: credential.ID(value)}
	known := slices.IndexFunc(token.Status.Credentials, func(c v1alpha1.TokenCredential) bool { return c.ID == record.ID })
	issuedAt, recorded := annotatedTime(secret, v1alpha1.AnnotationIssuedAt)
	switch {
	case recorded && secret.Annotations[v1alpha1.AnnotationCredentialID] == record.ID:
		record.IssuedAt = issuedAt
	case known >= 0:
		record.IssuedAt = token.Status.Credentials[known].IssuedAt.Time
	default:
		return desired.TokenValue{}, false
	}
	if next, ok := annotatedHash(secret, v1alpha1.AnnotationNextCredentialID, v1alpha1.AnnotationNextHash); ok {
		record.Next = &next
	}
	previous, hashed := annotatedHash(secret, v1alpha1.AnnotationPreviousCredentialID, v1alpha1.AnnotationPreviousHash)
	made, dated := annotatedTime(secret, v1alpha1.AnnotationPreviousIssuedAt)
	end, ends := annotatedTime(secret, v1alpha1.AnnotationPreviousNotAfter)
	if hashed && dated && ends {
		record.Previous = &desired.PastValue{ValueHash: previous, IssuedAt: made, NotAfter: end}
	}
	return record, true
}

func annotatedTime(secret *corev1.Secret, name string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, secret.Annotations[name])
	return at.UTC(), err == nil
}

func annotatedHash(secret *corev1.Secret, idName, hashName string) (desired.ValueHash, bool) {
	id := secret.Annotations[idName]
	hash, err := credential.ParseHash(secret.Annotations[hashName])
	return desired.ValueHash{ID: id, Hash: hash}, err == nil && id != ""
}

// credentialsOf are the values that a record lets the registry accept.
func credentialsOf(record desired.TokenValue) []compile.Credential {
	credentials := []compile.Credential{{Hash: credential.Sum(record.Value), ID: record.ID}}
	if previous := record.Previous; previous != nil {
		credentials = append(credentials, compile.Credential{Hash: previous.Hash, ID: previous.ID, NotAfter: &previous.NotAfter})
	}
	if next := record.Next; next != nil {
		credentials = append(credentials, compile.Credential{Hash: next.Hash, ID: next.ID})
	}
	return credentials
}

// rotation is all that decides about the next step of a token's record.
type rotation struct {
	// spec is nil for a token that does not rotate.
	spec *v1alpha1.TokenRotation
	// now has whole seconds, as the record has.
	now time.Time
	// held returns the value of an id that was announced, or nothing when it is not
	// known anymore.
	held func(id string) string
	// served says that the registry's pods accept all values of the record.
	served bool
	// mint makes a value.
	mint func() (string, error)
}

// step returns the record as it must be now. A value that is announced was minted
// by this very step; announced is empty otherwise.
func (r rotation) step(record desired.TokenValue) (next desired.TokenValue, announced string, err error) {
	// A clock that was ahead when the value was made must not keep it forever.
	if record.IssuedAt.After(r.now) {
		record.IssuedAt = r.now
	}
	record.Previous = r.remaining(record.Previous)
	if r.spec == nil || r.now.Before(record.IssuedAt.Add(r.spec.Interval.Duration)) {
		record.Next = nil
		return record, "", nil
	}
	value := ""
	if record.Next != nil {
		value = r.held(record.Next.ID)
	}
	switch {
	case value == "":
		if announced, err = r.mint(); err != nil {
			return desired.TokenValue{}, "", err
		}
		record.Next = &desired.ValueHash{ID: credential.ID(announced), Hash: credential.Sum(announced)}
	case r.served:
		return desired.TokenValue{
			Value: value, ID: record.Next.ID, IssuedAt: r.now,
			Previous: r.remaining(&desired.PastValue{
				ValueHash: desired.ValueHash{ID: record.ID, Hash: credential.Sum(record.Value)},
				IssuedAt:  record.IssuedAt,
				NotAfter:  r.now.Add(r.spec.Overlap.Duration),
			}),
		}, "", nil
	}
	return record, announced, nil
}

// remaining is the value before, if it goes on working: no longer than an overlap
// from now, whatever the overlap or the clock was when it was replaced.
func (r rotation) remaining(previous *desired.PastValue) *desired.PastValue {
	if previous == nil {
		return nil
	}
	end := previous.NotAfter
	if r.spec != nil {
		if latest := r.now.Add(r.spec.Overlap.Duration); latest.Before(end) {
			end = latest
		}
	}
	if !r.now.Before(end) {
		return nil
	}
	return &desired.PastValue{ValueHash: previous.ValueHash, IssuedAt: previous.IssuedAt, NotAfter: end}
}

// nextStep is the first instant at which step would change the record by time
// alone; zero for none.
func nextStep(record desired.TokenValue, spec *v1alpha1.TokenRotation) time.Time {
	var at time.Time
	if spec != nil && record.Next == nil {
		at = record.IssuedAt.Add(spec.Interval.Duration)
	}
	if previous := record.Previous; previous != nil && (at.IsZero() || previous.NotAfter.Before(at)) {
		at = previous.NotAfter
	}
	return at
}

// announcedValues remember what was announced: the value until it is written, and
// then that it was. Safe for concurrent use.
type announcedValues struct {
	mu     sync.Mutex
	values map[types.NamespacedName]announcedValue
}

type announcedValue struct {
	id string
	// value is empty once the Secret has it.
	value string
}

// of returns the value of a token that was announced under an id and is not
// written yet, or nothing.
func (a *announcedValues) of(token types.NamespacedName, id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.values[token]; known.id == id {
		return known.value
	}
	return ""
}

// written says whether the value of an id was announced and then written, so that
// the registry's pods knew it before anybody else.
func (a *announcedValues) written(token types.NamespacedName, id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.values[token]
	return known.id == id && known.value == ""
}

func (a *announcedValues) set(token types.NamespacedName, known announcedValue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.values == nil {
		a.values = map[types.NamespacedName]announcedValue{}
	}
	a.values[token] = known
}

func (a *announcedValues) forget(token types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.values, token)
}
