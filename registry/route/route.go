// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package route turns an HTTP request into one typed Request. It is the only
// place that knows the shapes of the registry's URLs, in both directions: what
// Parse accepts, the builders in this package write. It is pure: no look-ups,
// no reading of bodies.
//
// The endpoints are those of OCI Distribution 1.1, section "Endpoints", with the
// digest-algorithm and tag parameters of its next version, Docker's _catalog,
// and the token endpoint of Docker's authentication.
package route

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// TokenPath is the path of the token endpoint.
const TokenPath = "/token"

// VersionPath is the path of the version check, which every client asks first.
const VersionPath = "/v2/"

const (
	// MaxLimit is the longest page that one request can ask for; a greater n
	// means this many.
	MaxLimit = 10000
	// MaxTags is the number of tags that one manifest push may set by parameter.
	MaxTags = 100
	// MaxUploadIDLength bounds an upload's id, in bytes.
	MaxUploadIDLength = 128
	// NoLimit is a Request's Limit when the client did not send one.
	NoLimit = -1
)

// Kind says what a request wants done.
type Kind uint8

// The kinds of requests. The comments name the endpoints of OCI Distribution.
const (
	_              Kind = iota
	Version             // end-1
	Token               // Docker's token endpoint
	Catalog             // Docker's list of names
	TagsList            // end-8a, end-8b
	Referrers           // end-12a, end-12b
	BlobHead            // end-2
	BlobGet             // end-2
	BlobDelete          // end-10
	UploadStart         // end-4a, end-4b, end-4c, end-11
	UploadStatus        // end-13
	UploadChunk         // end-5
	UploadFinish        // end-6
	UploadCancel        // end-14
	ManifestHead        // end-3
	ManifestGet         // end-3
	ManifestPut         // end-7a, end-7b
	ManifestDelete      // end-9
)

var kindNames = [...]string{
	Version: "Version", Token: "Token", Catalog: "Catalog", TagsList: "TagsList", Referrers: "Referrers",
	BlobHead: "BlobHead", BlobGet: "BlobGet", BlobDelete: "BlobDelete",
	UploadStart: "UploadStart", UploadStatus: "UploadStatus", UploadChunk: "UploadChunk",
	UploadFinish: "UploadFinish", UploadCancel: "UploadCancel",
	ManifestHead: "ManifestHead", ManifestGet: "ManifestGet", ManifestPut: "ManifestPut", ManifestDelete: "ManifestDelete",
}

// String is the constant's name, fit for a log line or a metric's label.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "Unknown"
}

// Request is a request whose every part has passed its grammar. Fields that a
// Kind does not use are zero (Limit: NoLimit).
type Request struct {
	Kind Kind
	// Name of the repository; empty for Version, Token and Catalog.
	Name ref.Name
	// Reference of a manifest.
	Reference ref.Reference
	// Digest of a blob, of a referrers' subject, or of the blob that UploadFinish
	// or a one-request UploadStart brings.
	Digest ref.Digest
	// UploadID is 1 to MaxUploadIDLength letters, digits, '-' or '_'.
	UploadID string
	// Mount is the blob that an UploadStart would like to find in From; with an
	// empty From, in any name.
	Mount ref.Digest
	From  ref.Name
	// Algorithm that an UploadStart announced; empty when it did not.
	Algorithm ref.Algorithm
	// Last is the entry that a page begins behind: printable ASCII of at most
	// ref.MaxNameLength bytes, and a digest for Referrers.
	Last string
	// Limit is the most entries that the client wants: 0 to MaxLimit, or NoLimit.
	Limit int
	// ArtifactType that Referrers filters by; empty for all.
	ArtifactType string
	// ContentRange of an UploadChunk or UploadFinish; nil when the client sent none.
	ContentRange *Range
	// Tags that a ManifestPut by digest sets as well, each once.
	Tags []ref.Tag
}

// Range is the position of a chunk in its blob, in bytes, both ends inclusive.
type Range struct {
	Start, End int64
}

