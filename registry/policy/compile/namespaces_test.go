// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// sharing is an instance that lets the namespace team-a speak for octo-org and hubot,
// and whichever namespace is labeled so for octocat.
func sharing() *v1alpha1.PackagesInstance {
	shared := instance()
	shared.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{
		{Names: []string{"team-a"}, Owners: []string{"octo-org", "hubot"}},
		{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"packages": "octocat"}}, Owners: []string{"octocat"}},
	}
	return shared
}

// from puts an object into another namespace than the instance's.
func from(namespace string, object metav1.Object, ref *v1alpha1.InstanceReference) {
	object.SetNamespace(namespace)
	ref.Namespace = "registry"
}

func repoFrom(namespace, name, owner, repository string) v1alpha1.PackagesRepository {
	r := repo(name, owner, repository)
	from(namespace, &r, &r.Spec.InstanceRef)
	return r
}

func tokenFrom(namespace, name, user, value string, repositories ...string) Token {
	t := token(name, user, value)
	from(namespace, t.Object, &t.Object.Spec.InstanceRef)
	t.Object.Spec.Repositories = repositories
	return t
}

func organizationFrom(namespace, name string, owners ...string) v1alpha1.PackagesOrganization {
	o := v1alpha1.PackagesOrganization{ObjectMeta: objectMeta(name), Spec: v1alpha1.PackagesOrganizationSpec{
		InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, Name: name, Owners: owners,
	}}
	from(namespace, &o, &o.Spec.InstanceRef)
	return o
}

