// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

func TestThePolicyIsConfirmedWhileTheAPISaysThatNothingIsNew(t *testing.T) {
	now := time.Unix(1000, 0)
	live := &policy.Live{}
	s, err := New(Options{
		Config: &rest.Config{Host: "127.0.0.1:1"}, Namespace: "test", Instance: instanceName, InstanceUID: instanceUID,
		DataDir: t.TempDir(), Live: live, Now: func() time.Time { return now }, Report: func(error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	take := func(event watch.Event) {
		t.Helper()
		changed, err := s.take(event)
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			s.apply()
		}
	}
	wantConfirmed := func(when string, want int64) {
		t.Helper()
		if got := s.Status().Confirmed; got.Unix() != want {
			t.Errorf("%s: confirmed at %d, want %d", when, got.Unix(), want)
		}
	}
	bookmark := watch.Event{Type: watch.Bookmark, Object: &v1alpha1.PackagesPolicy{}}
	for _, shard := range split(t, longPolicy()) {
		take(watch.Event{Type: watch.Added, Object: object("test", shard)})
	}
	wantConfirmed("when it came", 1000)
	now = time.Unix(1060, 0)
	take(bookmark)
	wantConfirmed("a minute later", 1060)

	// A part of the next one is there: that it is not whole is no news, but what is
	// in force is not the newest.
	p := longPolicy()
	p.Support = policy.SupportReadOnly
	p.Repositories[1].Visibility = policy.Private
	take(watch.Event{Type: watch.Modified, Object: object("test", split(t, p)[0])})
	now = time.Unix(1120, 0)
	take(bookmark)
	wantConfirmed("while the next one is half written", 1060)
	if live.Load().Policy().Support != policy.SupportEnabled {
		t.Error("a part of a policy is in force")
	}
}
