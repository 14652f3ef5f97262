// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/oci/ocitest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/test/accessmatrix"
)

const (
	owner = "octocat"
	// elsewhere is another owner.
	elsewhere = "hubot"
)

// repositoryPaths are the repositories of the cells.
var repositoryPaths = [...]string{
	accessmatrix.Private:    owner + "/octo-app",
	accessmatrix.Internal:   owner + "/octo-internal",
	accessmatrix.Public:     owner + "/octo-public",
	accessmatrix.Removed:    owner + "/octo-removed",
	accessmatrix.Undeclared: owner + "/octo-undeclared",
}

// image is the image that a cell's request is about.
func image[T ~int | ~uint8](r T) ref.Name { return ref.Name(repositoryPaths[r] + "/image") }

// Where blobs are mounted from.
const (
	imageOfMember    ref.Name = owner + "/depot/image"
	imageWithoutBlob ref.Name = owner + "/depot/empty"
	imageOfAnybody   ref.Name = elsewhere + "/commons/image"
	imageHidden      ref.Name = elsewhere + "/secret/image"
	imageMissing     ref.Name = elsewhere + "/nothing/image"
)

// users are the cells' actors. Those whose token was good once have every right, so
// that only the token can be why they are refused.
var users = [...]string{
	accessmatrix.Revoked:  "admin",
	accessmatrix.Expired:  "admin",
	accessmatrix.Stranger: "stranger",
	accessmatrix.Reader:   "reader",
	accessmatrix.Writer:   "writer",
	accessmatrix.Admin:    "admin",
	accessmatrix.Owner:    owner,
}

var members = []policy.Member{
	{Name: "admin", Role: policy.RoleAdmin}, {Name: "reader", Role: policy.RoleRead}, {Name: "writer", Role: policy.RoleWrite},
}

// valueOf is the token of a cell's actor: one for each actor, set of scopes and
// narrowing, and one for each repository, since narrowings are relative to it.
func valueOf(c accessmatrix.Cell) string {
	if c.Actor == accessmatrix.Nobody {
		return ""
	}
	value := fmt.Sprintf("%s/%s/%s/%s", c.Actor, c.Scopes, c.Narrowing, c.Repository)
	return value + strings.Repeat("-", max(0, 40-len(value)))
}

// others are the repositories that a token is narrowed to when it is not for the
// cell's alone; one of them has a name that the cell's repository begins with.
func others(c accessmatrix.Cell) []string {
	path := repositoryPaths[c.Repository]
	return []string{elsewhere + "/*", owner + "/elsewhere", path[:len(path)-1]}
}

func narrowing(c accessmatrix.Cell) []string {
	this := repositoryPaths[c.Repository]
	switch c.Narrowing {
	case accessmatrix.ThisRepository:
		return []string{this}
	case accessmatrix.ThisAmongOthers:
		return append(others(c), this)
	case accessmatrix.AllOfOwner:
		return []string{owner + "/*"}
	case accessmatrix.ThreeOthers:
		return others(c)
	case accessmatrix.FourOthers:
		// The last one in the order of a policy.
		return append(others(c), "zeppelin/*")
	}
	return nil
}

// credentials are those of every cell that can be, revoked ones included.
var credentials = sync.OnceValue(func() []policy.Credential {
	var list []policy.Credential
	seen := map[string]bool{"": true}
	for c := range accessmatrix.Cells(accessmatrix.World{}) {
		value := valueOf(c)
		if seen[value] {
			continue
		}
		seen[value] = true
		held := policy.Credential{
			ID: credential.ID(value), Hash: credential.Sum(value), Token: c.Actor.String() + "-token", User: users[c.Actor],
			Repositories: narrowing(c),
		}
		for _, scope := range strings.Fields(c.Scopes.String()) {
			held.Scopes = append(held.Scopes, policy.Scope(scope))
		}
		switch c.Actor {
		case accessmatrix.Revoked:
			held.Token = "revoked"
		case accessmatrix.Expired:
			expiry := ocitest.Now
			held.NotAfter = &expiry
		}
		list = append(list, held)
	}
	return list
})

