// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ref holds the grammar of what a registry request names: repositories,
// tags and digests. Everything here is pure; a value of one of these types has
// passed its Parse function.
package ref

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// MaxNameLength bounds a whole OCI repository name, as clients limit
// HOST/NAME to 255 characters.
const MaxNameLength = 255

// MaxTagLength is the limit of the OCI Distribution Specification for a tag.
const MaxTagLength = 128

var (
	// ErrUpperCase marks a name whose only visible fault may be its case.
	ErrUpperCase = errors.New("names are lower case")
	// ErrTooShort marks a name without an owner, a repository and an image name.
	ErrTooShort = errors.New("name has fewer than three components")
)

// Name is an OCI repository name of the form OWNER/REPOSITORY/IMAGE_NAME, where
// IMAGE_NAME may have further components.
type Name string

// ParseName checks s against the grammar of OCI Distribution for <name>, and
// against the three or more components that GitHub Packages uses.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", errors.New("name is empty")
	}
	if len(s) > MaxNameLength {
		return "", fmt.Errorf("name has %d characters, at most %d are allowed", len(s), MaxNameLength)
	}
	components := 0
	for component := range strings.SplitSeq(s, "/") {
		if err := CheckComponent(component); err != nil {
			return "", err
		}
		components++
	}
	if components < 3 {
		return "", fmt.Errorf("%w: write OWNER/REPOSITORY/IMAGE_NAME", ErrTooShort)
	}
	return Name(s), nil
}

// Owner is the first component.
func (n Name) Owner() string {
	owner, _, _ := strings.Cut(string(n), "/")
	return owner
}

// Repository is OWNER/REPOSITORY, the unit that rights are granted on.
func (n Name) Repository() string {
	first := strings.IndexByte(string(n), '/')
	if first < 0 {
		return string(n)
	}
	second := strings.IndexByte(string(n)[first+1:], '/')
	if second < 0 {
		return string(n)
	}
	return string(n)[:first+1+second]
}

// Image is everything behind OWNER/REPOSITORY/.
func (n Name) Image() string {
	repository := n.Repository()
	if len(repository) == len(n) {
		return ""
	}
	return string(n)[len(repository)+1:]
}

// CheckComponent reports why s cannot be one component of a name (an owner, a
// user or a repository), or nil. It follows the grammar of OCI Distribution,
// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*, and marks what is right but for its case.
func CheckComponent(s string) error {
	err := checkComponent(s)
	if err == nil {
		return nil
	}
	if lower := lowerCase(s); lower != s && checkComponent(lower) == nil {
		return fmt.Errorf("%w: write %q as %q", ErrUpperCase, s, lower)
	}
	return err
}

func checkComponent(s string) error {
	if s == "" {
		return errors.New("name has an empty component")
	}
	if len(s) > MaxNameLength {
		return fmt.Errorf("name component has %d characters, at most %d are allowed", len(s), MaxNameLength)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("name component %q has the character %q; only a-z, 0-9 and the separators . _ __ - are allowed", s, c)
		}
	}
	if !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return fmt.Errorf("name component %q must begin and end with a lower-case letter or a digit", s)
	}
	for i := 0; i < len(s); i++ {
		begin := i
		for !alphanumeric(s[i]) {
			i++
		}
		if begin < i && !separator(s[begin:i]) {
			return fmt.Errorf("name component %q joins words with something else than '.', '_', '__' or dashes", s)
		}
	}
	return nil
}

func separator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

// lowerCase changes A-Z alone: other letters have no place in a name.
func lowerCase(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
func upper(c byte) bool        { return c >= 'A' && c <= 'Z' }

// Tag is a tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
type Tag string

// ParseTag checks s against the grammar of OCI Distribution for a tag.
func ParseTag(s string) (Tag, error) {
	if s == "" {
		return "", errors.New("tag is empty")
	}
	if len(s) > MaxTagLength {
		return "", fmt.Errorf("tag has %d characters, at most %d are allowed", len(s), MaxTagLength)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if alphanumeric(c) || upper(c) || c == '_' || i > 0 && (c == '.' || c == '-') {
			continue
		}
		return "", fmt.Errorf("tag %q must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'", s)
	}
	return Tag(s), nil
}

// Algorithm is a registered digest algorithm of the OCI Image Specification.
type Algorithm string

// The algorithms that this registry stores content under.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// New returns the algorithm's hash, nil for an algorithm that is not supported.
// The hash implements encoding.BinaryMarshaler and encoding.BinaryUnmarshaler.
func (a Algorithm) New() hash.Hash {
	switch a {
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// hexLength is the length of an encoded digest, 0 where not supported.
func (a Algorithm) hexLength() int {
	switch a {
	case SHA256:
		return 2 * sha256.Size
	case SHA512:
		return 2 * sha512.Size
	}
	return 0
}

// ErrAlgorithm marks a digest whose algorithm is not supported.
var ErrAlgorithm = errors.New("digest algorithm is not supported; use sha256 or sha512")

// ParseAlgorithm accepts the supported algorithms' names.
func ParseAlgorithm(s string) (Algorithm, error) {
	if Algorithm(s).hexLength() == 0 {
		return "", fmt.Errorf("%w: %q", ErrAlgorithm, shorten(s))
	}
	return Algorithm(s), nil
}

// Digest is ALGORITHM:HEX with a supported algorithm and lower-case hex of the
// right length.
type Digest string

// ParseDigest checks s against the grammar of the OCI Image Specification.
func ParseDigest(s string) (Digest, error) {
	algorithm, encoded, found := strings.Cut(s, ":")
	if !found {
		return "", fmt.Errorf("digest %q is not of the form ALGORITHM:HEX", shorten(s))
	}
	want := Algorithm(algorithm).hexLength()
	if want == 0 {
		return "", fmt.Errorf("%w: %q", ErrAlgorithm, shorten(algorithm))
	}
	if len(encoded) != want {
		return "", fmt.Errorf("digest has %d characters behind %q, %d are needed", len(encoded), algorithm+":", want)
	}
	for i := 0; i < len(encoded); i++ {
		if c := encoded[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", fmt.Errorf("digest %q is not lower-case hexadecimal", s)
		}
	}
	return Digest(s), nil
}

// shorten keeps what a stranger sent from filling an error message.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Sum is the digest that a finished hash of this algorithm stands for.
func (a Algorithm) Sum(h hash.Hash) Digest {
	return Digest(string(a) + ":" + hex.EncodeToString(h.Sum(nil)))
}

// FromBytes is the algorithm's digest of content.
func (a Algorithm) FromBytes(content []byte) Digest {
	h := a.New()
	h.Write(content)
	return a.Sum(h)
}

// Algorithm is the part before the colon.
func (d Digest) Algorithm() Algorithm {
	algorithm, _, _ := strings.Cut(string(d), ":")
	return Algorithm(algorithm)
}

// Reference names a manifest: by tag or by digest, never both.
type Reference struct {
	Tag    Tag
	Digest Digest
}

// ParseReference takes what stands behind /manifests/ in a URL: a digest if it
// has a colon, else a tag.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Reference{Tag: t}, err
}

// String is the tag or the digest.
func (r Reference) String() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return string(r.Tag)
}
