// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

func TestNobodyHasNoNames(t *testing.T) {
	var nobody Actor
	if nobody.User() != "" || nobody.Token() != "" || nobody.CredentialID() != "" || !nobody.Anonymous() {
		t.Errorf("nobody is %q with %q (%q)", nobody.User(), nobody.Token(), nobody.CredentialID())
	}
}

// What is longer than a credential can be is refused before anything is done with
// it, even if it were one.
func TestCredentialsAreBounded(t *testing.T) {
	value := func(length int) string { return strings.Repeat("v", length) }
	longest, tooLong := value(credential.MaxLength), value(credential.MaxLength+1)
	f := newFixture(t, func(p *policy.Policy) {
		for _, v := range []string{longest, tooLong} {
			c := newCredential("octocat")
			c.ID, c.Hash = credential.ID(v), credential.Sum(v)
			p.Credentials = append(p.Credentials, c)
		}
	})
	for what, test := range map[string]struct {
		authorization string
		want          error
	}{
		"the longest value":   {basic("octocat", longest), nil},
		"a longer value":      {basic("octocat", tooLong), ErrBadCredential},
		"the longest header":  {"Basic " + pad("octocat", maxBasicLength), nil},
		"a longer header":     {"Basic " + pad("octocat", maxBasicLength+4), ErrBadCredential},
		"more than base64":    {basic("octocat", valueOf("octocat")) + "!", ErrBadCredential},
		"another scheme":      {"Digest " + pad("octocat", 100), ErrBadCredential},
		"no user name":        {basic("", valueOf("octocat")), nil},
		"nothing but a value": {"Basic " + base64.StdEncoding.EncodeToString([]byte(valueOf("octocat"))), ErrBadCredential},
	} {
		if _, err := f.authority.Identify(f.snapshot, test.authorization); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
}

// pad writes a user's credential in base64 of at least 64 and exactly length
// characters, a multiple of four: the user name is as long as needed.
func pad(user string, length int) string {
	room := length/4*3 - len(valueOf(user)) - 1
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", max(0, room)) + ":" + valueOf(user)))
}

func TestABearerTokenNeverLastsLonger(t *testing.T) {
	later := start.Add(time.Hour)
	f := newFixture(t, func(p *policy.Policy) { find(p, "octocat").NotAfter = &later })
	if got := f.issue(t, "octocat").ExpiresIn; got != int64(TokenLifetime/time.Second) {
		t.Errorf("it lasts %d s", got)
	}
}

// Somebody who forgot the password is not nobody.
func TestAUserNameAloneIsNoSignIn(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	if _, err := f.authority.IssueToken(f.snapshot, TokenRequest{Username: "octocat"}); !errors.Is(err, ErrBadCredential) {
		t.Errorf("got %v", err)
	}
	// Beside a credential it says nothing.
	request := TokenRequest{Username: "hubot", Authorization: basic("octocat", valueOf("octocat"))}
	if got, err := f.authority.IssueToken(f.snapshot, request); err != nil || got.Actor.User() != "octocat" {
		t.Errorf("got a token for %q, %v", got.Actor.User(), err)
	}
	// A credential that is refused does not turn its holder into nobody.
	request.Authorization = basic("octocat", "wrong")
	if _, err := f.authority.IssueToken(f.snapshot, request); !errors.Is(err, ErrBadCredential) {
		t.Errorf("got %v", err)
	}
}

func TestScopesAreBounded(t *testing.T) {
	f := newFixture(t, nil)
	scope := func(length int) string {
		return "repository:" + strings.Repeat("a", length-len("repository::pull")) + ":pull"
	}
	for length, want := range map[int]error{maxScopesLength: nil, maxScopesLength + 1: ErrInvalidRequest} {
		_, err := f.authority.IssueToken(f.snapshot, TokenRequest{Authorization: basic("octocat", valueOf("octocat")), Scopes: []string{scope(length)}})
		if !errors.Is(err, want) {
			t.Errorf("%d characters: %v, want %v", length, err, want)
		}
	}
}

// The type of a scope counts as much as its name.
func TestTypesOfScopesAreNotMixed(t *testing.T) {
	f := newFixture(t, nil)
	got := f.issue(t, "octocat", "repository:catalog:*", "registry:octocat/octo-app/monalisa:pull")
	actor := f.identify(t, "Bearer "+got.Token)
	if len(actor.bearer.Access) != 0 {
		t.Errorf("the token has %v", actor.bearer.Access)
	}
	actor.bearer.Access = []grant{{Type: typeRegistry, Name: "octocat/octo-app/monalisa", Actions: []string{"pull"}}, {Type: typeRepository, Name: catalogName, Actions: []string{"*"}}}
	if v := Authorize(f.snapshot, actor, "octocat/octo-app/monalisa", Pull).Verdict; v != InsufficientScope {
		t.Errorf("pulling: %s", v)
	}
	if v := AuthorizeCatalog(f.snapshot, actor).Verdict; v != InsufficientScope {
		t.Errorf("listing: %s", v)
	}
}

func TestVerifiedTokensAreBounded(t *testing.T) {
	var v verified
	put := func(i int) {
		v.put([32]byte{byte(i), byte(i >> 8)}, &claims{})
	}
	for i := range maxVerified {
		put(i)
	}
	if _, found := v.get([32]byte{}); !found || len(v.claims) != maxVerified {
		t.Errorf("the first of %d is remembered: %t, among %d", maxVerified, found, len(v.claims))
	}
	put(maxVerified)
	if len(v.claims) != 1 {
		t.Errorf("%d are remembered", len(v.claims))
	}
}

func TestBearerTokensAreBounded(t *testing.T) {
	// A key with an ID of this length has tokens of the greatest length.
	keys, err := NewKeys(map[string][]byte{"00001": secret})
	if err != nil {
		t.Fatal(err)
	}
	longest, refused := 0, false
	// Base64 makes four characters of three bytes.
	for subject := maxTokenLength*3/4 - 512; !refused && subject < maxTokenLength; subject++ {
		token, err := keys.sign(claims{Subject: strings.Repeat("s", subject)})
		if err != nil {
			t.Fatal(err)
		}
		_, accepted := keys.verify(token)
		if accepted != (len(token) <= maxTokenLength) {
			t.Fatalf("%d characters: accepted %t", len(token), accepted)
		}
		if refused = !accepted; accepted {
			longest = len(token)
		}
	}
	if longest != maxTokenLength || !refused {
		t.Errorf("the longest token that was accepted has %d characters; refused a longer one: %t", longest, refused)
	}
}

// A signature that is right makes no token of what is not written in base64.
func TestASignedPayloadIsBase64(t *testing.T) {
	f := newFixture(t, nil)
	for length := range 4 { // one of them ends with whole bytes
		token, err := f.keys.sign(claims{Subject: strings.Repeat("s", length)})
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		signed := parts[0] + "." + parts[1] + "!"
		if c, ok := f.keys.verify(signed + "." + base64.RawURLEncoding.EncodeToString(f.keys.signing.sum(nil, signed))); ok {
			t.Errorf("accepted: %+v", c)
		}
	}
}

func TestATokenIsFoundItsKeyAmongMany(t *testing.T) {
	secrets := map[string][]byte{}
	for i := range maxKeys {
		secrets[string(rune('a'+i))] = bytes.Repeat([]byte{byte(i)}, KeySize)
	}
	keys, err := NewKeys(secrets)
	if err != nil {
		t.Fatal(err)
	}
	token, err := keys.sign(claims{})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // keys are tried in any order
		if _, ok := keys.open(token); !ok {
			t.Fatal("refused")
		}
	}
}

func TestAChallengeHasNoControlCharacters(t *testing.T) {
	want := `Bearer realm="https://a/~b",service="c"`
	if got := ChallengeHeader("https://a/~\x7f\x00\r\nb", "c", "", ""); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
