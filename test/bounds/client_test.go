// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// patience is far more than anything here takes.
const patience = 5 * time.Minute

var authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+value))

// send makes one request on a connection of its own, and returns the status, the
// header and the body.
func (s *server) send(method, path string, body []byte, contentType string) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Close = true
	request.Header.Set("Authorization", authorization)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, answer, err
}

// want is send for what must succeed.
func (s *server) want(status int, method, path string, body []byte, contentType string) (http.Header, []byte, error) {
	got, header, answer, err := s.send(method, path, body, contentType)
	if err == nil && got != status {
		err = fmt.Errorf("%s %s: status %d, want %d: %.300s", method, path, got, status, answer)
	}
	return header, answer, err
}

func (s *server) pushBlob(content []byte) (ref.Digest, error) {
	header, _, err := s.want(http.StatusAccepted, "POST", "/v2/"+name+"/blobs/uploads/", nil, "")
	if err != nil {
		return "", err
	}
	digest := ref.SHA256.FromBytes(content)
	_, _, err = s.want(http.StatusCreated, "PUT", header.Get("Location")+"?digest="+string(digest), content, "application/octet-stream")
	return digest, err
}

// pushAndPull is what the client does who is to be served: a new image each time.
func (s *server) pushAndPull(turn int) error {
	layer := bytes.Repeat(fmt.Appendf(nil, "layer %d ", turn), 10_000)
	config, err := s.pushBlob([]byte("{}"))
	if err != nil {
		return err
	}
	digest, err := s.pushBlob(layer)
	if err != nil {
		return err
	}
	image := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, manifest.OCIManifest, config, digest, len(layer))
	path := fmt.Sprintf("/v2/%s/manifests/turn-%d", name, turn)
	if _, _, err = s.want(http.StatusCreated, "PUT", path, image, manifest.OCIManifest); err != nil {
		return err
	}
	_, got, err := s.want(http.StatusOK, "GET", path, nil, "")
	if err == nil && !bytes.Equal(got, image) {
		err = fmt.Errorf("GET %s: another manifest came back", path)
	}
	if err != nil {
		return err
	}
	_, got, err = s.want(http.StatusOK, "GET", "/v2/"+name+"/blobs/"+string(digest), nil, "")
	if err == nil && !bytes.Equal(got, layer) {
		err = fmt.Errorf("another layer came back")
	}
	return err
}

// bystander pushes and pulls, again and again.
type bystander struct {
	turns chan struct{}
	stop  chan struct{}
	ended sync.WaitGroup
}

// watch starts a bystander. Any answer but the one that it wants fails the test.
func (s *server) watch(t *testing.T, first int) *bystander {
	b := &bystander{turns: make(chan struct{}), stop: make(chan struct{})}
	b.ended.Go(func() {
		defer close(b.turns)
		for turn := first; ; turn++ {
			if err := s.pushAndPull(turn); err != nil {
				t.Errorf("another client was not served: %v", err)
				return
			}
			select {
			case b.turns <- struct{}{}:
			case <-b.stop:
				return
			}
		}
	})
	return b
}

// served waits until the bystander has pushed and pulled so many times from now on.
func (b *bystander) served(turns int) {
	for range turns + 1 { // the first may have begun before
		<-b.turns
	}
}

func (b *bystander) end() {
	close(b.stop)
	b.ended.Wait()
}

// conn is a connection whose bytes a test writes by itself.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func (s *server) dial() (conn, error) {
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		return conn{}, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return conn{}, err
	}
	return conn{c, bufio.NewReaderSize(c, 512)}, nil
}

// begin sends a request's header, and the beginning of its body.
func (c conn) begin(method, path string, length int, body []byte) error {
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		method, path, authorization, manifest.OCIIndex, length, body)
	return err
}

// answer reads a response, and returns its status.
func (c conn) answer() (status int, err error) {
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode, err
}

// parallel calls run n times at once, and returns the first error.
func parallel(n int, run func(i int) error) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- run(i) }()
	}
	var first error
	for range n {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}
