// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

const (
	answerContent = "layer"
	answerIndex   = `{"schemaVersion":2,"mediaType":"` + manifest.OCIIndex + `","manifests":[]}`
)

var (
	answerDigest      = string(ref.SHA256.FromBytes([]byte(answerContent)))
	answerIndexDigest = string(ref.SHA256.FromBytes([]byte(answerIndex)))
)

// routed is a request of the registry port. In its path, NAME stands for the image,
// and UPLOAD for the path of an upload under way.
type routed struct {
	method, path string
	// action that its actor needs the right to; empty where any token does.
	action string
	body   string
	// success is the status of a request that may do what it asks.
	success int
}

func (r routed) String() string { return r.method + " " + r.path }

// scope is what a challenge tells the client to ask for.
func (r routed) scope(image string) string {
	switch r.action {
	case "pull":
		return "repository:" + image + ":pull"
	case "push", "delete":
		return "repository:" + image + ":pull," + r.action
	}
	if strings.HasSuffix(r.path, "_catalog") {
		return "registry:catalog:*"
	}
	return ""
}

// routes are all requests but those for a token. They succeed in this order.
var routes = []routed{
	{"GET", "/v2/", "", "", http.StatusOK},
	{"GET", "/v2/_catalog", "", "", http.StatusOK},
	{"GET", "/v2/NAME/tags/list", "pull", "", http.StatusOK},
	{"GET", "/v2/NAME/referrers/" + answerDigest, "pull", "", http.StatusOK},
	{"HEAD", "/v2/NAME/manifests/1.0", "pull", "", http.StatusOK},
	{"GET", "/v2/NAME/manifests/1.0", "pull", "", http.StatusOK},
	{"HEAD", "/v2/NAME/blobs/" + answerDigest, "pull", "", http.StatusOK},
	{"GET", "/v2/NAME/blobs/" + answerDigest, "pull", "", http.StatusOK},
	{"POST", "/v2/NAME/blobs/uploads/", "push", "", http.StatusAccepted},
	{"POST", "/v2/NAME/blobs/uploads/?digest=" + answerDigest, "push", answerContent, http.StatusCreated},
	{"POST", "/v2/NAME/blobs/uploads/?mount=" + answerDigest + "&from=NAME", "push", "", http.StatusCreated},
	{"GET", "UPLOAD", "push", "", http.StatusNoContent},
	{"PATCH", "UPLOAD", "push", answerContent, http.StatusAccepted},
	{"PUT", "UPLOAD?digest=" + answerDigest, "push", answerContent, http.StatusCreated},
	{"DELETE", "UPLOAD", "push", "", http.StatusNoContent},
	{"PUT", "/v2/NAME/manifests/2.0", "push", answerIndex, http.StatusCreated},
	{"DELETE", "/v2/NAME/manifests/1.0", "delete", "", http.StatusAccepted},
	{"DELETE", "/v2/NAME/manifests/" + answerIndexDigest, "delete", "", http.StatusAccepted},
}

// ask sends a route's request for an image.
func (c client) ask(r routed, image, upload string, headers ...header) answer {
	c.t.Helper()
	path := strings.Replace(strings.ReplaceAll(r.path, "NAME", image), "UPLOAD", upload, 1)
	return c.do(r.method, path, []byte(r.body), headers...)
}

// upload begins an upload.
func (c client) upload(image string) string {
	c.t.Helper()
	return c.do("POST", "/v2/"+image+"/blobs/uploads/", nil).want(c.t, http.StatusAccepted).Header.Get("Location")
}

// wantRefusal fails the test unless the answer is a whole error document, with a
// challenge if and only if a credential would help. HEAD has no body.
func (a answer) wantRefusal(t *testing.T, what string, status int, code errcode.Code) {
	t.Helper()
	challenged := a.Header.Get("Www-Authenticate") != ""
	switch {
	case a.StatusCode != status:
		t.Errorf("%s: status %d, want %d: %s", what, a.StatusCode, status, a.body)
	case challenged != (status == http.StatusUnauthorized):
		t.Errorf("%s: status %d with the challenge %q", what, status, a.Header.Get("Www-Authenticate"))
	case a.Header.Get("Content-Type") != "application/json" || a.Header.Get("X-Request-Id") == "":
		t.Errorf("%s: headers %v", what, a.Header)
	case a.Header.Get("Location")+a.Header.Get("Docker-Content-Digest")+a.Header.Get("Etag") != "":
		t.Errorf("%s: a refusal has headers of success: %v", what, a.Header)
	case a.Request.Method == "HEAD" && len(a.body) != 0:
		t.Errorf("%s: HEAD has the body %s", what, a.body)
	case a.Request.Method != "HEAD" && a.errorCode(t) != code:
		t.Errorf("%s: %s, want %s", what, a.body, code)
	}
}

