// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
)

func BenchmarkIdentifyBearer(b *testing.B) {
	f := newFixture(b, nil)
	header := "Bearer " + f.issue(b, "octocat", "repository:octocat/octo-app/monalisa:pull,push").Token
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.authority.Identify(f.snapshot, header); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentifyBearerForTheFirstTime(b *testing.B) {
	f := newFixture(b, nil)
	token := f.issue(b, "octocat", "repository:octocat/octo-app/monalisa:pull,push").Token
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := f.keys.open(token); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkIdentifyBasic(b *testing.B) {
	f := newFixture(b, nil)
	header := basic("octocat", valueOf("octocat"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.authority.Identify(f.snapshot, header); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	f := newFixture(b, nil)
	actor := f.identify(b, "Bearer "+f.issue(b, "octocat", "repository:octocat/octo-app/monalisa:pull,push").Token)
	b.ReportAllocs()
	for b.Loop() {
		if Authorize(f.snapshot, actor, "octocat/octo-app/monalisa", Push).Verdict != Allow {
			b.Fatal("refused")
		}
	}
}

func TestAuthorizeDoesNotAllocateToAllow(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	actor := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:octocat/octo-app/monalisa:push").Token)
	n := testing.AllocsPerRun(100, func() { Authorize(f.snapshot, actor, "octocat/octo-app/monalisa", Push) })
	if n != 0 {
		t.Errorf("Authorize allocates %v times", n)
	}
}
