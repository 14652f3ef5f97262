// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package check uses a registry as docker does, from the login to the pull, and
// says what is wrong.
package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// What a round pushes: an image of one layer.
const (
	imageName = "packages-operator-check"
	imageTag  = "latest"
	layerSize = 64 << 10

	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"

	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

// Registry is what a round is made against.
type Registry struct {
	// URL is the registry as clients know it, such as https://docker.example.com.
	URL string
	// Address, if it is set, is the HOST:PORT that is spoken to instead, in plain
	// HTTP: the registry's Service.
	Address string
	// Transport sends the requests.
	Transport http.RoundTripper
	// User and Password log in.
	User, Password string
	// Repository is OWNER/REPOSITORY.
	Repository string
	// Random makes the layer, so that no blob is there already.
	Random io.Reader
	// Report is told of each step that went well.
	Report func(string)
}

// Error is an answer that a registry should not have given.
type Error struct {
	Step    string
	Status  int
	Code    string
	Message string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: the registry answers %d", e.Step, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Round logs in, pushes an image, pulls it, compares, and deletes it if the token
// may.
func (r *Registry) Round(ctx context.Context) error {
	name := r.Repository + "/" + imageName
	s := &session{Registry: r, name: name}
	if err := s.login(ctx); err != nil {
		return err
	}
	r.Report("logged in at " + r.URL + " as " + r.User)

	layer := make([]byte, layerSize)
	if _, err := io.ReadFull(r.Random, layer); err != nil {
		return fmt.Errorf("make a layer: %w", err)
	}
	config := []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":["` + digestOf(layer) + `"]}}`)
	for _, blob := range [][]byte{config, layer} {
		if err := s.pushBlob(ctx, blob); err != nil {
			return err
		}
	}
	manifest := manifestOf(config, layer)
	if err := s.pushManifest(ctx, manifest); err != nil {
		return err
	}
	image := name + "@" + digestOf(manifest)
	r.Report("pushed " + image)

	if err := s.pull(ctx, "/manifests/"+imageTag, manifest); err != nil {
		return err
	}
	for _, blob := range [][]byte{config, layer} {
		if err := s.pull(ctx, "/blobs/"+digestOf(blob), blob); err != nil {
			return err
		}
	}
	r.Report("pulled the same")
	return s.remove(ctx, digestOf(manifest), image)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func manifestOf(config, layer []byte) []byte {
	// A structure of strings and numbers: this cannot fail.
	text, _ := json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{
		2, mediaTypeManifest,
		descriptor{mediaTypeConfig, digestOf(config), len(config)},
		[]descriptor{{mediaTypeLayer, digestOf(layer), len(layer)}},
	})
	return text
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// session is one login.
type session struct {
	*Registry
	name   string
	bearer string
}

var challengeParameter = regexp.MustCompile(`(realm|service)="([^"]*)"`)

// login asks for a bearer token, as docker does: where the challenge says.
func (s *session) login(ctx context.Context) error {
	a, err := s.send(ctx, "log in", http.MethodGet, s.URL+"/v2/", nil, nil)
	if err != nil {
		return err
	}
	challenge := map[string]string{}
	for _, parameter := range challengeParameter.FindAllStringSubmatch(a.header.Get("WWW-Authenticate"), -1) {
		challenge[parameter[1]] = parameter[2]
	}
	if a.status != http.StatusUnauthorized || challenge["realm"] == "" {
		return &Error{Step: "log in", Status: a.status, Message: "this is no registry that wants a token: is " + s.URL + " the right address?"}
	}
	query := url.Values{
		"service": {challenge["service"]},
		"scope":   {"repository:" + s.name + ":pull,push,delete"},
	}
	a, err = s.send(ctx, "log in", http.MethodGet, challenge["realm"]+"?"+query.Encode(), nil, func(request *http.Request) {
		request.SetBasicAuth(s.User, s.Password)
	})
	if err != nil {
		return err
	}
	var issued struct{ Token string }
	if a.status != http.StatusOK {
		return refusal("log in", a)
	}
	if err := json.Unmarshal(a.body, &issued); err != nil || issued.Token == "" {
		return &Error{Step: "log in", Status: a.status, Message: "the answer has no token"}
	}
	s.bearer = issued.Token
	return nil
}

func (s *session) pushBlob(ctx context.Context, content []byte) error {
	const step = "push a blob"
	a, err := s.authorized(ctx, step, http.MethodPost, s.URL+"/v2/"+s.name+"/blobs/uploads/", nil, "")
	if err != nil {
		return err
	}
	if a.status != http.StatusAccepted {
		return refusal(step, a)
	}
	location, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return fmt.Errorf("%s: the upload's address: %w", step, err)
	}
	base, err := url.Parse(s.URL + "/v2/")
	if err != nil {
		return fmt.Errorf("the registry's URL: %w", err)
	}
	upload := base.ResolveReference(location)
	query := upload.Query()
	query.Set("digest", digestOf(content))
	upload.RawQuery = query.Encode()
	a, err = s.authorized(ctx, step, http.MethodPut, upload.String(), content, "application/octet-stream")
	if err != nil {
		return err
	}
	if a.status != http.StatusCreated {
		return refusal(step, a)
	}
	return nil
}

func (s *session) pushManifest(ctx context.Context, manifest []byte) error {
	a, err := s.authorized(ctx, "push the manifest", http.MethodPut, s.URL+"/v2/"+s.name+"/manifests/"+imageTag, manifest, mediaTypeManifest)
	if err != nil {
		return err
	}
	if a.status != http.StatusCreated {
		return refusal("push the manifest", a)
	}
	return nil
}

func (s *session) pull(ctx context.Context, path string, want []byte) error {
	a, err := s.authorized(ctx, "pull", http.MethodGet, s.URL+"/v2/"+s.name+path, nil, "")
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return refusal("pull", a)
	}
	if !bytes.Equal(a.body, want) {
		return &Error{Step: "pull", Status: a.status, Message: "what came back under " + path + " is not what was pushed"}
	}
	return nil
}

// remove deletes the image. A token that may not is no fault.
func (s *session) remove(ctx context.Context, digest, image string) error {
	a, err := s.authorized(ctx, "delete", http.MethodDelete, s.URL+"/v2/"+s.name+"/manifests/"+digest, nil, "")
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusAccepted:
		s.Report("deleted it again")
	case http.StatusUnauthorized, http.StatusForbidden:
		s.Report("left it there, because the token may not delete: " + image)
	default:
		return refusal("delete", a)
	}
	return nil
}

