// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// challenge is a WWW-Authenticate header of the registry.
func challenge(realm, scope, code string) string {
	text := `Bearer realm="` + realm + `",service="docker.packages.test"`
	if scope != "" {
		text += `,scope="` + scope + `"`
	}
	if code != "" {
		text += `,error="` + code + `"`
	}
	return text
}

func TestABadCredentialIsChallengedWithoutSayingWhy(t *testing.T) {
	r := registrytest.Start(t, func() policy.Policy {
		p := samplePolicy()
		past := time.Now().Add(-time.Minute)
		for i := range p.Credentials {
			if p.Credentials[i].User == "hubot" {
				p.Credentials[i].NotAfter = &past
			}
		}
		return p
	}(), registrytest.Options{})
	c := client{t: t, addr: r.Addr}
	path := "/v2/" + name + "/manifests/1.0"
	want := challenge("http://"+r.Addr+"/token", "repository:"+name+":pull", "invalid_token")
	var bodies []string
	for _, authorization := range []string{
		"Basic " + basic("hubot", readerValue), // expired
		"Basic " + basic("monalisa", "no such token, but one that is long enough"),
		"Basic " + basic("monalisa", ""),
		"Basic %%%", "Bearer x.y.z", "Bearer", "Digest username=monalisa",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvY3RvY2F0In0.",
	} {
		got := c.do("GET", path, nil, header{"Authorization", authorization}).want(t, http.StatusUnauthorized, errcode.Unauthorized).
			wantHeader(t, "Www-Authenticate", want)
		bodies = append(bodies, string(got.body))
	}
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Errorf("two bad credentials can be told apart: %s and %s", bodies[0], body)
		}
	}
}

func TestWhatTheActorMayNotSeeLooksLikeWhatIsMissing(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	stranger := c.as(otherValue)
	digest := string(ref.SHA256.FromBytes([]byte("layer")))
	for _, request := range []string{
		"GET /v2/NAME/manifests/1.0", "HEAD /v2/NAME/manifests/1.0", "GET /v2/NAME/tags/list", "GET /v2/NAME/blobs/" + digest,
		"GET /v2/NAME/referrers/" + digest, "POST /v2/NAME/blobs/uploads/", "PUT /v2/NAME/manifests/1.0",
		"DELETE /v2/NAME/manifests/1.0", "DELETE /v2/NAME/blobs/" + digest, "PATCH /v2/NAME/blobs/uploads/x",
	} {
		method, path, _ := strings.Cut(request, " ")
		ask := func(name string) answer {
			return stranger.do(method, strings.Replace(path, "NAME", name, 1), nil).want(t, http.StatusNotFound)
		}
		hidden, missing := ask(name), ask("octocat/octo-mpp/monalisa")
		if method != "HEAD" && hidden.errorCode(t) != errcode.NameUnknown {
			t.Errorf("%s: %s", request, hidden.body)
		}
		if got, want := string(hidden.body), strings.ReplaceAll(string(missing.body), "octo-mpp", "octo-app"); got != want {
			t.Errorf("%s: hidden and missing differ:\n%s\n%s", request, got, want)
		}
		for _, a := range []*answer{&hidden, &missing} {
			a.Header.Del("X-Request-Id")
			a.Header.Del("Date")
		}
		if fmt.Sprint(hidden.Header) != fmt.Sprint(missing.Header) {
			t.Errorf("%s: hidden and missing differ:\n%v\n%v", request, hidden.Header, missing.Header)
		}
	}
	// Once the repository is no longer declared, its own people see the same.
	p := samplePolicy()
	p.Repositories = nil
	r.Publish(t, p)
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusNotFound, errcode.NameUnknown)
	r.Publish(t, samplePolicy())
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
}

func TestWhatTheActorSeesAndMayNotDoIsDeniedWithTheReason(t *testing.T) {
	readOnlyValue := value("readonly")
	p := samplePolicy()
	p.Credentials = append(p.Credentials, registrytest.Credential(readOnlyValue, "monalisa2", policy.ScopeRead))
	for i := range p.Repositories {
		p.Repositories[i].Users = append([]policy.Member{{Name: "monalisa2", Role: policy.RoleWrite}}, p.Repositories[i].Users...)
	}
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr}
	content, _ := c.as(writerValue).pushImage(name, "1.0", "layer")
	uploads, tag := "/v2/"+name+"/blobs/uploads/", "/v2/"+name+"/manifests/1.0"

	c.as(readerValue).do("GET", tag, nil).want(t, http.StatusOK)
	c.as(readerValue).do("POST", uploads, nil).want(t, http.StatusForbidden, errcode.Denied).
		wantReason(t, "your role in octocat/octo-app is Read; pushing needs Write")
	c.as(readerValue).putManifest(name, "1.0", content).want(t, http.StatusForbidden, errcode.Denied)
	c.as(writerValue).do("DELETE", tag, nil).want(t, http.StatusForbidden, errcode.Denied).
		wantReason(t, "your role in octocat/octo-app is Write; deleting needs Admin")
	c.as(otherValue).do("POST", "/v2/octocat/octo-internal/image/blobs/uploads/", nil).want(t, http.StatusForbidden, errcode.Denied).
		wantReason(t, "you have no role in octocat/octo-internal; pushing needs Write")

	c.as(readOnlyValue).do("GET", tag, nil).want(t, http.StatusOK)
	c.as(readOnlyValue).do("POST", uploads, nil).want(t, http.StatusForbidden, errcode.Denied).
		wantReason(t, "this token lacks the scope write:packages")
	c.as(readOnlyValue).do("DELETE", tag, nil).want(t, http.StatusForbidden, errcode.Denied)
	c.as(ownerValue).do("DELETE", tag, nil).want(t, http.StatusAccepted)
}

