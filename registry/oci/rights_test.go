// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// situation is everything that decides about a request. The words are those of
// the rules below.
type situation struct {
	mode       policy.Support
	everybody  policy.AnonymousPull
	visibility policy.Visibility // undeclared for a repository that is not there
	role       string            // nobody without a token; none, Read, Write, Admin or owner
	scopes     string            // the first letters of the token's scopes
	narrowing  string            // empty, this, owner or other
	action     string            // pull, push or delete
}

const undeclared policy.Visibility = "Undeclared"

// allowed stands for whatever the request answers when nothing forbids it.
const allowed = "allowed"

// rules are what DESIGN says in words. The first one that holds decides.
var rules = []struct {
	answer string
	when   func(s situation) bool
}{
	{"404 UNSUPPORTED", func(s situation) bool { return s.mode == policy.SupportDisabled }},

	// Without a token.
	{allowed, func(s situation) bool {
		return s.role == "nobody" && s.action == "pull" && s.visibility == policy.Public && s.everybody == policy.AnonymousPublic
	}},
	{"401 UNAUTHORIZED", func(s situation) bool { return s.role == "nobody" }},

	// What the token may not see.
	{"404 NAME_UNKNOWN", func(s situation) bool { return s.narrowing == "other" }},
	{"404 NAME_UNKNOWN", func(s situation) bool { return s.visibility == undeclared }},
	{"404 NAME_UNKNOWN", func(s situation) bool { return s.visibility == policy.Private && s.role == "none" }},

	// What nobody may do.
	{"405 UNSUPPORTED", func(s situation) bool { return s.mode == policy.SupportReadOnly && s.action != "pull" }},

	// Scope and permission.
	{allowed, func(s situation) bool { return s.action == "pull" && strings.ContainsAny(s.scopes, "rw") }},
	{allowed, func(s situation) bool {
		return s.action == "push" && strings.Contains(s.scopes, "w") && slices.Contains([]string{"Write", "Admin", "owner"}, s.role)
	}},
	{allowed, func(s situation) bool {
		return s.action == "delete" && strings.Contains(s.scopes, "d") && slices.Contains([]string{"Admin", "owner"}, s.role)
	}},
	{"403 DENIED", func(situation) bool { return true }},
}

func (s situation) answer() string {
	for _, rule := range rules {
		if rule.when(s) {
			return rule.answer
		}
	}
	panic("the last rule always holds")
}

// The sizes of the walk.
var (
	modes        = []policy.Support{policy.SupportEnabled, policy.SupportReadOnly, policy.SupportDisabled}
	visibilities = []policy.Visibility{policy.Private, policy.Internal, policy.Public, undeclared}
	roles        = []string{"none", "Read", "Write", "Admin", "owner"}
	scopeSets    = []string{"r", "w", "d", "rw", "rd", "wd", "rwd"}
	narrowings   = []string{"", "this", "owner", "other"}
)

// endpoint is a request that changes nothing that another one depends on, and
// what it answers when it is allowed.
type endpoint struct{ method, path, allowed string }

