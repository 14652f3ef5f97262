// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package byterange makes http.ServeContent answer a Range header as RFC 9110,
// section 14, has it. It is pure.
package byterange

import (
	"cmp"
	"net/http"
	"strings"
)

const (
	// beyondAll is a position that no content reaches, nor a number of more than
	// mostDigits digits.
	beyondAll  = "9223372036854775807"
	mostDigits = 18

	// noRanges is what http.ServeContent refuses with 416.
	noRanges = "bytes=-"
)

// Settle leaves a Range in a request only as the RFC means it, and as
// http.ServeContent reads it right: ranges are for GET alone, units other than bytes
// are ignored, positions may have any number of digits, the last 0 bytes are no
// range, and empty content is sent whole. size is the content's, in bytes.
func Settle(r *http.Request, size int64) {
	values := r.Header.Values("Range")
	if len(values) == 0 {
		return
	}
	header := ""
	if r.Method == http.MethodGet && len(values) == 1 && size > 0 {
		header = settled(values[0])
	}
	if header == "" {
		r.Header.Del("Range")
		return
	}
	r.Header.Set("Range", header)
}

// settled is a Range header as Settle leaves it, empty for one to ignore.
func settled(header string) string {
	unit, set, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(unit, "bytes") {
		return ""
	}
	var ranges []string
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // lists may have empty elements: section 5.6.1
		}
		first, last, found := strings.Cut(spec, "-")
		if !found || first == "" && last == "" || !digitsOnly(first) || !digitsOnly(last) {
			return noRanges
		}
		first, last = plainNumber(first), plainNumber(last)
		switch {
		case first == "" && last == "0":
			first, last = beyondAll, ""
		case first != "" && last != "" && compareNumbers(first, last) > 0:
			return noRanges
		}
		ranges = append(ranges, boundedNumber(first)+"-"+boundedNumber(last))
	}
	if len(ranges) == 0 {
		return noRanges
	}
	return "bytes=" + strings.Join(ranges, ",")
}

func digitsOnly(s string) bool { return strings.Trim(s, "0123456789") == "" }

// plainNumber is a number without leading zeros, or nothing.
func plainNumber(digits string) string {
	if digits == "" {
		return ""
	}
	return cmp.Or(strings.TrimLeft(digits, "0"), "0")
}

// compareNumbers orders plain numbers of any length.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func boundedNumber(digits string) string {
	if len(digits) > mostDigits {
		return beyondAll
	}
	return digits
}
