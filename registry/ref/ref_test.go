// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ref

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The grammar as OCI Distribution 1.1 writes it, section "Pulling manifests".
var (
	specName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	specTag  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	// The registered algorithms of the OCI Image Specification, section "Digests".
	specDigest = regexp.MustCompile(`^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$`)
)

var (
	digest256 = "sha256:" + strings.Repeat("0a", sha256.Size)
	digest512 = "sha512:" + strings.Repeat("f9", sha512.Size)
)

func TestName(t *testing.T) {
	for _, test := range []struct {
		name    string
		message string
	}{
		{"octocat/octo-app/monalisa", ""},
		{"octocat/octo-app/team/service/api", ""},
		{"1/2/3", ""},
		{"a.b/c_d/e__f", ""},
		{"a-b/c--d/e---f", ""},
		{"a/b/" + strings.Repeat("c", MaxNameLength-4), ""},
		{"", "name is empty"},
		{"a/b/" + strings.Repeat("c", MaxNameLength-3), "name has 256 characters, at most 255 are allowed"},
		{"monalisa", "name has fewer than three components: write OWNER/REPOSITORY/IMAGE_NAME"},
		{"octocat/monalisa", "name has fewer than three components: write OWNER/REPOSITORY/IMAGE_NAME"},
		{"Octocat/octo-app/monalisa", `names are lower case: write "Octocat" as "octocat"`},
		{"octocat/octo-App/monalisa", `names are lower case: write "octo-App" as "octo-app"`},
		{"octocat/octo-app/monalisA", `names are lower case: write "monalisA" as "monalisa"`},
		{"octocat/octo-app/mona.Lisa", `names are lower case: write "mona.Lisa" as "mona.lisa"`},
		{"octocat/octo-app/mona_Lisa", `names are lower case: write "mona_Lisa" as "mona_lisa"`},
		{"octocat/octo-app/Mona%", `name component "Mona%" has the character 'M'; only a-z, 0-9 and the separators . _ __ - are allowed`},
		{"octocat/octo-app/Mona__-Lisa", `name component "Mona__-Lisa" has the character 'M'; only a-z, 0-9 and the separators . _ __ - are allowed`},
		{"octocat//monalisa", "name has an empty component"},
		{"/octocat/octo-app/monalisa", "name has an empty component"},
		{"octocat/octo-app/monalisa/", "name has an empty component"},
		{"octocat/../monalisa", `name component ".." must begin and end with a lower-case letter or a digit`},
		{"octocat/octo-app/.monalisa", `name component ".monalisa" must begin and end with a lower-case letter or a digit`},
		{"octocat/octo-app/monalisa-", `name component "monalisa-" must begin and end with a lower-case letter or a digit`},
		{"octocat/octo-app/mona___lisa", `name component "mona___lisa" joins words with something else than '.', '_', '__' or dashes`},
		{"octocat/octo-app/mona..lisa", `name component "mona..lisa" joins words with something else than '.', '_', '__' or dashes`},
		{"octocat/octo-app/mona._lisa", `name component "mona._lisa" joins words with something else than '.', '_', '__' or dashes`},
		{"octocat/octo-app/mona lisa", `name component "mona lisa" has the character ' '; only a-z, 0-9 and the separators . _ __ - are allowed`},
		{"octocat/octo-app/mona\x00", `name component "mona\x00" has the character '\x00'; only a-z, 0-9 and the separators . _ __ - are allowed`},
	} {
		t.Run(test.name, func(t *testing.T) {
			name, err := ParseName(test.name)
			wantMessage(t, err, test.message)
			if err == nil && string(name) != test.name {
				t.Errorf("got the name %q", name)
			}
		})
	}
}

func TestNameErrorsAreTyped(t *testing.T) {
	if _, err := ParseName("octocat/Octo-App/monalisa"); !errors.Is(err, ErrUpperCase) {
		t.Errorf("upper case gives %v, want ErrUpperCase", err)
	}
	if _, err := ParseName("octocat/octo-app"); !errors.Is(err, ErrTooShort) {
		t.Errorf("two components give %v, want ErrTooShort", err)
	}
	if _, err := ParseName("octocat/Octo App/monalisa"); errors.Is(err, ErrUpperCase) {
		t.Errorf("a space gives %v; lower case would not help", err)
	}
}

func TestNameParts(t *testing.T) {
	for _, test := range []struct {
		name                     Name
		owner, repository, image string
	}{
		{"octocat/octo-app/monalisa", "octocat", "octocat/octo-app", "monalisa"},
		{"octocat/octo-app/team/api", "octocat", "octocat/octo-app", "team/api"},
		{"octocat/octo-app", "octocat", "octocat/octo-app", ""},
		{"octocat", "octocat", "octocat", ""},
		{"", "", "", ""},
	} {
		if got := test.name.Owner(); got != test.owner {
			t.Errorf("%q has the owner %q, want %q", test.name, got, test.owner)
		}
		if got := test.name.Repository(); got != test.repository {
			t.Errorf("%q is of the repository %q, want %q", test.name, got, test.repository)
		}
		if got := test.name.Image(); got != test.image {
			t.Errorf("%q has the image name %q, want %q", test.name, got, test.image)
		}
	}
}

