// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
	"github.com/packages-operator/packages-operator/test/accessmatrix"
)

const indexType = "application/vnd.oci.image.index.v1+json"

var indexContent = []byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[]}`)

// form is a request's method, path and body; IMAGE stands for the image.
type form struct {
	method, path string
	body         []byte
	// action that a bearer token for the request has.
	action string
}

const uploads = "/v2/IMAGE/blobs/uploads/"

var (
	blob     = "/v2/IMAGE/blobs/" + string(digest)
	byDigest = "/v2/IMAGE/manifests/" + string(ref.SHA256.FromBytes(indexContent))
)

var forms = [...]form{
	accessmatrix.Version:        {method: "GET", path: "/v2/"},
	accessmatrix.Token:          {method: "GET", path: "/token?service=docker.packages.test&scope=repository:IMAGE:pull,push,delete&scope=registry:catalog:*"},
	accessmatrix.Catalog:        {method: "GET", path: "/v2/_catalog"},
	accessmatrix.TagsList:       {"GET", "/v2/IMAGE/tags/list", nil, "pull"},
	accessmatrix.Referrers:      {"GET", "/v2/IMAGE/referrers/" + string(digest), nil, "pull"},
	accessmatrix.BlobHead:       {"HEAD", blob, nil, "pull"},
	accessmatrix.BlobGet:        {"GET", blob, nil, "pull"},
	accessmatrix.BlobDelete:     {"DELETE", blob, nil, "delete"},
	accessmatrix.UploadStart:    {"POST", uploads, nil, "push"},
	accessmatrix.UploadWhole:    {"POST", uploads + "?digest=" + string(digest), content, "push"},
	accessmatrix.UploadStatus:   {"GET", uploads + "id", nil, "push"},
	accessmatrix.UploadChunk:    {"PATCH", uploads + "id", content, "push"},
	accessmatrix.UploadFinish:   {"PUT", uploads + "id?digest=" + string(digest), content, "push"},
	accessmatrix.UploadCancel:   {"DELETE", uploads + "id", nil, "push"},
	accessmatrix.ManifestHead:   {"HEAD", "/v2/IMAGE/manifests/1.0", nil, "pull"},
	accessmatrix.ManifestGet:    {"GET", "/v2/IMAGE/manifests/1.0", nil, "pull"},
	accessmatrix.ManifestPut:    {"PUT", "/v2/IMAGE/manifests/1.0", indexContent, "push"},
	accessmatrix.ManifestDelete: {"DELETE", byDigest, nil, "delete"},
	accessmatrix.TagDelete:      {"DELETE", "/v2/IMAGE/manifests/1.0", nil, "delete"},
}

var mountQueries = [...]string{
	accessmatrix.NoMount:            "",
	accessmatrix.FromMember:         "?mount=" + string(digest) + "&from=" + string(imageOfMember),
	accessmatrix.FromAnybody:        "?mount=" + string(digest) + "&from=" + string(imageOfAnybody),
	accessmatrix.FromHidden:         "?mount=" + string(digest) + "&from=" + string(imageHidden),
	accessmatrix.FromMissing:        "?mount=" + string(digest) + "&from=" + string(imageMissing),
	accessmatrix.FromWithoutBlob:    "?mount=" + string(digest) + "&from=" + string(imageWithoutBlob),
	accessmatrix.FromAnywhereMember: "?mount=" + string(digest),
	accessmatrix.FromAnywhereHidden: "?mount=" + string(strayDigest),
}

// request is a cell's request, not signed in.
func request(c accessmatrix.Cell) (*http.Request, error) {
	f := forms[c.Request]
	path := strings.ReplaceAll(f.path, "IMAGE", string(image(c.Repository))) + mountQueries[c.Mount]
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, err
	}
	r := &http.Request{Method: f.method, URL: u, Host: "docker.packages.test", Header: http.Header{}, Body: http.NoBody, ContentLength: int64(len(f.body))}
	if f.body != nil {
		r.Body = io.NopCloser(bytes.NewReader(f.body))
	}
	return r, nil
}

// challengeScope is what a challenge tells the client to ask for.
func challengeScope(c accessmatrix.Cell) string {
	switch action := forms[c.Request].action; action {
	case "":
		if c.Request == accessmatrix.Catalog {
			return "registry:catalog:*"
		}
		return ""
	case "pull":
		return "repository:" + string(image(c.Repository)) + ":pull"
	default:
		return "repository:" + string(image(c.Repository)) + ":pull," + action
	}
}

// bearerScopes is what a cell's bearer token is asked for with.
func bearerScopes(c accessmatrix.Cell) []string {
	name, action := string(image(c.Repository)), forms[c.Request].action
	if c.SignIn == accessmatrix.Bearer {
		switch {
		case action != "":
			return []string{"repository:" + name + ":" + action}
		case c.Request == accessmatrix.Catalog:
			return []string{"registry:catalog:*"}
		}
		return nil
	}
	rest := slices.DeleteFunc([]string{"pull", "push", "delete"}, func(a string) bool { return a == action })
	scopes := []string{"repository:" + name + ":" + strings.Join(rest, ","), "repository:" + name + "-2:pull,push,delete"}
	if c.Request != accessmatrix.Catalog {
		scopes = append(scopes, "registry:catalog:*")
	}
	return scopes
}

// registry is a handler with its catalog; for one goroutine.
type registry struct {
	handler http.Handler
	catalog *fullCatalog
	live    policy.Live
	// The policy that is in force, and the one that was.
	is, was *policy.Snapshot
}

// late is a body in the middle of which something happens.
type late struct {
	io.Reader
	happens func()
}

func (l late) Read(p []byte) (int, error) {
	l.happens()
	return l.Reader.Read(p)
}

// response is what came back, and what the catalog was asked meanwhile.
type response struct {
	status int
	header http.Header
	body   bytes.Buffer
	calls  []string
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// String has everything that a client sees or that the catalog notices.
func (r *response) String() string {
	return fmt.Sprintf("%d %v %q; calls: %q", r.status, r.header, r.body.String(), r.calls)
}

// same says that neither a client nor the catalog can tell two answers apart.
func (r *response) same(other *response) bool {
	return r.status == other.status && maps.EqualFunc(r.header, other.header, slices.Equal[[]string]) &&
		bytes.Equal(r.body.Bytes(), other.body.Bytes()) && slices.Equal(r.calls, other.calls)
}

func (r *registry) do(request *http.Request, authorization string) *response {
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	r.catalog.calls = nil
	w := &response{status: http.StatusOK, header: http.Header{}}
	r.handler.ServeHTTP(w, request)
	w.calls = r.catalog.calls
	return w
}

func (r *registry) send(t *testing.T, c accessmatrix.Cell, authorization string) *response {
	t.Helper()
	req, err := request(c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Moment == accessmatrix.WhileBodyArrives {
		change := func() { r.live.Publish(r.is) }
		req.Body = io.NopCloser(late{req.Body, change})
		r.live.Publish(r.was)
		defer change()
	}
	return r.do(req, authorization)
}

func basic(value string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+value))
}

// issuer gives out bearer tokens under the policy that was.
type issuer struct {
	registry *registry
	mu       sync.Mutex
	// issued headers by the part of a cell that they depend on.
	issued map[accessmatrix.Cell]string
}

// authorization is the header that a cell's actor sends.
func (i *issuer) authorization(t *testing.T, c accessmatrix.Cell) string {
	if c.SignIn == accessmatrix.None {
		return ""
	}
	key := c
	key.World, key.Mount, key.Moment = accessmatrix.World{}, accessmatrix.NoMount, accessmatrix.BeforeRequest
	key.Request = representatives[c.Request]
	i.mu.Lock()
	defer i.mu.Unlock()
	header, found := i.issued[key]
	if !found {
		if header = basic(valueOf(c)); c.SignIn != accessmatrix.Basic {
			header = "Bearer " + i.token(t, valueOf(c), bearerScopes(c))
		}
		i.issued[key] = header
	}
	return header
}

// representatives are, for each request, the first with the same action.
var representatives = func() (r [len(forms)]accessmatrix.Request) {
	for i, f := range forms {
		r[i] = accessmatrix.Request(i)
		if f.action != "" {
			r[i] = accessmatrix.Request(slices.IndexFunc(forms[:], func(g form) bool { return g.action == f.action }))
		}
	}
	return r
}()

func (i *issuer) token(t *testing.T, value string, scopes []string) string {
	t.Helper()
	query := url.Values{"scope": scopes}.Encode()
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/token", RawQuery: query}, Host: "docker.packages.test", Header: http.Header{}, Body: http.NoBody}
	authorization := ""
	if value != "" {
		authorization = basic(value)
	}
	w := i.registry.do(r, authorization)
	var answer struct{ Token string }
	if err := json.Unmarshal(w.body.Bytes(), &answer); err != nil || answer.Token == "" {
		t.Fatalf("no bearer token for %q: %v", query, w)
	}
	return answer.Token
}

// granted is the access of a bearer token, an entry TYPE:NAME:ACTION each.
func granted(token string) ([]string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("token %q is no JWT", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims struct {
		Access []struct {
			Type, Name string
			Actions    []string
		}
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, err
	}
	list := []string{}
	for _, entry := range claims.Access {
		for _, action := range entry.Actions {
			list = append(list, entry.Type+":"+entry.Name+":"+action)
		}
	}
	slices.Sort(list)
	return list, nil
}

func TestEveryRouteHasARequest(t *testing.T) {
	covered := map[route.Kind]bool{}
	for i := range forms {
		r, err := request(accessmatrix.Cell{Request: accessmatrix.Request(i)})
		if err != nil {
			t.Fatal(err)
		}
		parsed, refused := route.Parse(r)
		if refused != nil {
			t.Fatalf("%s: %v", accessmatrix.Request(i), refused)
		}
		covered[parsed.Kind] = true
	}
	for kind := route.Version; kind.String() != "Unknown"; kind++ {
		if !covered[kind] {
			t.Errorf("no cell asks for %s", kind)
		}
	}
}
