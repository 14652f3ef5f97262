// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Floor is the server that registries are measured against. It does only what
// physics asks of one: it answers with fixed bytes, sends files with sendfile, and
// hashes an upload beside writing it, with one fsync at its end. It knows no users,
// no names and no garbage: a blob is a file, a manifest is a file and the answer to
// its path. Nobody should keep data in it.
//
// PUT /fixed/PATH makes the body the answer to GET and HEAD of /PATH, query
// included.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	dir := flag.String("dir", "", "directory for what is pushed")
	flag.Parse()
	if err := run(*listen, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(listen, dir string) error {
	if dir == "" {
		return errors.New("-dir is required: the directory for what is pushed")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return http.Serve(listener, newFloor(dir))
}

// answer is what a path is answered with.
type answer struct {
	body                        []byte
	contentType, length, digest string
}

func newAnswer(body []byte, contentType string) *answer {
	sum := sha256.Sum256(body)
	return &answer{body: body, contentType: contentType, length: strconv.Itoa(len(body)), digest: "sha256:" + hex.EncodeToString(sum[:])}
}

// floor is safe for concurrent use.
type floor struct {
	dir     string
	uploads atomic.Int64
	// sums are what the bytes of unfinished uploads hash to, by upload id.
	sums sync.Map

	mu    sync.RWMutex
	fixed map[string]*answer
}

func newFloor(dir string) *floor {
	return &floor{dir: dir, fixed: map[string]*answer{"/v2/": newAnswer([]byte("{}"), "application/json")}}
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := f.serve(w, r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case status != 0:
		w.WriteHeader(status)
	}
}

// serve answers a request, but for a status without a body.
func (f *floor) serve(w http.ResponseWriter, r *http.Request) (status int, err error) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if read {
		f.mu.RLock()
		fixed := f.fixed[r.RequestURI]
		f.mu.RUnlock()
		if fixed != nil {
			fixed.write(w, r.Method)
			return 0, nil
		}
	}
	path := r.URL.Path
	if target, found := strings.CutPrefix(path, "/fixed"); found && r.Method == http.MethodPut {
		return f.fix(r, strings.TrimPrefix(r.URL.RequestURI(), "/fixed"), target)
	}
	if strings.Contains(path, "/blobs/uploads/") {
		return f.upload(w, r)
	}
	if before, name, found := cutLast(path, "/blobs/"); found && read && before != "" {
		return 0, f.sendBlob(w, r, name)
	}
	if before, _, found := cutLast(path, "/manifests/"); found && r.Method == http.MethodPut {
		return f.putManifest(w, r, before)
	}
	return 0, fs.ErrNotExist
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

func (a *answer) write(w http.ResponseWriter, method string) {
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("Content-Length", a.length)
	header.Set("Docker-Content-Digest", a.digest)
	if method == http.MethodGet {
		_, _ = w.Write(a.body) // the client counts what it got
	}
}

// fix remembers the answer to a request URI.
func (f *floor) fix(r *http.Request, uri, path string) (int, error) {
	if !strings.HasPrefix(path, "/") {
		return 0, fs.ErrNotExist
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err
	}
	f.answerWith(newAnswer(body, r.Header.Get("Content-Type")), uri)
	return http.StatusCreated, nil
}

func (f *floor) answerWith(a *answer, uris ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, uri := range uris {
		f.fixed[uri] = a
	}
}

// putManifest keeps a manifest as a file, and answers with it from memory.
func (f *floor) putManifest(w http.ResponseWriter, r *http.Request, name string) (int, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err
	}
	a := newAnswer(body, r.Header.Get("Content-Type"))
	file, err := os.Create(filepath.Join(f.dir, fmt.Sprint("manifest-", f.uploads.Add(1))))
	if err != nil {
		return 0, err
	}
	_, err = file.Write(body)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, err
	}
	f.answerWith(a, r.URL.Path, name+"/manifests/"+a.digest)
	w.Header().Set("Docker-Content-Digest", a.digest)
	return http.StatusCreated, nil
}

// upload takes an upload's POST, the PATCH that brings all of its bytes, its PUT, or
// its DELETE.
func (f *floor) upload(w http.ResponseWriter, r *http.Request) (int, error) {
	before, id, _ := cutLast(r.URL.Path, "/blobs/uploads/")
	if r.Method == http.MethodPost {
		id = strconv.FormatInt(f.uploads.Add(1), 10)
	} else if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return 0, fs.ErrNotExist
	}
	path := filepath.Join(f.dir, "upload-"+id)
	w.Header().Set("Location", before+"/blobs/uploads/"+id)
	switch r.Method {
	case http.MethodPost:
		return http.StatusAccepted, nil
	case http.MethodPatch:
		sum, err := receive(path, r.Body)
		if err != nil {
			return 0, err
		}
		f.sums.Store(id, sum)
		return http.StatusAccepted, nil
	case http.MethodPut:
		sum, _ := f.sums.LoadAndDelete(id)
		if sum == nil || r.URL.Query().Get("digest") != "sha256:"+sum.(string) {
			return http.StatusBadRequest, nil
		}
		return http.StatusCreated, os.Rename(path, f.blobPath(sum.(string)))
	case http.MethodDelete:
		f.sums.Delete(id)
		return http.StatusNoContent, os.Remove(path)
	}
	return http.StatusMethodNotAllowed, nil
}

func (f *floor) blobPath(sum string) string { return filepath.Join(f.dir, "blob-"+filepath.Base(sum)) }

// sendBlob sends a file; net/http does it with sendfile.
func (f *floor) sendBlob(w http.ResponseWriter, r *http.Request, digest string) error {
	file, err := os.Open(f.blobPath(strings.TrimPrefix(digest, "sha256:")))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if r.Method == http.MethodGet {
		_, _ = io.CopyN(w, file, info.Size()) // the client counts what it got
	}
	return nil
}

const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// piece is a buffer and how much of it is to be hashed.
type piece struct {
	buffer *[bufferSize]byte
	n      int
}

// receive writes r to a file, hashes it beside that, syncs the file, and returns
// the SHA-256 in hexadecimal.
func receive(path string, r io.Reader) (sum string, err error) {
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	const inFlight = 2
	free, toHash := make(chan *[bufferSize]byte, inFlight), make(chan piece, inFlight)
	for range inFlight {
		free <- buffers.Get().(*[bufferSize]byte)
	}
	h := sha256.New()
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for p := range toHash {
			h.Write(p.buffer[:p.n])
			free <- p.buffer
		}
	}()
	for err == nil {
		buffer := <-free
		var n int
		n, err = io.ReadFull(r, buffer[:])
		toHash <- piece{buffer, n}
		if _, writeErr := file.Write(buffer[:n]); writeErr != nil {
			err = writeErr
		}
	}
	close(toHash)
	<-hashed
	for range inFlight {
		buffers.Put(<-free)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), file.Sync()
}
