// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/credential"
)

var day = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func hashOf(value string) desired.ValueHash {
	return desired.ValueHash{ID: credential.ID(value), Hash: credential.Sum(value)}
}

func issued(value string, at time.Time) desired.TokenValue {
	return desired.TokenValue{Value: value, ID: credential.ID(value), IssuedAt: at}
}

func (v valueOf) after(previous string, made, end time.Time) desired.TokenValue {
	record := desired.TokenValue(v)
	record.Previous = &desired.PastValue{ValueHash: hashOf(previous), IssuedAt: made, NotAfter: end}
	return record
}

func (v valueOf) announcing(next string) desired.TokenValue {
	record := desired.TokenValue(v)
	hash := hashOf(next)
	record.Next = &hash
	return record
}

type valueOf desired.TokenValue

func TestTheStepsOfRotation(t *testing.T) {
	weekly := &v1alpha1.TokenRotation{
		Interval: metav1.Duration{Duration: 7 * 24 * time.Hour},
		Overlap:  metav1.Duration{Duration: 24 * time.Hour},
	}
	week, hour := weekly.Interval.Duration, time.Hour
	one := issued("one", day)
	for _, test := range []struct {
		name   string
		spec   *v1alpha1.TokenRotation
		now    time.Time
		record desired.TokenValue
		// known is what this process has announced; served says that the pods accept it.
		known  string
		served bool
		want   desired.TokenValue
		wake   time.Time
	}{
		{name: "without rotation nothing is ever due", now: day.Add(100 * week), record: one, want: one},
		{name: "before its time nothing changes", spec: weekly, now: day.Add(week - time.Second), record: one, want: one, wake: day.Add(week)},
		{name: "at its time the next value is announced", spec: weekly, now: day.Add(week), record: one, want: valueOf(one).announcing("new")},
		{name: "it is not written before the pods accept it", spec: weekly, now: day.Add(week + hour), record: valueOf(one).announcing("two"), known: "two", want: valueOf(one).announcing("two")},
		{name: "then it is, and the one before works for the overlap", spec: weekly, now: day.Add(week + hour), record: valueOf(one).announcing("two"), known: "two", served: true,
			want: valueOf(issued("two", day.Add(week+hour))).after("one", day, day.Add(week+25*hour)), wake: day.Add(week + 25*hour)},
		{name: "a manager that restarted announces another", spec: weekly, now: day.Add(week), record: valueOf(one).announcing("lost"), served: true, want: valueOf(one).announcing("new")},
		{name: "an annotation that somebody altered makes no value", spec: weekly, now: day.Add(week), record: valueOf(one).announcing("forged"), known: "two", served: true, want: valueOf(one).announcing("new")},
		{name: "within the overlap both work", spec: weekly, now: day.Add(23 * hour), record: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)),
			want: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)), wake: day.Add(24 * hour)},
		{name: "at its end the value before is gone", spec: weekly, now: day.Add(24 * hour), record: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)), want: one, wake: day.Add(week)},
		{name: "a manager that slept through two intervals replaces once, with a whole overlap", spec: weekly, now: day.Add(2*week + hour),
			record: func() desired.TokenValue {
				r := valueOf(one).after("zero", day.Add(-week), day.Add(24*hour))
				r.Next = valueOf(one).announcing("two").Next
				return r
			}(),
			known: "two", served: true,
			want: valueOf(issued("two", day.Add(2*week+hour))).after("one", day, day.Add(2*week+25*hour)), wake: day.Add(2*week + 25*hour)},
		{name: "a shorter overlap ends the running one sooner", spec: &v1alpha1.TokenRotation{Interval: weekly.Interval, Overlap: metav1.Duration{Duration: hour}}, now: day.Add(hour),
			record: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)), want: valueOf(one).after("zero", day.Add(-week), day.Add(2*hour)), wake: day.Add(2 * hour)},
		{name: "no overlap ends the value before with its replacement", spec: &v1alpha1.TokenRotation{Interval: weekly.Interval}, now: day.Add(week),
			record: valueOf(one).announcing("two"), known: "two", served: true, want: issued("two", day.Add(week)), wake: day.Add(2 * week)},
		{name: "rotation that is taken away lets the overlap run out", now: day.Add(hour), record: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)),
			want: valueOf(one).after("zero", day.Add(-week), day.Add(24*hour)), wake: day.Add(24 * hour)},
		{name: "rotation that is taken away takes the announcement with it", now: day.Add(week), record: valueOf(one).announcing("two"), known: "two", served: true, want: one},
		{name: "a longer interval takes the announcement back", spec: &v1alpha1.TokenRotation{Interval: metav1.Duration{Duration: 2 * week}}, now: day.Add(week),
			record: valueOf(one).announcing("two"), known: "two", served: true, want: one, wake: day.Add(2 * week)},
		{name: "a value from the future counts from now on", spec: weekly, now: day.Add(-100 * week), record: one, want: issued("one", day.Add(-100*week)), wake: day.Add(-99 * week)},
		{name: "an end in the far future is an overlap from now", spec: weekly, now: day.Add(hour), record: valueOf(one).after("zero", day.Add(-week), day.Add(100*week)),
			want: valueOf(one).after("zero", day.Add(-week), day.Add(25*hour)), wake: day.Add(25 * hour)},
	} {
		t.Run(test.name, func(t *testing.T) {
			step := rotation{spec: test.spec, now: test.now, served: test.served,
				held: func(id string) string {
					if test.known != "" && credential.ID(test.known) == id {
						return test.known
					}
					return ""
				},
				mint: func() (string, error) { return "new", nil },
			}
			got, announced, err := step.step(test.record)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the record is not as it should be (-want +got):\n%s", diff)
			}
			if minted := got.Next != nil && got.Next.ID == credential.ID("new"); minted != (announced == "new") {
				t.Errorf("announced %q with next %v", announced, got.Next)
			}
			if wake := nextStep(got, test.spec); !wake.Equal(test.wake) {
				t.Errorf("next step at %v, want %v", wake, test.wake)
			}
		})
	}
}

