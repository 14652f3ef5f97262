// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "registry", Name: name, UID: types.UID("uid-" + name),
		CreationTimestamp: metav1.NewTime(epoch),
	}
}

func instance() *v1alpha1.PackagesInstance {
	return &v1alpha1.PackagesInstance{
		ObjectMeta: objectMeta("acme"),
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname:           "packages.test",
			SubdomainIsolation: v1alpha1.SubdomainIsolationEnabled,
			Docker:             v1alpha1.DockerSpec{Support: v1alpha1.SupportEnabled, AnonymousPull: v1alpha1.AnonymousPullDeny},
		},
	}
}

func repo(name, owner, repository string, users ...v1alpha1.UserAccess) v1alpha1.PackagesRepository {
	return v1alpha1.PackagesRepository{
		ObjectMeta: objectMeta(name),
		Spec: v1alpha1.PackagesRepositorySpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"},
			Owner:       owner, Name: repository, Visibility: v1alpha1.VisibilityPrivate,
			Access: v1alpha1.RepositoryAccess{Users: users},
		},
	}
}

func token(name, user string, values ...string) Token {
	t := Token{Object: &v1alpha1.PackagesToken{
		ObjectMeta: objectMeta(name),
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"},
			User:        user,
			Scopes:      []v1alpha1.Scope{v1alpha1.ScopeWritePackages, v1alpha1.ScopeReadPackages},
		},
	}}
	for _, value := range values {
		t.Credentials = append(t.Credentials, Credential{Hash: credential.Sum(value), ID: credential.ID(value)})
	}
	return t
}

func accepted(conditions *[]metav1.Condition) {
	*conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}}
}

func deleting(object metav1.Object) {
	object.SetDeletionTimestamp(&metav1.Time{Time: epoch.Add(time.Hour)})
	object.SetFinalizers([]string{v1alpha1.FinalizerData})
}

func TestCompileWritesThePolicy(t *testing.T) {
	in := Input{
		Instance: instance(),
		Repositories: []v1alpha1.PackagesRepository{
			repo("app", "octocat", "octo-app",
				v1alpha1.UserAccess{Name: "monalisa", Role: v1alpha1.RoleWrite},
				v1alpha1.UserAccess{Name: "hubot", Role: v1alpha1.RoleRead}),
			func() v1alpha1.PackagesRepository {
				r := repo("tools", "hubot", "tools")
				r.Spec.Visibility = v1alpha1.VisibilityPublic
				return r
			}(),
		},
		Tokens: []Token{token("monalisa", "monalisa", "first"), func() Token {
			second := token("narrow", "octocat", "second")
			second.Object.Spec.Repositories = []string{"octocat/*", "hubot/tools"}
			second.Object.Spec.ExpiresAt = &metav1.Time{Time: epoch.Add(time.Hour)}
			return second
		}()},
	}
	got := Compile(in)
	want := Result{Policy: policy.Policy{
		Instance:      policy.Instance{Namespace: "registry", Name: "acme", UID: "uid-acme"},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       policy.SupportEnabled,
		AnonymousPull: policy.AnonymousDeny,
		Repositories: []policy.Repository{
			{Owner: "hubot", Name: "tools", Visibility: policy.Public},
			{Owner: "octocat", Name: "octo-app", Visibility: policy.Private, Users: []policy.Member{
				{Name: "hubot", Role: policy.RoleRead}, {Name: "monalisa", Role: policy.RoleWrite},
			}},
		},
		Credentials: []policy.Credential{
			{ID: credential.ID("second"), Hash: credential.Sum("second"), Token: "narrow", User: "octocat",
				Scopes:       []policy.Scope{policy.ScopeRead, policy.ScopeWrite},
				Repositories: []string{"hubot/tools", "octocat/*"}, NotAfter: new(epoch.Add(time.Hour))},
			{ID: credential.ID("first"), Hash: credential.Sum("first"), Token: "monalisa", User: "monalisa",
				Scopes: []policy.Scope{policy.ScopeRead, policy.ScopeWrite}},
		},
	}}
	if got.Policy.Credentials[0].Token == "monalisa" {
		want.Policy.Credentials[0], want.Policy.Credentials[1] = want.Policy.Credentials[1], want.Policy.Credentials[0]
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("wrong result (-want +got):\n%s", diff)
	}
	if _, err := policy.NewSnapshot(got.Policy); err != nil {
		t.Errorf("the registry refuses the policy: %v", err)
	}
}

