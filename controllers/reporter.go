// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// reporter records events, on transitions only.
type reporter struct{ events.EventRecorder }

// transition records that Ready or its reason has changed.
func (r reporter) transition(object client.Object, before, after []metav1.Condition) {
	old := meta.FindStatusCondition(before, v1alpha1.ConditionReady)
	now := meta.FindStatusCondition(after, v1alpha1.ConditionReady)
	if now == nil || old != nil && old.Status == now.Status && old.Reason == now.Reason {
		return
	}
	eventType := corev1.EventTypeNormal
	if meta.IsStatusConditionTrue(after, v1alpha1.ConditionStalled) || now.Reason == v1alpha1.ReasonReconcileFailed {
		eventType = corev1.EventTypeWarning
	}
	r.Eventf(object, nil, eventType, now.Reason, "Reconcile", "%s", shorten(now.Message))
}

// maxNote is how long the API server lets the note of an event be, in bytes.
const maxNote = 1024

// shorten cuts a message, for a note or of the API server's, to what a person reads.
func shorten(message string) string {
	if len(message) <= maxNote {
		return message
	}
	return strings.ToValidUTF8(message[:maxNote-len("…")], "") + "…"
}

// minted records that a token has a new value, which another was before if again.
func (r reporter) minted(token *v1alpha1.PackagesToken, again bool) {
	note := "Made a value and wrote it to the Secret %s"
	if again {
		note = "The Secret %[1]s did not hold the value that was made for this token, which is refused from now on; made another and wrote it there"
	}
	r.Eventf(token, nil, corev1.EventTypeNormal, "Minted", "Mint", note, token.Spec.Secret.Name)
}

// rotated records that another value took the place of a token's value in time.
func (r reporter) rotated(token *v1alpha1.PackagesToken) {
	r.Eventf(token, nil, corev1.EventTypeNormal, "Rotated", "Rotate",
		"Wrote another value to the Secret %s; the one before works for another %s", token.Spec.Secret.Name, token.Spec.Rotation.Overlap.Duration)
}
