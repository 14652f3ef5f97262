// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package route

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// maxArtifactTypeLength is that of a media type: two names of 127 characters
// (RFC 6838, section 4.2) and a slash.
const maxArtifactTypeLength = 255

// parameters are a query's, of which an endpoint takes those that it reads.
type parameters url.Values

func parseQuery(r *http.Request) (parameters, *errcode.Error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errcode.New(http.StatusBadRequest, errcode.Unsupported, "the query cannot be read: write it as KEY=VALUE&KEY=VALUE, percent-encoded")
	}
	return parameters(values), nil
}

// one takes a parameter that may occur once; empty when it does not, or has no
// value. Of two values, a proxy or a log might read the other one.
func (p parameters) one(key string, code errcode.Code) (string, *errcode.Error) {
	switch values := p[key]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", errcode.New(http.StatusBadRequest, code, fmt.Sprintf("parameter %s occurs %d times", key, len(values)))
	}
}

// digest takes a parameter that is a digest; empty when it does not occur.
func (p parameters) digest(key string) (ref.Digest, *errcode.Error) {
	s, refused := p.one(key, errcode.DigestInvalid)
	if refused != nil || s == "" {
		return "", refused
	}
	d, err := ref.ParseDigest(s)
	if err != nil {
		return "", errcode.New(http.StatusBadRequest, errcode.DigestInvalid, err.Error())
	}
	return d, nil
}

// withPage reads n and last, and for Referrers artifactType.
func withPage(q Request, r *http.Request) (Request, *errcode.Error) {
	p, refused := parseQuery(r)
	if refused != nil {
		return Request{}, refused
	}
	if q.Limit, refused = p.limit(); refused != nil {
		return Request{}, refused
	}
	if q.Last, refused = p.last(q.Kind); refused != nil {
		return Request{}, refused
	}
	if q.Kind == Referrers {
		if q.ArtifactType, refused = p.artifactType(); refused != nil {
			return Request{}, refused
		}
	}
	return q, nil
}

// limit reads n: digits alone; none is NoLimit, zero asks for an empty list.
func (p parameters) limit() (int, *errcode.Error) {
	if !url.Values(p).Has("n") {
		return NoLimit, nil
	}
	s, refused := p.one("n", errcode.PaginationInvalid)
	if refused != nil {
		return 0, refused
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errcode.New(http.StatusBadRequest, errcode.PaginationInvalid, "parameter n must be a number that is not negative")
	}
	return int(min(n, MaxLimit)), nil
}

func (p parameters) last(kind Kind) (string, *errcode.Error) {
	switch kind {
	case Referrers:
		d, refused := p.digest("last")
		return string(d), refused
	case TagsList:
		return p.text("last", ref.MaxNameLength, errcode.TagInvalid)
	default:
		return p.text("last", ref.MaxNameLength, errcode.NameInvalid)
	}
}

func (p parameters) artifactType() (string, *errcode.Error) {
	s, refused := p.one("artifactType", errcode.Unsupported)
	if refused != nil {
		return "", refused
	}
	// A plus sign that nobody encoded arrives as a space, which no media type has.
	s = strings.ReplaceAll(s, " ", "+")
	return s, checkText("artifactType", s, maxArtifactTypeLength, errcode.Unsupported)
}

// text takes a parameter of printable ASCII without spaces: safe to log, to
// compare and to hand to a database.
func (p parameters) text(key string, length int, code errcode.Code) (string, *errcode.Error) {
	s, refused := p.one(key, code)
	if refused != nil {
		return "", refused
	}
	return s, checkText(key, s, length, code)
}

func checkText(key, s string, length int, code errcode.Code) *errcode.Error {
	if len(s) > length {
		return errcode.New(http.StatusBadRequest, code, fmt.Sprintf("parameter %s has %d characters, at most %d are allowed", key, len(s), length))
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return errcode.New(http.StatusBadRequest, code, fmt.Sprintf("parameter %s must be printable ASCII without spaces", key))
		}
	}
	return nil
}

