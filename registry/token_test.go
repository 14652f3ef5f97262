// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// token is the answer of the token endpoint.
type token struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"`
	ExpiresIn   int       `json:"expires_in"`
	IssuedAt    time.Time `json:"issued_at"`
}

func (a answer) token(t *testing.T) token {
	t.Helper()
	a.want(t, http.StatusOK)
	var got token
	if err := json.Unmarshal(a.body, &got); err != nil || got.Token == "" || got.AccessToken != got.Token || got.IssuedAt.IsZero() {
		t.Fatalf("no token: %s", a.body)
	}
	return got
}

// bearer gets a bearer token and returns the header that presents it.
func (c client) bearer(query string) header {
	c.t.Helper()
	return header{"Authorization", "Bearer " + c.do("GET", "/token?service=docker.packages.test&"+query, nil).token(c.t).Token}
}

// form posts to the token endpoint.
func (c client) form(values ...string) answer {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(values); i += 2 {
		form.Add(values[i], values[i+1])
	}
	return c.as("").do("POST", "/token", []byte(form.Encode()), header{"Content-Type", "application/x-www-form-urlencoded"})
}

func TestTheTokenFlow(t *testing.T) {
	_, c := start(t)
	c.pushImage(name, "1.0", "layer")
	scope := "repository:" + name + ":pull,push"
	ways := map[string]func() answer{
		"GET": func() answer {
			return c.do("GET", "/token?account=monalisa&client_id=docker&offline_token=true&service=docker.packages.test&scope="+url.QueryEscape(scope), nil)
		},
		"GET, without a service": func() answer { return c.do("GET", "/token?scope="+url.QueryEscape(scope), nil) },
		"POST with a password": func() answer {
			return c.form("grant_type", "password", "username", "monalisa", "password", writerValue, "service", "docker.packages.test", "client_id", "x", "scope", scope)
		},
		"POST with a refresh token": func() answer {
			return c.form("grant_type", "refresh_token", "refresh_token", writerValue, "service", "docker.packages.test", "client_id", "x", "scope", scope)
		},
	}
	for way, ask := range ways {
		t.Run(way, func(t *testing.T) {
			got := ask().want(t, http.StatusOK).wantHeader(t, "Cache-Control", "no-store").token(t)
			if got.ExpiresIn < 60 || got.ExpiresIn > 300 {
				t.Errorf("the token lasts %d s", got.ExpiresIn)
			}
			bearer := header{"Authorization", "Bearer " + got.Token}
			anonymous := c.as("")
			anonymous.do("GET", "/v2/", nil, bearer).want(t, http.StatusOK)
			anonymous.do("GET", "/v2/"+name+"/manifests/1.0", nil, bearer).want(t, http.StatusOK)
			anonymous.do("POST", "/v2/"+name+"/blobs/uploads/", nil, bearer).want(t, http.StatusAccepted)
		})
	}
}

func TestABearerTokenDoesWhatItWasIssuedFor(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	digest := string(ref.SHA256.FromBytes([]byte("layer")))
	realm := "http://" + r.Addr + "/token"
	anonymous := c.as("")
	pull := c.bearer("scope=repository:" + name + ":pull")
	anonymous.do("GET", "/v2/"+name+"/blobs/"+digest, nil, pull).want(t, http.StatusOK)
	anonymous.do("POST", "/v2/"+name+"/blobs/uploads/", nil, pull).want(t, http.StatusUnauthorized, errcode.Unauthorized).
		wantHeader(t, "Www-Authenticate", challenge(realm, "repository:"+name+":pull,push", "insufficient_scope"))
	anonymous.do("GET", "/v2/octocat/octo-app/other/tags/list", nil, pull).want(t, http.StatusUnauthorized, errcode.Unauthorized).
		wantHeader(t, "Www-Authenticate", challenge(realm, "repository:octocat/octo-app/other:pull", "insufficient_scope"))
	anonymous.do("GET", "/v2/_catalog", nil, pull).want(t, http.StatusUnauthorized, errcode.Unauthorized).
		wantHeader(t, "Www-Authenticate", challenge(realm, "registry:catalog:*", "insufficient_scope"))
	anonymous.do("GET", "/v2/_catalog", nil, c.bearer("scope=registry:catalog:*")).want(t, http.StatusOK)

	// What the user may not do is left out of the token without a word; then the
	// request is told why, and asking for another token would not help.
	all := c.bearer("scope=repository:" + name + ":*")
	anonymous.do("DELETE", "/v2/"+name+"/manifests/1.0", nil, all).want(t, http.StatusForbidden, errcode.Denied)
	hidden := c.as(otherValue).bearer("scope=repository:" + name + ":pull,push")
	anonymous.do("GET", "/v2/"+name+"/manifests/1.0", nil, hidden).want(t, http.StatusNotFound, errcode.NameUnknown)

	// Two scopes, as a mount across repositories needs them.
	two := c.bearer("scope=repository:" + name + ":pull&scope=repository:octocat/octo-app/other:pull,push")
	anonymous.do("POST", "/v2/octocat/octo-app/other/blobs/uploads/?mount="+digest+"&from="+name, nil, two).want(t, http.StatusCreated)
}

