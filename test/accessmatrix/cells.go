// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix

import (
	"fmt"
	"iter"
	"strings"
)

// Request is what a client asks for.
type Request uint8

// The requests: one or more of each of the registry's routes.
const (
	Version        Request = iota
	Token                  // the token endpoint, asked for everything
	Catalog                // the list of names
	TagsList               // the requests from here to the end concern one image
	Referrers              //
	BlobHead               //
	BlobGet                //
	BlobDelete             //
	UploadStart            //
	UploadWhole            // a blob in one request
	UploadStatus           //
	UploadChunk            //
	UploadFinish           //
	UploadCancel           //
	ManifestHead           //
	ManifestGet            //
	ManifestPut            //
	ManifestDelete         //
	TagDelete              //
)

// Actor is who asks, by their role in the repository.
type Actor uint8

// The actors. Revoked and Expired have a token that was good once, and so has
// Namesake, whose name is an organization's now. A Colleague belongs to the
// organization that owns the repository, and to a team without a role in it. The
// last two are where an organization owns it.
const (
	Nobody Actor = iota
	Revoked
	Expired
	Namesake
	Stranger
	Colleague
	Reader
	Writer
	Admin
	Owner
)

// Repository is the repository that the request is about.
type Repository uint8

// The repositories: of each visibility, one that was declared until a moment ago
// and has content, and one that never was.
const (
	Private Repository = iota
	Internal
	Public
	Removed
	Undeclared
)

// Scopes are a set of a token's scopes.
type Scopes uint8

// The scopes.
const (
	Read Scopes = 1 << iota
	Write
	Delete

	allScopes = Read | Write | Delete
)

// Narrowing is what a token is limited to.
type Narrowing uint8

// The narrowings. The others are repositories elsewhere, one of them of the same
// owner with a name that the repository's begins with, and all those of another
// owner. The last three are of tokens that another namespace than the instance's
// declares: without a narrowing of their own in one that may speak for the owner,
// and in one that may speak for another owner; and there with this repository and
// others.
const (
	Unnarrowed Narrowing = iota
	ThisRepository
	ThisAmongOthers
	AllOfOwner
	ThreeOthers
	FourOthers
	NamespaceOfOwner
	NamespaceOfAnother
	ThisFromAnother
)

// Mount is where an UploadStart wants its blob from.
type Mount uint8

// The mounts. A member's repository is private; anybody's is public and belongs to
// another owner. The mounts from anywhere leave the search to the registry.
const (
	NoMount Mount = iota
	FromMember
	FromAnybody
	FromHidden
	FromMissing
	FromWithoutBlob
	FromAnywhereMember
	FromAnywhereHidden
)

// Support is the instance's support mode.
type Support uint8

// The support modes.
const (
	Enabled Support = iota
	ReadOnly
	Disabled
)

// AnonymousPull is whether nobody may read public repositories.
type AnonymousPull uint8

// The settings of anonymous pull.
const (
	Deny AnonymousPull = iota
	PublicRepositories
)

// Ownership is what the owner of the repositories is.
type Ownership uint8

// The ownerships. A user gives roles to users, an organization to its teams.
const (
	ByUser Ownership = iota
	ByOrganization
)

// SignIn is how the credential is presented.
type SignIn uint8

// The ways to sign in. Bearer tokens were issued when the actor had every right:
// one for what the request needs, and one for everything but that.
const (
	None SignIn = iota
	Basic
	Bearer
	BearerForOthers
)

var (
	requestNames    = []string{"Version", "Token", "Catalog", "TagsList", "Referrers", "BlobHead", "BlobGet", "BlobDelete", "UploadStart", "UploadWhole", "UploadStatus", "UploadChunk", "UploadFinish", "UploadCancel", "ManifestHead", "ManifestGet", "ManifestPut", "ManifestDelete", "TagDelete"}
	actorNames      = []string{"nobody", "revoked", "expired", "namesake", "stranger", "colleague", "reader", "writer", "admin", "owner"}
	repositoryNames = []string{"private", "internal", "public", "removed", "undeclared"}
	narrowingNames  = []string{"unnarrowed", "this", "this+others", "OWNER/*", "3 others", "4 others", "owner's namespace", "another's namespace", "this from another's"}
	mountNames      = []string{"no mount", "from a member's", "from anybody's", "from hidden", "from missing", "from one without it", "from anywhere", "from anywhere hidden"}
	supportNames    = []string{"Enabled", "ReadOnly", "Disabled"}
	anonymousNames  = []string{"Deny", "PublicRepositories"}
	ownershipNames  = []string{"a user", "an organization"}
	signInNames     = []string{"nothing", "Basic", "Bearer", "Bearer for others"}
	momentNames     = []string{"before the request", "while the body arrives"}
)

