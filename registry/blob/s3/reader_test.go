// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

// stored is a store behind a proxy, and an object in it.
func stored(t *testing.T, change func(*s3.Options), content []byte) (*s3.Store, *proxy, string) {
	t.Helper()
	server := s3test.Start(t)
	p := startProxy(t, server)
	o := p.through(options(server))
	if change != nil {
		change(&o)
	}
	s := open(t, o)
	partial := appendTo(t, s, create(t, s), content)
	commit(t, s, partial)
	p.taken()
	return s, p, partial.Key
}

// ranges records the ranges that were asked for.
type ranges struct {
	mu  sync.Mutex
	all []string
}

func (r *ranges) add(request *http.Request) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, request.Header.Get("Range"))
	return len(r.all)
}

// cutAnswers lets n bytes of each of the first answers through, then does end.
func cutAnswers(p *proxy, asked *ranges, answers, n int, end func(*http.Request)) {
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if operation(r) != "GET object" || asked.add(r) > answers {
			return false
		}
		p.forward.ServeHTTP(&cutResponse{ResponseWriter: w, left: n, end: func() { end(r) }}, r)
		return true
	})
}

// cutResponse passes on a number of bytes, then does end and breaks off.
type cutResponse struct {
	http.ResponseWriter
	left int
	end  func()
}

func (c *cutResponse) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if c.left == 0 && err == nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // it is about to be cut off
		c.end()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func readAll(t *testing.T, s *s3.Store, key string, size int) ([]byte, error) {
	t.Helper()
	r, err := s.OpenSized(t.Context(), key, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func TestABrokenReadGoesOnWhereItStopped(t *testing.T) {
	content := blobtest.Content(1, 1<<20)
	s, p, key := stored(t, nil, content)
	var asked ranges
	cutAnswers(p, &asked, 10, 100_000, func(*http.Request) {})
	got, err := readAll(t, s, key, len(content))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("read %d bytes (%v), want all %d", len(got), err, len(content))
	}
	if len(asked.all) != 11 {
		t.Fatalf("there were %d requests, want 11: %q", len(asked.all), asked.all)
	}
	for i, got := range asked.all {
		if want := "bytes=" + strconv.Itoa(i*100_000) + "-1048575"; got != want {
			t.Errorf("request %d asked for %q, want %q", i, got, want)
		}
	}
}

func TestAStalledReadIsBegunAgain(t *testing.T) {
	content := blobtest.Content(1, 1<<20)
	s, p, key := stored(t, func(o *s3.Options) { o.Stall = 50 * time.Millisecond }, content)
	var asked ranges
	cutAnswers(p, &asked, 1, 100_000, func(r *http.Request) { <-r.Context().Done() })
	got, err := readAll(t, s, key, len(content))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("read %d bytes (%v), want all %d", len(got), err, len(content))
	}
	if len(asked.all) < 2 || asked.all[1] != "bytes=100000-1048575" {
		t.Errorf("requests were %q, want a second from byte 100000 on", asked.all)
	}
}

func TestASlowTakerIsNotAStall(t *testing.T) {
	content := blobtest.Content(1, 1<<20)
	s, p, key := stored(t, func(o *s3.Options) { o.Stall = 500 * time.Millisecond }, content)
	r, err := s.OpenSized(t.Context(), key, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1000)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	rest, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(append(got, rest...), content) {
		t.Fatalf("the rest has %d bytes (%v)", len(rest), err)
	}
	if taken := p.taken(); len(taken) != 1 {
		t.Errorf("requests were %q, want one", taken)
	}
}

func TestAReadThatNeverSucceedsEnds(t *testing.T) {
	content := blobtest.Content(1, 1000)
	s, p, key := stored(t, nil, content)
	p.answerError("GET object", http.StatusForbidden, "AccessDenied")
	_, err := readAll(t, s, key, len(content))
	if err == nil || !strings.Contains(err.Error(), "read object "+key+": the storage says AccessDenied: said by the storage") {
		t.Errorf("read returned %v", err)
	}
	p.set(nil)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(t, s, key, len(content)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("read of an object that is gone returned %v, want ErrNotFound", err)
	}
}

func TestAnObjectOfAnotherSizeIsNoContent(t *testing.T) {
	s, _, key := stored(t, nil, blobtest.Content(1, 1000))
	if got, err := readAll(t, s, key, 2000); err == nil {
		t.Errorf("read %d bytes of an object of 1000 that should have 2000, without an error", len(got))
	}
}

func TestReadingAsksForNothingThatIsNotRead(t *testing.T) {
	content := blobtest.Content(1, 1<<20)
	s, p, key := stored(t, nil, content)
	var asked ranges
	p.set(func(_ http.ResponseWriter, r *http.Request) bool { asked.add(r); return false })
	r, err := s.OpenSized(t.Context(), key, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if end, err := r.Seek(0, io.SeekEnd); err != nil || end != 1<<20 {
		t.Fatalf("the end is at %d (%v)", end, err)
	}
	if _, err := r.Seek(-10, io.SeekStart); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a seek to before the beginning returned %v", err)
	}
	if taken := p.taken(); len(taken) != 0 {
		t.Errorf("requests before the first read were %q, want none", taken)
	}
	if _, err := r.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, content[len(content)-10:]) {
		t.Errorf("the last bytes are %x (%v)", got, err)
	}
	if want := []string{"bytes=1048566-1048575"}; !slices.Equal(asked.all, want) {
		t.Errorf("the ranges were %q, want %q", asked.all, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(got); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a read after Close returned %v", err)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	content := blobtest.Content(1, 1<<20)
	s, p, key := stored(t, nil, content)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked ranges
	cutAnswers(p, &asked, 1, 100_000, func(r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	r, err := s.OpenSized(ctx, key, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read returned %v, want context.Canceled", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
