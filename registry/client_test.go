// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// The values of tokens of the sample users.
var (
	ownerValue  = value("octocat")
	writerValue = value("monalisa")
	readerValue = value("hubot")
	otherValue  = value("stranger")
)

func value(user string) string { return user + strings.Repeat("-0123456789", 4) }

// name is an OCI name in the private repository of the sample policy.
const name = "octocat/octo-app/monalisa"

var allScopes = []policy.Scope{policy.ScopeRead, policy.ScopeWrite, policy.ScopeDelete}

// samplePolicy has a repository of each visibility, owned by octocat, where
// monalisa may write and hubot may read; each of them, and a stranger, has a
// token with all scopes.
func samplePolicy() policy.Policy {
	p := registrytest.Policy()
	members := []policy.Member{{Name: "hubot", Role: policy.RoleRead}, {Name: "monalisa", Role: policy.RoleWrite}}
	for repository, visibility := range map[string]policy.Visibility{
		"octo-app": policy.Private, "octo-internal": policy.Internal, "octo-public": policy.Public,
	} {
		p.Repositories = append(p.Repositories, policy.Repository{Owner: "octocat", Name: repository, Visibility: visibility, Users: members})
	}
	for _, user := range []string{"octocat", "monalisa", "hubot", "stranger"} {
		p.Credentials = append(p.Credentials, registrytest.Credential(value(user), user, allScopes...))
	}
	return p
}

// client sends requests with the value of a token; an empty one sends none.
type client struct {
	t     *testing.T
	addr  string
	value string
}

func (c client) as(value string) client { c.value = value; return c }

// answer is a response that was read whole.
type answer struct {
	*http.Response
	body []byte
}

// header is a request header, KEY and VALUE in turn.
type header []string

// do sends a request; path may be a Location.
func (c client) do(method, path string, body []byte, headers ...header) answer {
	c.t.Helper()
	a, err := c.send(method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// send is do for goroutines other than the test's.
func (c client) send(method, path string, body []byte, headers ...header) (answer, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := c.request(method, path, reader, headers...)
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: read the body: %w", method, path, err)
	}
	return answer{resp, content}, nil
}

func (c client) request(method, path string, body io.Reader, headers ...header) (*http.Request, error) {
	req, err := http.NewRequest(method, "http://"+c.addr+path, body)
	if err != nil {
		return nil, err
	}
	if c.value != "" {
		req.SetBasicAuth("anybody", c.value)
	}
	for _, h := range headers {
		if h[0] == "Host" {
			req.Host = h[1]
			continue
		}
		req.Header.Set(h[0], h[1])
	}
	return req, nil
}

// want fails the test unless the answer has the status, and the code if any.
func (a answer) want(t *testing.T, status int, code ...errcode.Code) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d; %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	if len(code) > 0 {
		if got := a.errorCode(t); got != code[0] {
			t.Fatalf("%s %s: code %s, want %s; %s", a.Request.Method, a.Request.URL, got, code[0], a.body)
		}
	}
	return a
}

func (a answer) errorCode(t *testing.T) errcode.Code {
	t.Helper()
	code, _ := a.refusal(t)
	return code
}

// refusal is the code and the sentence of an error document.
func (a answer) refusal(t *testing.T) (errcode.Code, string) {
	t.Helper()
	var document struct {
		Errors []struct {
			Code    errcode.Code
			Message string
		}
	}
	if err := json.Unmarshal(a.body, &document); err != nil || len(document.Errors) != 1 || document.Errors[0].Message == "" {
		t.Fatalf("%s %s: no error document: %q", a.Request.Method, a.Request.URL, a.body)
	}
	return document.Errors[0].Code, document.Errors[0].Message
}

// wantReason fails the test unless the error's sentence contains part.
func (a answer) wantReason(t *testing.T, part string) answer {
	t.Helper()
	if _, message := a.refusal(t); !strings.Contains(message, part) {
		t.Fatalf("%s %s: the reason is %q, want it to say %q", a.Request.Method, a.Request.URL, message, part)
	}
	return a
}

func (a answer) wantHeader(t *testing.T, key, want string) answer {
	t.Helper()
	if got := a.Header.Get(key); got != want {
		t.Fatalf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL, key, got, want)
	}
	return a
}

// pushBlob uploads content by POST and PUT.
func (c client) pushBlob(name string, content []byte) ref.Digest {
	c.t.Helper()
	digest := ref.SHA256.FromBytes(content)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(c.t, http.StatusAccepted).Header.Get("Location")
	c.do("PUT", location+"?digest="+string(digest), content, header{"Content-Type", "application/octet-stream"}).
		want(c.t, http.StatusCreated).wantHeader(c.t, "Docker-Content-Digest", string(digest))
	return digest
}

// image is an OCI manifest with one layer.
func image(config, layer ref.Digest, more string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":5}]%s}`, manifest.OCIManifest, config, layer, more)
}

// pushImage pushes an image whose layer is content, under a tag or, without
// one, by digest.
func (c client) pushImage(name, tag, content string) ([]byte, ref.Digest) {
	c.t.Helper()
	m := image(c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte(content)), "")
	digest := ref.SHA256.FromBytes(m)
	reference := tag
	if reference == "" {
		reference = string(digest)
	}
	c.putManifest(name, reference, m).want(c.t, http.StatusCreated).wantHeader(c.t, "Docker-Content-Digest", string(digest))
	return m, digest
}

func (c client) putManifest(name, reference string, content []byte) answer {
	c.t.Helper()
	return c.do("PUT", "/v2/"+name+"/manifests/"+reference, content, header{"Content-Type", manifest.OCIManifest})
}

// start runs a registry with the sample policy and returns a client for the
// user who may write.
func start(t *testing.T) (*registrytest.Registry, client) {
	t.Helper()
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{})
	return r, client{t: t, addr: r.Addr, value: writerValue}
}
