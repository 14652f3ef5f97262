// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// FuzzIdentify: a header makes somebody of its sender if it carries the value of
// their token, or the very bearer token that was issued to them, and nothing else.
func FuzzIdentify(f *testing.F) {
	fixture := newFixture(f, nil)
	users := map[string]string{} // by bearer token
	for _, user := range []string{"octocat", "monalisa"} {
		token := fixture.issue(f, user, "repository:octocat/octo-app/monalisa:pull").Token
		users[token] = user
		f.Add("Bearer " + token)
		f.Add("bearer " + token + "=")
		f.Add("Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token)))
		f.Add(basic(user, valueOf(user)))
		f.Add(basic(valueOf(user), user))
		head, rest, _ := strings.Cut(token, ".")
		payload, mac, _ := strings.Cut(rest, ".")
		for _, forged := range []string{
			`{"alg":"none","typ":"JWT"}`, `{"alg":"HS256","kid":"0002","typ":"JWT"}`,
			`{"alg":"HS256","jwk":{"kty":"oct","k":"a2tr"},"kid":"0001","typ":"JWT"}`, `{"alg":"RS256","x5c":["MIIB"],"typ":"JWT"}`,
		} {
			f.Add("Bearer " + base64.RawURLEncoding.EncodeToString([]byte(forged)) + "." + payload + "." + mac)
		}
		f.Add("Bearer " + head + "." + payload + ".")
	}
	f.Add("")
	f.Add("Basic Og==")
	f.Add("Bearer a.b.c")
	f.Fuzz(func(t *testing.T, header string) {
		want := ""
		switch scheme, rest, _ := strings.Cut(header, " "); strings.ToLower(scheme) {
		case "bearer":
			want = users[rest]
		case "basic":
			decoded, err := base64.StdEncoding.DecodeString(rest)
			_, password, _ := strings.Cut(string(decoded), ":")
			if i := slices.IndexFunc(fixture.snapshot.Policy().Credentials, func(c policy.Credential) bool { return valueOf(c.User) == password }); i >= 0 && err == nil && len(rest) <= maxBasicLength {
				want = fixture.snapshot.Policy().Credentials[i].User
			}
		}
		actor, err := fixture.authority.Identify(fixture.snapshot, header)
		if actor.User() != want || (err == nil) != (want != "" || header == "") {
			t.Errorf("%q is %q, %v; want %q", header, actor.User(), err, want)
		}
		if err != nil && (!errors.Is(err, ErrBadCredential) || err.Error() != ErrBadCredential.Error() || actor != (Actor{})) {
			t.Errorf("%q is refused with %v and %+v", header, err, actor)
		}
	})
}

// Keys of the tokens that are fuzzed. The first two are those of the registry.
var fuzzKeys = []struct {
	id     string
	secret []byte
}{
	{"0001", secret}, {"0002", bytes.Repeat([]byte("m"), KeySize)}, {"0002", bytes.Repeat([]byte("x"), KeySize)}, {"0003", secret},
}

func newFuzzFixture(f *testing.F) *fixture {
	f.Helper()
	fixture := newFixture(f, func(p *policy.Policy) { find(p, "hubot").NotAfter = new(start.Add(time.Minute)) })
	keys, err := NewKeys(map[string][]byte{fuzzKeys[0].id: fuzzKeys[0].secret, fuzzKeys[1].id: fuzzKeys[1].secret})
	if err != nil {
		f.Fatal(err)
	}
	fixture.keys = keys
	fixture.authority = New(keys, func() time.Time { return fixture.now })
	return fixture
}

// signWith makes a token of any header and payload, with the tools of the standard
// library alone.
func signWith(key []byte, header, payload string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func ownHeader(id string) string {
	return fmt.Sprintf(`{"alg":"HS256","kid":"%s","typ":"JWT"}`, id)
}

// span bounds instants, in seconds around the tests' start.
const span = 1 << 33

// FuzzToken: of all headers and payloads, even rightly signed, those alone are
// accepted that a library accepts as well, under a key of the registry that the
// header names and with no other header, for this instance and now, of a credential
// that is in force; and they have the one form that the registry writes.
func FuzzToken(f *testing.F) {
	fixture := newFuzzFixture(f)
	payload := fmt.Sprintf(`{"iss":"6a3b","sub":"octocat","aud":"docker.packages.test","iat":%d,"nbf":%d,"exp":%d,"cid":"%s","access":[]}`,
		start.Unix(), start.Unix(), start.Add(time.Minute).Unix(), credential.ID(valueOf("octocat")))
	for key := range fuzzKeys {
		f.Add(ownHeader(fuzzKeys[key].id), payload, uint8(key), int64(0))
	}
	for _, header := range []string{
		`{"alg":"none","typ":"JWT"}`, `{"alg":"HS256","kid":"0002","typ":"JWT"}`, `{"alg":"HS512","kid":"0001","typ":"JWT"}`, `{"kid":"0001","alg":"HS256","typ":"JWT"}`,
		`{"alg":"HS256","jwk":{"kty":"oct","k":"a2tr"},"kid":"0001","typ":"JWT"}`, `{"alg":"HS256","kid":"0001","typ":"JWT","x5c":["MIIB"]}`,
		`{"alg":"HS256","kid":"x","kid":"0001","typ":"JWT"}`, `{"alg":"HS256","kid":"../0001","typ":"JWT"}`, `{"alg":"HS256","crit":["exp"],"kid":"0001","typ":"JWT"}`,
	} {
		f.Add(header, payload, uint8(0), int64(0))
	}
	for _, change := range []*strings.Replacer{
		strings.NewReplacer(`"exp"`, `"exp":1,"exp"`), strings.NewReplacer(`"exp"`, `"EXP":1,"exp"`), strings.NewReplacer(`"cid"`, `"cid":"x","cid"`),
		strings.NewReplacer(`"6a3b"`, `["6a3b"]`), strings.NewReplacer(`"docker.packages.test"`, `["docker.packages.test"]`), strings.NewReplacer(`"nbf":1`, `"nbf":1.`),
		strings.NewReplacer("[]", `[{"type":"repository","name":"octocat/octo-app/x","actions":["pull"]}]`), strings.NewReplacer("[]", "null"),
		strings.NewReplacer("}", "} "), strings.NewReplacer("}", "}{}"), strings.NewReplacer("octocat", `octoc\u0061t`), strings.NewReplacer(`"sub"`, `"admin":true,"sub"`),
	} {
		f.Add(ownHeader("0001"), change.Replace(payload), uint8(0), int64(30))
	}
	f.Add(ownHeader("0001"), payload, uint8(0), int64(64))
	f.Add(ownHeader("0001"), payload, uint8(0), int64(65))
	f.Add(ownHeader("0001"), payload, uint8(0), int64(-6))
	f.Fuzz(func(t *testing.T, header, payload string, key uint8, after int64) {
		signer := fuzzKeys[int(key)%len(fuzzKeys)]
		fixture.now = start.Add(time.Duration(after%span) * time.Second)
		token := signWith(signer.secret, header, payload)
		actor, err := fixture.authority.Identify(fixture.snapshot, "Bearer "+token)
		if err != nil {
			return
		}
		parsed, err := jwt.Parse(token, func(parsed *jwt.Token) (any, error) {
			for _, k := range fuzzKeys[:2] {
				if parsed.Header["kid"] == k.id {
					return k.secret, nil
				}
			}
			return nil, errors.New("no key has this ID")
		}, jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("6a3b"), jwt.WithAudience("docker.packages.test"), jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return fixture.now }))
		if err != nil {
			t.Fatalf("accepted %s.%s, which a library refuses: %v", header, payload, err)
		}
		own := false
		for _, k := range fuzzKeys[:2] {
			own = own || header == ownHeader(k.id) && bytes.Equal(k.secret, signer.secret)
		}
		if !own {
			t.Errorf("accepted with the header %s", header)
		}
		claims := parsed.Claims.(jwt.MapClaims)
		if claims["nbf"] == nil || claims["cid"] != actor.CredentialID() || claims["cid"] != credential.ID(valueOf(actor.User())) {
			t.Errorf("accepted as %s's: %s", actor.User(), payload)
		}
		if actor.User() == "hubot" && !fixture.now.Before(start.Add(time.Minute)) {
			t.Errorf("accepted after its credential's end: %s", payload)
		}
		wantOwnForm(t, payload)
	})
}

