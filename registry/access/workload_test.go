// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// cluster issues tokens of ServiceAccounts.
type cluster struct {
	private *ecdsa.PrivateKey
	issuer  workload.Issuer
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{private, workload.Issuer{Name: "https://cluster.test", Keys: []workload.Key{{ID: "k", Algorithm: "ES256", DER: der}}}}
}

// projected is a token of ci/NAME with a UID, for the registry, and for ten minutes
// unless claims are changed.
func (c *cluster) projected(t testing.TB, name, uid string, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": c.issuer.Name, "aud": []string{"docker.packages.test"}, "sub": workload.User("ci", name),
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(10 * time.Minute).Unix(),
		"kubernetes.io": map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": name, "uid": uid}},
	}
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = "k"
	signed, err := token.SignedString(c.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// employ gives ci/builder Write in octocat/octo-app.
func (c *cluster) employ(uid string, narrowing ...string) func(*policy.Policy) {
	return func(p *policy.Policy) {
		p.Issuer = c.issuer
		user := workload.User("ci", "builder")
		p.ServiceAccounts = []policy.ServiceAccount{{User: user, UID: uid, Repositories: narrowing}}
		p.Repositories[0].Users = append(p.Repositories[0].Users, policy.Member{Name: user, Role: policy.RoleWrite})
		p.Repositories = append(p.Repositories, policy.Repository{Owner: "octocat", Name: "private", Visibility: policy.Private})
	}
}

func TestAServiceAccountHasItsRolesAndWhatEverySignedInUserHas(t *testing.T) {
	c := newCluster(t)
	f := newFixture(t, c.employ("b1"))
	token := c.projected(t, "builder", "b1", nil)
	actor := f.identify(t, basic("whoever", token))
	if actor.User() != "system:serviceaccount:ci:builder" || actor.Token() != "" || actor.CredentialID() != workload.ID(actor.User(), "b1") {
		t.Errorf("the actor is %q with %q (%q)", actor.User(), actor.Token(), actor.CredentialID())
	}
	bearer := func(scopes ...string) Actor {
		response, err := f.authority.IssueToken(f.snapshot, TokenRequest{Authorization: basic("", token), Scopes: scopes})
		if err != nil {
			t.Fatal(err)
		}
		return f.identify(t, "Bearer "+response.Token)
	}
	everything := bearer("repository:octocat/octo-app/i:*", "repository:octocat/shared/i:*", "repository:octocat/open/i:*", "repository:octocat/private/i:*", "repository:octocat/missing/i:*")
	for name, want := range map[ref.Name][3]Verdict{
		"octocat/octo-app/i": {Allow, Allow, Denied},
		"octocat/shared/i":   {Allow, Denied, Denied},
		"octocat/open/i":     {Allow, Denied, Denied},
		"octocat/private/i":  {Hidden, Hidden, Hidden},
		"octocat/missing/i":  {Hidden, Hidden, Hidden},
	} {
		for action, verdict := range want {
			for how, actor := range map[string]Actor{"Basic": actor, "Bearer": everything} {
				if got := Authorize(f.snapshot, actor, name, Action(action)).Verdict; got != verdict {
					t.Errorf("%s, %s of %s: %s, want %s", how, Action(action), name, got, verdict)
				}
			}
		}
	}
	for _, request := range []TokenRequest{{Password: token, Username: "x"}, {RefreshToken: token}} {
		response, err := f.authority.IssueToken(f.snapshot, request)
		if err != nil || response.Actor.User() != actor.User() {
			t.Errorf("a form: %v, %q", err, response.Actor.User())
		}
	}
}

// Who is let in only by what another namespace declares sees that owner alone.
func TestAServiceAccountMayBeNarrowed(t *testing.T) {
	c := newCluster(t)
	f := newFixture(t, c.employ("b1", "octo-org/*"))
	actor := f.identify(t, basic("", c.projected(t, "builder", "b1", nil)))
	for _, name := range []ref.Name{"octocat/octo-app/i", "octocat/shared/i", "octocat/open/i"} {
		if got := Authorize(f.snapshot, actor, name, Pull).Verdict; got != Hidden {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestATokenOfAServiceAccountIsRefused(t *testing.T) {
	c, other := newCluster(t), newCluster(t)
	f := newFixture(t, c.employ("b1"))
	claims := func(change func(jwt.MapClaims)) string { return c.projected(t, "builder", "b1", change) }
	for name, token := range map[string]string{
		"of another cluster":                   other.projected(t, "builder", "b1", nil),
		"of an account without an entry":       c.projected(t, "other", "o1", nil),
		"of one that was deleted":              c.projected(t, "builder", "b0", nil),
		"for the API server":                   claims(func(m jwt.MapClaims) { m["aud"] = []string{"https://cluster.test"} }),
		"for the API server too":               claims(func(m jwt.MapClaims) { m["aud"] = []string{"docker.packages.test", "https://cluster.test"} }),
		"for another registry":                 claims(func(m jwt.MapClaims) { m["aud"] = []string{"docker.other.test"} }),
		"of another issuer":                    claims(func(m jwt.MapClaims) { m["iss"] = "https://other.test" }),
		"that has expired":                     claims(func(m jwt.MapClaims) { m["exp"] = start.Unix() }),
		"that is about to expire":              claims(func(m jwt.MapClaims) { m["exp"] = start.Add(leeway).Unix() }),
		"that does not hold yet":               claims(func(m jwt.MapClaims) { m["nbf"] = start.Add(leeway + time.Second).Unix() }),
		"of a user who has the account's name": valueOf("system:serviceaccount:ci:builder"),
	} {
		for how, header := range map[string]string{"Basic": basic("builder", token), "Bearer": "Bearer " + token} {
			if actor, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) || actor != (Actor{}) {
				t.Errorf("a token %s, as %s: %v, %q", name, how, err, actor.User())
			}
		}
		if _, err := f.authority.IssueToken(f.snapshot, TokenRequest{Password: token}); !errors.Is(err, ErrBadCredential) {
			t.Errorf("a token %s, in a form: %v", name, err)
		}
	}
	// A clock that is a little behind the cluster's is no reason.
	f.identify(t, basic("", claims(func(m jwt.MapClaims) { m["nbf"] = start.Add(leeway).Unix() })))
	// It is a password, and no bearer token.
	if _, err := f.authority.Identify(f.snapshot, "Bearer "+claims(nil)); !errors.Is(err, ErrBadCredential) {
		t.Errorf("as a bearer token: %v", err)
	}
	// Without entries, the cluster's tokens are nobody's.
	f.setPolicy(t, nil)
	if _, err := f.authority.Identify(f.snapshot, basic("", claims(nil))); !errors.Is(err, ErrBadCredential) {
		t.Errorf("without entries: %v", err)
	}
}

// At no instant is a bearer token good when the token that it was issued for is not.
func TestABearerTokenDoesNotOutliveAServiceAccountsToken(t *testing.T) {
	c := newCluster(t)
	f := newFixture(t, c.employ("b1"))
	lifetime := 90 * time.Second
	token := c.projected(t, "builder", "b1", func(m jwt.MapClaims) { m["exp"] = start.Add(lifetime).Unix() })
	for _, at := range []time.Duration{0, time.Second, lifetime - leeway - time.Second, lifetime - leeway - time.Millisecond} {
		f.now = start.Add(at)
		response, err := f.authority.IssueToken(f.snapshot, TokenRequest{Password: token})
		if err != nil {
			t.Fatalf("after %s: %v", at, err)
		}
		if response.ExpiresIn > int64((lifetime-at)/time.Second) {
			t.Errorf("after %s: the client is told %d seconds", at, response.ExpiresIn)
		}
		for _, later := range []struct {
			at   time.Duration
			good bool
		}{{at, true}, {lifetime - time.Millisecond, true}, {lifetime, false}, {lifetime + time.Minute, false}} {
			f.now = start.Add(later.at)
			_, err := f.authority.Identify(f.snapshot, "Bearer "+response.Token)
			if (err == nil) != later.good {
				t.Errorf("issued after %s, used after %s: %v", at, later.at, err)
			}
		}
	}
	// Nor does a bearer token live longer than others for a token that lasts a year.
	f.now = start
	year := c.projected(t, "builder", "b1", func(m jwt.MapClaims) { m["exp"] = start.AddDate(1, 0, 0).Unix() })
	response, err := f.authority.IssueToken(f.snapshot, TokenRequest{Password: year})
	if err != nil || response.ExpiresIn != int64(TokenLifetime/time.Second) {
		t.Errorf("a bearer token for %d seconds, %v", response.ExpiresIn, err)
	}
}

// An account that is deleted, or made again, or loses its entry, is out at once, with
// its bearer tokens and what it has under way.
func TestAServiceAccountThatIsGoneStopsAtOnce(t *testing.T) {
	c := newCluster(t)
	for name, after := range map[string]func(*policy.Policy){"deleted": nil, "made again": c.employ("b2")} {
		f := newFixture(t, c.employ("b1"))
		token := c.projected(t, "builder", "b1", nil)
		actor := f.identify(t, basic("", token))
		issued, err := f.authority.IssueToken(f.snapshot, TokenRequest{Password: token})
		if err != nil {
			t.Fatal(err)
		}
		f.setPolicy(t, after)
		for _, header := range []string{basic("", token), "Bearer " + issued.Token} {
			if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := f.authority.Renew(f.snapshot, actor); !errors.Is(err, ErrBadCredential) {
			t.Errorf("%s: a request goes on: %v", name, err)
		}
		if got := Authorize(f.snapshot, actor, "octocat/octo-app/i", Push).Verdict; got != Challenge {
			t.Errorf("%s: pushing is answered %s", name, got)
		}
	}
}

func TestARequestEndsWithTheTokenThatItPresented(t *testing.T) {
	c := newCluster(t)
	f := newFixture(t, c.employ("b1"))
	actor := f.identify(t, basic("", c.projected(t, "builder", "b1", nil)))
	for range 2 { // under a policy that is newer, too
		f.setPolicy(t, c.employ("b1"))
		f.now = start.Add(9 * time.Minute)
		renewed, err := f.authority.Renew(f.snapshot, actor)
		if err != nil {
			t.Fatal(err)
		}
		f.now = start.Add(10 * time.Minute)
		if _, err := f.authority.Renew(f.snapshot, renewed); !errors.Is(err, ErrBadCredential) {
			t.Errorf("after its end: %v", err)
		}
	}
}
