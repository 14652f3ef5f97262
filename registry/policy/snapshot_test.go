// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// example is a policy with one of everything, in no order.
func example() Policy {
	end := time.Date(2027, 1, 1, 1, 0, 0, 0, time.FixedZone("CET", 3600))
	return Policy{
		Instance:      Instance{Namespace: "registry", Name: "acme", UID: "6a3b"},
		Hosts:         Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       SupportEnabled,
		AnonymousPull: AnonymousDeny,
		ForeignLayers: Allow,
		Limits:        Limits{MaxLayerSize: 1 << 30},
		Repositories: []Repository{
			{Owner: "octocat", Name: "octo-app", Visibility: Private, Users: []Member{
				{Name: "monalisa", Role: RoleWrite}, {Name: "hubot", Role: RoleRead},
			}, Teams: []Member{
				{Name: "octo-org/platform", Role: RoleWrite}, {Name: "octo-org/audit", Role: RoleRead},
			}},
			{Owner: "hubot", Name: "tools", Visibility: Public},
			{Owner: "octo-org", Name: "shared", Visibility: Private, Teams: []Member{{Name: "octo-org", Role: RoleAdmin}}},
		},
		Teams: []Team{
			{Name: "octo-org/platform", Users: []string{"hubot", "builder"}},
			{Name: "octo-org/audit", Users: []string{"monalisa", "auditor"}},
			{Name: "octo-org", Users: []string{"founder"}},
		},
		Credentials: []Credential{
			credentialOf("second", "monalisa", ScopeWrite, ScopeRead),
			func() Credential {
				c := credentialOf("first", "octocat", ScopeDelete)
				c.NotAfter, c.Repositories = &end, []string{"octocat/*", "hubot/tools"}
				return c
			}(),
		},
		Purges: []Purge{{ID: "9f", Owner: "octocat", Name: "old"}},
		Issuer: workload.Issuer{Name: "https://cluster.test", Keys: []workload.Key{
			{ID: "second", Algorithm: "ES256", DER: issuerKey()}, {ID: "first", Algorithm: "ES256", DER: issuerKey()},
		}},
		ServiceAccounts: []ServiceAccount{
			{User: workload.User("ci", "reader"), UID: "r1", Repositories: []string{"octocat/*", "hubot/*"}}, {User: workload.User("ci", "builder"), UID: "b1"},
		},
	}
}

// issuerKey is a public key.
var issuerKey = sync.OnceValue(func() []byte {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return der
})

func credentialOf(value, user string, scopes ...Scope) Credential {
	return Credential{ID: credential.ID(value), Hash: credential.Sum(value), Token: user + "-token", User: user, Scopes: scopes}
}

