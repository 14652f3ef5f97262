// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// attack does something to the server. It calls served when it has got as far as it
// can, and goes on holding what it holds until that returns.
type attack struct {
	name string
	run  func(s *server, served func()) error
}

var attacks = []attack{
	{"64 manifests over 4 MiB at a time", manifestsOverTheLimit},
	{"32 manifests of 4 MiB at a time", largeManifests},
	{"32 indexes of 100,000 entries at a time", longIndexes},
	{"32 documents nested 10,000 deep at a time", deepDocuments},
	{"32 documents of 2,000,000 numbers at a time", manyValues},
	{"n=2^63", hugePages},
	{"64 listings of 1,000 large referrers at a time, half of them not taken", largeReferrers},
	{"200 manifests of 4 MiB that do not come", slowManifests},
	{"1,000 headers that do not end", slowHeaders},
	{"2,000 uploads at a time that stop half-way", parallelUploads},
	{"4,096 connections, then 500 more", manyConnections},
}

func TestTheRegistryStaysWithinItsBounds(t *testing.T) {
	s := start(t)
	if err := s.pushAndPull(0); err != nil {
		t.Fatal(err)
	}
	t.Logf("%4d MB at rest", s.peak(t)>>20)
	for i, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			s.forgetPeak(t)
			other := s.watch(t, 1_000_000*(i+1))
			defer other.end()
			if err := attack.run(s, func() { other.served(2) }); err != nil {
				t.Error(err)
			}
			other.served(1)
			peak := s.peak(t)
			t.Logf("%4d MB under %s", peak>>20, attack.name)
			if peak > maxMemory {
				t.Errorf("the registry took %d bytes of memory, more than %d", peak, maxMemory)
			}
		})
	}
}

// putAll pushes a document many times at a time; each answer must be one of those.
func putAll(s *server, times int, document []byte, served func(), statuses ...int) error {
	var once sync.Once
	err := parallel(times, func(i int) error {
		for range 3 {
			status, header, answer, err := s.send("PUT", fmt.Sprintf("/v2/%s/manifests/attack-%d", name, i), document, manifest.OCIIndex)
			if err != nil {
				return err
			}
			if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" || !slices.Contains(statuses, status) {
				return fmt.Errorf("status %d: %.300s", status, answer)
			}
		}
		once.Do(served)
		return nil
	})
	return err
}

// index is a document of size bytes.
func index(size int) []byte {
	const begin, end = `{"schemaVersion":2,"manifests":[],"annotations":{"x":"`, `"}}`
	return []byte(begin + strings.Repeat("x", size-len(begin)-len(end)) + end)
}

func manifestsOverTheLimit(s *server, served func()) error {
	return putAll(s, 64, index(manifest.MaxSize+1), served, http.StatusRequestEntityTooLarge)
}

func largeManifests(s *server, served func()) error {
	return putAll(s, 32, index(manifest.MaxSize), served, http.StatusCreated, http.StatusTooManyRequests)
}

func longIndexes(s *server, served func()) error {
	const entry = `{"mediaType":"m","size":1,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}`
	long := `{"schemaVersion":2,"manifests":[` + strings.Repeat(entry+",", 99_999) + entry + `]}`
	short := `{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", 99_999) + `{}]}`
	return errors.Join(
		putAll(s, 16, []byte(long), served, http.StatusRequestEntityTooLarge),
		putAll(s, 16, []byte(short), served, http.StatusBadRequest, http.StatusTooManyRequests),
	)
}

func deepDocuments(s *server, served func()) error {
	arrays := `{"schemaVersion":2,"manifests":[],"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`
	objects := `{"schemaVersion":2,"manifests":[],"x":` + strings.Repeat(`{"x":`, 10_000) + "0" + strings.Repeat("}", 10_000) + `}`
	return errors.Join(
		putAll(s, 16, []byte(arrays), served, http.StatusBadRequest, http.StatusTooManyRequests),
		putAll(s, 16, []byte(objects), served, http.StatusBadRequest, http.StatusTooManyRequests),
	)
}

// manyValues are what takes most of a decoder for its length.
func manyValues(s *server, served func()) error {
	numbers := "[" + strings.Repeat("0,", 50) + "0]"
	document := `{"schemaVersion":2,"manifests":[],"x":[` + strings.Repeat(numbers+",", 39_000) + numbers + `]}`
	return putAll(s, 32, []byte(document), served, http.StatusBadRequest, http.StatusCreated, http.StatusTooManyRequests)
}

func hugePages(s *server, served func()) error {
	const number = "9223372036854775808"
	paths := []string{"/v2/_catalog?n=", "/v2/" + name + "/tags/list?n=", "/v2/" + name + "/referrers/" + string(ref.SHA256.FromBytes(nil)) + "?n="}
	err := parallel(64, func(i int) error {
		_, _, err := s.want(http.StatusBadRequest, "GET", paths[i%len(paths)]+number, nil, "")
		return err
	})
	served()
	return err
}