// Length is the number of bytes in the range.
func (r Range) Length() int64 { return r.End - r.Start + 1 }

// Parse reads method, path, query and Content-Range. The path must be written
// plainly: only the last component may be percent-encoded (some clients encode
// the colon of a digest). /v2 means /v2/, and .../blobs/uploads means
// .../blobs/uploads/; any other path with or without a trailing slash is another
// path. HEAD is answered wherever GET is, but for Token.
//
// The error says which answer refuses the request: 404 for a path that no
// endpoint has, 405 with Allow for a method that an endpoint lacks, 400 for a
// part that is against its grammar. A parameter that an endpoint reads may occur
// once; parameters that it does not read are ignored. A tag that cannot exist is
// unknown (404) when reading and invalid (400) when writing.
func Parse(r *http.Request) (Request, *errcode.Error) {
	path := r.URL.EscapedPath()
	switch path {
	case "/v2", VersionPath:
		return simple(r, Version, http.MethodGet, http.MethodHead)
	case TokenPath:
		return simple(r, Token, http.MethodGet, http.MethodPost)
	case "/v2/_catalog":
		q, refused := simple(r, Catalog, http.MethodGet, http.MethodHead)
		if refused != nil {
			return q, refused
		}
		return withPage(q, r)
	}
	rest, found := strings.CutPrefix(path, VersionPath)
	if !found {
		return Request{}, noEndpoint()
	}
	// Names may contain the words that endpoints are made of, so the end decides.
	rest, last, ok := cutLast(rest)
	if !ok {
		return Request{}, noEndpoint()
	}
	name, word, ok := cutLast(rest)
	if !ok {
		return Request{}, noEndpoint()
	}
	switch {
	case word == "manifests":
		return manifest(r, name, last)
	case word == "blobs" && last == "uploads":
		return uploadStart(r, name)
	case word == "blobs":
		return blob(r, name, last)
	case word == "tags" && last == "list":
		return tags(r, name)
	case word == "referrers":
		return referrers(r, name, last)
	case word == "uploads" && strings.HasSuffix(name, "/blobs"):
		name = strings.TrimSuffix(name, "/blobs")
		if last == "" {
			return uploadStart(r, name)
		}
		return upload(r, name, last)
	}
	return Request{}, noEndpoint()
}

func simple(r *http.Request, kind Kind, methods ...string) (Request, *errcode.Error) {
	for _, method := range methods {
		if r.Method == method {
			return Request{Kind: kind, Limit: NoLimit}, nil
		}
	}
	return Request{}, notAllowed(methods...)
}

func manifest(r *http.Request, name, reference string) (Request, *errcode.Error) {
	q := Request{Limit: NoLimit}
	switch r.Method {
	case http.MethodGet:
		q.Kind = ManifestGet
	case http.MethodHead:
		q.Kind = ManifestHead
	case http.MethodPut:
		q.Kind = ManifestPut
	case http.MethodDelete:
		q.Kind = ManifestDelete
	default:
		return Request{}, notAllowed(http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete)
	}
	var refused *errcode.Error
	if q.Name, refused = parseName(name); refused != nil {
		return Request{}, refused
	}
	reference, err := url.PathUnescape(reference)
	if err != nil {
		return Request{}, noEndpoint()
	}
	if q.Reference, err = ref.ParseReference(reference); err != nil {
		switch {
		case strings.Contains(reference, ":"):
			return Request{}, errcode.New(http.StatusBadRequest, errcode.DigestInvalid, err.Error())
		case q.Kind == ManifestPut:
			return Request{}, errcode.New(http.StatusBadRequest, errcode.TagInvalid, err.Error())
		default:
			return Request{}, errcode.New(http.StatusNotFound, errcode.ManifestUnknown, err.Error())
		}
	}
	if q.Kind == ManifestPut {
		return withTags(q, r)
	}
	return q, nil
}

