// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

func TestConditionsFor(t *testing.T) {
	accepted := &acceptance{true, v1alpha1.ReasonAccepted, "fine"}
	ready := conclusion{accepted: accepted, ready: "it works"}
	for name, test := range map[string]struct {
		conclusions []conclusion
		// want is TYPE=STATUS/REASON of each condition.
		want []string
	}{
		"ready": {
			[]conclusion{ready},
			[]string{"Accepted=True/Accepted", "Ready=True/Succeeded"},
		},
		"progressing": {
			[]conclusion{{accepted: accepted, finding: progressing("PodsNotReady", "wait")}},
			[]string{"Accepted=True/Accepted", "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady"},
		},
		"stalled": {
			[]conclusion{{accepted: &acceptance{false, "HostConflict", "taken"}, finding: stalled("HostConflict", "taken")}},
			[]string{"Accepted=False/HostConflict", "Ready=False/HostConflict", "Stalled=True/HostConflict"},
		},
		"ready for another reason": {
			[]conclusion{{readyReason: "Suspended", ready: "off"}},
			[]string{"Ready=True/Suspended"},
		},
		"a failure before the first success": {
			[]conclusion{{failure: errors.New("no answer")}},
			[]string{"Ready=False/ReconcileFailed", "Reconciling=True/ReconcileFailed"},
		},
		"a failure takes no Ready back": {
			[]conclusion{ready, {failure: errors.New("no answer")}},
			[]string{"Accepted=True/Accepted", "Ready=True/Succeeded", "Reconciling=True/ReconcileFailed"},
		},
		"what was in the way is forgotten": {
			[]conclusion{{finding: stalled("HostConflict", "taken")}, {failure: errors.New("no answer")}, ready},
			[]string{"Accepted=True/Accepted", "Ready=True/Succeeded"},
		},
		"what is not known yet is left alone": {
			[]conclusion{ready, {finding: progressing("InstanceNotReady", "wait")}},
			[]string{"Accepted=True/Accepted", "Ready=False/InstanceNotReady", "Reconciling=True/InstanceNotReady"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var conditions []metav1.Condition
			for i, c := range test.conclusions {
				conditions = conditionsFor(conditions, int64(i+1), time.Unix(int64(i), 0), c)
			}
			var got []string
			for _, conditionType := range []string{"Accepted", "Ready", "Reconciling", "Stalled"} {
				for _, c := range conditions {
					if c.Type == conditionType {
						got = append(got, c.Type+"="+string(c.Status)+"/"+c.Reason)
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestConditionsChangeOnlyWithTheConclusion(t *testing.T) {
	c := conclusion{accepted: &acceptance{true, "Accepted", "fine"}, finding: progressing("PodsNotReady", "wait")}
	first := conditionsFor(nil, 7, time.Unix(100, 0), c)
	if diff := cmp.Diff(first, conditionsFor(first, 7, time.Unix(200, 0), c)); diff != "" {
		t.Errorf("the same conclusion changes the conditions:\n%s", diff)
	}
	next := conditionsFor(first, 7, time.Unix(200, 0), conclusion{accepted: c.accepted, ready: "it works"})
	for _, condition := range next {
		want := int64(100)
		if condition.Type == v1alpha1.ConditionReady {
			want = 200
		}
		if got := condition.LastTransitionTime.Unix(); got != want {
			t.Errorf("%s changed at %d, want %d", condition.Type, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for name, test := range map[string]struct{ message, want string }{
		"short":             {"fine", "fine"},
		"as long as may be": {strings.Repeat("a", maxNote), strings.Repeat("a", maxNote)},
		"too long":          {strings.Repeat("a", maxNote+1), strings.Repeat("a", maxNote-3) + "…"},
		"cut in a letter":   {strings.Repeat("a", maxNote-4) + "äää", strings.Repeat("a", maxNote-4) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shorten(test.message); got != test.want {
				t.Errorf("got %q (%d bytes), want %q", got, len(got), test.want)
			}
		})
	}
}

func TestWasReady(t *testing.T) {
	ready := conditionsFor(nil, 2, time.Unix(0, 0), conclusion{})
	if !wasReady(ready, 2) {
		t.Error("a generation that is ready was not")
	}
	if wasReady(ready, 3) {
		t.Error("a Ready of generation 2 speaks for generation 3")
	}
	if wasReady(nil, 0) {
		t.Error("no conditions are ready")
	}
}

func TestWhatTheAPIServerRefusesIsToldInBounds(t *testing.T) {
	long := strings.Repeat("a.", 1000)
	err := apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, "acme-packages", field.ErrorList{
		field.Invalid(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("resources", "requests").Key(long), long, "name part must be no more than 63 bytes"),
	})
	for what, message := range map[string]string{"fields": invalidFields(err), "a sentence": statusMessage(err)} {
		if len(message) > maxNote || len(message) < maxNote/2 {
			t.Errorf("%s: %d bytes", what, len(message))
		}
	}
	if got := invalidFields(err); !strings.HasPrefix(got, "spec.podTemplate.resources.requests[a.a.") {
		t.Errorf("it begins with %.60s", got)
	}
}
