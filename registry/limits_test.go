// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func TestALayerOverTheCapIsRefused(t *testing.T) {
	const limit = 100 << 10
	p := samplePolicy()
	p.Limits.MaxLayerSize = limit
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: writerValue}
	uploads := "/v2/" + name + "/blobs/uploads/"
	fits, over := bytes.Repeat([]byte("x"), limit), bytes.Repeat([]byte("x"), limit+1)
	begin := func() string { return c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location") }
	digest := string(ref.SHA256.FromBytes(over))
	const reason = "the layer is larger than the 100Ki that this instance's docker.limits.maxLayerSize allows"
	tooLarge := func(a answer) {
		t.Helper()
		a.want(t, http.StatusRequestEntityTooLarge, errcode.Denied).wantReason(t, reason+": it has 102401 bytes")
	}

	c.pushBlob(name, fits)
	tooLarge(c.do("POST", uploads+"?digest="+digest, over))
	tooLarge(c.do("PUT", begin()+"?digest="+digest, over))
	location := begin()
	tooLarge(c.do("PATCH", location, over))
	// What fits is still taken after a refusal, and the sum counts.
	c.do("PATCH", location, fits[:limit-1]).want(t, http.StatusAccepted)
	tooLarge(c.do("PATCH", location, []byte("xx")))
	tooLarge(c.do("PUT", location+"?digest="+digest, []byte("xx")))
	c.do("PUT", location+"?digest="+string(ref.SHA256.FromBytes(fits)), []byte("x")).want(t, http.StatusCreated)
	c.do("HEAD", "/v2/"+name+"/blobs/"+digest, nil).want(t, http.StatusNotFound)

	// Neither does it help not to say how long the body is.
	chunked := func(location string, content []byte) {
		t.Helper()
		req, err := c.request("PATCH", location, io.MultiReader(bytes.NewReader(content)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, message := (answer{resp, body}).want(t, http.StatusRequestEntityTooLarge, errcode.Denied).refusal(t); message != reason {
			t.Errorf("a chunked body over the cap: %q", message)
		}
	}
	chunked(begin(), over)

	// The limit is the one in force.
	location = begin()
	c.do("PATCH", location, fits).want(t, http.StatusAccepted)
	p.Limits.MaxLayerSize = limit + 1
	r.Publish(t, p)
	c.do("PATCH", location, []byte("x")).want(t, http.StatusAccepted)
	p.Limits.MaxLayerSize = limit
	r.Publish(t, p)
	tooLarge(c.do("PUT", location+"?digest="+digest, nil))
	chunked(location, []byte("x"))
	p.Limits.MaxLayerSize = 0
	r.Publish(t, p)
	c.do("PUT", location+"?digest="+digest, nil).want(t, http.StatusCreated)
}

// What is announced to be too large is refused before it is sent.
func TestALayerThatIsAnnouncedOverTheCapNeedNotBeSent(t *testing.T) {
	_, c := start(t)
	uploads := "/v2/" + name + "/blobs/uploads/"
	location := c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location")
	digest := string(ref.SHA256.FromBytes([]byte("huge")))
	for _, request := range []string{"POST " + uploads + "?digest=" + digest, "PATCH " + location, "PUT " + location + "?digest=" + digest} {
		method, path, _ := strings.Cut(request, " ")
		req, err := c.request(method, path, endless{})
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = policy.DefaultMaxLayerSize + 1
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answer{resp, body}.want(t, http.StatusRequestEntityTooLarge, errcode.Denied).
			wantReason(t, "larger than the 5Gi that this instance's docker.limits.maxLayerSize allows: it has 5368709121 bytes")
	}
}

// endless is a body of more bytes than anybody wants to send.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAManifestMayHaveFourMebibytes(t *testing.T) {
	_, c := start(t)
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	sized := func(size int) []byte {
		const around = `,"annotations":{"x":""}`
		empty := len(image(config, layer, around))
		return image(config, layer, fmt.Sprintf(`,"annotations":{"x":"%s"}`, strings.Repeat("x", size-empty)))
	}
	largest := sized(manifest.MaxSize)
	c.putManifest(name, "largest", largest).want(t, http.StatusCreated)
	if got := c.do("GET", "/v2/"+name+"/manifests/largest", nil).want(t, http.StatusOK); !bytes.Equal(got.body, largest) {
		t.Error("the manifest came back changed")
	}
	c.putManifest(name, "over", sized(manifest.MaxSize+1)).want(t, http.StatusRequestEntityTooLarge, errcode.SizeInvalid)
	c.do("HEAD", "/v2/"+name+"/manifests/over", nil).want(t, http.StatusNotFound)
}

func TestABodyThatEndsEarlyIsNotTakenForWhole(t *testing.T) {
	r, c := start(t)
	uploads := "/v2/" + name + "/blobs/uploads/"
	// Both what is kept as a row and what is kept as a file.
	for size, content := range map[string][]byte{"small": []byte("0123456789"), "large": bytes.Repeat([]byte("0123456789"), 20_000)} {
		half := content[:len(content)/2]
		halfDigest := string(ref.SHA256.FromBytes(half))
		cutOff := func(t *testing.T, method, path string, chunked bool) {
			t.Helper()
			status := breakOff(t, r.Addr, method, path, half, len(content), chunked)
			if status != 0 && status != http.StatusBadRequest {
				t.Errorf("%s with half a body: status %d", method, status)
			}
		}
		for framing, chunked := range map[string]bool{"Content-Length": false, "chunked": true} {
			t.Run(size+", "+framing, func(t *testing.T) {
				// The digest is that of what arrives, so that only the body's end tells.
				cutOff(t, "POST", uploads+"?digest="+halfDigest, chunked)
				c.do("HEAD", "/v2/"+name+"/blobs/"+halfDigest, nil).want(t, http.StatusNotFound)

				location := c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location")
				cutOff(t, "PUT", location+"?digest="+halfDigest, chunked)
				c.do("HEAD", "/v2/"+name+"/blobs/"+halfDigest, nil).want(t, http.StatusNotFound)

				cutOff(t, "PATCH", location, chunked)
				// The upload goes on from what the server has.
				offset := c.offset(location)
				if offset != len(half) {
					t.Errorf("of %d bytes that arrived, the upload has %d", len(half), offset)
				}
				whole := append(bytes.Clone(content), size+framing...)
				digest := string(ref.SHA256.FromBytes(whole))
				c.do("PUT", location+"?digest="+digest, whole[offset:], header{"Content-Range", fmt.Sprintf("%d-%d", offset, len(whole)-1)}).
					want(t, http.StatusCreated)
				if got := c.do("GET", "/v2/"+name+"/blobs/"+digest, nil).want(t, http.StatusOK); !bytes.Equal(got.body, whole) {
					t.Error("the blob came back changed")
				}
			})
		}
	}
	t.Run("a manifest", func(t *testing.T) {
		whole := image(c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer")), "")
		padded := append(whole, ' ') // so that what arrives is a manifest of its own
		breakOff(t, r.Addr, "PUT", "/v2/"+name+"/manifests/half", whole, len(padded), false)
		c.do("HEAD", "/v2/"+name+"/manifests/half", nil).want(t, http.StatusNotFound)
	})
}

// offset asks how many bytes an upload has, once no request writes to it.
func (c client) offset(location string) int {
	c.t.Helper()
	from, to := 0, 0
	if _, err := fmt.Sscanf(c.do("GET", location, nil).want(c.t, http.StatusNoContent).Header.Get("Range"), "%d-%d", &from, &to); err != nil {
		c.t.Fatal(err)
	}
	if to == 0 {
		return 0
	}
	return to + 1
}

// breakOff sends body as the beginning of a body of length bytes, then closes its
// side. It returns the status that came back, or 0.
func breakOff(t *testing.T, addr, method, path string, body []byte, length int, chunked bool) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	framing := fmt.Sprintf("Content-Length: %d", length)
	payload := string(body)
	if chunked {
		framing = "Transfer-Encoding: chunked"
		payload = fmt.Sprintf("%x\r\n%s\r\n%x\r\n", len(body), body, length-len(body))
	}
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\n%s\r\n\r\n%s",
		method, path, addr, basic("monalisa", writerValue), manifest.OCIManifest, framing, payload); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestAClientThatVanishesIsNoFailureOfTheRegistry(t *testing.T) {
	r, c, lines := startLogged(t)
	uploads := "/v2/" + name + "/blobs/uploads/"
	for route, request := range map[string]string{
		"UploadStart": "POST " + uploads + "?digest=" + string(ref.SHA256.FromBytes(nil)),
		"UploadChunk": "PATCH " + c.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location"),
	} {
		before := objects(t, r.DataDir)
		conn, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n",
			request, r.Addr, basic("monalisa", writerValue), 1<<30); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the upload's bytes reach the disk", func() bool {
			if _, err := conn.Write(randomBytes(256 << 10)); err != nil {
				t.Fatal(err)
			}
			for path, size := range objects(t, r.DataDir) {
				if _, known := before[path]; !known && size > 0 {
					return true
				}
			}
			return false
		})
		// Closing resets the connection rather than ending it in order.
		if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the request ends", func() bool {
			return slices.ContainsFunc(lines.all(), func(line string) bool {
				return strings.Contains(line, `"route":"`+route+`"`) && strings.Contains(line, `"status":400`)
			})
		})
	}
	for _, line := range lines.all() {
		if strings.Contains(line, "Request failed") {
			t.Errorf("logged as a failure: %s", line)
		}
	}
}

