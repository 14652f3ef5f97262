// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// visitor speaks HTTP with a registry, through Traefik, to see what docker does
// not show: statuses, and how soon they change.
type visitor struct {
	host   string
	client *http.Client
}

func newVisitor(host string) *visitor {
	return &visitor{host: host, client: &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: env.roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: 5 * time.Second,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(env.nodeIP.String(), "443"))
			},
		},
	}}
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code is the error code of OCI Distribution in the body.
func (a answer) code() string {
	var body struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil || len(body.Errors) != 1 {
		return ""
	}
	return body.Errors[0].Code
}

// issuedToken is the bearer token in an answer of the token endpoint, or empty.
func (a answer) issuedToken() string {
	var issued struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(a.body, &issued); err != nil {
		return ""
	}
	return issued.Token
}

// String is for failure messages.
func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// do sends a request. authorization may be empty.
func (v *visitor) do(ctx context.Context, method, path, authorization string, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+v.host+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := v.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, content}, err
}

// must is do for a registry that has to answer.
func (v *visitor) must(ctx context.Context, method, path, authorization string) answer {
	GinkgoHelper()
	a, err := v.do(ctx, method, path, authorization, nil)
	Expect(err).NotTo(HaveOccurred())
	return a
}

var challengeGrammar = regexp.MustCompile(`(realm|service)="([^"]*)"`)

// bearer gets a bearer token for the scopes the way docker does: from the place
// that the challenge names. The result is a value of the header Authorization.
func (v *visitor) bearer(ctx context.Context, c credential, scopes ...string) string {
	GinkgoHelper()
	challenge := map[string]string{}
	for _, match := range challengeGrammar.FindAllStringSubmatch(v.must(ctx, http.MethodGet, "/v2/", "").header.Get("Www-Authenticate"), -1) {
		challenge[match[1]] = match[2]
	}
	realm, isOurs := strings.CutPrefix(challenge["realm"], "https://"+v.host)
	Expect(isOurs).To(BeTrue(), "realm %q", challenge["realm"])
	query := url.Values{"service": {challenge["service"]}, "scope": scopes}
	a := v.must(ctx, http.MethodGet, realm+"?"+query.Encode(), c.basic())
	Expect(a.status).To(Equal(http.StatusOK), a.String())
	Expect(a.issuedToken()).NotTo(BeEmpty())
	return "Bearer " + a.issuedToken()
}

// inForce waits until what was changed a moment ago is in force, which has to be
// within atOnce, and puts the time taken into the report.
func inForce(ctx context.Context, what string, check func(context.Context) error) {
	GinkgoHelper()
	began := time.Now()
	Eventually(ctx, func() error { return check(ctx) }).
		WithTimeout(atOnce).WithPolling(5*time.Millisecond).Should(Succeed(), what)
	AddReportEntry(fmt.Sprintf("%s after %d ms", what, time.Since(began).Milliseconds()))
}

// answers is a check that the registry answers with a status and, if not empty,
// an error code.
func (v *visitor) answers(method, path, authorization string, status int, code string) func(context.Context) error {
	return func(ctx context.Context) error {
		a, err := v.do(ctx, method, path, authorization, nil)
		if err != nil {
			return err
		}
		if a.status != status || code != "" && a.code() != code {
			return fmt.Errorf("%s %s answers %s, want %d %s", method, path, a, status, code)
		}
		return nil
	}
}

// eventuallyReachable waits until Traefik knows the host and has a certificate
// for it, and the registry behind it asks who is there.
func eventuallyReachable(ctx context.Context, host string) {
	GinkgoHelper()
	v := newVisitor(host)
	Eventually(ctx, func() error {
		return v.answers(http.MethodGet, "/v2/", "", http.StatusUnauthorized, "UNAUTHORIZED")(ctx)
	}).WithTimeout(patience).Should(Succeed())
}

// pushByHand pushes an artifact of one small blob under the tag 1, without docker.
func pushByHand(ctx context.Context, v *visitor, c credential, name string) {
	GinkgoHelper()
	blob := []byte("{}")
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	send := func(method, path, mediaType string, body []byte) {
		GinkgoHelper()
		request, err := http.NewRequestWithContext(ctx, method, "https://"+v.host+path, bytes.NewReader(body))
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Authorization", c.basic())
		request.Header.Set("Content-Type", mediaType)
		response, err := v.client.Do(request)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		Expect(response.StatusCode).To(Equal(http.StatusCreated), "%s %s", method, path)
	}
	send(http.MethodPost, "/v2/"+name+"/blobs/uploads/?digest="+digest, "application/octet-stream", blob)
	const manifestType, emptyType = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.empty.v1+json"
	descriptor := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, emptyType, digest, len(blob))
	send(http.MethodPut, "/v2/"+name+"/manifests/1", manifestType,
		fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/vnd.example","config":%s,"layers":[%[2]s]}`, manifestType, descriptor))
}
