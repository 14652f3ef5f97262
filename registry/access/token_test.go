// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

func TestTokensAreGrantedWhatMayBeDone(t *testing.T) {
	repository := func(name ref.Name, actions string) grant {
		return grant{Type: "repository", Name: string(name), Actions: strings.Split(actions, ",")}
	}
	catalog := grant{Type: "registry", Name: "catalog", Actions: []string{"*"}}
	tests := map[string]struct {
		user   string
		scopes []string
		want   []grant
	}{
		"nothing":                   {"octocat", nil, []grant{}},
		"an empty scope":            {"octocat", []string{""}, []grant{}},
		"a pull":                    {"octocat", []string{"repository:octocat/octo-app/a:pull"}, []grant{repository("octocat/octo-app/a", "pull")}},
		"a push by a writer":        {"monalisa", []string{"repository:octocat/octo-app/a:pull,push"}, []grant{repository("octocat/octo-app/a", "pull,push")}},
		"a push by a reader":        {"hubot", []string{"repository:octocat/octo-app/a:pull,push"}, []grant{repository("octocat/octo-app/a", "pull")}},
		"a push alone by a reader":  {"hubot", []string{"repository:octocat/octo-app/a:push"}, []grant{}},
		"a push by a stranger":      {"stranger", []string{"repository:octocat/octo-app/a:pull,push"}, []grant{}},
		"a missing repository":      {"octocat", []string{"repository:octocat/nothing/a:pull"}, []grant{}},
		"all by the owner":          {"octocat", []string{"repository:octocat/octo-app/a:*"}, []grant{repository("octocat/octo-app/a", "pull,push,delete")}},
		"all by a writer":           {"monalisa", []string{"repository:octocat/octo-app/a:*"}, []grant{repository("octocat/octo-app/a", "pull,push")}},
		"an unknown action":         {"octocat", []string{"repository:octocat/octo-app/a:pull,fly"}, []grant{repository("octocat/octo-app/a", "pull")}},
		"an unknown type":           {"octocat", []string{"plugin:octocat/octo-app/a:pull", "repository(plugin):octocat/octo-app/a:pull"}, []grant{}},
		"a name that cannot be":     {"octocat", []string{"repository:octocat/octo-app:pull", "repository:Octocat/octo-app/a:pull", "repository:a:5000/b/c:pull"}, []grant{}},
		"two in one value":          {"octocat", []string{"repository:octocat/open/a:pull repository:octocat/shared/a:pull"}, []grant{repository("octocat/open/a", "pull"), repository("octocat/shared/a", "pull")}},
		"one name twice":            {"octocat", []string{"repository:octocat/open/a:pull", "repository:octocat/open/a:push,pull"}, []grant{repository("octocat/open/a", "pull,push")}},
		"the catalog":               {"octocat", []string{"registry:catalog:*"}, []grant{catalog}},
		"the catalog and more":      {"octocat", []string{"registry:catalog:*", "registry:catalog:*", "registry:other:*"}, []grant{catalog}},
		"another catalog action":    {"octocat", []string{"registry:catalog:pull"}, []grant{}},
		"a public one by a visitor": {"stranger", []string{"repository:octocat/open/a:*"}, []grant{repository("octocat/open/a", "pull")}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			response := f.issue(t, test.user, test.scopes...)
			c, ok := f.keys.verify(response.Token)
			if !ok {
				t.Fatal("our own token is refused")
			}
			if diff := cmp.Diff(test.want, c.Access); diff != "" {
				t.Errorf("access (-want +got):\n%s", diff)
			}
			if response.Actor.User() != test.user {
				t.Errorf("the answer is for %q", response.Actor.User())
			}
		})
	}
}