// Nobody and whoever shows a wrong token learn where to sign in; the others learn as
// much as they may see.
func TestEveryRouteAnswersByWhoAsks(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{TrustedProxies: []netip.Prefix{loopback}})
	c := client{t: t, addr: r.Addr, value: writerValue}
	owner := c.as(ownerValue)
	c.pushImage(name, "1.0", answerContent)
	upload := owner.upload(name)
	const missing = "octocat/no-such-repository/image"
	unsigned := c.as("")
	realm := "http://" + r.Addr + "/token"

	for i, route := range routes {
		// Each route is asked from an address of its own, so that no limit on failed
		// logins is reached.
		from := header{"X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i)}
		refused := func(who string, a answer, status int, code errcode.Code) {
			t.Helper()
			a.wantRefusal(t, route.String()+" by "+who, status, code)
		}
		challenged := func(who string, c client, image, reason string, headers ...header) {
			t.Helper()
			a := c.ask(route, image, strings.Replace(upload, name, image, 1), append(headers, from)...)
			refused(who, a, http.StatusUnauthorized, errcode.Unauthorized)
			if got, want := a.Header.Get("Www-Authenticate"), challenge(realm, route.scope(image), reason); got != want {
				t.Errorf("%s by %s is challenged with %s, want %s", route, who, got, want)
			}
		}
		// Those learn nothing of what is there.
		for _, image := range []string{name, "octocat/octo-public/image", missing} {
			challenged("nobody, for "+image, unsigned, image, "")
			challenged("a wrong token, for "+image, c.as("no such token, but one that is long enough"), image, "invalid_token")
		}
		if route.action == "" {
			continue
		}
		challenged("a bearer token for nothing", unsigned, name, "insufficient_scope", owner.bearer(""))
		refused("the owner, in a repository that is missing", owner.ask(route, missing, strings.Replace(upload, name, missing, 1)), http.StatusNotFound, errcode.NameUnknown)
		refused("a stranger", c.as(otherValue).ask(route, name, upload), http.StatusNotFound, errcode.NameUnknown)
		switch route.action {
		case "push":
			refused("a reader", c.as(readerValue).ask(route, name, upload), http.StatusForbidden, errcode.Denied)
			refused("a reader's bearer token", unsigned.ask(route, name, upload, c.as(readerValue).bearer("scope=repository:"+name+":pull,push")), http.StatusForbidden, errcode.Denied)
		case "delete":
			refused("a writer", c.ask(route, name, upload), http.StatusForbidden, errcode.Denied)
		}
	}
	if got := unsigned.do("GET", "/token?service=docker.packages.test", nil, header{"Authorization", "Basic " + basic("octocat", "wrong")}); got.Header.Get("Www-Authenticate") != `Basic realm="docker.packages.test"` {
		t.Errorf("a wrong token at the token endpoint: %d %v", got.StatusCode, got.Header)
	}
	// Nothing of all that did anything, and each request is one that can succeed.
	for _, route := range routes {
		if got := owner.ask(route, name, owner.upload(name)); got.StatusCode != route.success {
			t.Errorf("%s by the owner: status %d, want %d: %s", route, got.StatusCode, route.success, got.body)
		}
	}
	for _, request := range []string{"DELETE /v2/" + name + "/manifests/" + string(imageDigest(answerContent)), "DELETE /v2/" + name + "/blobs/" + answerDigest} {
		method, path, _ := strings.Cut(request, " ")
		owner.do(method, path, nil).want(t, http.StatusAccepted)
	}
}

// imageDigest is that of what pushImage pushes.
func imageDigest(content string) ref.Digest {
	return ref.SHA256.FromBytes(image(ref.SHA256.FromBytes([]byte("{}")), ref.SHA256.FromBytes([]byte(content)), ""))
}

// What the instance says comes before who asks, but for what ReadOnly would tell
// of a repository.
func TestEveryRouteAnswersByTheInstancesState(t *testing.T) {
	r, c := start(t)
	owner := c.as(ownerValue)
	c.pushImage(name, "1.0", answerContent)
	upload := owner.upload(name)
	everybody := map[string]client{"the owner": owner, "nobody": c.as(""), "a stranger": c.as(otherValue), "a wrong token": c.as("wrong")}
	all := append([]routed{
		{"GET", "/token?service=docker.packages.test", "", "", http.StatusOK},
		{"POST", "/token", "", "grant_type=password&password=" + ownerValue, http.StatusOK},
	}, routes...)

	mode := func(support policy.Support) {
		p := samplePolicy()
		p.Support = support
		r.Publish(t, p)
	}
	for _, host := range []string{"elsewhere.example", "packages.test"} {
		for _, route := range all {
			for who, c := range everybody {
				c.ask(route, name, upload, header{"Host", host}).wantRefusal(t, route.String()+" at "+host+" by "+who, http.StatusNotFound, errcode.Unsupported)
			}
		}
	}
	mode(policy.SupportDisabled)
	for _, route := range all {
		for who, c := range everybody {
			c.ask(route, name, upload).wantRefusal(t, route.String()+" where Docker is disabled, by "+who, http.StatusNotFound, errcode.Unsupported)
		}
	}
	mode(policy.SupportReadOnly)
	for _, route := range routes {
		switch route.action {
		case "push", "delete":
			what := route.String() + " while read-only, by "
			owner.ask(route, name, upload).wantRefusal(t, what+"the owner", http.StatusMethodNotAllowed, errcode.Unsupported)
			c.as(otherValue).ask(route, name, upload).wantRefusal(t, what+"a stranger", http.StatusNotFound, errcode.NameUnknown)
			c.as("").ask(route, name, upload).wantRefusal(t, what+"nobody", http.StatusUnauthorized, errcode.Unauthorized)
		default:
			if got := owner.ask(route, name, upload); got.StatusCode != route.success {
				t.Errorf("%s while read-only: status %d, want %d: %s", route, got.StatusCode, route.success, got.body)
			}
		}
	}

	waiting := registrytest.Start(t, samplePolicy(), registrytest.Options{WithoutPolicy: true})
	for _, route := range all {
		client{t: t, addr: waiting.Addr, value: ownerValue}.ask(route, name, upload).
			wantRefusal(t, route.String()+" before the policy has come", http.StatusServiceUnavailable, errcode.Unknown)
	}
}
