// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package byterange_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/byterange"
)

// content is long enough for numbers of three digits.
var content = bytes.Repeat([]byte("0123456789abcdef"), 20)

// serve answers a request for the first size bytes of the content.
func serve(method string, size int64, ranges ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.Header["Range"] = ranges
	w := httptest.NewRecorder()
	byterange.Settle(r, size)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content[:size]))
	return w
}

// span is a part of a blob: its first and its last byte.
type span struct{ first, last int64 }

var (
	rangeSet  = regexp.MustCompile(`(?s)^(?i:bytes)=(.*)$`)
	rangeSpec = regexp.MustCompile(`^([0-9]+-[0-9]*|-[0-9]+)$`)
)

// bySection14 says what RFC 9110, section 14, has for a Range header: the status,
// and the parts that it names.
func bySection14(header string, size int64) (status int, parts []span) {
	set := rangeSet.FindStringSubmatch(header)
	if set == nil || size == 0 {
		return http.StatusOK, nil // a unit that is unknown, or nothing to choose from
	}
	bigSize := big.NewInt(size)
	for spec := range strings.SplitSeq(set[1], ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		if !rangeSpec.MatchString(spec) {
			return http.StatusRequestedRangeNotSatisfiable, nil
		}
		before, after, _ := strings.Cut(spec, "-")
		first, last := new(big.Int), new(big.Int).Sub(bigSize, big.NewInt(1))
		if before == "" {
			length, _ := new(big.Int).SetString(after, 10)
			if first.Sub(bigSize, length); first.Sign() < 0 {
				first.SetInt64(0)
			}
		} else {
			first.SetString(before, 10)
		}
		if before != "" && after != "" {
			end, _ := new(big.Int).SetString(after, 10)
			if end.Cmp(first) < 0 {
				return http.StatusRequestedRangeNotSatisfiable, nil
			}
			if end.Cmp(last) < 0 {
				last = end
			}
		}
		if first.Cmp(bigSize) < 0 {
			parts = append(parts, span{first.Int64(), last.Int64()})
		}
	}
	total := int64(0)
	for _, part := range parts {
		total += part.last - part.first + 1
	}
	switch {
	case len(parts) == 0:
		return http.StatusRequestedRangeNotSatisfiable, nil
	case total > size:
		return http.StatusOK, nil // more than once the whole is not sent
	}
	return http.StatusPartialContent, parts
}

// wantSpan fails unless body is the part that its Content-Range names.
func wantSpan(t *testing.T, contentRange string, body []byte, want span, size int64) {
	t.Helper()
	if wanted := fmt.Sprintf("bytes %d-%d/%d", want.first, want.last, size); contentRange != wanted || !bytes.Equal(body, content[want.first:want.last+1]) {
		t.Errorf("got %q with %q, want %s", contentRange, body, wanted)
	}
}

func wantRanges(t *testing.T, method, header string, size int64) {
	t.Helper()
	w := serve(method, size, header)
	status, parts := bySection14(header, size)
	if method == http.MethodHead {
		status = http.StatusOK
	}
	if w.Code != status {
		t.Fatalf("%s %q of %d bytes: status %d, want %d", method, header, size, w.Code, status)
	}
	answer := w.Result()
	body := w.Body.Bytes()
	switch {
	case method == http.MethodHead:
		if answer.Header.Get("Content-Length") != fmt.Sprint(size) || answer.Header.Get("Content-Range") != "" {
			t.Errorf("HEAD answers with %v", answer.Header)
		}
	case status == http.StatusOK:
		if !bytes.Equal(body, content[:size]) || answer.Header.Get("Content-Range") != "" {
			t.Errorf("%q of %d bytes: the whole is %q", header, size, body)
		}
	case status == http.StatusPartialContent && len(parts) == 1:
		wantSpan(t, answer.Header.Get("Content-Range"), body, parts[0], size)
	case status == http.StatusPartialContent:
		_, parameters, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		several := multipart.NewReader(w.Body, parameters["boundary"])
		for _, part := range parts {
			next, err := several.NextPart()
			if err != nil {
				t.Fatalf("%q of %d bytes: %v, want a part %v", header, size, err, part)
			}
			body, err := io.ReadAll(next)
			if err != nil {
				t.Fatal(err)
			}
			wantSpan(t, next.Header.Get("Content-Range"), body, part, size)
		}
		if _, err := several.NextPart(); !errors.Is(err, io.EOF) {
			t.Errorf("%q of %d bytes has more than %d parts: %v", header, size, len(parts), err)
		}
	}
}

// rangeHeaders are headers of every form.
var rangeHeaders = []string{
	"bytes=0-0", "bytes=2-4", "bytes=5-", "bytes=-3", "Bytes=0-3", "bytes=00-0004", "bytes= 0-1 ,\t3-4,,",
	"bytes=0-9999", "bytes=9999-", "bytes=-9999", "bytes=9999-99999", "bytes=0-99999999999999999999", "bytes=99999999999999999999-", "bytes=-99999999999999999999",
	"bytes=0-0,9999-", "bytes=0-0,2-2,-1", "bytes=0-,0-", "bytes=-0", "bytes=-000", "bytes=-0,0-0", "bytes=0-0,99999999999999999999-99999999999999999998",
	"bytes=5-2", "bytes=0-0,9999-2", "bytes=", "bytes=,", "bytes=-", "bytes=--1", "bytes=+1-2", "bytes=1-+2", "bytes=0 - 1", "bytes=0x0-1", "bytes=a-b", "bytes=0-0;1",
	"", "bytes", "bytes 0-1", " bytes=0-1", "items=0-1", "seconds=5-2", "=0-1", "bytes=9223372036854775807-9223372036854775808",
}

// TestRanges: the part that is sent is the one that RFC 9110, section 14, has for it.
func TestRanges(t *testing.T) {
	for _, header := range rangeHeaders {
		for _, size := range []int64{0, 1, 10, int64(len(content))} {
			wantRanges(t, http.MethodGet, header, size)
			wantRanges(t, http.MethodHead, header, size)
		}
	}
}

func TestTwoRangeHeadersAreNone(t *testing.T) {
	if w := serve(http.MethodGet, 10, "bytes=0-1", "bytes=4-5"); w.Code != http.StatusOK || w.Body.Len() != 10 {
		t.Errorf("status %d with %q", w.Code, w.Body)
	}
}

// FuzzRange: the same for any header and length.
func FuzzRange(f *testing.F) {
	for i, header := range rangeHeaders {
		f.Add(header, uint16(i*7))
	}
	f.Fuzz(func(t *testing.T, header string, size uint16) {
		wantRanges(t, http.MethodGet, header, int64(size)%int64(len(content)+1))
	})
}
