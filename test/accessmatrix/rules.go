// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix

import "net/http"

// Answer is what the registry must say.
type Answer struct {
	Status int
	// Code and Reason of the error document. {repository}, {image}, {role}, {others}
	// (what the token is limited to) and {allowed} (what its namespace is) stand in a
	// Reason for the cell's.
	Code   string
	Reason string
	// Scheme of the challenge, and its error.
	Scheme, Error string
}

// Allowed says that the request is done.
func (a Answer) Allowed() bool { return a.Code == "" }

// set holds values of one dimension; an empty one holds all.
type set[T ~uint8] uint32

func of[T ~uint8](values ...T) set[T] {
	var s set[T]
	for _, v := range values {
		s |= 1 << v
	}
	return s
}

func (s set[T]) has(v T) bool { return s == 0 || s&(1<<v) != 0 }

// Condition is what a row speaks of. Unset fields hold for every cell.
type Condition struct {
	Requests       set[Request]
	Actors         set[Actor]
	Repositories   set[Repository]
	Narrowings     set[Narrowing]
	Mounts         set[Mount]
	Supports       set[Support]
	AnonymousPulls set[AnonymousPull]
	SignIns        set[SignIn]
	// Whether a user or an organization owns the repository is no condition of any
	// rule: what counts is the actor's role.

	// Without holds for tokens that have none of these scopes.
	Without Scopes
}

// Holds says whether the condition is the cell's.
func (w Condition) Holds(c Cell) bool {
	return w.Requests.has(c.Request) && w.Actors.has(c.Actor) && w.Repositories.has(c.Repository) &&
		w.Narrowings.has(c.Narrowing) && w.Mounts.has(c.Mount) && w.Supports.has(c.Support) &&
		w.AnonymousPulls.has(c.AnonymousPull) && w.SignIns.has(c.SignIn) && w.Without&c.Scopes == 0
}

// Row is one rule.
type Row struct {
	Rule string
	When Condition
	Answer
}

// What a request does to an image.
var (
	pulling  = of(TagsList, Referrers, BlobHead, BlobGet, ManifestHead, ManifestGet)
	pushing  = of(UploadStart, UploadWhole, UploadStatus, UploadChunk, UploadFinish, UploadCancel, ManifestPut)
	deleting = of(BlobDelete, ManifestDelete, TagDelete)
	bearers  = of(Bearer, BearerForOthers)
)

// Whose token is good, and who of them has no role.
var (
	users    = of(Stranger, Colleague, Reader, Writer, Admin, Owner)
	roleless = of(Stranger, Colleague)
)

func unsupported(status int, reason string) Answer {
	return Answer{Status: status, Code: "UNSUPPORTED", Reason: reason}
}

func unauthorized(code, reason string) Answer {
	return Answer{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Reason: reason, Scheme: "Bearer", Error: code}
}

func hidden(reason string) Answer {
	return Answer{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Reason: reason}
}

func denied(reason string) Answer {
	return Answer{Status: http.StatusForbidden, Code: "DENIED", Reason: reason}
}

func done(status int) Answer { return Answer{Status: status} }

const (
	badToken  = "the token is wrong, expired or revoked"
	needToken = badToken + "; passwords of accounts are not accepted, only tokens"
	signIn    = "sign in with docker login"
	notSeen   = "there is no repository {repository} that this token may see"
	noRead    = "this token lacks the scope read:packages"
)

var (
	noLogin     = Answer{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Reason: needToken, Scheme: "Basic"}
	noAnonymous = Answer{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Reason: signIn + ": nothing can be pulled here without a token", Scheme: "Basic"}
)

