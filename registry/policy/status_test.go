// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/packages-operator/packages-operator/registry/policy"
)

func TestAStatusTellsWhenThePolicyWasLastKnownToBeTheNewest(t *testing.T) {
	now := time.Unix(0, 0)
	tick := func() time.Time { now = now.Add(time.Second); return now }
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	snapshot := func(support policy.Support) *policy.Snapshot {
		s, err := policy.NewSnapshot(policy.Policy{
			Instance: policy.Instance{Name: "test", UID: "uid"}, Support: support, AnonymousPull: policy.AnonymousDeny,
			Hosts: policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := snapshot(policy.SupportEnabled), snapshot(policy.SupportReadOnly)
	live := &policy.Live{}
	p := policy.NewPublisher(live, tick)
	away := errors.New("away")
	for _, step := range []struct {
		what string
		do   func()
		want policy.Status
	}{
		{"nothing is confirmed before there is a policy", p.Confirm, policy.Status{}},
		{"one that was kept may be old", func() { p.Restore(first) }, policy.Status{Revision: first.Revision(), Since: at(1)}},
		{"nor does a failure confirm it", func() { p.Fail(away) }, policy.Status{Revision: first.Revision(), Since: at(1), Err: away}},
		{"nothing is confirmed after a failure", p.Confirm, policy.Status{Revision: first.Revision(), Since: at(1), Err: away}},
		{"it is the newest", func() { p.Publish(first) }, policy.Status{Revision: first.Revision(), Since: at(1), Confirmed: at(2)}},
		{"it still is", p.Confirm, policy.Status{Revision: first.Revision(), Since: at(1), Confirmed: at(3)}},
		{"there is a newer one", func() { p.Publish(second) }, policy.Status{Revision: second.Revision(), Since: at(4), Confirmed: at(4)}},
		{"that could not be replaced", func() { p.Fail(away) }, policy.Status{Revision: second.Revision(), Since: at(4), Confirmed: at(4), Err: away}},
	} {
		step.do()
		if diff := cmp.Diff(step.want, p.Status(), cmpopts.EquateErrors()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
	}
	if live.Load() != second {
		t.Error("the last policy is not in force")
	}
}