func TestScopesOfTheCredentialLimitWhatIsGranted(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) {
		find(p, "octocat").Scopes = scopes("read:packages")
		find(p, "mona-admin").Repositories = []string{"octocat/open"}
		find(p, "hubot").Scopes = scopes("delete:packages")
	})
	for user, want := range map[string]string{
		"octocat":    "[{repository octocat/octo-app/a [pull]} {registry catalog [*]}]",
		"mona-admin": "[{registry catalog [*]}]",
		"hubot":      "[]",
	} {
		c, _ := f.keys.verify(f.issue(t, user, "repository:octocat/octo-app/a:*", CatalogScope).Token)
		if got := fmt.Sprint(c.Access); got != want {
			t.Errorf("%s gets %s, want %s", user, got, want)
		}
	}
}

func TestTokensForNobody(t *testing.T) {
	f := newFixture(t, nil)
	if _, err := f.authority.IssueToken(f.snapshot, TokenRequest{}); !errors.Is(err, ErrBadCredential) {
		t.Errorf("without anonymous pulls: %v", err)
	}
	f.setPolicy(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	response := f.issue(t, nobody, "repository:octocat/open/a:pull,push", "repository:octocat/shared/a:pull", "repository:octocat/octo-app/a:pull")
	c, _ := f.keys.verify(response.Token)
	if got := fmt.Sprint(c.Access); got != "[{repository octocat/open/a [pull]}]" {
		t.Errorf("access is %s", got)
	}
	if c.Subject != "" || c.Credential != "" || !response.Actor.Anonymous() {
		t.Errorf("the token is for %q, %q", c.Subject, c.Credential)
	}
}

func TestCredentialsOfATokenRequest(t *testing.T) {
	f := newFixture(t, nil)
	value := valueOf("monalisa")
	bearer := f.issue(t, "monalisa").Token
	tests := map[string]struct {
		request TokenRequest
		want    error
	}{
		"header":                       {TokenRequest{Authorization: basic("x", value)}, nil},
		"password":                     {TokenRequest{Username: "x", Password: value}, nil},
		"password, no user name":       {TokenRequest{Password: value}, nil},
		"refresh token":                {TokenRequest{RefreshToken: value}, nil},
		"our service":                  {TokenRequest{Password: value, Service: "docker.packages.test"}, nil},
		"wrong password":               {TokenRequest{Username: "monalisa", Password: "wrong"}, ErrBadCredential},
		"no password":                  {TokenRequest{Username: "monalisa"}, ErrBadCredential},
		"wrong refresh token":          {TokenRequest{RefreshToken: "wrong"}, ErrBadCredential},
		"long password":                {TokenRequest{Password: strings.Repeat("x", 1<<20)}, ErrBadCredential},
		"a bearer token as header":     {TokenRequest{Authorization: "Bearer " + bearer}, ErrBadCredential},
		"a bearer token to refresh":    {TokenRequest{RefreshToken: bearer}, ErrBadCredential},
		"another service":              {TokenRequest{Password: value, Service: "other.test"}, ErrInvalidRequest},
		"header and password":          {TokenRequest{Authorization: basic("x", value), Password: value}, ErrInvalidRequest},
		"password and refresh token":   {TokenRequest{RefreshToken: value, Password: value}, ErrInvalidRequest},
		"good credential, bad scope":   {TokenRequest{Password: value, Scopes: []string{"everything"}}, ErrInvalidRequest},
		"bad credential, a good scope": {TokenRequest{Password: "wrong", Scopes: []string{CatalogScope}}, ErrBadCredential},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			response, err := f.authority.IssueToken(f.snapshot, test.request)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err == nil && f.identify(t, "Bearer "+response.Token).User() != "monalisa" {
				t.Error("the token is somebody else's")
			}
			if err != nil && (strings.Contains(err.Error(), value) || response != (TokenResponse{})) {
				t.Errorf("a refusal shows too much: %v", err)
			}
		})
	}
}