func TestANarrowedTokenSeesItsRepositoriesOnly(t *testing.T) {
	narrowed := value("narrowed")
	p := samplePolicy()
	credential := registrytest.Credential(narrowed, "octocat", allScopes...)
	credential.Repositories = []string{"octocat/octo-app"}
	p.Credentials = append(p.Credentials, credential)
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: narrowed}
	c.pushImage(name, "1.0", "layer")
	c.do("GET", "/v2/octocat/octo-public/image/tags/list", nil).want(t, http.StatusNotFound, errcode.NameUnknown)
	c.do("POST", "/v2/octocat/octo-internal/image/blobs/uploads/", nil).want(t, http.StatusNotFound, errcode.NameUnknown)
	if got := c.do("GET", "/v2/_catalog", nil).want(t, http.StatusOK); string(got.body) != `{"repositories":["`+name+`"]}` {
		t.Errorf("catalog: %s", got.body)
	}
}

func TestInternalAndPublicRepositories(t *testing.T) {
	r, c := start(t)
	for _, repository := range []string{"octo-internal", "octo-public"} {
		c.pushImage("octocat/"+repository+"/image", "1", "layer")
		c.as(otherValue).do("GET", "/v2/octocat/"+repository+"/image/manifests/1", nil).want(t, http.StatusOK)
		// Not even public ones are read without a token from the Docker host.
		c.as("").do("GET", "/v2/octocat/"+repository+"/image/manifests/1", nil).want(t, http.StatusUnauthorized)
	}
	p := samplePolicy()
	p.AnonymousPull = policy.AnonymousPublic
	r.Publish(t, p)
	anonymous := c.as("")
	public := "/v2/octocat/octo-public/image/"
	anonymous.do("GET", public+"manifests/1", nil).want(t, http.StatusOK)
	anonymous.do("GET", public+"tags/list", nil).want(t, http.StatusOK)
	anonymous.do("POST", public+"blobs/uploads/", nil).want(t, http.StatusUnauthorized)
	anonymous.do("DELETE", public+"manifests/1", nil).want(t, http.StatusUnauthorized)
	for _, hidden := range []string{"octo-internal/image", "octo-app/image", "no-such-repository/image"} {
		anonymous.do("GET", "/v2/octocat/"+hidden+"/manifests/1", nil).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	}
	if got := anonymous.do("GET", "/v2/_catalog", nil).want(t, http.StatusOK); string(got.body) != `{"repositories":["octocat/octo-public/image"]}` {
		t.Errorf("the catalog for everybody: %s", got.body)
	}
	token := anonymous.bearer("scope=repository:octocat/octo-public/image:pull,push")
	anonymous.do("GET", "/v2/", nil, token).want(t, http.StatusOK)
	anonymous.do("GET", public+"manifests/1", nil, token).want(t, http.StatusOK)
	anonymous.do("POST", public+"blobs/uploads/", nil, token).want(t, http.StatusUnauthorized)

	// The token dies with the setting that it came from.
	r.Publish(t, samplePolicy())
	anonymous.do("GET", public+"manifests/1", nil, token).want(t, http.StatusUnauthorized)
}

func TestSupportModesTakeEffectAtOnce(t *testing.T) {
	r, c := start(t)
	content, _ := c.pushImage(name, "1.0", "layer")
	digest := string(ref.SHA256.FromBytes([]byte("layer")))
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	mode := func(support policy.Support) {
		p := samplePolicy()
		p.Support = support
		r.Publish(t, p)
	}

	mode(policy.SupportReadOnly)
	c.do("GET", "/v2/", nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/blobs/"+digest, nil).want(t, http.StatusOK)
	for _, request := range []string{
		"POST /v2/" + name + "/blobs/uploads/", "PATCH " + location, "PUT " + location + "?digest=" + digest, "DELETE " + location,
		"POST /v2/octocat/octo-app/other/blobs/uploads/?mount=" + digest + "&from=" + name,
		"PUT /v2/" + name + "/manifests/1.0", "DELETE /v2/" + name + "/manifests/1.0", "DELETE /v2/" + name + "/blobs/" + digest,
	} {
		method, path, _ := strings.Cut(request, " ")
		c.as(ownerValue).do(method, path, nil).want(t, http.StatusMethodNotAllowed, errcode.Unsupported).wantReason(t, "read-only")
	}
	// Who may not see the repository learns nothing new from the mode.
	c.as(otherValue).do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusNotFound, errcode.NameUnknown)

	mode(policy.SupportDisabled)
	for _, path := range []string{"/v2/", "/v2/" + name + "/manifests/1.0", "/token?service=docker.packages.test", "/v2/_catalog"} {
		c.do("GET", path, nil).want(t, http.StatusNotFound, errcode.Unsupported).wantReason(t, "disabled")
	}

	mode(policy.SupportEnabled)
	c.putManifest(name, "1.0", content).want(t, http.StatusCreated)
	c.do("PUT", location+"?digest="+digest, []byte("layer")).want(t, http.StatusCreated)
}

