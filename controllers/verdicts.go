// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// subject is an organization, a repository or a token that went into a compile.
type subject struct {
	key types.NamespacedName
	uid types.UID
	// version changes when what the policy says of the subject may have changed.
	version string
	// problem is why the subject, or a part of it, has no effect, nil if all has.
	problem *compile.Problem
}

// verdict is what the instance's controller knows about a subject.
type verdict struct {
	// accepted is false for an instance that has no effect itself.
	accepted bool
	problem  *compile.Problem
	// served says that the registry's pods enforce what the subject says.
	served bool
	// purged says that the pods have deleted the subject's content.
	purged bool
	// dataless says that the instance has no volume, so nothing can be purged.
	dataless bool
}

// verdicts pass what the instances' controller found out to the controllers of
// organizations, repositories and tokens. They are rebuilt by the first reconcile of each
// instance after a start. Safe for concurrent use.
type verdicts struct {
	mu        sync.Mutex
	instances map[types.NamespacedName]*instanceRecord
	queues    map[kind]func(types.NamespacedName)
}

type kind int

const (
	kindOrganization kind = iota
	kindRepository
	kindToken
)

var kinds = []kind{kindOrganization, kindRepository, kindToken}

// instanceRecord follows one instance through its policies.
type instanceRecord struct {
	uid      types.UID
	accepted bool
	dataless bool
	subjects map[kind]map[types.UID]*subjectRecord
	// compiles counts the distinct policies; revisions say at which count a
	// revision was made, newest last. An older revision that a pod reports still
	// proves that what was in it is served.
	compiles  int
	revisions []revision
	served    int
	purged    []string
	// generation is the instance's, and since the count of the first compile of it.
	generation int64
	since      int
	// polls counts the reads of pod statuses without progress.
	polls int
}

type revision struct {
	name  string
	count int
}

type subjectRecord struct {
	subject
	since int
}

// keptRevisions bounds how far behind a pod may be and still prove something.
const keptRevisions = 64

func newVerdicts() *verdicts {
	return &verdicts{
		instances: map[types.NamespacedName]*instanceRecord{},
		queues:    map[kind]func(types.NamespacedName){},
	}
}

// source feeds a controller's queue with the objects whose verdict changed.
func (v *verdicts) source(k kind) func(context.Context, workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.queues[k] = func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) }
		return nil
	}
}

// of returns the verdict about a subject in this version; known is false until the
// instance was compiled with it.
func (v *verdicts) of(instance types.NamespacedName, k kind, uid types.UID, version string) (verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil {
		return verdict{}, false
	}
	s := record.subjects[k][uid]
	if s == nil || s.version != version {
		return verdict{}, false
	}
	return record.verdict(s), true
}

func (r *instanceRecord) verdict(s *subjectRecord) verdict {
	return verdict{
		accepted: r.accepted,
		problem:  s.problem,
		served:   s.since <= r.served,
		purged:   slices.Contains(r.purged, string(s.uid)),
		dataless: r.dataless,
	}
}

// compiled is the outcome of compiling an instance.
type compiled struct {
	uid        types.UID
	generation int64
	accepted   bool
	dataless   bool
	revision   string
	subjects   map[kind][]subject
}

// publish records a compile and wakes the objects whose verdict changed.
func (v *verdicts) publish(instance types.NamespacedName, c compiled) {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil || record.uid != c.uid {
		record = &instanceRecord{uid: c.uid, subjects: map[kind]map[types.UID]*subjectRecord{}}
		v.instances[instance] = record
	}
	before := *record
	record.accepted, record.dataless = c.accepted, c.dataless
	if c.accepted && (len(record.revisions) == 0 || record.revisions[len(record.revisions)-1].name != c.revision) {
		record.compiles++
		record.polls = 0
		record.revisions = append(record.revisions, revision{c.revision, record.compiles})
		if excess := len(record.revisions) - keptRevisions; excess > 0 {
			record.revisions = slices.Delete(record.revisions, 0, excess)
		}
	}
	if record.generation != c.generation || record.since == 0 {
		record.generation, record.since = c.generation, record.compiles
	}

	for _, k := range kinds {
		next := make(map[types.UID]*subjectRecord, len(c.subjects[k]))
		for _, s := range c.subjects[k] {
			old := before.subjects[k][s.uid]
			now := &subjectRecord{subject: s, since: record.compiles}
			if old != nil && old.version == s.version && sameProblem(old.problem, s.problem) {
				now.since = old.since
			}
			next[s.uid] = now
			if old == nil || old.version != s.version || !sameVerdict(before.verdict(old), record.verdict(now)) {
				v.wake(k, s.key)
			}
		}
		// Those of a namespace that is no longer allowed are no longer there.
		for uid, old := range before.subjects[k] {
			if next[uid] == nil {
				v.wake(k, old.key)
			}
		}
		record.subjects[k] = next
	}
}

// observe records what the pods report, and wakes the objects whose verdict
// changed by it. It returns whether this instance's own generation is served.
func (v *verdicts) observe(instance types.NamespacedName, revisionName string, purged []string) (served bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil {
		return false
	}
	before := *record
	for _, r := range record.revisions {
		if r.name == revisionName && r.count > record.served {
			record.served = r.count
		}
	}
	record.purged = purged
	if record.served > before.served {
		record.polls = 0
	}
	for _, k := range kinds {
		for _, s := range record.subjects[k] {
			if !sameVerdict(before.verdict(s), record.verdict(s)) {
				v.wake(k, s.key)
			}
		}
	}
	return record.served >= record.since
}

// outstanding says whether a look at the pods could still change a verdict.
func (v *verdicts) outstanding(instance types.NamespacedName, purges []string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil || !record.accepted {
		return false
	}
	return record.served < record.compiles || slices.ContainsFunc(purges, func(id string) bool {
		return !slices.Contains(record.purged, id)
	})
}

// nextPoll is how long to wait before looking at the pods again: a policy arrives
// within milliseconds, a pod that has to start takes longer.
func (v *verdicts) nextPoll(instance types.NamespacedName) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil {
		return 0
	}
	wait := min(firstPoll<<min(record.polls, 10), lastPoll)
	record.polls++
	return wait
}

const (
	firstPoll = 100 * time.Millisecond
	lastPoll  = 10 * time.Second
)

// forget drops an instance that is gone and wakes everything that referred to it.
func (v *verdicts) forget(instance types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	record := v.instances[instance]
	if record == nil {
		return
	}
	delete(v.instances, instance)
	for _, k := range kinds {
		for _, s := range record.subjects[k] {
			v.wake(k, s.key)
		}
	}
}

// wake is called with the lock held; a queue never calls back.
func (v *verdicts) wake(k kind, key types.NamespacedName) {
	if add := v.queues[k]; add != nil {
		add(key)
	}
}

func sameVerdict(a, b verdict) bool {
	return a.accepted == b.accepted && a.served == b.served && a.purged == b.purged &&
		a.dataless == b.dataless && sameProblem(a.problem, b.problem)
}

func sameProblem(a, b *compile.Problem) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