func TestAnotherNamespaceSpeaksForTheOwnersThatItIsAllowed(t *testing.T) {
	got := Compile(Input{
		Instance:      sharing(),
		Organizations: []v1alpha1.PackagesOrganization{organizationFrom("team-a", "octo-org", "monalisa")},
		Repositories: []v1alpha1.PackagesRepository{
			repoFrom("team-a", "app", "octo-org", "app"), repoFrom("team-c", "mine", "octocat", "mine"), repo("home", "ada", "home"),
		},
		Tokens: []Token{
			// monalisa owns octo-org, and ada another repository, but not for team-a's tokens.
			tokenFrom("team-a", "monalisa", "monalisa", "first"), tokenFrom("team-a", "ada", "ada", "second", "ada/home", "octo-org/app"),
			tokenFrom("team-c", "monalisa", "monalisa", "third"), token("monalisa", "monalisa", "fourth"),
		},
		Namespaces: map[string]map[string]string{"team-a": {}, "team-c": {"packages": "octocat"}},
	})
	narrowings := map[string][]string{}
	for _, c := range got.Policy.Credentials {
		narrowings[c.Token] = c.Repositories
	}
	if diff := cmp.Diff(map[string][]string{
		"team-a/monalisa": {"hubot/*", "octo-org/*"},
		"team-a/ada":      {"octo-org/app"},
		"team-c/monalisa": {"octocat/*"},
		"monalisa":        nil,
	}, narrowings); diff != "" {
		t.Errorf("narrowings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policy.Team{{Name: "octo-org", Users: []string{"monalisa"}}}, got.Policy.Teams); diff != "" {
		t.Errorf("teams (-want +got):\n%s", diff)
	}
	if len(got.Policy.Repositories) != 3 {
		t.Errorf("repositories %v", got.Policy.Repositories)
	}
	if diff := cmp.Diff([]Problem{{
		Kind: KindToken, Namespace: "team-a", Name: "ada", Reason: v1alpha1.ReasonOwnerNotAllowed, Field: "spec.repositories[0]", Partial: true,
		Message: "spec.repositories[0]: ada is not allowed here: the PackagesInstance acme of the namespace registry allows the namespace team-a to speak for hubot, octo-org alone, in spec.allowedNamespaces",
	}}, got.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestAnotherNamespaceIsRefusedWhatItIsNotAllowed(t *testing.T) {
	const (
		closed  = "no PackagesInstance acme of the namespace registry lets the namespace team-b refer to it: ask whoever keeps it to list this namespace in spec.allowedNamespaces"
		allowed = " is not allowed here: the PackagesInstance acme of the namespace registry allows the namespace team-a to speak for hubot, octo-org alone, in spec.allowedNamespaces"
	)
	tests := map[string]struct {
		in                     Input
		reason, field, message string
	}{
		"a repository of a namespace that is not listed": {
			Input{Repositories: []v1alpha1.PackagesRepository{repoFrom("team-b", "o", "octo-org", "app")}},
			v1alpha1.ReasonNamespaceNotAllowed, "spec.instanceRef", closed,
		},
		"an organization of such a namespace": {
			Input{Organizations: []v1alpha1.PackagesOrganization{organizationFrom("team-b", "o", "monalisa")}},
			v1alpha1.ReasonNamespaceNotAllowed, "spec.instanceRef", closed,
		},
		"a token of such a namespace": {
			Input{Tokens: []Token{tokenFrom("team-b", "o", "monalisa", "value", "octo-org/*")}},
			v1alpha1.ReasonNamespaceNotAllowed, "spec.instanceRef", closed,
		},
		"a repository of an owner that is not listed": {
			Input{Repositories: []v1alpha1.PackagesRepository{repoFrom("team-a", "o", "octocat", "app")}},
			v1alpha1.ReasonOwnerNotAllowed, "spec.owner", "octocat" + allowed,
		},
		"an organization that is not listed": {
			Input{Organizations: []v1alpha1.PackagesOrganization{organizationFrom("team-a", "o", "monalisa")}},
			v1alpha1.ReasonOwnerNotAllowed, "spec.name", "o" + allowed,
		},
		"a token for owners that are not listed": {
			Input{Tokens: []Token{tokenFrom("team-a", "o", "monalisa", "value", "octocat/*")}},
			v1alpha1.ReasonOwnerNotAllowed, "spec.repositories",
			"no entry is allowed here: the PackagesInstance acme of the namespace registry allows the namespace team-a to speak for hubot, octo-org alone, in spec.allowedNamespaces",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := test.in
			in.Instance = sharing()
			in.Namespaces = map[string]map[string]string{"team-a": {}, "team-b": {"packages": "hubot"}}
			got := Compile(in)
			if n := len(got.Policy.Repositories) + len(got.Policy.Teams) + len(got.Policy.Credentials); n != 0 {
				t.Errorf("it has effect: %+v", got.Policy)
			}
			if len(got.Problems) != 1 || got.Problems[0].Reason != test.reason || got.Problems[0].Field != test.field ||
				got.Problems[0].Message != test.message || got.Problems[0].Partial {
				t.Errorf("got %+v", got.Problems)
			}
		})
	}
}

// Neither the content of a repository nor its name are at the mercy of a namespace that
// is no longer allowed.
func TestANamespaceThatIsTakenOffHoldsNothing(t *testing.T) {
	gone := repoFrom("team-b", "app", "octocat", "app")
	accepted(&gone.Status.Conditions)
	gone.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
	deleting(&gone)
	got := Compile(Input{
		Instance:     sharing(),
		Repositories: []v1alpha1.PackagesRepository{gone, repo("home", "octocat", "app")},
		Tokens:       []Token{tokenFrom("team-b", "copy", "octocat", "value"), token("home", "octocat", "value")},
		Namespaces:   map[string]map[string]string{"team-b": {}},
	})
	if len(got.Policy.Purges) != 0 || len(got.Policy.Repositories) != 1 || len(got.Policy.Credentials) != 1 {
		t.Errorf("got %+v", got.Policy)
	}
}

// An object is told of one of another namespace that stands in its way, and not what it
// is; the instance's own namespace is told all.
func TestNamespacesLearnNothingOfEachOther(t *testing.T) {
	older := repoFrom("team-c", "theirs", "octocat", "app")
	accepted(&older.Status.Conditions)
	shared := sharing()
	shared.Spec.AllowedNamespaces[0].Owners = []string{"octocat"}
	got := Compile(Input{
		Instance:     shared,
		Repositories: []v1alpha1.PackagesRepository{older, repoFrom("team-a", "ours", "octocat", "app"), repo("home", "octocat", "app")},
		Tokens:       []Token{tokenFrom("team-a", "ours", "monalisa", "value"), token("home", "monalisa", "value")},
		Namespaces:   map[string]map[string]string{"team-a": {}, "team-c": {"packages": "octocat"}},
	})
	var messages []string
	for _, p := range got.Problems {
		messages = append(messages, p.Namespace+": "+p.Message)
	}
	slices.Sort(messages)
	if diff := cmp.Diff([]string{
		"registry: octocat/app is already declared by the PackagesRepository team-c/theirs: delete one of the two",
		"registry: the value is also that of the PackagesToken team-a/ours: give each token a value of its own",
		"team-a: octocat/app is already declared by a PackagesRepository of another namespace: delete one of the two",
		"team-a: the value is also that of a PackagesToken of another namespace: give each token a value of its own",
	}, messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestSelectorsChooseNamespacesThatAreKnown(t *testing.T) {
	labeled := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "a"}}
	expression := func(operator metav1.LabelSelectorOperator, values ...v1alpha1.LabelValue) *v1alpha1.NamespaceSelector {
		return &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceRequirement{{Key: "team", Operator: operator, Values: values}}}
	}
	for _, test := range []struct {
		name     string
		selector *v1alpha1.NamespaceSelector
		labels   map[string]string
		chooses  bool
	}{
		{"none", nil, map[string]string{"team": "a"}, false},
		{"the label", labeled, map[string]string{"team": "a", "other": "b"}, true},
		{"another value", labeled, map[string]string{"team": "b"}, false},
		{"no label", labeled, map[string]string{}, false},
		{"everything", &v1alpha1.NamespaceSelector{}, map[string]string{}, true},
		{"everything, of what is not known", &v1alpha1.NamespaceSelector{}, nil, false},
		{"one of two values", expression(metav1.LabelSelectorOpIn, "a", "b"), map[string]string{"team": "b"}, true},
		{"none of them", expression(metav1.LabelSelectorOpNotIn, "a", "b"), map[string]string{"team": "b"}, false},
		{"that it is there", expression(metav1.LabelSelectorOpExists), map[string]string{"team": ""}, true},
		{"that it is not", expression(metav1.LabelSelectorOpDoesNotExist), map[string]string{"team": ""}, false},
		{"an operator that is unknown", expression("Like", "a"), map[string]string{"team": "a"}, false},
		{"no value", expression(metav1.LabelSelectorOpNotIn), map[string]string{"team": "a"}, false},
	} {
		if got := Selects(test.selector, test.labels); got != test.chooses {
			t.Errorf("%s: %v, want %v", test.name, got, test.chooses)
		}
	}
}
