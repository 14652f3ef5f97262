// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// acknowledged is what one client was told is stored.
type acknowledged struct {
	name      string
	blobs     []ref.Digest
	manifests map[ref.Digest][]byte
	// tag's last acknowledged target, and one whose answer never came.
	tagged, tagging ref.Digest
}

// pushUntilItBreaks pushes images one after another until the registry is gone,
// every one with the same tag. It counts what was acknowledged.
func (a *acknowledged) pushUntilItBreaks(c client, count *atomic.Int64) error {
	for i := 0; ; i++ {
		var digests []ref.Digest
		// One layer is kept as a row, the other as a file.
		for _, size := range []int{64, 1 << 10, 100 << 10} {
			content := randomBytes(size)
			digest := ref.SHA256.FromBytes(content)
			begun, err := c.send("POST", "/v2/"+a.name+"/blobs/uploads/", nil)
			if err != nil {
				return nil
			}
			location := begun.Header.Get("Location")
			if i%2 == 1 {
				if _, err := c.send("PATCH", location, content[:size/2]); err != nil {
					return nil
				}
				content = content[size/2:]
			}
			done, err := c.send("PUT", location+"?digest="+string(digest), content)
			if err != nil {
				return nil
			}
			if done.StatusCode != http.StatusCreated {
				return fmt.Errorf("push a blob: status %d: %s", done.StatusCode, done.body)
			}
			a.blobs = append(a.blobs, digest)
			digests = append(digests, digest)
			count.Add(1)
		}
		content := image(digests[0], digests[1], fmt.Sprintf(`,"annotations":{"layer":%q}`, digests[2]))
		digest := ref.SHA256.FromBytes(content)
		a.tagging = digest
		done, err := c.send("PUT", "/v2/"+a.name+"/manifests/latest", content, header{"Content-Type", "application/vnd.oci.image.manifest.v1+json"})
		if err != nil {
			return nil
		}
		if done.StatusCode != http.StatusCreated {
			return fmt.Errorf("push a manifest: status %d: %s", done.StatusCode, done.body)
		}
		a.manifests[digest] = content
		a.tagged, a.tagging = digest, ""
		count.Add(1)
	}
}

