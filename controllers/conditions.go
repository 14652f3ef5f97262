// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// state is how an object that is not ready is, in the words of kstatus.
type state int

const (
	// stateProgressing: the operator, or somebody else, is still at work.
	stateProgressing state = iota + 1
	// stateStalled: only a person's change can bring progress.
	stateStalled
)

// finding is why an object is not ready. As an error it ends a reconcile without
// being one: it decides the conditions, and how soon to look again.
type finding struct {
	state   state
	reason  string
	message string
	// again is when to look again without an event; 0 waits for events alone.
	again time.Duration
}

func (f *finding) Error() string { return f.reason + ": " + f.message }

func progressing(reason, message string) *finding {
	return &finding{state: stateProgressing, reason: reason, message: message}
}

func stalled(reason, message string) *finding {
	return &finding{state: stateStalled, reason: reason, message: message}
}

// acceptance is whether another object stands in an object's way.
type acceptance struct {
	accepted bool
	reason   string
	message  string
}

// conclusion is all that one reconcile found out about an object.
type conclusion struct {
	// accepted is nil where it is not known yet.
	accepted *acceptance
	// also are conditions that only some kinds have, by type; nil takes one away.
	also map[string]*acceptance
	// finding is nil for an object that is ready.
	finding *finding
	// failure is an error of the Kubernetes API that is tried again. It does not
	// take a Ready back: what was in force still is.
	failure error
	// ready says what a ready object offers, and readyReason why it is ready; empty is
	// ReasonSucceeded.
	ready, readyReason string
}

// conditionsFor writes a conclusion down as conditions. It changes nothing where
// nothing changed, transition times included.
func conditionsFor(old []metav1.Condition, generation int64, now time.Time, c conclusion) []metav1.Condition {
	conditions := append([]metav1.Condition(nil), old...)
	set := func(conditionType string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message,
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now),
		})
	}
	if c.accepted != nil {
		set(v1alpha1.ConditionAccepted, conditionStatus(c.accepted.accepted), c.accepted.reason, c.accepted.message)
	}
	for conditionType, a := range c.also {
		if a == nil {
			meta.RemoveStatusCondition(&conditions, conditionType)
		} else {
			set(conditionType, conditionStatus(a.accepted), a.reason, a.message)
		}
	}

	// Reconciling and Stalled are present only while they are True.
	reconciling, stalling := (*finding)(nil), (*finding)(nil)
	switch {
	case c.failure != nil:
		reconciling = progressing(v1alpha1.ReasonReconcileFailed, c.failure.Error())
		if !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) {
			set(v1alpha1.ConditionReady, metav1.ConditionFalse, reconciling.reason, reconciling.message)
		}
	case c.finding == nil:
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, cmp.Or(c.readyReason, v1alpha1.ReasonSucceeded), c.ready)
	default:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, c.finding.reason, c.finding.message)
		switch c.finding.state {
		case stateProgressing:
			reconciling = c.finding
		case stateStalled:
			stalling = c.finding
		}
	}
	for conditionType, f := range map[string]*finding{v1alpha1.ConditionReconciling: reconciling, v1alpha1.ConditionStalled: stalling} {
		if f == nil {
			meta.RemoveStatusCondition(&conditions, conditionType)
		} else {
			set(conditionType, metav1.ConditionTrue, f.reason, f.message)
		}
	}
	return conditions
}

func conditionStatus(b bool) metav1.ConditionStatus {
	if b {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// wasReady says whether a status already called this generation ready.
func wasReady(conditions []metav1.Condition, generation int64) bool {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == generation
}