func TestTheHostSelectsTheRegistry(t *testing.T) {
	r, c := start(t)
	_, port, _ := net.SplitHostPort(r.Addr)
	for _, host := range []string{"docker.packages.test", "docker.packages.test:443", "Docker.Packages.Test", "127.0.0.1", "127.0.0.1:5000", "localhost", "localhost:" + port, "[::1]:5000"} {
		c.do("GET", "/v2/", nil, header{"Host", host}).want(t, http.StatusOK)
	}
	c.do("GET", "/v2/", nil, header{"Host", "packages.test"}).want(t, http.StatusNotFound, errcode.Unsupported).
		wantReason(t, "the Docker registry is at docker.packages.test")
	for _, host := range []string{"elsewhere.example", "docker.packages.test.elsewhere.example", "xdocker.packages.test", "127.0.0.1.elsewhere.example", "127.0.0.2", "10.0.0.1:5000"} {
		c.do("GET", "/v2/", nil, header{"Host", host}).want(t, http.StatusNotFound, errcode.Unsupported)
	}
	p := samplePolicy()
	p.Hosts = policy.Hosts{Docker: "packages.test", Base: "packages.test", URL: "https://packages.test"}
	r.Publish(t, p)
	c.do("GET", "/v2/", nil, header{"Host", "packages.test"}).want(t, http.StatusOK)
	c.do("GET", "/v2/", nil, header{"Host", "docker.packages.test"}).want(t, http.StatusNotFound, errcode.Unsupported)
}

func TestTheRealmComesFromConfiguration(t *testing.T) {
	_, c := start(t)
	for host, realm := range map[string]string{
		"docker.packages.test":      "https://docker.packages.test/token",
		"docker.packages.test:8443": "https://docker.packages.test/token",
		"localhost:5001":            "http://localhost:5001/token",
		"127.0.0.1:5001":            "http://127.0.0.1:5001/token",
	} {
		c.as("").do("GET", "/v2/", nil, header{"Host", host},
			header{"X-Forwarded-Host", "elsewhere.example"}, header{"X-Forwarded-Proto", "ftp"}, header{"Forwarded", "host=elsewhere.example"}).
			want(t, http.StatusUnauthorized).wantHeader(t, "Www-Authenticate", challenge(realm, "", ""))
	}
	got := c.as("").do("GET", "/v2/", nil, header{"Host", "elsewhere.example"}).want(t, http.StatusNotFound)
	if got.Header.Get("Www-Authenticate") != "" || bytes.Contains(got.body, []byte("elsewhere")) {
		t.Errorf("an unknown host is told %v %s", got.Header, got.body)
	}
}

func TestLocationsAreRelative(t *testing.T) {
	_, c := start(t)
	content, digest := c.pushImage(name, "1.0", "layer")
	begun := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted)
	chunk := c.do("PATCH", begun.Header.Get("Location"), []byte("chunk")).want(t, http.StatusAccepted)
	finished := c.do("PUT", chunk.Header.Get("Location")+"?digest="+string(ref.SHA256.FromBytes([]byte("chunk"))), nil).want(t, http.StatusCreated)
	manifest := c.putManifest(name, "1.0", content).want(t, http.StatusCreated).wantHeader(t, "Location", "/v2/"+name+"/manifests/"+string(digest))
	for _, a := range []answer{begun, chunk, finished, manifest} {
		if location := a.Header.Get("Location"); !strings.HasPrefix(location, "/v2/"+name+"/") {
			t.Errorf("%s %s: Location %q", a.Request.Method, a.Request.URL, location)
		}
	}
}

func TestAnUploadBelongsToWhoBeganIt(t *testing.T) {
	_, c := start(t)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		path := location
		if method == "PUT" {
			path += "?digest=" + string(ref.SHA256.FromBytes([]byte("x")))
		}
		c.as(ownerValue).do(method, path, []byte("x")).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
		c.do(method, strings.Replace(path, "/monalisa/", "/mona/", 1), []byte("x")).want(t, http.StatusNotFound, errcode.BlobUploadUnknown)
	}
	c.do("GET", location, nil).want(t, http.StatusNoContent)
}