func TestMalformedScopes(t *testing.T) {
	f := newFixture(t, nil)
	tests := map[string][]string{
		"no colon":          {"pull"},
		"one colon":         {"repository:pull"},
		"no type":           {":octocat/octo-app/a:pull"},
		"no name":           {"repository::pull"},
		"no action":         {"repository:octocat/octo-app/a:"},
		"one of two":        {CatalogScope, "catalog"},
		"too many":          strings.Split(strings.Repeat(CatalogScope+",", maxScopes)+CatalogScope, ","),
		"too many in one":   {strings.Repeat(CatalogScope+" ", maxScopes+1)},
		"too long":          {"repository:" + strings.Repeat("a", maxScopesLength) + ":pull"},
		"too long together": {strings.Repeat(" ", maxScopesLength), " "},
	}
	for name, list := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.authority.IssueToken(f.snapshot, TokenRequest{Password: valueOf("octocat"), Scopes: list})
			if !errors.Is(err, ErrInvalidRequest) || len(err.Error()) > maxScopesLength+200 {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What may be asked for always fits into a token that is then accepted.
func TestTheLongestTokenIsAccepted(t *testing.T) {
	f := newFixture(t, nil)
	var list []string
	length := 0
	for i := 0; len(list) < maxScopes; i++ {
		name := fmt.Sprintf("octocat/octo-app/%s%d", strings.Repeat("a", 65), i)
		one := "repository:" + name + ":pull,push,delete"
		if length += len(one); length > maxScopesLength {
			t.Fatal("the scopes are too long together")
		}
		list = append(list, one)
	}
	response := f.issue(t, "octocat", list...)
	t.Logf("%d scopes of %d characters make a token of %d", len(list), length, len(response.Token))
	f.identify(t, "Bearer "+response.Token)

	// "*" is short to ask for, and becomes long.
	list = nil
	for i := range maxScopes {
		name := strings.Repeat("a", 85)
		list = append(list, fmt.Sprintf("repository:octocat/octo-app/%s%d:*", name, i))
	}
	response = f.issue(t, "octocat", list...)
	t.Logf("with *, one of %d", len(response.Token))
	f.identify(t, "Bearer "+response.Token)
}

func TestTheAnswerIsDockersJSON(t *testing.T) {
	f := newFixture(t, nil)
	response := f.issue(t, "octocat")
	encoded, err := json.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"token":%q,"access_token":%q,"expires_in":300,"issued_at":"2026-11-22T12:00:00Z"}`, response.Token, response.Token)
	if string(encoded) != want {
		t.Errorf("got %s, want %s", encoded, want)
	}
}

func TestChallengeHeader(t *testing.T) {
	tests := map[string]struct {
		scope, code string
		want        string
	}{
		"login": {"", "", `Bearer realm="https://docker.packages.test/token",service="docker.packages.test"`},
		"pull": {ScopeFor(private, Pull), "",
			`Bearer realm="https://docker.packages.test/token",service="docker.packages.test",scope="repository:octocat/octo-app/monalisa:pull"`},
		"push": {ScopeFor(private, Push), "insufficient_scope",
			`Bearer realm="https://docker.packages.test/token",service="docker.packages.test",scope="repository:octocat/octo-app/monalisa:pull,push",error="insufficient_scope"`},
		"delete": {ScopeFor(private, Delete), "",
			`Bearer realm="https://docker.packages.test/token",service="docker.packages.test",scope="repository:octocat/octo-app/monalisa:pull,delete"`},
		"catalog": {CatalogScope, "",
			`Bearer realm="https://docker.packages.test/token",service="docker.packages.test",scope="registry:catalog:*"`},
		"hostile": {"a\"b\\c\r\nX: y\x00é", "",
			`Bearer realm="https://docker.packages.test/token",service="docker.packages.test",scope="a\"b\\cX: y"`},
	}
	for name, test := range tests {
		if got := ChallengeHeader("https://docker.packages.test/token", "docker.packages.test", test.scope, test.code); got != test.want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, test.want)
		}
	}
}

// A token for the scope of a challenge does what was refused.
func TestTheChallengesScopeHelps(t *testing.T) {
	f := newFixture(t, nil)
	for _, action := range []Action{Pull, Push, Delete} {
		actor := f.identify(t, "Bearer "+f.issue(t, "octocat", ScopeFor(private, action)).Token)
		if d := Authorize(f.snapshot, actor, private, action); d.Verdict != Allow {
			t.Errorf("%s: %s", action, d.Verdict)
		}
	}
}