// check fails the test unless everything is there and whole.
func (a *acknowledged) check(c client) {
	c.t.Helper()
	for _, digest := range a.blobs {
		got := c.do("GET", "/v2/"+a.name+"/blobs/"+string(digest), nil).want(c.t, http.StatusOK)
		if ref.SHA256.FromBytes(got.body) != digest {
			c.t.Errorf("blob %s came back damaged", digest)
		}
	}
	for digest, content := range a.manifests {
		if got := c.do("GET", "/v2/"+a.name+"/manifests/"+string(digest), nil).want(c.t, http.StatusOK); !bytes.Equal(got.body, content) {
			c.t.Errorf("manifest %s came back damaged", digest)
		}
	}
	if a.tagged == "" {
		return
	}
	got := ref.Digest(c.do("HEAD", "/v2/"+a.name+"/manifests/latest", nil).want(c.t, http.StatusOK).Header.Get("Docker-Content-Digest"))
	if got != a.tagged && got != a.tagging {
		c.t.Errorf("the tag of %s is %s, acknowledged was %s, under way %s", a.name, got, a.tagged, a.tagging)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Run("with the catalog in a file", func(t *testing.T) { killWhilePushing(t, "") })
	t.Run("with the catalog on a server", func(t *testing.T) { killWhilePushing(t, postgrestest.Start(t).Schema()) })
}

// killWhilePushing kills the registry again and again.
func killWhilePushing(t *testing.T, database string) {
	const clients, rounds, perRound = 8, 3, 300
	dir := t.TempDir()
	pushers := make([]*acknowledged, clients)
	for i := range pushers {
		pushers[i] = &acknowledged{name: fmt.Sprintf("octocat/octo-app/image%d", i), manifests: map[ref.Digest][]byte{}}
	}
	for range rounds {
		p := startProcess(t, processOptions{DataDir: dir, DatabaseURL: database})
		c := client{t: t, addr: p.addr, value: writerValue}
		orphan := beginUpload(t, c, dir, "POST", "/v2/octocat/octo-app/broken/blobs/uploads/?digest="+string(ref.SHA256.FromBytes(nil))).file

		var count atomic.Int64
		var wait sync.WaitGroup
		for _, pusher := range pushers {
			wait.Go(func() {
				if err := pusher.pushUntilItBreaks(c, &count); err != nil {
					t.Error(err)
				}
			})
		}
		for count.Load() < perRound && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		p.kill()
		wait.Wait()

		p = startProcess(t, processOptions{DataDir: dir, DatabaseURL: database})
		c.addr = p.addr
		for _, pusher := range pushers {
			pusher.check(c)
		}
		// What no request acknowledged is swept.
		eventually(t, "the object of a broken upload is swept", func() bool {
			_, err := os.Stat(orphan)
			return os.IsNotExist(err)
		})
		p.terminate(t)
	}
}

// slowUpload is a request whose body has begun to arrive and does not end.
type slowUpload struct {
	// file has the first bytes on disk; received are all that were sent.
	file     string
	received []byte
	writer   *io.PipeWriter
	status   chan int
}

// beginUpload sends a request with a body until its bytes are seen on disk, below
// dir.
func beginUpload(t *testing.T, c client, dir, method, path string) *slowUpload {
	t.Helper()
	before := objects(t, dir)
	reader, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.CloseWithError(io.ErrUnexpectedEOF) })
	req, err := c.request(method, path, reader)
	if err != nil {
		t.Fatal(err)
	}
	u := &slowUpload{writer: writer, status: make(chan int, 1)}
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			u.status <- 0
			return
		}
		_ = resp.Body.Close()
		u.status <- resp.StatusCode
	}()
	eventually(t, "the upload's bytes reach the disk", func() bool {
		u.write(t, randomBytes(256<<10))
		for path, size := range objects(t, dir) {
			if _, known := before[path]; !known && size > 0 {
				u.file = path
			}
		}
		return u.file != ""
	})
	return u
}

func (u *slowUpload) write(t *testing.T, p []byte) {
	t.Helper()
	if _, err := u.writer.Write(p); err != nil {
		t.Fatal(err)
	}
	u.received = append(u.received, p...)
}

// finish ends the body, and returns the answer's status, or 0 without one.
func (u *slowUpload) finish() int {
	_ = u.writer.Close()
	return <-u.status
}

// objects are the sizes of the blob store's files, by path.
func objects(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(dir, "objects"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if os.IsNotExist(err) {
			return nil
		}
		found[path] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// eventually waits for a condition that becomes true without further ado.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("this did not happen: %s", what)
		}
	}
}

// A pod has 45 seconds before it is killed. Clients that never finish must not use
// them up, or the next pod would find a database that nobody closed.
func TestDrainingCutsOffWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, processOptions{DataDir: dir})
	c := client{t: t, addr: p.addr, value: writerValue}
	large := randomBytes(64 << 20)
	digest := c.pushBlob(name, large)
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	upload := beginUpload(t, c, dir, "PATCH", location)
	request, err := c.request("GET", "/v2/"+name+"/blobs/"+string(digest), nil)
	if err != nil {
		t.Fatal(err)
	}
	download, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = download.Body.Close() }()

	began := time.Now()
	p.terminate(t) // which fails unless the process ends by itself, without an error
	if took := time.Since(began); took < 20*time.Second || took > 32*time.Second {
		t.Errorf("draining took %s, want 28 s", took)
	}
	if status := upload.finish(); status/100 == 2 {
		t.Errorf("the upload that was cut off got %d", status)
	}
	again := startProcess(t, processOptions{DataDir: dir})
	if log := again.stderr.String(); strings.Contains(log, "unclean") {
		t.Errorf("the storage was not closed: %s", log)
	}
	c.addr = again.addr
	if got := c.do("GET", "/v2/"+name+"/blobs/"+string(digest), nil).want(t, http.StatusOK); !bytes.Equal(got.body, large) {
		t.Error("the blob came back changed")
	}
}