func TestLongHeadersAndPathsAreRefused(t *testing.T) {
	_, c := start(t)
	c.do("GET", "/v2/", nil, header{"X-Long", strings.Repeat("x", 15_000)}).want(t, http.StatusOK)
	c.do("GET", "/v2/", nil, header{"X-Long", strings.Repeat("x", 26_000)}).want(t, http.StatusRequestHeaderFieldsTooLarge)
	c.do("GET", "/v2/"+strings.Repeat("a/", 200)+"b/manifests/1", nil).want(t, http.StatusBadRequest, errcode.NameInvalid)
	c.do("GET", "/v2/"+name+"/manifests/"+strings.Repeat("a", 129), nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)
	c.do("GET", "/v2/"+name+"/tags/list?last="+strings.Repeat("a", 5000), nil).want(t, http.StatusBadRequest)
}

func TestALongTokenRequestIsRefused(t *testing.T) {
	_, c := start(t)
	long := strings.Repeat("x", 64<<10)
	c.form("grant_type", "password", "username", long, "password", writerValue).want(t, http.StatusBadRequest)
	c.form("grant_type", "password", "username", long[:60<<10], "password", writerValue).want(t, http.StatusOK)
}

// Whatever the route, a body that nobody asked for is neither kept nor waited for.
func TestABodyWhereNoneBelongsIsNotWaitedFor(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	digest := string(ref.SHA256.FromBytes([]byte("layer")))
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	for request, want := range map[string]int{
		"GET /v2/":                       http.StatusOK,
		"GET /v2/_catalog":               http.StatusOK,
		"GET /token":                     http.StatusOK,
		"GET /nowhere":                   http.StatusNotFound,
		"GET /v2/" + name + "/tags/list": http.StatusOK,
		"GET /v2/" + name + "/referrers/" + digest: http.StatusOK,
		"GET /v2/" + name + "/manifests/1.0":       http.StatusOK,
		"HEAD /v2/" + name + "/manifests/1.0":      http.StatusOK,
		"DELETE /v2/" + name + "/manifests/1.0":    http.StatusForbidden,
		"GET /v2/" + name + "/blobs/" + digest:     http.StatusOK,
		"HEAD /v2/" + name + "/blobs/" + digest:    http.StatusOK,
		"DELETE /v2/" + name + "/blobs/" + digest:  http.StatusForbidden,
		"POST /v2/" + name + "/blobs/uploads/":     http.StatusAccepted,
		"GET " + location:                          http.StatusNoContent,
		"DELETE " + location:                       http.StatusNoContent,
	} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, r.Addr)
			method, path, _ := strings.Cut(request, " ")
			if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\nx",
				method, path, basic("monalisa", writerValue), 1<<40); err != nil {
				t.Fatal(err)
			}
			answered := bufio.NewReader(conn)
			response, err := http.ReadResponse(answered, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			// What deletes goes before or after what reads: it is missing then.
			if response.StatusCode != want && response.StatusCode != http.StatusNotFound {
				t.Errorf("status %d, want %d", response.StatusCode, want)
			}
			if _, err := answered.ReadByte(); err == nil {
				t.Error("there is a second answer")
			}
		})
	}
}