// Rows are the rules; of those that hold for a cell, the first one counts.
var Rows = []Row{
	// Support of the ecosystem comes before everything, sign-in before the rest.
	{"a disabled registry serves nothing", Condition{Supports: of(Disabled)}, unsupported(http.StatusNotFound, "Docker packages are disabled on this instance")},
	{"only a valid token gets a bearer token", Condition{Requests: of(Token), Actors: of(Revoked, Expired)}, noLogin},
	{"a name is a user's or an organization's, and only users have tokens", Condition{Requests: of(Token), Actors: of(Namesake)}, noLogin},
	{"a bearer token does not renew itself", Condition{Requests: of(Token), SignIns: bearers}, noLogin},
	{"nobody gets a bearer token only where they may pull", Condition{Requests: of(Token), Actors: of(Nobody), AnonymousPulls: of(Deny)}, noAnonymous},
	{"who signs in gets a bearer token, with what they may do", Condition{Requests: of(Token)}, done(http.StatusOK)},
	{"a token stops when it is revoked or expires, with its bearer tokens", Condition{Actors: of(Revoked, Expired)}, unauthorized("invalid_token", badToken)},
	{"a token stops when its user's name becomes an organization's", Condition{Actors: of(Namesake)}, unauthorized("invalid_token", badToken)},
	{"nobody's bearer token ends with anonymous pull", Condition{Actors: of(Nobody), SignIns: bearers, AnonymousPulls: of(Deny)}, unauthorized("invalid_token", badToken)},

	// What is not about one repository.
	{"clients sign in at the version check", Condition{Requests: of(Version), SignIns: of(None)}, unauthorized("", signIn)},
	{"every bearer token passes the version check", Condition{Requests: of(Version)}, done(http.StatusOK)},
	{"nobody lists names unless they may pull some", Condition{Requests: of(Catalog), Actors: of(Nobody), AnonymousPulls: of(Deny)}, unauthorized("", signIn)},
	{"listing names needs read:packages", Condition{Requests: of(Catalog), Actors: users, Without: Read | Write}, denied(noRead)},
	{"listing names needs a bearer token for it", Condition{Requests: of(Catalog), SignIns: of(BearerForOthers)}, unauthorized("insufficient_scope", "the bearer token was not issued for listing repositories")},
	{"names are listed", Condition{Requests: of(Catalog)}, done(http.StatusOK)},

	// Nobody.
	{"nobody pulls from public repositories with a bearer token for it", Condition{Requests: pulling, Actors: of(Nobody), Repositories: of(Public), AnonymousPulls: of(PublicRepositories), SignIns: of(BearerForOthers)}, unauthorized("insufficient_scope", "the bearer token was not issued for pulling {image}")},
	{"nobody pulls nothing but public repositories", Condition{Actors: of(Nobody), Repositories: of(Private, Internal, Removed, Undeclared)}, unauthorized("", signIn)},
	{"nobody pulls from public repositories only where it is allowed", Condition{Actors: of(Nobody), AnonymousPulls: of(Deny)}, unauthorized("", signIn)},
	{"nobody pushes or deletes", Condition{Requests: pushing | deleting, Actors: of(Nobody)}, unauthorized("", signIn)},

	// What the actor may not see is as if it were missing.
	{"a token for other repositories sees no other one", Condition{Narrowings: of(ThreeOthers)}, hidden("this token is limited to {others}")},
	{"a token for many other repositories names some", Condition{Narrowings: of(FourOthers)}, hidden("this token is limited to {others} and 1 more")},
	{"a token of a namespace that may speak for others sees those alone, whatever it is narrowed to and its user owns", Condition{Narrowings: of(NamespaceOfAnother, ThisFromAnother)}, hidden("this token is limited to {allowed}")},
	{"what is not declared is not there, for its owner neither", Condition{Repositories: of(Removed, Undeclared)}, hidden(notSeen)},
	{"a private repository is there for those with a role in it", Condition{Actors: roleless, Repositories: of(Private)}, hidden(notSeen)},

	// Read-only.
	{"a read-only registry takes no pushes and no deletions", Condition{Requests: pushing | deleting, Supports: of(ReadOnly)}, unsupported(http.StatusMethodNotAllowed, "the Docker registry of this instance is read-only: pulling works, pushing and deleting do not")},

	// Permission of the user.
	{"pushing needs Write, which belonging to the organization does not give", Condition{Requests: pushing, Actors: roleless}, denied("you have no role in {repository}; pushing needs Write")},
	{"pushing needs Write", Condition{Requests: pushing, Actors: of(Reader)}, denied("your role in {repository} is {role}; pushing needs Write")},
	{"deleting needs Admin, which belonging to the organization does not give", Condition{Requests: deleting, Actors: roleless}, denied("you have no role in {repository}; deleting needs Admin")},
	{"deleting needs Admin", Condition{Requests: deleting, Actors: of(Reader, Writer)}, denied("your role in {repository} is {role}; deleting needs Admin")},

	// Scope of the token; write:packages includes reading.
	{"pulling needs read:packages", Condition{Requests: pulling, Actors: users, Without: Read | Write}, denied(noRead)},
	{"pushing needs write:packages", Condition{Requests: pushing, Without: Write}, denied("this token lacks the scope write:packages")},
	{"deleting needs delete:packages", Condition{Requests: deleting, Without: Delete}, denied("this token lacks the scope delete:packages")},

	// Access of the bearer token.
	{"pulling needs a bearer token for it", Condition{Requests: pulling, SignIns: of(BearerForOthers)}, unauthorized("insufficient_scope", "the bearer token was not issued for pulling {image}")},
	{"pushing needs a bearer token for it", Condition{Requests: pushing, SignIns: of(BearerForOthers)}, unauthorized("insufficient_scope", "the bearer token was not issued for pushing {image}")},
	{"deleting needs a bearer token for it", Condition{Requests: deleting, SignIns: of(BearerForOthers)}, unauthorized("insufficient_scope", "the bearer token was not issued for deleting {image}")},

	// A mount reads its source: by the token's right there, or the upload begins.
	{"a blob is mounted from a repository of the owner's", Condition{Mounts: of(FromMember, FromAnywhereMember), Narrowings: of(Unnarrowed, AllOfOwner, NamespaceOfOwner)}, done(http.StatusCreated)},
	{"a blob is mounted from another owner's repository", Condition{Mounts: of(FromAnybody), Narrowings: of(Unnarrowed, ThisAmongOthers)}, done(http.StatusCreated)},

	// What is allowed is done.
	{"what is pulled is there", Condition{Requests: pulling}, done(http.StatusOK)},
	{"an upload begins and goes on", Condition{Requests: of(UploadStart, UploadChunk)}, done(http.StatusAccepted)},
	{"an upload tells how far it is, and ends", Condition{Requests: of(UploadStatus, UploadCancel)}, done(http.StatusNoContent)},
	{"what is pushed is created", Condition{Requests: of(UploadWhole, UploadFinish, ManifestPut)}, done(http.StatusCreated)},
	{"what is deleted is gone", Condition{Requests: deleting}, done(http.StatusAccepted)},
}

// Rule is the row that counts for a cell, nil for none.
func Rule(c Cell) *Row {
	for i := range Rows {
		if Rows[i].When.Holds(c) {
			return &Rows[i]
		}
	}
	return nil
}