func settings(w accessmatrix.World) policy.Policy {
	return policy.Policy{
		Instance:      policy.Instance{Namespace: "registry", Name: "acme", UID: "6a3b"},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       policy.Support(w.Support.String()),
		AnonymousPull: policy.AnonymousPull(w.AnonymousPull.String()),
	}
}

// before is the policy under which bearer tokens are issued, and which ends when
// the cells' begins: everybody may do everything.
var before = sync.OnceValues(func() (*policy.Snapshot, error) {
	p := settings(accessmatrix.World{AnonymousPull: accessmatrix.PublicRepositories})
	everybody := []policy.Member{{Name: "admin", Role: policy.RoleAdmin}, {Name: "reader", Role: policy.RoleAdmin}, {Name: "stranger", Role: policy.RoleAdmin}, {Name: "writer", Role: policy.RoleAdmin}}
	for r, path := range repositoryPaths {
		if accessmatrix.Repository(r) == accessmatrix.Undeclared {
			continue
		}
		_, name, _ := strings.Cut(path, "/")
		p.Repositories = append(p.Repositories, policy.Repository{Owner: owner, Name: name, Visibility: policy.Public, Users: everybody})
	}
	for _, c := range credentials() {
		c.Scopes = []policy.Scope{policy.ScopeDelete, policy.ScopeRead, policy.ScopeWrite}
		c.Repositories, c.NotAfter = nil, nil
		p.Credentials = append(p.Credentials, c)
	}
	return policy.NewSnapshot(p)
})

// during is the policy of a world's cells.
func during(w accessmatrix.World) policy.Policy {
	p := bare(w)
	declare := func(path string, visibility policy.Visibility, users []policy.Member) {
		owner, name, _ := strings.Cut(path, "/")
		p.Repositories = append(p.Repositories, policy.Repository{Owner: owner, Name: name, Visibility: visibility, Users: users})
	}
	declare(repositoryPaths[accessmatrix.Private], policy.Private, members)
	declare(repositoryPaths[accessmatrix.Internal], policy.Internal, members)
	declare(repositoryPaths[accessmatrix.Public], policy.Public, members)
	declare(imageOfMember.Repository(), policy.Private, []policy.Member{{Name: "admin", Role: policy.RoleRead}, {Name: "writer", Role: policy.RoleRead}})
	declare(imageOfAnybody.Repository(), policy.Public, nil)
	declare(imageHidden.Repository(), policy.Private, nil)
	return p
}

// bare is the same without any repository: there everything is missing.
func bare(w accessmatrix.World) policy.Policy {
	p := settings(w)
	for _, c := range credentials() {
		if c.Token != "revoked" {
			p.Credentials = append(p.Credentials, c)
		}
	}
	return p
}

// newRegistry serves the policy that was, and then another one if it is given.
func newRegistry(t *testing.T, then ...policy.Policy) *registry {
	t.Helper()
	was, err := before()
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{catalog: &fullCatalog{}, was: was, is: was}
	for _, p := range then {
		if r.is, err = policy.NewSnapshot(p); err != nil {
			t.Fatal(err)
		}
	}
	r.live.Publish(r.was)
	r.live.Publish(r.is)
	if r.handler, err = ocitest.Handler(&r.live, r.catalog); err != nil {
		t.Fatal(err)
	}
	return r
}

// The narrowings' names must stay in the order that a policy keeps them in, since
// the reasons list them.
func TestNarrowingsAreInOrder(t *testing.T) {
	snapshot, err := policy.NewSnapshot(bare(accessmatrix.World{}))
	if err != nil {
		t.Fatal(err)
	}
	for c := range accessmatrix.Cells(accessmatrix.World{}) {
		held, found := snapshot.CredentialByValue(valueOf(c))
		if found && c.Narrowing == accessmatrix.FourOthers && strings.Join(held.Repositories[:3], ", ") != strings.Join(others(c), ", ") {
			t.Fatalf("%s: the policy has %v", c, held.Repositories)
		}
	}
}