// A client that asks first whether to send its body does not send it once it is refused.
func TestAClientThatIsRefusedBeforeItSendsIsNotWaitedFor(t *testing.T) {
	p := samplePolicy()
	p.Limits.MaxLayerSize = 1 << 20
	r := registrytest.Start(t, p, registrytest.Options{})
	location := client{t: t, addr: r.Addr, value: writerValue}.do("POST", "/v2/"+name+"/blobs/uploads/", nil).
		want(t, http.StatusAccepted).Header.Get("Location")
	connection, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := fmt.Fprintf(connection, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		location, r.Addr, basic("monalisa", writerValue), 16<<20); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	all, err := io.ReadAll(connection)
	if err != nil || !bytes.HasPrefix(all, []byte("HTTP/1.1 413 ")) {
		t.Errorf("the answer is %.200q (%v)", all, err)
	}
	// It would be five seconds.
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the connection was held for %v", took)
	}
}

// What is left of a body that was refused must never be taken for the next request: a
// proxy may send those of others on the same connection.
func TestTheRestOfARefusedBodyIsNoRequest(t *testing.T) {
	p := samplePolicy()
	p.Limits.MaxLayerSize = 1 << 20
	r := registrytest.Start(t, p, registrytest.Options{})
	hidden := []byte("GET /v2/ HTTP/1.1\r\nHost: " + r.Addr + "\r\n\r\n")
	hidden = bytes.Repeat(hidden, 1<<20/len(hidden))
	for what, test := range map[string]struct {
		header    string
		chunked   bool
		answer1st bool
	}{
		"announced":                    {header: "Content-Length: 200000000"},
		"chunked":                      {header: "Transfer-Encoding: chunked", chunked: true},
		"sent though it was not asked": {header: "Content-Length: 200000000\r\nExpect: 100-continue", answer1st: true},
	} {
		t.Run(what, func(t *testing.T) {
			location := client{t: t, addr: r.Addr, value: writerValue}.do("POST", "/v2/"+name+"/blobs/uploads/", nil).
				want(t, http.StatusAccepted).Header.Get("Location")
			connection, err := net.Dial("tcp", r.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = connection.Close() }()
			if _, err := fmt.Fprintf(connection, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n%s\r\n\r\n",
				location, r.Addr, basic("monalisa", writerValue), test.header); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(connection)
			var all []byte
			if test.answer1st {
				line, err := answers.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				all = []byte(line)
			}
			for range 100 {
				chunk := hidden
				if test.chunked {
					chunk = fmt.Appendf(nil, "%x\r\n%s\r\n", len(hidden), hidden)
				}
				if _, err := connection.Write(chunk); err != nil {
					break // the registry takes no more
				}
			}
			rest, _ := io.ReadAll(answers) // a reset ends it as well
			if all = append(all, rest...); bytes.Count(all, []byte("HTTP/1.1 ")) != 1 {
				t.Errorf("there is not one answer: %.1000q", all)
			}
		})
	}
}

// Most clients look for an answer only when they have sent what they have.
func TestAClientThatIsRefusedWhileItSendsFindsTheAnswer(t *testing.T) {
	const length = 16 << 20
	p := samplePolicy()
	p.Limits.MaxLayerSize = 1 << 20
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t: t, addr: r.Addr, value: writerValue}
	for framing, header := range map[string]string{
		"announced": fmt.Sprintf("Content-Length: %d", length),
		"chunked":   "Transfer-Encoding: chunked",
	} {
		t.Run(framing, func(t *testing.T) {
			location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
			connection, err := net.Dial("tcp", r.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = connection.Close() }()
			content := bytes.Repeat([]byte("x"), length)
			if framing == "chunked" {
				content = []byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", length, content))
			}
			request := fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n%s\r\n\r\n",
				location, r.Addr, basic("monalisa", writerValue), header)
			if _, err := connection.Write(append([]byte(request), content...)); err != nil {
				t.Fatalf("the connection does not live until all is sent: %v", err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}
