// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ref

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzName: ParseName takes what the specification's grammar takes, with three
// components or more; what it takes falls into its parts and is whole again; what
// it refuses, it refuses with a short sentence, which asks for lower case when that
// alone would help.
func FuzzName(f *testing.F) {
	for _, seed := range []string{
		"octocat/octo-app/monalisa", "octocat/octo-app/team/service/api", "a.b/c__d/e--f", "A/b/c", "a//b", "a._b/c/d", "a/b/ä", "-/-/-",
		"a/b", "a/b/c/", "../../etc", "a/b/" + strings.Repeat("c", MaxNameLength-4), strings.Repeat("a/", 127) + "b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if want := bySpecification(s); (err == nil) != want {
			t.Errorf("ParseName(%q) gives %v; by the specification's grammar it is valid: %t", s, err, want)
		}
		if err != nil {
			wantShortError(t, err)
			if lower := lowerCase(s); errors.Is(err, ErrUpperCase) && lower == s || !errors.Is(err, ErrUpperCase) && bySpecification(lower) {
				t.Errorf("the error for %q is %v; in lower case it is valid: %t", s, err, bySpecification(lower))
			}
			if name != "" {
				t.Errorf("%q is refused and still gives %q", s, name)
			}
			return
		}
		if string(name) != s {
			t.Errorf("%q became %q", s, name)
		}
		if joined := name.Repository() + "/" + name.Image(); joined != s {
			t.Errorf("%q falls into %q and %q", s, name.Repository(), name.Image())
		}
		owner, repository, _ := strings.Cut(name.Repository(), "/")
		if owner != name.Owner() || CheckComponent(owner) != nil || CheckComponent(repository) != nil {
			t.Errorf("%q is of the owner %q and in %q", s, name.Owner(), name.Repository())
		}
	})
}

func bySpecification(s string) bool {
	return specName.MatchString(s) && strings.Count(s, "/") >= 2 && len(s) <= MaxNameLength
}

// FuzzReference: ParseReference takes a tag or a digest of the specification's
// grammar, never both, writes it as it was, and refuses the rest with a short
// sentence.
func FuzzReference(f *testing.F) {
	for _, seed := range []string{
		"latest", "V1.0-RC_1", ".x", "-", "", digest256, digest512, "sha256:", "a:b", ":", "sha512" + digest256[6:],
		strings.ToUpper(digest256), digest256 + "0", strings.Repeat("t", MaxTagLength), strings.Repeat("t", MaxTagLength+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		reference, err := ParseReference(s)
		tag, digest := specTag.MatchString(s), specDigest.MatchString(s)
		if (err == nil) != (tag || digest) {
			t.Errorf("ParseReference(%q) gives %v; by the specification's grammar it is valid: %t", s, err, tag || digest)
		}
		if err != nil {
			wantShortError(t, err)
			if reference != (Reference{}) {
				t.Errorf("%q is refused and still gives %+v", s, reference)
			}
			return
		}
		if reference.String() != s || (reference.Tag != "") != tag || (reference.Digest != "") != digest {
			t.Errorf("%q became %+v", s, reference)
		}
		if digest {
			algorithm, err := ParseAlgorithm(string(reference.Digest.Algorithm()))
			if err != nil || !strings.HasPrefix(s, string(algorithm)+":") {
				t.Errorf("%q has the algorithm %q: %v", s, algorithm, err)
			}
		}
	})
}

// wantShortError: what a stranger sent does not fill an answer or a log.
func wantShortError(t *testing.T, err error) {
	t.Helper()
	if len(err.Error()) > 2048 || !utf8.ValidString(err.Error()) {
		t.Errorf("the error is not a short sentence: %q", err)
	}
}
