// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// logLines collect what a registry logs, at every verbosity.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

// startLogged runs a registry whose log is collected.
func startLogged(t *testing.T) (*registrytest.Registry, client, *logLines) {
	t.Helper()
	lines := &logLines{}
	log := funcr.NewJSON(lines.add, funcr.Options{Verbosity: 10})
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{Log: &log})
	return r, client{t: t, addr: r.Addr, value: writerValue}, lines
}

func TestNoSecretReachesTheLog(t *testing.T) {
	r, c, lines := startLogged(t)
	secrets := presentCredentials(t, c)
	c.pushImage(name, "1.0", strings.Repeat("layer", 20_000))
	breakOff(t, r.Addr, "PUT", "/v2/"+name+"/manifests/x", []byte("{"), 100, false)
	r.Publish(t, func() policy.Policy { p := samplePolicy(); p.Credentials = nil; return p }())
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusUnauthorized)
	r.Stop(t)

	requests := 0
	for _, line := range lines.all() {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				t.Errorf("the log has the secret %s: %s", secret, line)
			}
		}
		if strings.Contains(line, `"msg":"Request"`) {
			requests++
		}
	}
	if requests < 50 {
		t.Errorf("only %d requests were logged, so that this test looked at little", requests)
	}
}

// presentCredentials presents credentials, right and wrong, in every way, and
// returns what nobody may see of that.
func presentCredentials(t *testing.T, c client) (secrets []string) {
	t.Helper()
	secrets = []string{writerValue, readerValue, ownerValue, otherValue, "wrong-value-that-somebody-mistyped"}
	anonymous := c.as("")
	for _, v := range secrets {
		secrets = append(secrets, basic("anybody", v))
		c.as(v).do("GET", "/v2/", nil)
		c.as(v).do("GET", "/v2/_catalog", nil)
		c.as(v).do("GET", "/token?service=docker.packages.test&scope=repository:"+name+":pull,push,delete", nil)
		c.form("grant_type", "password", "username", "anybody", "password", v, "scope", "repository:"+name+":pull")
		c.form("grant_type", "refresh_token", "refresh_token", v, "service", "elsewhere.example")
		c.form("password", v)
		anonymous.do("POST", "/token", []byte("password="+v+"&%%%"), header{"Content-Type", "application/x-www-form-urlencoded"})
		anonymous.do("GET", "/token?password="+url.QueryEscape(v), nil)
		anonymous.do("GET", "/v2/", nil, header{"Authorization", "Bearer " + v})
		anonymous.do("GET", "/v2/", nil, header{"Authorization", v})
	}
	for _, scope := range []string{"repository:" + name + ":pull,push,delete", "registry:catalog:*", ""} {
		bearer := c.bearer("scope=" + scope)
		jwt := strings.TrimPrefix(bearer[1], "Bearer ")
		secrets = append(secrets, jwt, jwt[strings.LastIndexByte(jwt, '.')+1:])
		anonymous.do("GET", "/v2/", nil, bearer)
		anonymous.do("GET", "/v2/_catalog", nil, bearer)
		anonymous.do("POST", "/v2/"+name+"/blobs/uploads/", nil, bearer)
		anonymous.do("GET", "/v2/", nil, header{"Authorization", bearer[1] + "x"})
		anonymous.do("GET", "/token", nil, bearer)
	}
	return secrets
}

