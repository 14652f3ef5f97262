// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

func TestParseChallenge(t *testing.T) {
	for header, want := range map[string]string{
		`Bearer realm="https://a.test/token",service="docker.a.test"`:                       "https://a.test/token?service=docker.a.test",
		`bearer service="s", realm="http://127.0.0.1:5000/token",scope="repository:a:pull"`: "http://127.0.0.1:5000/token?service=s",
	} {
		got, err := parseChallenge(header)
		if err != nil || got.String() != want {
			t.Errorf("%s gives %v and the error %v, want %s", header, got, err, want)
		}
	}
	for _, header := range []string{"", `Basic realm="x"`, `Bearer service="s"`, `Bearer realm="/token"`, `Bearer realm="https://a.test/`} {
		if got, err := parseChallenge(header); err == nil {
			t.Errorf("%q gives %v and no error", header, got)
		}
	}
}

func TestNextPage(t *testing.T) {
	for link, want := range map[string]string{
		"": "",
		`</v2/_catalog?last=a%2Fb&n=10>; rel="next"`:        "/v2/_catalog?last=a%2Fb&n=10",
		`<http://host.test/v2/x/tags/list?n=1>; rel="next"`: "/v2/x/tags/list?n=1",
	} {
		path, more, err := nextPage(http.Header{"Link": {link}})
		if err != nil || path != want || more != (want != "") {
			t.Errorf("%q gives %q, %v and the error %v, want %q", link, path, more, err, want)
		}
	}
	for _, link := range []string{"<unclosed", `</x>; rel="last"`, "<%zz>; rel=\"next\""} {
		if path, _, err := nextPage(http.Header{"Link": {link}}); err == nil {
			t.Errorf("%q gives %q and no error", link, path)
		}
	}
}

func TestATokenIsFetchedOnceForAScope(t *testing.T) {
	var issued atomic.Int64
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, password, _ := r.BasicAuth(); {
		case r.URL.Path == "/v2/":
			w.Header().Set("Www-Authenticate", `Bearer realm="`+server.URL+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/token" && user == "u" && password == "p" && r.URL.Query().Get("service") == "s":
			issued.Add(1)
			_, _ = io.WriteString(w, `{"token":"for `+r.URL.Query().Get("scope")+`","expires_in":300}`)
		case r.Header.Get("Authorization") == "Bearer for repository:a/b/c:pull":
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(base, url.UserPassword("u", "p"), "")
	if err := each(t.Context(), 20, func(ctx context.Context, _ int) error {
		_, _, err := c.do(ctx, getBlob("a/b/c", "sha256:0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := issued.Load(); n != 1 {
		t.Errorf("%d tokens were issued, want 1", n)
	}
	_, _, err = c.do(t.Context(), request{method: http.MethodGet, path: "/v2/a/b/c/tags/list", scope: "other", want: http.StatusOK})
	if err == nil || !strings.Contains(err.Error(), "status 403, want 200") {
		t.Errorf("got the error %v, want the status", err)
	}
}

func TestContentIsTheSameEveryTime(t *testing.T) {
	for _, size := range []int64{8, 100, 1<<20 - 1, 3<<20 + 5} {
		blob := newBlob(size)
		whole, err := io.ReadAll(blob.reader())
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("%d bytes of %d, and the error %v", len(whole), size, err)
		}
		pieces, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(blob.reader(), 100)))
		if err != nil || !bytes.HasPrefix(whole, pieces) {
			t.Errorf("read a byte at a time, a blob of %d bytes is another", size)
		}
		if got := newText(whole).digest; got != blob.digest {
			t.Errorf("a blob of %d bytes has the digest %s, said to be %s", size, got, blob.digest)
		}
		if other := newBlob(size); other.digest == blob.digest {
			t.Errorf("two blobs of %d bytes are the same", size)
		}
	}
}
