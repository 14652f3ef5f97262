// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/policy"
)

func TestRenewFollowsTheCredential(t *testing.T) {
	expiry := start.Add(time.Hour)
	tests := map[string]struct {
		change func(*policy.Policy)
		after  time.Duration
		want   error
	}{
		"nothing changed":                   {func(*policy.Policy) {}, 0, nil},
		"the bearer token's time is over":   {func(*policy.Policy) {}, 2 * TokenLifetime, nil},
		"the credential is revoked":         {func(p *policy.Policy) { p.Credentials = nil }, 0, ErrBadCredential},
		"the credential is to expire":       {func(p *policy.Policy) { find(p, "octocat").NotAfter = &expiry }, 0, nil},
		"the credential has expired":        {func(p *policy.Policy) { find(p, "octocat").NotAfter = &expiry }, time.Hour, ErrBadCredential},
		"the credential was made to expire": {func(p *policy.Policy) { find(p, "octocat").NotAfter = &start }, 0, ErrBadCredential},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t, nil)
			bearer := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:octocat/octo-app/monalisa:push").Token)
			for how, actor := range map[string]Actor{"Basic": f.actor(t, "octocat"), "Bearer": bearer} {
				f.setPolicy(t, test.change)
				f.now = start.Add(test.after)
				renewed, err := f.authority.Renew(f.snapshot, actor)
				if !errors.Is(err, test.want) {
					t.Fatalf("%s: %v, want %v", how, err, test.want)
				}
				if err != nil {
					if !renewed.Anonymous() {
						t.Errorf("%s: refused, but it is %s", how, renewed.User())
					}
					continue
				}
				if renewed.User() != "octocat" {
					t.Errorf("%s: it is %q", how, renewed.User())
				}
				// What the bearer token was not issued for stays forbidden.
				pull := Authorize(f.snapshot, renewed, "octocat/octo-app/monalisa", Pull).Verdict
				if want := map[string]Verdict{"Basic": Allow, "Bearer": InsufficientScope}[how]; pull != want {
					t.Errorf("%s: pulling: %s, want %s", how, pull, want)
				}
			}
		})
	}
	f := newFixture(t, nil)
	if nobody, err := f.authority.Renew(f.snapshot, Actor{}); err != nil || !nobody.Anonymous() {
		t.Errorf("nobody: %v, %v", nobody, err)
	}
}

// Whose credential is gone is not taken for nobody, who may do more.
func TestWhoseCredentialIsGoneIsChallenged(t *testing.T) {
	f := newFixture(t, nil)
	actor := f.actor(t, "octocat")
	f.setPolicy(t, func(p *policy.Policy) { p.Credentials, p.AnonymousPull = nil, policy.AnonymousPublic })
	for what, decision := range map[string]Decision{
		"pulling what everybody may": Authorize(f.snapshot, actor, "octocat/open/monalisa", Pull),
		"the version check":          AuthorizeVersion(f.snapshot, actor),
		"listing names":              AuthorizeCatalog(f.snapshot, actor),
	} {
		if decision.Verdict != Challenge {
			t.Errorf("%s: %s", what, decision.Verdict)
		}
	}
}