func TestEveryRequestIsLoggedUnderItsID(t *testing.T) {
	r, c, lines := startLogged(t)
	_, digest := c.pushImage(name, "1.0", "layer")
	answers := []answer{
		c.do("GET", "/v2/"+name+"/manifests/1.0", nil, header{"User-Agent", "docker/20.10 " + strings.Repeat("x", 1000)}).want(t, http.StatusOK),
		c.do("HEAD", "/v2/"+name+"/blobs/"+string(ref.SHA256.FromBytes([]byte("layer"))), nil).want(t, http.StatusOK),
		c.as(readerValue).do("DELETE", "/v2/"+name+"/manifests/"+string(digest), nil).want(t, http.StatusForbidden),
		c.as("").do("GET", "/v2/", nil).want(t, http.StatusUnauthorized),
		c.do("GET", "/nowhere", nil).want(t, http.StatusNotFound),
		c.do("GET", "/token?scope=nonsense", nil).want(t, http.StatusBadRequest),
	}
	r.Stop(t)

	type entry struct {
		Logger, Msg                                              string
		Request, Method, Route, Name, Reference                  string
		User, Credential, Code, Reason, Client, Remote, Duration string
		Status                                                   int
		Received, Sent                                           int64
	}
	byID := map[string]entry{}
	for _, line := range lines.all() {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Msg != "Request" {
			continue
		}
		if _, twice := byID[e.Request]; twice || e.Request == "" {
			t.Errorf("a request without an id of its own: %s", line)
		}
		if _, err := time.ParseDuration(e.Duration); err != nil {
			t.Errorf("no duration: %s", line)
		}
		if len(e.Client) > 300 {
			t.Errorf("a client fills the log: %s", line)
		}
		byID[e.Request] = e
	}
	for i, want := range []entry{
		{Method: "GET", Route: "ManifestGet", Name: name, Reference: "1.0", User: "monalisa", Status: 200},
		{Method: "HEAD", Route: "BlobHead", Name: name, Reference: string(ref.SHA256.FromBytes([]byte("layer"))), User: "monalisa", Status: 200},
		{Method: "DELETE", Route: "ManifestDelete", Name: name, Reference: string(digest), User: "hubot", Status: 403, Code: "DENIED"},
		{Method: "GET", Route: "Version", Status: 401, Code: "UNAUTHORIZED"},
		{Method: "GET", Route: "Unknown", Status: 404, Code: "UNKNOWN"},
		{Method: "GET", Route: "Token", Status: 400, Code: "UNSUPPORTED"},
	} {
		got, found := byID[answers[i].Header.Get("X-Request-Id")]
		if !found {
			t.Errorf("%s %s is not in the log under its X-Request-Id", want.Method, want.Route)
			continue
		}
		if (got.Credential != "") != (want.User != "") || (got.Reason != "") != (want.Code != "") || got.Remote == "" ||
			want.Method != "HEAD" && got.Sent != int64(len(answers[i].body)) {
			t.Errorf("this line lacks something: %+v", got)
		}
		short := entry{Method: got.Method, Route: got.Route, Name: got.Name, Reference: got.Reference, User: got.User, Status: got.Status, Code: got.Code}
		if short != want {
			t.Errorf("got  %s\nwant %s", fmt.Sprint(short), fmt.Sprint(want))
		}
	}
}

func TestTheLogTellsTheClientBehindATrustedProxy(t *testing.T) {
	for _, test := range []struct {
		trusted []netip.Prefix
		want    string
	}{
		{nil, "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "203.0.113.9"},
	} {
		lines := &logLines{}
		log := funcr.NewJSON(lines.add, funcr.Options{Verbosity: 10})
		r := registrytest.Start(t, samplePolicy(), registrytest.Options{Log: &log, TrustedProxies: test.trusted})
		client{t: t, addr: r.Addr}.do("GET", "/v2/", nil, header{"X-Forwarded-For", "203.0.113.9"})
		r.Stop(t)
		if all := strings.Join(lines.all(), "\n"); !strings.Contains(all, `"remote":"`+test.want+`"`) {
			t.Errorf("trusting %v, no request comes from %s:\n%s", test.trusted, test.want, all)
		}
	}
}

// What an operator sees without asking for more: what was changed, and what was
// refused.
func TestRoutineIsLoggedForDebuggingOnly(t *testing.T) {
	lines := &logLines{}
	log := funcr.NewJSON(lines.add, funcr.Options{})
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{Log: &log})
	c := client{t: t, addr: r.Addr, value: writerValue}
	content := []byte("content")
	digest := ref.SHA256.FromBytes(content)
	blob, uploads := "/v2/"+name+"/blobs/"+string(digest), "/v2/"+name+"/blobs/uploads/"
	c.do("HEAD", blob, nil).want(t, http.StatusNotFound)
	at := c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location")
	at = c.do("PATCH", at, content).want(t, http.StatusAccepted).Header.Get("Location")
	c.do("PUT", at+"?digest="+string(digest), nil).want(t, http.StatusCreated)
	c.do("HEAD", blob, nil).want(t, http.StatusOK)
	c.do("GET", blob, nil).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/none", nil).want(t, http.StatusNotFound)
	c.do("PATCH", uploads+"none", content).want(t, http.StatusNotFound)
	client{t: t, addr: r.Addr}.do("HEAD", "/v2/nobody/none/none/blobs/"+string(digest), nil).want(t, http.StatusUnauthorized)
	r.Stop(t)

	var got []string
	for _, line := range lines.all() {
		var e struct {
			Msg, Method string
			Status      int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Msg == "Request" {
			got = append(got, fmt.Sprint(e.Method, " ", e.Status))
		}
	}
	want := []string{"PUT 201", "GET 404", "PATCH 404", "HEAD 401"}
	if !slices.Equal(got, want) {
		t.Errorf("logged are %q, want %q", got, want)
	}
}
