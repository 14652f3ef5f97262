// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// client speaks to one registry as one user. It is safe for concurrent use.
//
// It is plain net/http, one round trip at a time: no client library's cost hides
// the server's.
type client struct {
	base      *url.URL
	user      *url.Userinfo
	transport *http.Transport
	tokens    tokens
}

// maxConnections bounds the idle connections that a client keeps; there are never
// more workers.
const maxConnections = 256

// newClient makes a client for the registry at base. If dial is not empty, that
// address is where base is to be found, whatever its host name.
func newClient(base *url.URL, user *url.Userinfo, dial string) *client {
	transport := &http.Transport{
		DisableCompression:  true,
		MaxIdleConnsPerHost: maxConnections,
		IdleConnTimeout:     time.Minute,
	}
	if dial != "" {
		var dialer net.Dialer
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, dial)
		}
	}
	return &client{base: base, user: user, transport: transport}
}

// again is the same client without its tokens and connections, like another
// machine of the same user.
func (c *client) again() *client {
	return &client{base: c.base, user: c.user, transport: c.transport.Clone()}
}

// close gives up the connections.
func (c *client) close() { c.transport.CloseIdleConnections() }

// request is one that can be made many times, by one worker at a time.
type request struct {
	method, path string
	// scope is what Docker asks the token endpoint for to make the request.
	scope string
	// accept and contentType are headers, if not empty.
	accept, contentType string
	// body may be nil.
	body *content
	// want is the status of success.
	want int
}

// statusError is an answer that was not wanted.
type statusError struct {
	request request
	status  int
	body    string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s %s: status %d, want %d: %s", e.request.method, e.request.path, e.status, e.request.want, e.body)
}

// do makes a request and takes in the whole answer. It returns the answer's header
// and the bytes of its body.
func (c *client) do(ctx context.Context, r request) (http.Header, int64, error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	n, err := drain(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, n, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if r.method == http.MethodGet && response.ContentLength >= 0 && n != response.ContentLength {
		return nil, n, fmt.Errorf("%s %s: %d bytes, %d were announced", r.method, r.path, n, response.ContentLength)
	}
	return response.Header, n, nil
}

// read makes a request and returns the answer's body.
func (c *client) read(ctx context.Context, r request) ([]byte, http.Header, error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(response.Body)
	return body, response.Header, errors.Join(err, response.Body.Close())
}

func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	h, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	if c.user != nil && r.scope != "" {
		token, err := c.token(ctx, r.scope)
		if err != nil {
			return nil, err
		}
		h.Header.Set("Authorization", token)
	}
	response, err := c.transport.RoundTrip(h)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != r.want {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 300)) // the status is the error
		_ = response.Body.Close()
		return nil, &statusError{r, response.StatusCode, strings.TrimSpace(string(body))}
	}
	return response, nil
}

func (c *client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	target, err := c.base.Parse(r.path)
	if err != nil {
		return nil, err
	}
	h := &http.Request{Method: r.method, URL: target, Header: make(http.Header, 3)}
	if r.accept != "" {
		h.Header.Set("Accept", r.accept)
	}
	if r.contentType != "" {
		h.Header.Set("Content-Type", r.contentType)
	}
	if r.body != nil {
		h.Body, h.ContentLength = io.NopCloser(r.body.reader()), r.body.size
	}
	return h.WithContext(ctx), nil
}

// readSize is how much of a body is read at a time: little enough to stay in a
// processor's cache, and much enough that calls do not count.
const readSize = 256 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// drain reads r to its end, with large reads: io.Discard would make small ones.
func drain(r io.Reader) (int64, error) {
	buffer := readBuffers.Get().(*[readSize]byte)
	defer readBuffers.Put(buffer)
	var total int64
	for {
		n, err := r.Read(buffer[:])
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// tokens are bearer tokens by scope. The zero value is ready.
type tokens struct {
	mu      sync.RWMutex
	byScope map[string]token
	// endpoint is where the registry said that tokens are; nil until it did.
	endpoint *url.URL
}

type token struct {
	authorization string
	renew         time.Time
}

// token returns an Authorization header for a scope, as docker gets it: the
// challenge of /v2/, then the token that it points to.
func (c *client) token(ctx context.Context, scope string) (string, error) {
	c.tokens.mu.RLock()
	t, found := c.tokens.byScope[scope]
	c.tokens.mu.RUnlock()
	if found && time.Now().Before(t.renew) {
		return t.authorization, nil
	}
	c.tokens.mu.Lock()
	defer c.tokens.mu.Unlock()
	if t, found := c.tokens.byScope[scope]; found && time.Now().Before(t.renew) {
		return t.authorization, nil
	}
	if c.tokens.endpoint == nil {
		endpoint, err := c.challenge(ctx)
		if err != nil {
			return "", err
		}
		c.tokens.endpoint, c.tokens.byScope = endpoint, map[string]token{}
	}
	t, err := c.fetchToken(ctx, c.tokens.endpoint, scope)
	if err != nil {
		return "", fmt.Errorf("get a token for %s: %w", scope, err)
	}
	c.tokens.byScope[scope] = t
	return t.authorization, nil
}

// challenge asks the registry where it has tokens.
func (c *client) challenge(ctx context.Context) (*url.URL, error) {
	response, err := c.send(ctx, request{method: http.MethodGet, path: "/v2/", want: http.StatusUnauthorized})
	if err != nil {
		return nil, err
	}
	_, err = drain(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	return parseChallenge(response.Header.Get("Www-Authenticate"))
}

// parseChallenge reads a Bearer challenge (RFC 6750) and returns the URL of the
// realm with the service.
func parseChallenge(header string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, fmt.Errorf("the challenge %q is not for bearer tokens", header)
	}
	parameters := map[string]string{}
	for rest != "" {
		name, value, found := strings.Cut(rest, `="`)
		if !found {
			break
		}
		value, rest, found = strings.Cut(value, `"`)
		if !found {
			return nil, fmt.Errorf("the challenge %q has a value without end", header)
		}
		parameters[strings.ToLower(strings.Trim(name, ", "))] = value
	}
	realm, err := url.Parse(parameters["realm"])
	if err != nil || realm.Host == "" {
		return nil, fmt.Errorf("the challenge %q has no realm that is a URL", header)
	}
	realm.RawQuery = url.Values{"service": {parameters["service"]}}.Encode()
	return realm, nil
}

// fetchToken makes one request to the token endpoint.
func (c *client) fetchToken(ctx context.Context, endpoint *url.URL, scope string) (token, error) {
	target := *endpoint
	target.RawQuery += "&" + url.Values{"scope": {scope}}.Encode()
	h := (&http.Request{Method: http.MethodGet, URL: &target, Header: http.Header{}}).WithContext(ctx)
	password, _ := c.user.Password()
	h.SetBasicAuth(c.user.Username(), password)
	asked := time.Now()
	response, err := c.transport.RoundTrip(h)
	if err != nil {
		return token{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return token{}, err
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if response.StatusCode != http.StatusOK {
		return token{}, fmt.Errorf("status %d", response.StatusCode)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return token{}, err
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	// Docker's flow: without expires_in it is 60 seconds.
	if answer.ExpiresIn == 0 {
		answer.ExpiresIn = 60
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	return token{"Bearer " + answer.Token, asked.Add(life * 3 / 4)}, nil
}
