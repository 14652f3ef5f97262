// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/check"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

var password = strings.Repeat("0123456789", 4)

// around makes a round against a registry where the user of a token with these
// scopes has this role.
func around(t *testing.T, role policy.Role, scopes []policy.Scope, edit func(*check.Registry)) error {
	t.Helper()
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{
		Owner: "octocat", Name: "octo-app", Visibility: policy.Private,
		Users: []policy.Member{{Name: "monalisa", Role: role}},
	}}
	p.Credentials = []policy.Credential{registrytest.Credential(password, "monalisa", scopes...)}
	running := registrytest.Start(t, p, registrytest.Options{})
	r := &check.Registry{
		URL: "https://docker.packages.test", Address: running.Addr, Transport: http.DefaultTransport,
		User: "monalisa", Password: password, Repository: "octocat/octo-app",
		Random: rand.NewChaCha8([32]byte{}),
		Report: func(string) {},
	}
	if edit != nil {
		edit(r)
	}
	return r.Round(t.Context())
}

var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

func TestARoundLogsInPushesPullsAndDeletes(t *testing.T) {
	var reported []string
	err := around(t, policy.RoleAdmin, []policy.Scope{policy.ScopeRead, policy.ScopeWrite, policy.ScopeDelete}, func(r *check.Registry) {
		r.Report = func(text string) { reported = append(reported, digests.ReplaceAllString(text, "DIGEST")) }
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"logged in at https://docker.packages.test as monalisa",
		"pushed octocat/octo-app/packages-operator-check@DIGEST",
		"pulled the same",
		"deleted it again",
	}, reported); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARoundWithoutTheRightToDeleteLeavesTheImage(t *testing.T) {
	var last string
	err := around(t, policy.RoleWrite, []policy.Scope{policy.ScopeRead, policy.ScopeWrite}, func(r *check.Registry) {
		r.Report = func(text string) { last = text }
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(last, "left it there, because the token may not delete: octocat/octo-app/packages-operator-check@sha256:") {
		t.Errorf("reported %q", last)
	}
}

func TestARoundSaysWhatIsWrong(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Welcome to nginx!</html>"))
	}))
	defer page.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://evil.example.com/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		role   policy.Role
		scopes []policy.Scope
		edit   func(*check.Registry)
		want   string
	}{
		"a wrong password": {
			policy.RoleWrite, []policy.Scope{policy.ScopeWrite},
			func(r *check.Registry) { r.Password = "guess" },
			"log in: the registry answers 401 UNAUTHORIZED: ",
		},
		"a token that may only read": {
			policy.RoleWrite, []policy.Scope{policy.ScopeRead}, nil,
			"push a blob: the registry answers 403 DENIED: ",
		},
		"a repository that is not there": {
			policy.RoleWrite, []policy.Scope{policy.ScopeWrite},
			func(r *check.Registry) { r.Repository = "octocat/nothing" },
			"push a blob: the registry answers 404 NAME_UNKNOWN: ",
		},
		"another web server": {
			policy.RoleWrite, nil,
			func(r *check.Registry) { r.Address = page.Listener.Addr().String() },
			"log in: the registry answers 200: this is no registry that wants a token: is https://docker.packages.test the right address?",
		},
		"a challenge that leads elsewhere": {
			policy.RoleWrite, nil,
			func(r *check.Registry) { r.Address = elsewhere.Listener.Addr().String() },
			"log in: the registry https://docker.packages.test sends to another host, evil.example.com",
		},
		"nobody there": {
			policy.RoleWrite, nil,
			func(r *check.Registry) { r.Address = "127.0.0.1:1" },
			"log in: dial tcp 127.0.0.1:1: connect: connection refused",
		},
		"too little randomness": {
			policy.RoleWrite, []policy.Scope{policy.ScopeWrite},
			func(r *check.Registry) { r.Random = bytes.NewReader(nil) },
			"make a layer: EOF",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := around(t, test.role, test.scopes, test.edit)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Error("the error has the password")
			}
		})
	}
}

func TestARoundEndsWithItsContext(t *testing.T) {
	err := around(t, policy.RoleWrite, nil, func(r *check.Registry) {
		transport := r.Transport
		r.Transport = roundTripper(func(request *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(request.Context())
			cancel()
			return transport.RoundTrip(request.WithContext(ctx))
		})
	})
	if err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("got %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