// withUploadParameters reads what a POST may announce. A from that cannot be a
// name here has nothing to mount; then, as OCI Distribution asks of a registry
// that is unable to mount, an ordinary upload begins.
func withUploadParameters(q Request, r *http.Request) (Request, *errcode.Error) {
	p, refused := parseQuery(r)
	if refused != nil {
		return Request{}, refused
	}
	if q.Digest, refused = p.digest("digest"); refused != nil {
		return Request{}, refused
	}
	if q.Mount, refused = p.digest("mount"); refused != nil {
		return Request{}, refused
	}
	from, refused := p.one("from", errcode.NameInvalid)
	if refused != nil {
		return Request{}, refused
	}
	if q.Mount != "" && from != "" {
		name, err := ref.ParseName(from)
		if err != nil {
			q.Mount = ""
		}
		q.From = name
	}
	algorithm, refused := p.one("digest-algorithm", errcode.DigestInvalid)
	if refused != nil {
		return Request{}, refused
	}
	if algorithm != "" {
		var err error
		if q.Algorithm, err = ref.ParseAlgorithm(algorithm); err != nil {
			return Request{}, errcode.New(http.StatusBadRequest, errcode.DigestInvalid, err.Error())
		}
	}
	return q, nil
}

// withFinishDigest reads the digest that the closing PUT must have.
func withFinishDigest(q Request, r *http.Request) (Request, *errcode.Error) {
	p, refused := parseQuery(r)
	if refused != nil {
		return Request{}, refused
	}
	if q.Digest, refused = p.digest("digest"); refused != nil {
		return Request{}, refused
	}
	if q.Digest == "" {
		return Request{}, errcode.New(http.StatusBadRequest, errcode.DigestInvalid, "closing an upload needs the parameter digest")
	}
	return q, nil
}

// withTags reads the tags that a manifest pushed by digest gets.
func withTags(q Request, r *http.Request) (Request, *errcode.Error) {
	p, refused := parseQuery(r)
	if refused != nil {
		return Request{}, refused
	}
	values := p["tag"]
	if len(values) == 0 {
		return q, nil
	}
	if q.Reference.Digest == "" {
		return Request{}, errcode.New(http.StatusBadRequest, errcode.TagInvalid, "parameter tag goes with a manifest that is pushed by digest")
	}
	if len(values) > MaxTags {
		return Request{}, errcode.New(http.StatusRequestURITooLong, errcode.TagInvalid, fmt.Sprintf("at most %d tags can be set at once", MaxTags))
	}
	for _, s := range values {
		tag, err := ref.ParseTag(s)
		if err != nil {
			return Request{}, errcode.New(http.StatusBadRequest, errcode.TagInvalid, err.Error())
		}
		if !slices.Contains(q.Tags, tag) {
			q.Tags = append(q.Tags, tag)
		}
	}
	return q, nil
}

// withContentRange reads a chunk's position: START-END, and nothing else, as OCI
// Distribution, "Pushing a blob in chunks", has it.
func withContentRange(q Request, r *http.Request) (Request, *errcode.Error) {
	values := r.Header.Values("Content-Range")
	if len(values) == 0 {
		return q, nil
	}
	malformed := errcode.New(http.StatusBadRequest, errcode.BlobUploadInvalid, "header Content-Range must be of the form START-END")
	first, second, found := strings.Cut(values[0], "-")
	if len(values) > 1 || !found {
		return Request{}, malformed
	}
	start, err := strconv.ParseUint(first, 10, 62)
	if err != nil {
		return Request{}, malformed
	}
	end, err := strconv.ParseUint(second, 10, 62)
	if err != nil {
		return Request{}, malformed
	}
	if end < start {
		return Request{}, errcode.New(http.StatusRequestedRangeNotSatisfiable, errcode.RangeInvalid, "header Content-Range ends before it begins")
	}
	q.ContentRange = &Range{Start: int64(start), End: int64(end)}
	if length := q.ContentRange.Length(); r.ContentLength >= 0 && r.ContentLength != length {
		return Request{}, errcode.New(http.StatusBadRequest, errcode.SizeInvalid,
			fmt.Sprintf("header Content-Range covers %d bytes, Content-Length says %d", length, r.ContentLength))
	}
	return q, nil
}