func TestTheTokenEndpointRefuses(t *testing.T) {
	_, c := start(t)
	const service = "service=docker.packages.test"
	for what, test := range map[string]struct {
		got    answer
		reason string
	}{
		"no credential":           {c.as("").do("GET", "/token?"+service, nil), "sign in with docker login"},
		"a user without password": {c.form("grant_type", "password", "username", "monalisa"), "sign in with docker login"},
		"a wrong token":           {c.as("wrong").do("GET", "/token?"+service, nil), "only tokens"},
		"a wrong password":        {c.form("grant_type", "password", "username", "monalisa", "password", "wrong"), "only tokens"},
		"a wrong refresh token":   {c.form("grant_type", "refresh_token", "refresh_token", "wrong"), "only tokens"},
	} {
		t.Run(what, func(t *testing.T) {
			got := test.got
			got.want(t, http.StatusUnauthorized, errcode.Unauthorized).wantReason(t, test.reason)
			if challenge := got.Header.Get("Www-Authenticate"); !strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
	bearer := c.bearer("scope=repository:" + name + ":pull")
	c.as("").do("GET", "/token?"+service, nil, bearer).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	for what, got := range map[string]answer{
		"another service":      c.do("GET", "/token?service=elsewhere.example", nil),
		"a scope that is none": c.do("GET", "/token?"+service+"&scope=nonsense", nil),
		"no grant type":        c.form("password", writerValue),
		"an unknown grant":     c.form("grant_type", "authorization_code", "code", "x"),
		"too many scopes":      c.do("GET", "/token?"+service+strings.Repeat("&scope=repository:a/b/c:pull", 100), nil),
		"a form without end":   c.form("grant_type", "password", "password", strings.Repeat("x", 100_000)),
	} {
		t.Run(what, func(t *testing.T) {
			if got.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d: %s", got.StatusCode, got.body)
			}
		})
	}
	c.do("PUT", "/token", nil).want(t, http.StatusMethodNotAllowed)
}

func TestARevokedCredentialStopsWithItsBearerTokens(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	path := "/v2/" + name + "/manifests/1.0"
	bearer := c.bearer("scope=repository:" + name + ":pull,push")
	anonymous := c.as("")
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusOK)

	change := func(f func(c *policy.Credential) bool) {
		p := samplePolicy()
		kept := p.Credentials[:0]
		for _, credential := range p.Credentials {
			if credential.User != "monalisa" || f(&credential) {
				kept = append(kept, credential)
			}
		}
		p.Credentials = kept
		r.Publish(t, p)
	}

	change(func(*policy.Credential) bool { return false })
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	c.do("GET", path, nil).want(t, http.StatusUnauthorized, errcode.Unauthorized)

	change(func(c *policy.Credential) bool { past := time.Now().Add(-time.Second); c.NotAfter = &past; return true })
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusUnauthorized, errcode.Unauthorized)

	change(func(c *policy.Credential) bool { c.Scopes = []policy.Scope{policy.ScopeRead}; return true })
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusOK)
	anonymous.do("POST", "/v2/"+name+"/blobs/uploads/", nil, bearer).want(t, http.StatusForbidden, errcode.Denied)

	change(func(c *policy.Credential) bool { c.Repositories = []string{"octocat/octo-public"}; return true })
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusNotFound, errcode.NameUnknown)

	// A role that is taken away counts at once, too.
	p := samplePolicy()
	for i := range p.Repositories {
		p.Repositories[i].Users = nil
	}
	r.Publish(t, p)
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusNotFound, errcode.NameUnknown)

	r.Publish(t, samplePolicy())
	anonymous.do("GET", path, nil, bearer).want(t, http.StatusOK)
}

func TestABearerTokenEndsWithItsCredential(t *testing.T) {
	p := samplePolicy()
	soon := time.Now().Add(time.Minute)
	for i := range p.Credentials {
		p.Credentials[i].NotAfter = &soon
	}
	r := registrytest.Start(t, p, registrytest.Options{})
	got := client{t: t, addr: r.Addr, value: writerValue}.do("GET", "/token", nil).token(t)
	if got.ExpiresIn > 60 {
		t.Errorf("the credential lasts 60 s, the bearer token %d s", got.ExpiresIn)
	}
}

func TestABearerTokenIsForItsInstanceAlone(t *testing.T) {
	first, c := start(t)
	bearer := c.bearer("scope=repository:" + name + ":pull")
	_, other := start(t) // the same credentials, but keys of its own
	other.as("").do("GET", "/v2/", nil, bearer).want(t, http.StatusUnauthorized)
	c.as("").do("GET", "/v2/", nil, bearer).want(t, http.StatusOK)

	// The same keys do not help once the instance answers on another host.
	p := samplePolicy()
	p.Hosts = policy.Hosts{Docker: "other.test", Base: "other.test", URL: "https://other.test"}
	first.Publish(t, p)
	c.as("").do("GET", "/v2/", nil, bearer).want(t, http.StatusUnauthorized)
}