func largeReferrers(s *server, served func()) error {
	subject := ref.SHA256.FromBytes([]byte("subject"))
	annotation := strings.Repeat("x", 16<<10)
	err := parallel(8, func(i int) error {
		for j := i; j < 1000; j += 8 {
			document := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"a/b","manifests":[],`+
				`"subject":{"mediaType":%q,"digest":%q,"size":1},"annotations":{"n":"%d","x":%q}}`,
				manifest.OCIIndex, manifest.OCIManifest, subject, j, annotation)
			digest := ref.SHA256.FromBytes([]byte(document))
			if _, _, err := s.want(http.StatusCreated, "PUT", "/v2/"+name+"/manifests/"+string(digest), []byte(document), manifest.OCIIndex); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	path := "/v2/" + name + "/referrers/" + string(subject)
	var idle []conn
	for range 32 {
		c, err := s.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.begin("GET", path, 0, nil); err != nil {
			return err
		}
		idle = append(idle, c)
	}
	var whole sync.Map
	err = parallel(32, func(i int) error {
		status, _, answer, err := s.send("GET", path, nil, "")
		if err == nil && status != http.StatusOK && status != http.StatusTooManyRequests {
			err = fmt.Errorf("status %d: %.300s", status, answer)
		}
		if status == http.StatusOK && len(answer) > 1<<20 {
			whole.Store(i, true)
		}
		return err
	})
	if err != nil {
		return err
	}
	served()
	for _, c := range idle {
		status, err := c.answer()
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			whole.Store(c, true)
		}
	}
	answered := 0
	for range whole.Range {
		answered++
	}
	if answered == 0 {
		return errors.New("nobody got a page of referrers")
	}
	return nil
}

func slowManifests(s *server, served func()) error {
	var slow []conn
	document := index(manifest.MaxSize)
	for i := range 200 {
		c, err := s.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.begin("PUT", fmt.Sprintf("/v2/%s/manifests/slow-%d", name, i), len(document), document[:64<<10]); err != nil {
			return err
		}
		slow = append(slow, c)
	}
	served()
	// Those for whom there is no room are told.
	for _, c := range slow[100:] {
		status, err := c.answer()
		if err != nil {
			return err
		}
		if status != http.StatusTooManyRequests {
			return fmt.Errorf("a manifest that did not come: status %d", status)
		}
	}
	return nil
}

func slowHeaders(s *server, served func()) error {
	var slow []conn
	for range 1000 {
		c, err := s.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		// Just short of what a header may have.
		if _, err := io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: "+strings.Repeat("x", 16_000)); err != nil {
			return err
		}
		slow = append(slow, c)
	}
	served()
	// A header has ten seconds.
	for i, c := range slow {
		if _, err := io.Copy(io.Discard, c.in); errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("connection %d is not given up", i)
		}
	}
	return nil
}

func parallelUploads(s *server, served func()) error {
	const uploads = 2000
	half := bytes.Repeat([]byte("x"), 50_000)
	var begun, ended sync.WaitGroup
	begun.Add(uploads)
	ended.Add(1)
	go func() {
		begun.Wait()
		served()
		ended.Done()
	}()
	return parallel(uploads, func(int) error {
		var once sync.Once
		defer once.Do(begun.Done)
		header, _, err := s.want(http.StatusAccepted, "POST", "/v2/"+name+"/blobs/uploads/", nil, "")
		if err != nil {
			return err
		}
		c, err := s.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.begin("PATCH", header.Get("Location"), 2*len(half), half); err != nil {
			return err
		}
		once.Do(begun.Done)
		ended.Wait()
		if _, err := c.Write(half); err != nil {
			return err
		}
		status, err := c.answer()
		if err == nil && status != http.StatusAccepted {
			err = fmt.Errorf("an upload got status %d", status)
		}
		return err
	})
}

func manyConnections(s *server, served func()) error {
	const most, more = 4096, 500
	var all []conn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	open := func(n int) error {
		for range n {
			c, err := s.dial()
			if err != nil {
				return err
			}
			all = append(all, c)
			if err := c.begin("GET", "/v2/", 0, nil); err != nil {
				return err
			}
			if status, err := c.answer(); err != nil || status != http.StatusOK {
				return errors.Join(fmt.Errorf("connection %d: status %d", len(all), status), err)
			}
		}
		return nil
	}
	if err := open(most); err != nil {
		return err
	}
	served()
	if err := open(more); err != nil {
		return err
	}
	served()
	// Every new one, and those of the bystander, had an old one closed.
	for i, c := range all[:more] {
		if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
			return errors.Join(fmt.Errorf("connection %d, among the oldest, is still open", i), err)
		}
	}
	last := all[len(all)-1]
	if err := last.begin("GET", "/v2/", 0, nil); err != nil {
		return err
	}
	_, err := last.answer()
	return err
}