func (s *session) authorized(ctx context.Context, step, method, address string, content []byte, mediaType string) (answer, error) {
	return s.send(ctx, step, method, address, content, func(request *http.Request) {
		request.Header.Set("Authorization", "Bearer "+s.bearer)
		if mediaType != "" {
			request.Header.Set("Content-Type", mediaType)
		}
		request.Header.Set("Accept", mediaTypeManifest+", application/octet-stream")
	})
}

// send follows no redirect: credentials are for the registry alone.
func (s *session) send(ctx context.Context, step, method, address string, content []byte, prepare func(*http.Request)) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", step, err)
	}
	registry, err := url.Parse(s.URL)
	if err != nil || request.URL.Host != registry.Host {
		return answer{}, fmt.Errorf("%s: the registry %s sends to another host, %s", step, s.URL, request.URL.Host)
	}
	request.Header.Set("User-Agent", "packages-operator-check")
	if prepare != nil {
		prepare(request)
	}
	if s.Address != "" {
		request.Host = request.URL.Host
		request.URL.Scheme, request.URL.Host = "http", s.Address
	}
	response, err := s.Transport.RoundTrip(request)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", step, err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return answer{}, fmt.Errorf("%s: read the answer: %w", step, err)
	}
	return answer{response.StatusCode, response.Header, body}, nil
}

// refusal is what a registry says in an answer.
func refusal(step string, a answer) error {
	e := &Error{Step: step, Status: a.status}
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &said) == nil && len(said.Errors) > 0 {
		e.Code, e.Message = said.Errors[0].Code, said.Errors[0].Message
	} else if !strings.Contains(a.header.Get("Content-Type"), "json") {
		e.Message = "and it does not look like a registry's answer"
	}
	return e
}