// wantOwnForm fails unless a payload has the registry's claims, each once, in order
// and without a space between them.
func wantOwnForm(t *testing.T, payload string) {
	t.Helper()
	var claims map[string]json.RawMessage
	if err := json.Unmarshal([]byte(payload), &claims); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, name := range []string{"iss", "sub", "aud", "iat", "nbf", "exp", "cid", "access"} {
		if value, found := claims[name]; found {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	if own := "{" + strings.Join(parts, ",") + "}"; own != payload {
		t.Errorf("accepted %s, which is not written %s", payload, own)
	}
}

// FuzzClaims: a token in the registry's form is accepted if its key, issuer,
// audience, time and credential are right, and refused if any of them is not.
func FuzzClaims(f *testing.F) {
	fixture := newFuzzFixture(f)
	at := func(after int64) int64 { return start.Unix() + after }
	add := func(key uint8, issuer, audience, user string, notBefore, expires, after int64) {
		f.Add(key, issuer, "octocat", audience, user, at(0), at(notBefore), at(expires), after)
	}
	for key := range fuzzKeys {
		add(uint8(key), "6a3b", "docker.packages.test", "octocat", 0, 300, 1)
	}
	add(0, "other", "docker.packages.test", "octocat", 0, 300, 1)
	add(0, "6a3b", "packages.test", "octocat", 0, 300, 1)
	add(0, "6a3b", "docker.packages.test", "nobody", 0, 300, 1)
	add(0, "6a3b", "docker.packages.test", "", 0, 300, 1)
	add(1, "6a3b", "docker.packages.test", "hubot", 0, 300, 59)
	add(1, "6a3b", "docker.packages.test", "hubot", 0, 300, 60)
	for _, after := range []int64{-6, -5, 304, 305, -span, span - 1} {
		add(0, "6a3b", "docker.packages.test", "octocat", 0, 300, after)
	}
	f.Add(uint8(0), "6a3b", "somebody <&>", "docker.packages.test", "octocat", int64(-1), int64(-1<<40), int64(1<<40), int64(0))
	f.Fuzz(func(t *testing.T, key uint8, issuer, subject, audience, user string, issuedAt, notBefore, expires, after int64) {
		if !utf8.ValidString(issuer + subject + audience) {
			return // JSON cannot hold it
		}
		const limit = 1 << 50
		notBefore, expires = notBefore%limit, expires%limit
		signer := fuzzKeys[int(key)%len(fuzzKeys)]
		fixture.now = start.Add(time.Duration(after%span) * time.Second)
		now := fixture.now.Unix()

		var payload bytes.Buffer
		text := func(s string) string {
			encoded, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return string(encoded)
		}
		fmt.Fprintf(&payload, `{"iss":%s`, text(issuer))
		if subject != "" {
			fmt.Fprintf(&payload, `,"sub":%s`, text(subject))
		}
		fmt.Fprintf(&payload, `,"aud":%s,"iat":%d,"nbf":%d,"exp":%d`, text(audience), issuedAt, notBefore, expires)
		if user != "" {
			fmt.Fprintf(&payload, `,"cid":"%s"`, credential.ID(valueOf(user)))
		}
		payload.WriteString(`,"access":[]}`)
		token := signWith(signer.secret, ownHeader(signer.id), payload.String())

		held := find(fixture.snapshot.Policy(), user)
		const clocks = 5 // seconds that two clocks may be apart
		want := int(key)%len(fuzzKeys) < 2 && issuer == "6a3b" && audience == "docker.packages.test" &&
			now >= notBefore-clocks && now < expires+clocks && held != nil && (user != "hubot" || now < start.Unix()+60) && len(token) <= maxTokenLength
		actor, err := fixture.authority.Identify(fixture.snapshot, "Bearer "+token)
		if (err == nil) != want || err == nil && actor.User() != user {
			t.Errorf("%s under %s at %d is %q, %v; it is right: %t", payload.String(), signer.id, now, actor.User(), err, want)
		}
	})
}

// FuzzIssueToken: whatever is asked for, the token grants no more than what was
// asked for and the user's role has, once, and is itself accepted.
func FuzzIssueToken(f *testing.F) {
	fixture := newFixture(f, nil)
	// What the fixture's repositories let monalisa do; what is absent, nothing.
	roles := map[string]string{"octocat/octo-app": "pull,push", "octocat/shared": "pull,push", "octocat/open": "pull"}
	for _, scopes := range []string{
		"repository:octocat/octo-app/a:pull,push", "registry:catalog:* repository:a:b", "::", "repository:octocat/octo-app/a:*",
		"repository:octocat/open/a:pull,push,delete repository:octocat/open/a:pull", "repository:octocat/other/a:pull", "repository:monalisa/own/a:*",
		"repository:octocat/../octo-app/a:pull", "repository:octocat%2focto-app/a/b:pull", "repository:Octocat/octo-app/a:pull", "repository(plugin):octocat/octo-app/a:pull",
		"repository:localhost:5000/octocat/octo-app/a:pull", "repository:octocat/octo-app/a:pull,", "repository:octocat/octo-app:pull", strings.Repeat("x", maxScopesLength),
		strings.Repeat("repository:octocat/octo-app/a:pull ", maxScopes+1),
	} {
		f.Add(scopes)
	}
	f.Fuzz(func(t *testing.T, scopes string) {
		response, err := fixture.authority.IssueToken(fixture.snapshot, TokenRequest{Password: valueOf("monalisa"), Scopes: []string{scopes}})
		if err != nil {
			if !errors.Is(err, ErrInvalidRequest) || len(err.Error()) > 1024 {
				t.Errorf("got the error %v", err)
			}
			return
		}
		if actor, err := fixture.authority.Identify(fixture.snapshot, "Bearer "+response.Token); err != nil || actor.User() != "monalisa" {
			t.Fatalf("a token of %d characters for %q is %q's, %v", len(response.Token), scopes, actor.User(), err)
		}
		var claims struct {
			jwt.RegisteredClaims
			Access []struct {
				Type, Name string
				Actions    []string
			} `json:"access"`
		}
		if _, _, err := jwt.NewParser().ParseUnverified(response.Token, &claims); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, granted := range claims.Access {
			asked := askedFor(scopes, granted.Type, granted.Name)
			may := strings.Split(roles[ownerAndRepository(granted.Name)], ",")
			if granted.Type != "repository" {
				may = []string{"*"}
			}
			if seen[granted.Type+":"+granted.Name] || granted.Type+":"+granted.Name != "registry:catalog" && granted.Type != "repository" {
				t.Errorf("for %q it grants %+v", scopes, claims.Access)
			}
			seen[granted.Type+":"+granted.Name] = true
			for i, action := range granted.Actions {
				if !slices.Contains(may, action) || !slices.Contains(asked, action) && !slices.Contains(asked, "*") || slices.Contains(granted.Actions[:i], action) {
					t.Errorf("for %q it grants %s on %s", scopes, action, granted.Name)
				}
			}
		}
	})
}

func ownerAndRepository(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

// askedFor are the actions that a list of scopes asks for on one name.
func askedFor(scopes, kind, name string) []string {
	var actions []string
	for scope := range strings.FieldsSeq(scopes) {
		if list, found := strings.CutPrefix(scope, kind+":"+name+":"); found {
			actions = append(actions, strings.Split(list, ",")...)
		}
	}
	return actions
}