const (
	layer   = "layer"
	missing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

var layerDigest = string(ref.SHA256.FromBytes([]byte(layer)))

var endpoints = map[string][]endpoint{
	"pull": {
		{"GET", "/manifests/1.0", "200"}, {"HEAD", "/manifests/1.0", "200"}, {"GET", "/tags/list", "200"},
		{"GET", "/blobs/" + layerDigest, "200"}, {"HEAD", "/blobs/" + layerDigest, "200"}, {"GET", "/referrers/" + missing, "200"},
	},
	"push": {
		{"POST", "/blobs/uploads/", "202"}, {"POST", "/blobs/uploads/?digest=" + missing, "400 DIGEST_INVALID"},
		{"GET", "/blobs/uploads/none", "404 BLOB_UPLOAD_UNKNOWN"}, {"PATCH", "/blobs/uploads/none", "404 BLOB_UPLOAD_UNKNOWN"},
		{"PUT", "/blobs/uploads/none?digest=" + missing, "404 BLOB_UPLOAD_UNKNOWN"}, {"DELETE", "/blobs/uploads/none", "404 BLOB_UPLOAD_UNKNOWN"},
		{"PUT", "/manifests/2.0", "400 MANIFEST_INVALID"},
	},
	"delete": {
		{"DELETE", "/manifests/none", "404 MANIFEST_UNKNOWN"}, {"DELETE", "/manifests/" + missing, "404 MANIFEST_UNKNOWN"},
		{"DELETE", "/blobs/" + missing, "404 BLOB_UNKNOWN"},
	},
}

func repositoryOf(v policy.Visibility) string { return "octocat/" + strings.ToLower(string(v)) }

func imageOf(v policy.Visibility) string { return repositoryOf(v) + "/image" }

// tokenOf is the value of a token: one for each role, scopes, narrowing and, as
// that says "this", repository.
func tokenOf(role, scopes, narrowing string, v policy.Visibility) string {
	if narrowing != "this" {
		v = ""
	}
	return fmt.Sprintf("token-%s-%s-%s-%s-%s", role, scopes, narrowing, v, strings.Repeat("0123456789", 4))
}

// world is a policy with every repository and every token of the walk.
func world(mode policy.Support, everybody policy.AnonymousPull) policy.Policy {
	p := registrytest.Policy()
	p.Support, p.AnonymousPull = mode, everybody
	for _, v := range visibilities {
		if v != undeclared {
			name := strings.ToLower(string(v))
			p.Repositories = append(p.Repositories, policy.Repository{Owner: "octocat", Name: name, Visibility: v, Users: []policy.Member{
				{Name: "user-admin", Role: policy.RoleAdmin}, {Name: "user-read", Role: policy.RoleRead}, {Name: "user-write", Role: policy.RoleWrite},
			}})
		}
	}
	scopeOf := map[rune]policy.Scope{'r': policy.ScopeRead, 'w': policy.ScopeWrite, 'd': policy.ScopeDelete}
	seen := map[string]bool{}
	for _, role := range roles {
		user := "user-" + strings.ToLower(role)
		if role == "owner" {
			user = "octocat"
		}
		for _, set := range scopeSets {
			var scopes []policy.Scope
			for _, letter := range set {
				scopes = append(scopes, scopeOf[letter])
			}
			for _, narrowing := range narrowings {
				for _, v := range visibilities {
					value := tokenOf(role, set, narrowing, v)
					if seen[value] {
						continue
					}
					seen[value] = true
					c := registrytest.Credential(value, user, scopes...)
					switch narrowing {
					case "this":
						c.Repositories = []string{"octocat/elsewhere", repositoryOf(v)}
					case "owner":
						c.Repositories = []string{"octocat/*"}
					case "other":
						c.Repositories = []string{"octocat/elsewhere", "octocats/*"}
					}
					p.Credentials = append(p.Credentials, c)
				}
			}
		}
	}
	return p
}

// ask sends a request and returns its status, with the code of an error.
func ask(t *testing.T, addr, method, path string, body []byte, authorize func(*http.Request)) (string, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	authorize(req)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprint(resp.StatusCode)
	var document struct{ Errors []struct{ Code string } }
	if resp.StatusCode >= 400 && json.Unmarshal(content, &document) == nil && len(document.Errors) == 1 {
		answer += " " + document.Errors[0].Code
	}
	return answer, content
}

func withToken(value string) func(*http.Request) {
	return func(r *http.Request) {
		if value != "" {
			r.SetBasicAuth("anybody", value)
		}
	}
}

// withBearer gets a bearer token for everything in the images, and nothing where
// the registry gives none.
func withBearer(t *testing.T, addr, value string, images ...string) (func(*http.Request), bool) {
	t.Helper()
	path := "/token?service=docker.packages.test"
	for _, image := range images {
		path += "&scope=repository:" + image + ":*"
	}
	status, content := ask(t, addr, "GET", path, nil, withToken(value))
	if status != "200" {
		return nil, false
	}
	var issued struct{ Token string }
	if err := json.Unmarshal(content, &issued); err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+issued.Token) }, true
}