func TestTag(t *testing.T) {
	for _, test := range []struct {
		tag     string
		message string
	}{
		{"latest", ""},
		{"1.0", ""},
		{"_", ""},
		{"V1.0-RC_1", ""},
		{strings.Repeat("t", MaxTagLength), ""},
		{"", "tag is empty"},
		{strings.Repeat("t", MaxTagLength+1), "tag has 129 characters, at most 128 are allowed"},
		{".1", `tag ".1" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"-1", `tag "-1" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"a/b", `tag "a/b" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
		{"ä", `tag "ä" must be letters, digits, '_', '.' and '-', and begin with neither '.' nor '-'`},
	} {
		t.Run(test.tag, func(t *testing.T) {
			tag, err := ParseTag(test.tag)
			wantMessage(t, err, test.message)
			if err == nil && string(tag) != test.tag {
				t.Errorf("got the tag %q", tag)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, test := range []struct {
		digest  string
		message string
	}{
		{digest256, ""},
		{digest512, ""},
		{"", `digest "" is not of the form ALGORITHM:HEX`},
		{"latest", `digest "latest" is not of the form ALGORITHM:HEX`},
		{long, fmt.Sprintf("digest %q is not of the form ALGORITHM:HEX", long[:80]+"…")},
		{"md5:d41d8cd98f00b204e9800998ecf8427e", `digest algorithm is not supported; use sha256 or sha512: "md5"`},
		{":" + digest256[7:], `digest algorithm is not supported; use sha256 or sha512: ""`},
		{"SHA256" + digest256[6:], `digest algorithm is not supported; use sha256 or sha512: "SHA256"`},
		{long + ":", fmt.Sprintf("digest algorithm is not supported; use sha256 or sha512: %q", long[:80]+"…")},
		{"sha256:baddigeststring", `digest has 15 characters behind "sha256:", 64 are needed`},
		{digest256 + "0", `digest has 65 characters behind "sha256:", 64 are needed`},
		{"sha512" + digest256[6:], `digest has 64 characters behind "sha512:", 128 are needed`},
		{strings.ToUpper(digest256[:8]), `digest algorithm is not supported; use sha256 or sha512: "SHA256"`},
		{"sha256:" + strings.Repeat("0A", sha256.Size), fmt.Sprintf("digest %q is not lower-case hexadecimal", "sha256:"+strings.Repeat("0A", sha256.Size))},
		{"sha256:" + strings.Repeat("/.", 32), fmt.Sprintf("digest %q is not lower-case hexadecimal", "sha256:"+strings.Repeat("/.", 32))},
	} {
		t.Run(shorten(test.digest), func(t *testing.T) {
			digest, err := ParseDigest(test.digest)
			wantMessage(t, err, test.message)
			if err == nil && string(digest) != test.digest {
				t.Errorf("got the digest %q", digest)
			}
		})
	}
}

func TestReferenceIsATagOrADigest(t *testing.T) {
	for _, test := range []struct {
		in      string
		want    Reference
		invalid bool
	}{
		{in: "latest", want: Reference{Tag: "latest"}},
		{in: "sha256", want: Reference{Tag: "sha256"}},
		{in: digest512, want: Reference{Digest: Digest(digest512)}},
		{in: "sha256:0", invalid: true},
		{in: "", invalid: true},
	} {
		got, err := ParseReference(test.in)
		if (err != nil) != test.invalid {
			t.Errorf("%q gives the error %v, want one: %t", test.in, err, test.invalid)
			continue
		}
		if got != test.want {
			t.Errorf("%q is %+v, want %+v", test.in, got, test.want)
		}
		if err == nil && got.String() != test.in {
			t.Errorf("%q is written as %q", test.in, got)
		}
	}
}

func TestAlgorithmsComputeTheirDigest(t *testing.T) {
	content := []byte("hello world")
	for algorithm, want := range map[Algorithm]Digest{
		SHA256: "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
		SHA512: "sha512:309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f",
	} {
		if got := algorithm.FromBytes(content); got != want {
			t.Errorf("%s of the content is %s, want %s", algorithm, got, want)
		}
		if got := want.Algorithm(); got != algorithm {
			t.Errorf("%s has the algorithm %s", want, got)
		}
		h := algorithm.New()
		if _, ok := h.(encoding.BinaryMarshaler); !ok {
			t.Errorf("the hash of %s has no midstate to store", algorithm)
		}
		if _, ok := h.(encoding.BinaryUnmarshaler); !ok {
			t.Errorf("the hash of %s cannot be resumed", algorithm)
		}
		if got, err := ParseAlgorithm(string(algorithm)); err != nil || got != algorithm {
			t.Errorf("%q parses as %q, %v", algorithm, got, err)
		}
	}
	for _, other := range []string{"", "sha1", "sha384", "SHA256", "sha256 "} {
		if _, err := ParseAlgorithm(other); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%q gives %v, want ErrAlgorithm", other, err)
		}
		if Algorithm(other).New() != nil {
			t.Errorf("%q has a hash", other)
		}
	}
}

func wantMessage(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got the error %q, want %q", got, want)
	}
}