func TestHosts(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.PackagesInstanceSpec)
		url    string
		want   policy.Hosts
	}{
		"isolated, no ingress": {func(*v1alpha1.PackagesInstanceSpec) {}, "",
			policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"}},
		"not isolated": {func(s *v1alpha1.PackagesInstanceSpec) { s.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled }, "",
			policy.Hosts{Docker: "packages.test", Base: "packages.test", URL: "https://packages.test"}},
		"ingress whose controller or load balancer has the certificate": {func(s *v1alpha1.PackagesInstanceSpec) {
			s.Exposure.Ingress = &v1alpha1.IngressExposure{}
		}, "", policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"}},
		"another URL": {func(*v1alpha1.PackagesInstanceSpec) {}, "http://127.0.0.1:5000",
			policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "http://127.0.0.1:5000"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := instance()
			test.change(&i.Spec)
			if diff := cmp.Diff(test.want, Compile(Input{Instance: i, URL: test.url}).Policy.Hosts); diff != "" {
				t.Errorf("wrong hosts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettingsThatAreUnknownCloseTheRegistry(t *testing.T) {
	i := instance()
	i.Spec.Docker = v1alpha1.DockerSpec{Support: "Sometimes", AnonymousPull: "All", ForeignLayers: "Perhaps", MissingReferences: "Some"}
	r := repo("app", "octocat", "octo-app", v1alpha1.UserAccess{Name: "monalisa", Role: "Maintain"})
	r.Spec.Visibility = "Friends"
	tok := token("t", "monalisa", "value")
	tok.Object.Spec.Scopes = []v1alpha1.Scope{"admin:all", v1alpha1.ScopeReadPackages}
	p := Compile(Input{Instance: i, Repositories: []v1alpha1.PackagesRepository{r}, Tokens: []Token{tok}}).Policy
	if p.Support != policy.SupportDisabled || p.AnonymousPull != policy.AnonymousDeny {
		t.Errorf("settings are %s and %s", p.Support, p.AnonymousPull)
	}
	if p.ForeignLayers != policy.Reject || p.MissingReferences != policy.Reject {
		t.Errorf("foreign layers are %q and missing references %q", p.ForeignLayers, p.MissingReferences)
	}
	if p.Repositories[0].Visibility != policy.Private || len(p.Repositories[0].Users) != 0 {
		t.Errorf("repository is %v", p.Repositories[0])
	}
	if diff := cmp.Diff([]policy.Scope{policy.ScopeRead}, p.Credentials[0].Scopes); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

func TestWhatMayBePushed(t *testing.T) {
	quantity := func(s string) *resource.Quantity { return new(resource.MustParse(s)) }
	for name, test := range map[string]struct {
		docker v1alpha1.DockerSpec
		want   policy.Policy
	}{
		"nothing said": {},
		"the defaults, as the API server writes them": {
			docker: v1alpha1.DockerSpec{
				ForeignLayers: v1alpha1.AcceptanceReject, MissingReferences: v1alpha1.AcceptanceReject,
				Limits: v1alpha1.DockerLimits{MaxLayerSize: quantity("5Gi"), WarnImageSize: quantity("10240Mi")},
			},
		},
		"foreign layers": {
			docker: v1alpha1.DockerSpec{ForeignLayers: v1alpha1.AcceptanceAllow},
			want:   policy.Policy{ForeignLayers: policy.Allow},
		},
		"missing references": {
			docker: v1alpha1.DockerSpec{MissingReferences: v1alpha1.AcceptanceAllow},
			want:   policy.Policy{MissingReferences: policy.Allow},
		},
		"limits": {
			docker: v1alpha1.DockerSpec{Limits: v1alpha1.DockerLimits{MaxLayerSize: quantity("1.5Gi"), WarnImageSize: quantity("1G")}},
			want:   policy.Policy{Limits: policy.Limits{MaxLayerSize: 3 << 29, WarnImageSize: 1_000_000_000}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := instance()
			i.Spec.Docker = test.docker
			p := Compile(Input{Instance: i}).Policy
			got := policy.Policy{ForeignLayers: p.ForeignLayers, MissingReferences: p.MissingReferences, Limits: p.Limits}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRolesThatHaveNoEffectAreDropped(t *testing.T) {
	p := Compile(Input{Instance: instance(), Repositories: []v1alpha1.PackagesRepository{
		repo("app", "octocat", "octo-app",
			v1alpha1.UserAccess{Name: "octocat", Role: v1alpha1.RoleRead},
			v1alpha1.UserAccess{Name: "monalisa", Role: v1alpha1.RoleAdmin},
			v1alpha1.UserAccess{Name: "monalisa", Role: v1alpha1.RoleRead}),
	}}).Policy
	want := []policy.Member{{Name: "monalisa", Role: policy.RoleAdmin}}
	if diff := cmp.Diff(want, p.Repositories[0].Users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	s, err := policy.NewSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := s.Repository("octocat/octo-app")
	if role, _ := s.Role("octocat", r); role != policy.RoleAdmin {
		t.Errorf("the owner is %s", role)
	}
}

func TestObjectsOfOtherInstancesAreIgnored(t *testing.T) {
	elsewhere := repo("elsewhere", "octocat", "octo-app")
	elsewhere.Namespace = "other"
	foreign := repo("foreign", "octocat", "octo-app")
	foreign.Spec.InstanceRef.Name = "another"
	foreignToken := token("t", "monalisa", "value")
	foreignToken.Object.Spec.InstanceRef.Name = "another"
	got := Compile(Input{
		Instance:     instance(),
		Repositories: []v1alpha1.PackagesRepository{elsewhere, foreign, repo("app", "octocat", "octo-app")},
		Tokens:       []Token{foreignToken, token("mine", "octocat", "value")},
	})
	if len(got.Problems) != 0 || len(got.Policy.Repositories) != 1 || len(got.Policy.Credentials) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestOneOwnerAndNameHasOneHolder(t *testing.T) {
	older := func(r *v1alpha1.PackagesRepository) { r.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour)) }
	incumbent := func(r *v1alpha1.PackagesRepository) { accepted(&r.Status.Conditions) }
	tests := map[string]struct {
		a, b   func(*v1alpha1.PackagesRepository)
		holder string
	}{
		"the incumbent keeps it":                {incumbent, older, "a"},
		"the oldest wins the first time":        {nil, older, "b"},
		"the least UID wins a tie":              {nil, nil, "a"},
		"of two incumbents the oldest":          {incumbent, func(r *v1alpha1.PackagesRepository) { incumbent(r); older(r) }, "b"},
		"an incumbent that is deleted keeps it": {func(r *v1alpha1.PackagesRepository) { incumbent(r); deleting(r) }, older, "a"},
		"Accepted=False is no incumbent": {func(r *v1alpha1.PackagesRepository) {
			incumbent(r)
			r.Status.Conditions[0].Status = metav1.ConditionFalse
		}, older, "b"},
		"a condition of another type is no matter": {func(r *v1alpha1.PackagesRepository) { incumbent(r); r.Status.Conditions[0].Type = "Ready" }, older, "b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := repo("a", "octocat", "octo-app", v1alpha1.UserAccess{Name: "user-of-a", Role: v1alpha1.RoleRead})
			b := repo("b", "octocat", "octo-app", v1alpha1.UserAccess{Name: "user-of-b", Role: v1alpha1.RoleRead})
			for change, object := range map[*v1alpha1.PackagesRepository]func(*v1alpha1.PackagesRepository){&a: test.a, &b: test.b} {
				if object != nil {
					object(change)
				}
			}
			got := Compile(Input{Instance: instance(), Repositories: []v1alpha1.PackagesRepository{b, a}})
			other := map[string]string{"a": "b", "b": "a"}[test.holder]
			want := []Problem{{
				Kind: KindRepository, Namespace: "registry", Name: other, Reason: v1alpha1.ReasonDuplicateRepository,
				Message: "octocat/octo-app is already declared by the PackagesRepository " + test.holder + ": delete one of the two",
			}}
			if diff := cmp.Diff(want, got.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, r := range got.Policy.Repositories {
				if len(r.Users) != 1 || r.Users[0].Name != "user-of-"+test.holder {
					t.Errorf("users %v are not those of %s", r.Users, test.holder)
				}
			}
		})
	}
}

func TestDeletedRepositories(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.PackagesRepository)
		purged bool
	}{
		"Retain hides":  {func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }, false},
		"Delete purges": {func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete }, true},
		"Delete purges no more once our finalizer is gone": {func(r *v1alpha1.PackagesRepository) {
			r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
			r.Finalizers = []string{"example.com/backup"}
		}, false},
		"an unknown policy hides": {func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = "Archive" }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := repo("app", "octocat", "octo-app")
			deleting(&r)
			test.change(&r)
			p := Compile(Input{Instance: instance(), Repositories: []v1alpha1.PackagesRepository{r}}).Policy
			if len(p.Repositories) != 0 {
				t.Errorf("still declared: %v", p.Repositories)
			}
			var want []policy.Purge
			if test.purged {
				want = []policy.Purge{{ID: "uid-app", Owner: "octocat", Name: "octo-app"}}
			}
			if diff := cmp.Diff(want, p.Purges); diff != "" {
				t.Errorf("purges (-want +got):\n%s", diff)
			}
		})
	}
}

// Deleting an object that never had effect must not take the content of the one
// that has.
func TestADuplicateThatIsDeletedPurgesNothing(t *testing.T) {
	holder, other := repo("a", "octocat", "octo-app"), repo("b", "octocat", "octo-app")
	accepted(&holder.Status.Conditions)
	other.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour))
	other.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
	deleting(&other)
	p := Compile(Input{Instance: instance(), Repositories: []v1alpha1.PackagesRepository{holder, other}}).Policy
	if len(p.Purges) != 0 || len(p.Repositories) != 1 {
		t.Errorf("got purges %v and repositories %v", p.Purges, p.Repositories)
	}
}

func TestTheSameValueTwiceIsRefusedInBoth(t *testing.T) {
	got := Compile(Input{Instance: instance(), Tokens: []Token{
		token("one", "monalisa", "shared", "own"),
		token("two", "hubot", "shared"),
		token("three", "octocat", "third", "third"),
	}})
	want := []Problem{
		{Kind: KindToken, Namespace: "registry", Name: "one", Reason: v1alpha1.ReasonDuplicateValue,
			Message: "the value is also that of the PackagesToken two: give each token a value of its own"},
		{Kind: KindToken, Namespace: "registry", Name: "two", Reason: v1alpha1.ReasonDuplicateValue,
			Message: "the value is also that of the PackagesToken one: give each token a value of its own"},
	}
	if diff := cmp.Diff(want, got.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if len(got.Policy.Credentials) != 1 || got.Policy.Credentials[0].User != "octocat" {
		t.Errorf("credentials are %v, want octocat's alone", got.Policy.Credentials)
	}
}

func TestATokenThatIsDeletedStopsAndFreesItsValue(t *testing.T) {
	gone := token("gone", "monalisa", "value")
	deleting(gone.Object)
	got := Compile(Input{Instance: instance(), Tokens: []Token{gone, token("stays", "hubot", "value")}})
	if len(got.Problems) != 0 || len(got.Policy.Credentials) != 1 || got.Policy.Credentials[0].Token != "stays" {
		t.Errorf("got %+v", got)
	}
}

func TestACredentialEndsWithTheFirstOfItsEnds(t *testing.T) {
	soon, late := epoch.Add(time.Hour), epoch.Add(2*time.Hour)
	tests := map[string]struct {
		token, value *time.Time
		want         *time.Time
	}{
		"never":               {nil, nil, nil},
		"with its token":      {&soon, nil, &soon},
		"with its value":      {nil, &soon, &soon},
		"token before value":  {&soon, &late, &soon},
		"value before token":  {&late, &soon, &soon},
		"both at once":        {&soon, &soon, &soon},
		"in whatever zone":    {new(soon.In(time.FixedZone("X", 3600))), nil, &soon},
		"in the past already": {new(time.Unix(0, 0)), nil, new(time.Unix(0, 0).UTC())},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tok := token("t", "monalisa", "value")
			tok.Credentials[0].NotAfter = test.value
			if test.token != nil {
				tok.Object.Spec.ExpiresAt = &metav1.Time{Time: *test.token}
			}
			got := Compile(Input{Instance: instance(), Tokens: []Token{tok}}).Policy.Credentials[0].NotAfter
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTheSameObjectsInAnyOrderGiveTheSameRevision(t *testing.T) {
	in := many(200)
	in.Repositories = append(in.Repositories, repo("again", "owner-1", "repository-1"), repo("and-again", "owner-1", "repository-1"))
	in.Tokens = append(in.Tokens, token("copy", "user-1", "value-1"))
	want := Compile(in)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(in.Repositories), func(i, j int) { in.Repositories[i], in.Repositories[j] = in.Repositories[j], in.Repositories[i] })
		random.Shuffle(len(in.Tokens), func(i, j int) { in.Tokens[i], in.Tokens[j] = in.Tokens[j], in.Tokens[i] })
		got := Compile(in)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("another order gives another result:\n%s", diff)
		}
	}
	first, err := policy.NewSnapshot(want.Policy)
	if err != nil {
		t.Fatal(err)
	}
	second, err := policy.NewSnapshot(Compile(in).Policy)
	if err != nil || first.Revision() != second.Revision() {
		t.Errorf("revisions are %s and %s, error %v", first.Revision(), second.Revision(), err)
	}
	if len(want.Problems) != 4 {
		t.Errorf("there are %d problems, want 4", len(want.Problems))
	}
}

func TestHostOverlap(t *testing.T) {
	isolated := func(name string) policy.Hosts {
		return policy.Hosts{Docker: "docker." + name, Base: name}
	}
	single := func(name string) policy.Hosts { return policy.Hosts{Docker: name, Base: name} }
	tests := map[string]struct {
		a, b policy.Hosts
		want string
	}{
		"the same":                         {isolated("example.com"), isolated("example.com"), "docker.example.com"},
		"one isolated, one not":            {isolated("example.com"), single("example.com"), "example.com"},
		"docker.NAME without isolation":    {isolated("example.com"), single("docker.example.com"), "docker.example.com"},
		"docker.NAME with isolation":       {isolated("example.com"), isolated("docker.example.com"), "docker.example.com"},
		"docker.NAME, NAME not isolated":   {single("example.com"), single("docker.example.com"), ""},
		"other names":                      {isolated("example.com"), isolated("example.org"), ""},
		"a subdomain of another kind only": {isolated("example.com"), isolated("eu.example.com"), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			host, overlap := HostOverlap(test.a, test.b)
			if host != test.want || overlap != (test.want != "") {
				t.Errorf("got %q, %v; want %q", host, overlap, test.want)
			}
			if _, back := HostOverlap(test.b, test.a); back != overlap {
				t.Error("the other way round it is different")
			}
		})
	}
}

func TestHostConflict(t *testing.T) {
	at := func(namespace, hostname string, age time.Duration, conditions bool) *v1alpha1.PackagesInstance {
		i := instance()
		i.Namespace, i.UID = namespace, types.UID(namespace)
		i.Spec.Hostname = hostname
		i.CreationTimestamp = metav1.NewTime(epoch.Add(-age))
		if conditions {
			accepted(&i.Status.Conditions)
		}
		return i
	}
	unisolated := func(i *v1alpha1.PackagesInstance) *v1alpha1.PackagesInstance {
		i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled
		return i
	}
	tests := map[string]struct {
		candidate *v1alpha1.PackagesInstance
		others    []*v1alpha1.PackagesInstance
		holder    string
		host      string
	}{
		"alone":                          {at("a", "example.com", 0, false), nil, "", ""},
		"an older one has the host":      {at("a", "example.com", 0, false), []*v1alpha1.PackagesInstance{at("b", "example.com", 1, false)}, "b", "docker.example.com"},
		"a younger one does not matter":  {at("a", "example.com", 1, false), []*v1alpha1.PackagesInstance{at("b", "example.com", 0, false)}, "", ""},
		"a younger incumbent has it":     {at("a", "example.com", 1, false), []*v1alpha1.PackagesInstance{at("b", "example.com", 0, true)}, "b", "docker.example.com"},
		"the incumbent keeps it":         {at("a", "example.com", 0, true), []*v1alpha1.PackagesInstance{at("b", "example.com", 1, false)}, "", ""},
		"host sets overlap":              {at("a", "example.com", 0, false), []*v1alpha1.PackagesInstance{unisolated(at("b", "docker.example.com", 1, true))}, "b", "docker.example.com"},
		"other hosts":                    {at("a", "example.com", 0, false), []*v1alpha1.PackagesInstance{at("b", "example.org", 1, true)}, "", ""},
		"who is refused refuses nobody":  {at("a", "docker.docker.example.com", 0, false), []*v1alpha1.PackagesInstance{at("b", "docker.example.com", 1, false), at("c", "example.com", 2, true)}, "", ""},
		"who is accepted refuses, third": {at("a", "docker.docker.example.com", 0, false), []*v1alpha1.PackagesInstance{at("b", "docker.example.com", 1, false), at("c", "example.org", 2, true)}, "b", "docker.docker.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			holder, message := HostConflict(test.candidate, append(test.others, test.candidate))
			if test.holder == "" {
				if holder != nil {
					t.Errorf("refused: %s", message)
				}
				return
			}
			if holder == nil || holder.Namespace != test.holder {
				t.Fatalf("holder is %v, want the one in %s", holder, test.holder)
			}
			if want := test.holder + "/acme has the host " + test.host; !strings.Contains(message, want) {
				t.Errorf("message %q lacks %q", message, want)
			}
		})
	}
}

// many is an input of n repositories with ten users each, and n tokens.
func many(n int) Input {
	in := Input{Instance: instance()}
	for i := range n {
		r := repo(fmt.Sprintf("repository-%d", i), fmt.Sprintf("owner-%d", i), fmt.Sprintf("repository-%d", i))
		for j := range 10 {
			r.Spec.Access.Users = append(r.Spec.Access.Users, v1alpha1.UserAccess{Name: fmt.Sprintf("user-%d", j), Role: v1alpha1.RoleWrite})
		}
		in.Repositories = append(in.Repositories, r)
		in.Tokens = append(in.Tokens, token(fmt.Sprintf("token-%d", i), fmt.Sprintf("user-%d", i), fmt.Sprintf("value-%d", i)))
	}
	return in
}

func BenchmarkCompile10000(b *testing.B) {
	in := many(10_000)
	b.ReportAllocs()
	for b.Loop() {
		Compile(in)
	}
}