func (r Request) String() string       { return requestNames[r] }
func (a Actor) String() string         { return actorNames[a] }
func (r Repository) String() string    { return repositoryNames[r] }
func (n Narrowing) String() string     { return narrowingNames[n] }
func (m Mount) String() string         { return mountNames[m] }
func (s Support) String() string       { return supportNames[s] }
func (p AnonymousPull) String() string { return anonymousNames[p] }
func (o Ownership) String() string     { return ownershipNames[o] }
func (s SignIn) String() string        { return signInNames[s] }

func (m Moment) String() string { return momentNames[m] }

// String lists the scopes as a token has them.
func (s Scopes) String() string {
	var list []string
	for i, name := range []string{"read:packages", "write:packages", "delete:packages"} {
		if s&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// Moment is when the policy takes effect that the cell speaks of.
type Moment uint8

// The moments. While the body of a push arrives that began when the actor had every
// right, the answer is the same.
const (
	BeforeRequest Moment = iota
	WhileBodyArrives
)

// World is what all cells of one policy share.
type World struct {
	Support       Support
	AnonymousPull AnonymousPull
	Ownership     Ownership
}

// Worlds are all of them.
func Worlds() []World {
	var worlds []World
	for support := range all[Support](supportNames) {
		for anonymous := range all[AnonymousPull](anonymousNames) {
			for ownership := range all[Ownership](ownershipNames) {
				worlds = append(worlds, World{support, anonymous, ownership})
			}
		}
	}
	return worlds
}

// Cell is one situation.
type Cell struct {
	World
	Request    Request
	Actor      Actor
	Repository Repository
	Scopes     Scopes
	Narrowing  Narrowing
	Mount      Mount
	SignIn     SignIn
	Moment     Moment
}

// String names the cell in a failure.
func (c Cell) String() string {
	return fmt.Sprintf("%s on %s of %s by %s with %s [%s] %s, %s, support %s, anonymousPull %s, policy %s",
		c.Request, c.Repository, c.Ownership, c.Actor, c.SignIn, c.Scopes, c.Narrowing, c.Mount, c.Support, c.AnonymousPull, c.Moment)
}

// Cells are all cells of a world; the request changes fastest. A disabled registry
// does not look at scopes and narrowing, so that they are not varied there.
func Cells(w World) iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		for holder := range holders() {
			if w.Ownership == ByUser && (holder.Actor == Namesake || holder.Actor == Colleague) {
				continue
			}
			if w.Support == Disabled && holder.Actor > Namesake && (holder.Scopes != allScopes || holder.Narrowing != Unnarrowed) {
				continue
			}
			for repository := range all[Repository](repositoryNames) {
				for request := range all[Request](requestNames) {
					c := holder
					c.World, c.Repository, c.Request = w, repository, request
					for c = range c.variants() {
						if !yield(c) {
							return
						}
					}
				}
			}
		}
	}
}

// variants are a cell's, by what only some requests have: a source to mount from, or
// a body, which somebody can have begun to send to what was declared.
func (c Cell) variants() iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		if !yield(c) {
			return
		}
		switch c.Request {
		case UploadStart:
			for c.Mount = range all[Mount](mountNames) {
				if c.Mount != NoMount && !yield(c) {
					return
				}
			}
		case UploadWhole, UploadChunk, UploadFinish, ManifestPut:
			c.Moment = WhileBodyArrives
			if c.Actor != Nobody && c.SignIn != BearerForOthers && c.Repository != Undeclared {
				yield(c)
			}
		}
	}
}

// holders are cells of which only the credential is filled in.
func holders() iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		for scopes := range Scopes(1 << 3) {
			for narrowing := range all[Narrowing](narrowingNames) {
				for actor := range all[Actor](actorNames) {
					for signIn := range all[SignIn](signInNames) {
						c := Cell{Actor: actor, Scopes: scopes, Narrowing: narrowing, SignIn: signIn}
						if c.possible() && !yield(c) {
							return
						}
					}
				}
			}
		}
	}
}

// possible leaves out that nobody has scopes and signs in with Basic, that somebody
// signs in with nothing, what a token that is not accepted could do, and
// narrowings in all but one set of scopes that no scope makes a difference to.
func (c Cell) possible() bool {
	switch c.Actor {
	case Nobody:
		return c.SignIn != Basic && c.Scopes == 0 && c.Narrowing == Unnarrowed
	case Revoked, Expired, Namesake:
		return c.SignIn != None && c.Scopes == allScopes && c.Narrowing == Unnarrowed
	}
	switch c.Narrowing {
	case FourOthers, NamespaceOfAnother, ThisFromAnother:
		return c.SignIn != None && c.Scopes == allScopes
	}
	return c.SignIn != None
}

// all are the values of a dimension with these names.
func all[T ~uint8](names []string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range names {
			if !yield(T(i)) {
				return
			}
		}
	}
}