func mustSnapshot(t testing.TB, p Policy) *Snapshot {
	t.Helper()
	s, err := NewSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotFindsRepositoriesAndRoles(t *testing.T) {
	s := mustSnapshot(t, example())
	for _, name := range []string{"", "octocat", "octocat/", "octocat/other", "octocat/octo-app/image", "Octocat/octo-app"} {
		if r, found := s.Repository(name); found {
			t.Errorf("Repository(%q) found %v", name, r)
		}
	}
	r, found := s.Repository("octocat/octo-app")
	if !found {
		t.Fatal("octocat/octo-app not found")
	}
	for user, want := range map[string]Role{
		"octocat":  RoleAdmin, // the owner, who is not listed
		"monalisa": RoleWrite, // Read through a team
		"hubot":    RoleWrite, // through a team, by name Read
		"builder":  RoleWrite,
		"auditor":  RoleRead,
		"founder":  "",
		"stranger": "",
		"octo-org": "",
		"audit":    "",
		"":         "",
	} {
		role, has := s.Role(user, r)
		if role != want || has != (want != "") {
			t.Errorf("Role(%q) is %q, %v; want %q", user, role, has, want)
		}
	}
}

func TestAnOrganizationsOwnersAreAdminThroughItsTeamOfOwners(t *testing.T) {
	s := mustSnapshot(t, example())
	r, _ := s.Repository("octo-org/shared")
	if role, _ := s.Role("founder", r); role != RoleAdmin {
		t.Errorf("an owner of the organization has role %q", role)
	}
	if role, has := s.Role("builder", r); has {
		t.Errorf("whoever is in a team of the organization alone has role %q", role)
	}
}

func TestTheOwnerIsAdminWhateverTheListSays(t *testing.T) {
	p := example()
	p.Repositories[0].Users = []Member{{Name: "octocat", Role: RoleRead}}
	s := mustSnapshot(t, p)
	r, _ := s.Repository("octocat/octo-app")
	if role, _ := s.Role("octocat", r); role != RoleAdmin {
		t.Errorf("owner listed as Read has role %q", role)
	}
}

func TestSnapshotFindsCredentials(t *testing.T) {
	s := mustSnapshot(t, example())
	c, found := s.CredentialByValue("first")
	if !found || c.User != "octocat" {
		t.Fatalf("CredentialByValue gave %v, %v", c, found)
	}
	if byID, _ := s.CredentialByID(credential.ID("first")); byID != c {
		t.Errorf("CredentialByID gave %v, want the same as by value", byID)
	}
	for _, value := range []string{"", "third", "First", c.ID, c.Hash.String()} {
		if c, found := s.CredentialByValue(value); found {
			t.Errorf("CredentialByValue(%q) found %v", value, c)
		}
	}
	if _, found := s.CredentialByID(""); found {
		t.Error("the empty ID was found")
	}
}

func TestSnapshotLooksUpWithoutAllocating(t *testing.T) {
	s := mustSnapshot(t, example())
	n := testing.AllocsPerRun(100, func() {
		r, _ := s.Repository("octocat/octo-app")
		s.Role("monalisa", r)
		s.Role("builder", r)
		c, _ := s.CredentialByValue("first")
		s.CredentialByID(c.ID)
	})
	if n != 0 {
		t.Errorf("look-ups allocate %v times", n)
	}
}

func TestSnapshotDoesNotChangeItsInput(t *testing.T) {
	p, pristine := example(), example()
	mustSnapshot(t, p)
	if diff := cmp.Diff(pristine, p); diff != "" {
		t.Errorf("NewSnapshot changed its argument (-before +after):\n%s", diff)
	}
}

func TestRevisionFollowsContentAndNotOrder(t *testing.T) {
	a, b := example(), example()
	b.Repositories[0], b.Repositories[1] = b.Repositories[1], b.Repositories[0]
	b.Credentials[0], b.Credentials[1] = b.Credentials[1], b.Credentials[0]
	b.Credentials[0].NotAfter = new(b.Credentials[0].NotAfter.UTC())
	b.Purges = append([]Purge{}, b.Purges...)
	b.Repositories[0].Users = []Member{}
	b.Repositories[1].Teams[0], b.Repositories[1].Teams[1] = b.Repositories[1].Teams[1], b.Repositories[1].Teams[0]
	b.Teams[0], b.Teams[2] = b.Teams[2], b.Teams[0]
	b.Teams[1].Users[0], b.Teams[1].Users[1] = b.Teams[1].Users[1], b.Teams[1].Users[0]
	if x, y := mustSnapshot(t, a).Revision(), mustSnapshot(t, b).Revision(); x != y {
		t.Errorf("another order gives another revision: %s, %s", x, y)
	}
	for what, change := range map[string]func(*Policy){
		"visibility": func(p *Policy) { p.Repositories[1].Visibility = Internal },
		"team":       func(p *Policy) { p.Teams[0].Users[0] = "somebody-else" },
	} {
		c := example()
		change(&c)
		if x, y := mustSnapshot(t, a).Revision(), mustSnapshot(t, c).Revision(); x == y {
			t.Errorf("another %s gives the same revision", what)
		}
	}
}

func TestSnapshotRefusesWhatItDoesNotUnderstand(t *testing.T) {
	tests := map[string]struct {
		change func(*Policy)
		want   string
	}{
		"no instance":            {func(p *Policy) { p.Instance.UID = "" }, "no instance"},
		"no host":                {func(p *Policy) { p.Hosts.Docker = "" }, "lacks a host"},
		"unknown support":        {func(p *Policy) { p.Support = "Sometimes" }, `support "Sometimes" is unknown`},
		"no support":             {func(p *Policy) { p.Support = "" }, `support "" is unknown`},
		"unknown anonymousPull":  {func(p *Policy) { p.AnonymousPull = "All" }, `anonymousPull "All" is unknown`},
		"unknown foreignLayers":  {func(p *Policy) { p.ForeignLayers = "Reject" }, `foreignLayers "Reject" is unknown`},
		"missingReferences":      {func(p *Policy) { p.MissingReferences = "Maybe" }, `missingReferences "Maybe" is unknown`},
		"negative layer size":    {func(p *Policy) { p.Limits.MaxLayerSize = -1 }, "less than nothing"},
		"negative image size":    {func(p *Policy) { p.Limits.WarnImageSize = -1 }, "less than nothing"},
		"unknown visibility":     {func(p *Policy) { p.Repositories[0].Visibility = "Secret" }, `visibility "Secret" is unknown`},
		"unknown role":           {func(p *Policy) { p.Repositories[0].Users[0].Role = "Maintain" }, `role "Maintain" is unknown`},
		"nameless user":          {func(p *Policy) { p.Repositories[0].Users[0].Name = "" }, "nobody or there twice"},
		"user twice":             {func(p *Policy) { p.Repositories[0].Users[0].Name = "hubot" }, "nobody or there twice"},
		"team twice":             {func(p *Policy) { p.Teams[0].Name = "octo-org/audit" }, "team octo-org/audit is there twice"},
		"nameless team":          {func(p *Policy) { p.Teams[0].Name = "" }, "no name or nobody"},
		"team of nobody":         {func(p *Policy) { p.Teams[0].Users = nil }, "no name or nobody"},
		"team user twice":        {func(p *Policy) { p.Teams[0].Users[0] = "builder" }, "nobody or there twice"},
		"nameless team user":     {func(p *Policy) { p.Teams[0].Users[0] = "" }, "nobody or there twice"},
		"team that is not there": {func(p *Policy) { p.Repositories[0].Teams[0].Name = "octo-org/other" }, `team "octo-org/other" is unknown`},
		"team with a role twice": {func(p *Policy) { p.Repositories[0].Teams[0].Name = "octo-org/audit" }, "unknown or there twice"},
		"unknown role of a team": {func(p *Policy) { p.Repositories[0].Teams[0].Role = "Maintain" }, `role "Maintain" is unknown`},
		"no owner":               {func(p *Policy) { p.Repositories[0].Owner = "" }, "no usable name"},
		"slash in owner":         {func(p *Policy) { p.Repositories[0].Owner = "a/b" }, "no usable name"},
		"repository twice": {func(p *Policy) {
			p.Repositories[1].Owner, p.Repositories[1].Name = "octocat", "octo-app"
		}, "octocat/octo-app is there twice"},
		"unknown scope":          {func(p *Policy) { p.Credentials[0].Scopes[0] = "admin:all" }, `scope "admin:all" is unknown`},
		"no user":                {func(p *Policy) { p.Credentials[0].User = "" }, "incomplete"},
		"no hash":                {func(p *Policy) { p.Credentials[0].Hash = credential.Hash{} }, "incomplete"},
		"hash twice":             {func(p *Policy) { p.Credentials[0].Hash = p.Credentials[1].Hash }, "there twice"},
		"id twice":               {func(p *Policy) { p.Credentials[0].ID = p.Credentials[1].ID }, "there twice"},
		"narrowed to everything": {func(p *Policy) { p.Credentials[0].Repositories = []string{"*"} }, "neither OWNER/REPOSITORY nor OWNER/*"},
		"nameless account":       {func(p *Policy) { p.ServiceAccounts[0].User = "" }, "incomplete"},
		"account that is a user": {func(p *Policy) { p.ServiceAccounts[0].User = "monalisa" }, "incomplete"},
		"account without a UID":  {func(p *Policy) { p.ServiceAccounts[0].UID = "" }, "incomplete"},
		"account twice":          {func(p *Policy) { p.ServiceAccounts[0].User = p.ServiceAccounts[1].User }, "there twice"},
		"account of everything":  {func(p *Policy) { p.ServiceAccounts[0].Repositories = []string{"*"} }, "neither OWNER/REPOSITORY nor OWNER/*"},
		"nameless issuer":        {func(p *Policy) { p.Issuer.Name = "" }, "no name"},
		"issuer without keys":    {func(p *Policy) { p.Issuer.Keys = nil }, "no keys"},
		"unknown algorithm":      {func(p *Policy) { p.Issuer.Keys = []workload.Key{{ID: "k", Algorithm: "none", DER: issuerKey()}} }, `algorithm "none" is unknown`},
		"purge of nothing":       {func(p *Policy) { p.Purges[0].Name = "" }, "incomplete"},
		"purge twice":            {func(p *Policy) { p.Purges = append(p.Purges, p.Purges[0]) }, "there twice"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := example()
			test.change(&p)
			_, err := NewSnapshot(p)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestLiveWakesEveryWaiter(t *testing.T) {
	var live Live
	if live.Load() != nil {
		t.Fatal("the zero Live holds a snapshot")
	}
	s := mustSnapshot(t, example())
	var waiters sync.WaitGroup
	for range 10 {
		changed := live.Changed()
		waiters.Go(func() {
			<-changed
			if live.Load() == nil {
				t.Error("woken before the snapshot was in force")
			}
		})
	}
	live.Publish(s)
	waiters.Wait()
	if live.Load() != s {
		t.Error("Load gives another snapshot than was published")
	}
	select {
	case <-live.Changed():
		t.Error("Changed is closed before the next Publish")
	default:
	}
}

// big is a policy of n repositories with ten users each, and n credentials.
func big(n int) Policy {
	p := example()
	p.Repositories, p.Credentials = nil, nil
	for i := range n {
		r := Repository{Owner: fmt.Sprintf("owner-%d", i%100), Name: fmt.Sprintf("repository-%d", i), Visibility: Private}
		for j := range 10 {
			r.Users = append(r.Users, Member{Name: fmt.Sprintf("user-%02d", j), Role: RoleWrite})
		}
		p.Repositories = append(p.Repositories, r)
		p.Credentials = append(p.Credentials, credentialOf(fmt.Sprintf("value-%d", i), fmt.Sprintf("user-%d", i), ScopeWrite))
	}
	return p
}

func BenchmarkNewSnapshotOf10000(b *testing.B) {
	p := big(10_000)
	b.ReportAllocs()
	for b.Loop() {
		mustSnapshot(b, p)
	}
}

func BenchmarkOpen10000(b *testing.B) {
	shards, _, err := Split(big(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(shards); err != nil {
			b.Fatal(err)
		}
	}
}

// One token of 10,000 changes.
func BenchmarkReaderAfterOneChange(b *testing.B) {
	p := big(10_000)
	versions := [][]Shard{mustSplit(b, p), nil}
	p.Credentials[0].Scopes = []Scope{ScopeRead}
	versions[1] = mustSplit(b, p)
	var reader Reader
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := reader.Open(versions[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCredentialByValue(b *testing.B) {
	s := mustSnapshot(b, big(10_000))
	value := "pkgt_1231231231231231231231231231233oouW8"
	b.ReportAllocs()
	for b.Loop() {
		s.CredentialByValue(value)
	}
}