func TestNoRandomnessIsToldAndLosesNothing(t *testing.T) {
	broken := errors.New("no randomness")
	step := rotation{
		spec: &v1alpha1.TokenRotation{Interval: metav1.Duration{Duration: time.Hour}}, now: day.Add(time.Hour),
		mint: func() (string, error) { return "", broken },
	}
	if _, _, err := step.step(issued("one", day)); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// Whatever the clock, the spec, the pods and restarts do: a value that is written
// was accepted before, the newest is always accepted, one that was the newest
// goes on for the overlap that was promised and not longer than that, and a step
// repeated at the same instant changes nothing.
func TestRotationKeepsItsPromisesInAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		spec := &v1alpha1.TokenRotation{
			Interval: metav1.Duration{Duration: time.Duration(1+random.IntN(48)) * time.Hour},
			Overlap:  metav1.Duration{Duration: time.Duration(random.IntN(60)) * time.Minute},
		}
		minted, memory := 0, ""
		record, now := issued("first", day), day
		accepted := map[string]bool{record.ID: true}
		for range 200 {
			if random.IntN(20) == 0 {
				now = now.Add(-time.Duration(random.IntN(5)) * time.Hour)
			} else {
				now = now.Add(time.Duration(random.IntN(20*60)) * time.Minute)
			}
			if random.IntN(10) == 0 {
				memory = "" // the manager restarts
			}
			served := random.IntN(2) == 0
			if served {
				accepted = map[string]bool{}
				for _, c := range credentialsOf(record) {
					accepted[c.ID] = true
				}
			}
			step := rotation{spec: spec, now: now, served: served,
				held: func(id string) string {
					if memory != "" && credential.ID(memory) == id {
						return memory
					}
					return ""
				},
				mint: func() (string, error) { minted++; return fmt.Sprintf("value-%d", minted), nil },
			}
			next, announced, err := step.step(record)
			if err != nil {
				t.Fatal(err)
			}
			if announced != "" {
				memory = announced
			}
			switch {
			case next.Value != record.Value && !accepted[next.ID]:
				t.Fatalf("seed %d: a value was written that no pod accepts", seed)
			case next.Value != record.Value && spec.Overlap.Duration > 0 && (next.Previous == nil || next.Previous.ID != record.ID || !next.Previous.NotAfter.Equal(now.Add(spec.Overlap.Duration))):
				t.Fatalf("seed %d: the value before does not work for the overlap: %+v", seed, next.Previous)
			case next.Previous != nil && (!now.Before(next.Previous.NotAfter) || next.Previous.NotAfter.After(now.Add(spec.Overlap.Duration))):
				t.Fatalf("seed %d: at %v the value before ends at %v", seed, now, next.Previous.NotAfter)
			case next.IssuedAt.After(now):
				t.Fatalf("seed %d: at %v the value is of %v", seed, now, next.IssuedAt)
			}
			step.served = false
			if again, more, err := step.step(next); err != nil || more != "" || !cmp.Equal(again, next) {
				t.Fatalf("seed %d: the same step again changes %s, %v", seed, cmp.Diff(next, again), err)
			}
			if at := nextStep(next, spec); !at.IsZero() && !at.After(now) {
				t.Fatalf("seed %d: at %v the next step is at %v, which would spin", seed, now, at)
			}
			record = next
		}
		if minted < 3 {
			t.Fatalf("seed %d: only %d values were made, so that this test looked at little", seed, minted)
		}
	}
}
