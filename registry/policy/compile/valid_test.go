// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// A registry takes a policy whole or not at all, so that one object must not be
// able to keep the others from it.
func TestAnUnusableObjectIsLeftOutAlone(t *testing.T) {
	narrowed := func(pattern string) Token {
		tok := token("bad", "monalisa", "bad-value")
		tok.Object.Spec.Repositories = []string{"octocat/octo-app", pattern}
		return tok
	}
	purged := repo("bad", "Octocat", "tools")
	purged.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
	deleting(&purged)
	for name, test := range map[string]struct {
		repository v1alpha1.PackagesRepository
		token      Token
		kind       string
		message    string
	}{
		"no owner":                 {repository: repo("bad", "", "tools"), kind: KindRepository, message: "spec.owner: name has an empty component"},
		"an owner with a slash":    {repository: repo("bad", "octocat/octo", "app"), kind: KindRepository, message: "spec.owner: "},
		"a name in upper case":     {repository: repo("bad", "octocat", "Tools"), kind: KindRepository, message: `spec.name: names are lower case: write "Tools" as "tools"`},
		"one that is to be purged": {repository: purged, kind: KindRepository, message: "spec.owner: "},
		"no user":                  {token: token("bad", "", "bad-value"), kind: KindToken, message: "spec.user: "},
		"a narrowing to nothing":   {token: narrowed(""), kind: KindToken, message: `spec.repositories[1]: "" is neither OWNER/REPOSITORY nor OWNER/*`},
		"a narrowing to everybody": {token: narrowed("*/octo-app"), kind: KindToken, message: "spec.repositories[1]: "},
		"a narrowing to an image":  {token: narrowed("octocat/octo-app/image"), kind: KindToken, message: "spec.repositories[1]: "},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Instance: instance(), Repositories: []v1alpha1.PackagesRepository{repo("good", "octocat", "octo-app")},
				Tokens: []Token{token("good", "monalisa", "value")}}
			want := Compile(in).Policy
			if test.kind == KindRepository {
				in.Repositories = append(in.Repositories, test.repository)
			} else {
				in.Tokens = append(in.Tokens, test.token)
			}
			got := Compile(in)
			if diff := cmp.Diff(want, got.Policy); diff != "" {
				t.Errorf("the policy is another one (-want +got):\n%s", diff)
			}
			if _, err := policy.NewSnapshot(got.Policy); err != nil {
				t.Errorf("a registry refuses the policy: %v", err)
			}
			if len(got.Problems) != 1 || got.Problems[0].Kind != test.kind || got.Problems[0].Name != "bad" ||
				got.Problems[0].Reason != v1alpha1.ReasonInvalidSpec || !strings.HasPrefix(got.Problems[0].Message, test.message) {
				t.Errorf("problems are %+v, want %q", got.Problems, test.message)
			}
		})
	}
}