func blob(r *http.Request, name, digest string) (Request, *errcode.Error) {
	q := Request{Limit: NoLimit}
	switch r.Method {
	case http.MethodGet:
		q.Kind = BlobGet
	case http.MethodHead:
		q.Kind = BlobHead
	case http.MethodDelete:
		q.Kind = BlobDelete
	default:
		return Request{}, notAllowed(http.MethodGet, http.MethodHead, http.MethodDelete)
	}
	return withNameAndDigest(q, name, digest)
}

func tags(r *http.Request, name string) (Request, *errcode.Error) {
	q, refused := simple(r, TagsList, http.MethodGet, http.MethodHead)
	if refused != nil {
		return q, refused
	}
	if q.Name, refused = parseName(name); refused != nil {
		return Request{}, refused
	}
	return withPage(q, r)
}

func referrers(r *http.Request, name, digest string) (Request, *errcode.Error) {
	q, refused := simple(r, Referrers, http.MethodGet, http.MethodHead)
	if refused != nil {
		return q, refused
	}
	if q, refused = withNameAndDigest(q, name, digest); refused != nil {
		return q, refused
	}
	return withPage(q, r)
}

func uploadStart(r *http.Request, name string) (Request, *errcode.Error) {
	q, refused := simple(r, UploadStart, http.MethodPost)
	if refused != nil {
		return q, refused
	}
	if q.Name, refused = parseName(name); refused != nil {
		return Request{}, refused
	}
	return withUploadParameters(q, r)
}

func upload(r *http.Request, name, id string) (Request, *errcode.Error) {
	q := Request{Limit: NoLimit}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		q.Kind = UploadStatus
	case http.MethodPatch:
		q.Kind = UploadChunk
	case http.MethodPut:
		q.Kind = UploadFinish
	case http.MethodDelete:
		q.Kind = UploadCancel
	default:
		return Request{}, notAllowed(http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete)
	}
	var refused *errcode.Error
	if q.Name, refused = parseName(name); refused != nil {
		return Request{}, refused
	}
	if !validUploadID(id) {
		return Request{}, errcode.New(http.StatusNotFound, errcode.BlobUploadUnknown, "no upload has this id")
	}
	q.UploadID = id
	if q.Kind == UploadFinish {
		if q, refused = withFinishDigest(q, r); refused != nil {
			return q, refused
		}
	}
	if q.Kind == UploadFinish || q.Kind == UploadChunk {
		return withContentRange(q, r)
	}
	return q, nil
}

func withNameAndDigest(q Request, name, digest string) (Request, *errcode.Error) {
	var refused *errcode.Error
	if q.Name, refused = parseName(name); refused != nil {
		return Request{}, refused
	}
	digest, err := url.PathUnescape(digest)
	if err != nil {
		return Request{}, noEndpoint()
	}
	if q.Digest, err = ref.ParseDigest(digest); err != nil {
		return Request{}, errcode.New(http.StatusBadRequest, errcode.DigestInvalid, err.Error())
	}
	return q, nil
}

func parseName(s string) (ref.Name, *errcode.Error) {
	name, err := ref.ParseName(s)
	if errors.Is(err, ref.ErrTooShort) {
		// A name of OCI that no repository here can have. Docker tries a push again
		// for nearly a minute at NAME_INVALID, and stops at NAME_UNKNOWN.
		return "", errcode.New(http.StatusNotFound, errcode.NameUnknown, err.Error())
	}
	if err != nil {
		return "", errcode.New(http.StatusBadRequest, errcode.NameInvalid, err.Error())
	}
	return name, nil
}

func validUploadID(s string) bool {
	if s == "" || len(s) > MaxUploadIDLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// cutLast splits s at its last slash.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func noEndpoint() *errcode.Error {
	return errcode.New(http.StatusNotFound, errcode.Unknown, "no endpoint has this path")
}

func notAllowed(methods ...string) *errcode.Error {
	e := errcode.New(http.StatusMethodNotAllowed, errcode.Unsupported, "this path does not answer this method")
	e.Header = http.Header{"Allow": {strings.Join(methods, ", ")}}
	return e
}
