// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// start is when every test begins.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fixture is an authority over a policy with repositories of every visibility:
//
//	octocat/octo-app  Private   monalisa Write, hubot Read, mona-admin Admin
//	octocat/shared    Internal  monalisa Write
//	octocat/open      Public
//
// Each user has one credential of all scopes, whose value is valueOf(user). Users
// with other credentials are added by the tests.
type fixture struct {
	authority *Authority
	keys      *Keys
	snapshot  *policy.Snapshot
	now       time.Time
}

// secret is the key that the fixture signs with.
var secret = bytes.Repeat([]byte("k"), KeySize)

func newFixture(t testing.TB, change func(*policy.Policy)) *fixture {
	t.Helper()
	keys, err := NewKeys(map[string][]byte{"0001": secret})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{keys: keys, now: start}
	f.authority = New(keys, func() time.Time { return f.now })
	f.setPolicy(t, change)
	return f
}

// setPolicy puts the fixture's policy with a change into force.
func (f *fixture) setPolicy(t testing.TB, change func(*policy.Policy)) {
	t.Helper()
	p := policy.Policy{
		Instance:      policy.Instance{Namespace: "registry", Name: "acme", UID: "6a3b"},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       policy.SupportEnabled,
		AnonymousPull: policy.AnonymousDeny,
		Repositories: []policy.Repository{
			{Owner: "octocat", Name: "octo-app", Visibility: policy.Private, Users: []policy.Member{
				{Name: "monalisa", Role: policy.RoleWrite}, {Name: "hubot", Role: policy.RoleRead}, {Name: "mona-admin", Role: policy.RoleAdmin},
			}},
			{Owner: "octocat", Name: "shared", Visibility: policy.Internal, Users: []policy.Member{{Name: "monalisa", Role: policy.RoleWrite}}},
			{Owner: "octocat", Name: "open", Visibility: policy.Public},
		},
	}
	for _, user := range []string{"octocat", "monalisa", "hubot", "mona-admin", "stranger"} {
		p.Credentials = append(p.Credentials, newCredential(user, policy.ScopeRead, policy.ScopeWrite, policy.ScopeDelete))
	}
	if change != nil {
		change(&p)
	}
	snapshot, err := policy.NewSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	f.snapshot = snapshot
}

func valueOf(user string) string { return "value-of-" + user + strings.Repeat("-", 40) }

func newCredential(user string, scopes ...policy.Scope) policy.Credential {
	return policy.Credential{
		ID:     credential.ID(valueOf(user)),
		Hash:   credential.Sum(valueOf(user)),
		Token:  user + "-token",
		User:   user,
		Scopes: scopes,
	}
}

// find is the policy's credential of a user.
func find(p *policy.Policy, user string) *policy.Credential {
	for i := range p.Credentials {
		if p.Credentials[i].User == user {
			return &p.Credentials[i]
		}
	}
	return nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// issue gets a bearer token with a user's credential; "" is nobody.
func (f *fixture) issue(t testing.TB, user string, scopes ...string) TokenResponse {
	t.Helper()
	request := TokenRequest{Scopes: scopes}
	if user != "" {
		request.Authorization = basic(user, valueOf(user))
	}
	response, err := f.authority.IssueToken(f.snapshot, request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func (f *fixture) identify(t testing.TB, authorization string) Actor {
	t.Helper()
	actor, err := f.authority.Identify(f.snapshot, authorization)
	if err != nil {
		t.Fatal(err)
	}
	return actor
}

// actor is a user with Basic credentials; "" is nobody.
func (f *fixture) actor(t testing.TB, user string) Actor {
	t.Helper()
	if user == "" {
		return Actor{}
	}
	return f.identify(t, basic("anybody", valueOf(user)))
}
