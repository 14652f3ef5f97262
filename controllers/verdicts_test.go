// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

var acme = types.NamespacedName{Namespace: "team", Name: "acme"}

// ledger drives verdicts and remembers who was woken.
type ledger struct {
	*verdicts
	t      *testing.T
	queues map[kind]workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{verdicts: newVerdicts(), t: t, queues: map[kind]workqueue.TypedRateLimitingInterface[reconcile.Request]{}}
	for _, k := range kinds {
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		t.Cleanup(queue.ShutDown)
		l.queues[k] = queue
		if err := l.source(k)(context.Background(), queue); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// compile publishes a compile of repositories, each written NAME or NAME@VERSION
// or NAME!PROBLEM.
func (l *ledger) compile(revision string, repositories ...string) {
	c := compiled{uid: "1", generation: 1, accepted: true, revision: revision, subjects: map[kind][]subject{}}
	for _, text := range repositories {
		s := subject{version: "1"}
		name, version, versioned := cut(text, '@')
		if versioned {
			s.version = version
		}
		name, problem, refused := cut(name, '!')
		if refused {
			s.problem = &compile.Problem{Reason: problem}
		}
		s.key = types.NamespacedName{Namespace: "team", Name: name}
		s.uid = types.UID(name)
		c.subjects[kindRepository] = append(c.subjects[kindRepository], s)
	}
	l.publish(acme, c)
}

func cut(s string, at byte) (before, after string, found bool) {
	if i := slices.Index([]byte(s), at); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// woken returns the repositories woken since the last call.
func (l *ledger) woken() []string {
	var names []string
	queue := l.queues[kindRepository]
	for queue.Len() > 0 {
		request, _ := queue.Get()
		names = append(names, request.Name)
		queue.Done(request)
	}
	slices.Sort(names)
	return names
}

func (l *ledger) expectWoken(step string, want ...string) {
	l.t.Helper()
	if got := l.woken(); !slices.Equal(got, want) {
		l.t.Errorf("%s wakes %v, want %v", step, got, want)
	}
}

func (l *ledger) served(name, version string) string {
	verdict, known := l.of(acme, kindRepository, types.UID(name), version)
	return fmt.Sprintf("known=%v served=%v", known, verdict.served)
}

func (l *ledger) expect(step, name, version, want string) {
	l.t.Helper()
	if got := l.served(name, version); got != want {
		l.t.Errorf("%s: %s is %s, want %s", step, name, got, want)
	}
}

func TestVerdictsFollowWhatPodsServe(t *testing.T) {
	l := newLedger(t)
	l.expect("before anything", "a", "1", "known=false served=false")
	l.compile("r1", "a")
	l.expectWoken("the first compile", "a")
	l.expect("compiled", "a", "1", "known=true served=false")
	l.compile("r1", "a")
	l.expectWoken("the same compile")
	l.observe(acme, "r1", nil)
	l.expectWoken("serving it", "a")
	l.expect("observed", "a", "1", "known=true served=true")

	l.compile("r2", "a", "b")
	l.expectWoken("a new object", "b")
	l.expect("another object came", "a", "1", "known=true served=true")
	l.expect("not observed yet", "b", "1", "known=true served=false")
	l.compile("r3", "a@2", "b")
	l.expectWoken("a new version", "a")
	l.expect("a new version", "a", "2", "known=true served=false")
	l.expect("the old version", "a", "1", "known=false served=false")

	// Pods that lag behind prove what was in the revision that they serve.
	l.observe(acme, "r2", nil)
	l.expectWoken("serving r2", "b")
	l.expect("behind", "a", "2", "known=true served=false")
	if !l.outstanding(acme, nil) {
		t.Error("r3 is not served, and nothing is outstanding")
	}
	l.observe(acme, "r3", nil)
	l.expectWoken("serving r3", "a")
	if l.outstanding(acme, nil) {
		t.Error("r3 is served, and something is outstanding")
	}
}

func TestVerdictsTellProblems(t *testing.T) {
	l := newLedger(t)
	l.compile("r1", "a", "b!Duplicate")
	l.observe(acme, "r1", nil)
	l.woken()
	l.compile("r1", "a!Duplicate", "b")
	l.expectWoken("a change of sides", "a", "b")
	verdict, _ := l.of(acme, kindRepository, "a", "1")
	if verdict.problem == nil || verdict.problem.Reason != "Duplicate" {
		t.Errorf("problem: %v", verdict.problem)
	}
}

func TestVerdictsTellPurges(t *testing.T) {
	l := newLedger(t)
	l.compile("r1", "a")
	l.observe(acme, "r1", nil)
	l.woken()
	if !l.outstanding(acme, []string{"a"}) {
		t.Error("a purge that no pod reports is not outstanding")
	}
	l.observe(acme, "r1", []string{"a"})
	l.expectWoken("a purge", "a")
	if l.outstanding(acme, []string{"a"}) {
		t.Error("a purge that is reported is outstanding")
	}
}

func TestVerdictsEndWithTheInstance(t *testing.T) {
	l := newLedger(t)
	l.compile("r1", "a")
	l.observe(acme, "r1", nil)
	l.woken()
	l.forget(acme)
	l.expectWoken("forgetting", "a")
	l.expect("forgotten", "a", "1", "known=false served=false")
	l.compile("r1", "a")
	l.expect("compiled for a new instance", "a", "1", "known=true served=false")
}

func TestPollsBackOffUntilThereIsProgress(t *testing.T) {
	l := newLedger(t)
	l.compile("r1", "a")
	first := l.nextPoll(acme)
	for range 20 {
		l.nextPoll(acme)
	}
	if got := l.nextPoll(acme); got != lastPoll {
		t.Errorf("after many polls: %v, want %v", got, lastPoll)
	}
	l.compile("r2", "a")
	if got := l.nextPoll(acme); got != first {
		t.Errorf("after a new policy: %v, want %v", got, first)
	}
}

func TestManyRevisionsAreBounded(t *testing.T) {
	l := newLedger(t)
	for i := range 10 * keptRevisions {
		l.compile(fmt.Sprint("r", i), fmt.Sprint("a@", i))
	}
	if got := len(l.instances[acme].revisions); got != keptRevisions {
		t.Errorf("%d revisions are kept, want %d", got, keptRevisions)
	}
}
