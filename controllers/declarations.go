// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// declaration is an organization or a repository: an object that has effect through
// its instance's policy alone. conditions and observed point into its status.
type declaration struct {
	object     client.Object
	kind       kind
	version    string
	conditions *[]metav1.Condition
	observed   *int64
	// ready and accepted are what to say of one that is.
	ready, accepted string
}

// conclude decides about a declaration that is not being deleted.
func (v *verdicts) conclude(ctx context.Context, instances *references, d declaration) (conclusion, error) {
	c := conclusion{ready: d.ready}
	instance, err := instances.instance(ctx, d.object)
	if err != nil {
		if f := (*finding)(nil); errors.As(err, &f) {
			c.accepted = &acceptance{false, f.reason, f.message}
		}
		return c, err
	}
	if !hasEffect(instance) {
		return c, progressing(v1alpha1.ReasonInstanceNotReady, instanceWithoutEffect(instance.Name))
	}
	verdict, known := v.of(client.ObjectKeyFromObject(instance), d.kind, d.object.GetUID(), d.version)
	switch {
	case !known:
		return c, undecided(instance.Name, *d.observed, d.object.GetGeneration())
	case verdict.problem != nil:
		c.accepted = &acceptance{false, verdict.problem.Reason, verdict.problem.Message}
		return c, findingOf(verdict.problem)
	}
	c.accepted = &acceptance{true, v1alpha1.ReasonAccepted, d.accepted}
	if !verdict.served && !wasReady(*d.conditions, d.object.GetGeneration()) {
		return c, progressing(v1alpha1.ReasonInstanceNotReady, notServedYet(instance.Name))
	}
	return c, nil
}

// findingOf is a problem as the reason why an object is not ready. What is named and
// missing may still come: objects are applied in any order.
func findingOf(problem *compile.Problem) *finding {
	switch problem.Reason {
	case v1alpha1.ReasonTeamNotFound, v1alpha1.ReasonServiceAccountNotFound, v1alpha1.ReasonIssuerUnknown:
		return progressing(problem.Reason, problem.Message)
	}
	return stalled(problem.Reason, problem.Message)
}

// report writes a declaration's status, if it changes, and tells of a transition.
func (r reporter) report(ctx context.Context, w *writer, d declaration, now time.Time, c conclusion) error {
	before, ok := d.object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object of the Kubernetes API", d.object)
	}
	old, generation := *d.conditions, d.object.GetGeneration()
	*d.conditions = conditionsFor(old, generation, now, c)
	if equality.Semantic.DeepEqual(old, *d.conditions) && *d.observed == generation {
		return c.failure
	}
	*d.observed = generation
	if err := w.cached.Status().Patch(ctx, d.object, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return errors.Join(c.failure, fmt.Errorf("writing the status: %w", err))
	}
	r.transition(d.object, old, *d.conditions)
	return c.failure
}