// populated runs a registry with an image in every repository.
func populated(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := registrytest.Start(t, world(policy.SupportEnabled, policy.AnonymousDeny), registrytest.Options{})
	owner := withToken(tokenOf("owner", "rwd", "", ""))
	for _, v := range visibilities {
		if v == undeclared {
			continue
		}
		base := "/v2/" + imageOf(v)
		manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
			`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%[1]q,"size":5},"layers":[]}`, layerDigest)
		if status, content := ask(t, r.Addr, "POST", base+"/blobs/uploads/?digest="+layerDigest, []byte(layer), owner); status != "201" {
			t.Fatalf("%s %s", status, content)
		}
		if status, content := ask(t, r.Addr, "PUT", base+"/manifests/1.0", manifest, owner); status != "201" {
			t.Fatalf("%s %s", status, content)
		}
	}
	return r
}

func TestRightsAreWhatTheRulesSay(t *testing.T) {
	r := populated(t)
	asked := 0
	choice := rand.New(rand.NewPCG(1, 2))
	check := func(s situation, authorize func(*http.Request), how string) {
		t.Helper()
		// Every situation is tried on one endpoint, and every endpoint in many.
		e := endpoints[s.action][choice.IntN(len(endpoints[s.action]))]
		asked++
		want := s.answer()
		if want == allowed {
			want = e.allowed
		}
		if e.method == "HEAD" {
			want, _, _ = strings.Cut(want, " ")
		}
		if got, content := ask(t, r.Addr, e.method, "/v2/"+imageOf(s.visibility)+e.path, nil, authorize); got != want {
			t.Errorf("%+v, by %s: %s %s answers %s, want %s; %s", s, how, e.method, e.path, got, want, content)
		}
	}
	actions := []string{"pull", "push", "delete"}
	for _, mode := range modes {
		for _, everybody := range []policy.AnonymousPull{policy.AnonymousDeny, policy.AnonymousPublic} {
			r.Publish(t, world(mode, everybody))
			walk(func(role, scopes, narrowing string, v policy.Visibility) {
				value := tokenOf(role, scopes, narrowing, v)
				if role == "nobody" {
					value = ""
				}
				bearer, issued := withBearer(t, r.Addr, value, imageOf(v))
				for _, action := range actions {
					s := situation{mode, everybody, v, role, scopes, narrowing, action}
					check(s, withToken(value), "token")
					if issued {
						check(s, bearer, "bearer token")
					}
				}
			})
		}
	}
	if asked < 10_000 {
		t.Errorf("only %d requests were sent", asked)
	}
}

// walk calls f for everybody and every repository.
func walk(f func(role, scopes, narrowing string, v policy.Visibility)) {
	for _, v := range visibilities {
		f("nobody", "", "", v)
		for _, role := range roles {
			for _, scopes := range scopeSets {
				for _, narrowing := range narrowings {
					f(role, scopes, narrowing, v)
				}
			}
		}
	}
}

func TestAMountNeedsTheRightToPushAndToPull(t *testing.T) {
	r := populated(t)
	check := func(source, target situation, authorize func(*http.Request), how string) {
		t.Helper()
		want := target.answer()
		if want == allowed {
			want = "202" // an ordinary upload, as if the source lacked the blob
			if source.answer() == allowed {
				want = "201"
			}
		}
		path := "/v2/" + imageOf(target.visibility) + "-copy/blobs/uploads/?mount=" + layerDigest + "&from=" + imageOf(source.visibility)
		if got, content := ask(t, r.Addr, "POST", path, nil, authorize); got != want {
			t.Errorf("from %+v to %+v, by %s: %s, want %s; %s", source, target, how, got, want, content)
		}
	}
	walk(func(role, scopes, narrowing string, from policy.Visibility) {
		if role == "nobody" {
			return
		}
		value := tokenOf(role, scopes, narrowing, from)
		for _, to := range []policy.Visibility{policy.Private, policy.Internal, policy.Public} {
			source := situation{policy.SupportEnabled, policy.AnonymousDeny, from, role, scopes, narrowing, "pull"}
			target := situation{policy.SupportEnabled, policy.AnonymousDeny, to, role, scopes, narrowing, "push"}
			if narrowing == "this" && to != from {
				target.narrowing = "other"
			}
			check(source, target, withToken(value), "token")
			// Clients ask for a token for the target alone.
			if bearer, issued := withBearer(t, r.Addr, value, imageOf(to)+"-copy"); issued {
				check(source, target, bearer, "bearer token")
			}
		}
	})
}
