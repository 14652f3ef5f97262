// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package access decides who may do what. An Authority turns the Authorization
// header of a request into an Actor and issues bearer tokens; Authorize joins what
// an Actor holds with the policy in force. Nothing here does I/O per request, and
// everything is safe for concurrent use.
package access

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// ErrBadCredential answers every credential that is not accepted: unknown,
// expired, malformed or forged. It says no more, so that nothing can be learnt
// from it.
var ErrBadCredential = errors.New("the credential is not accepted")

const (
	// leeway is how far the clocks of two replicas may be apart.
	leeway = 5 * time.Second

	// maxBasicLength bounds the encoded part of a Basic header, in bytes: the longest
	// token of a ServiceAccount, with a user name.
	maxBasicLength = 6 << 10
)

// Authority identifies actors and issues bearer tokens.
type Authority struct {
	keys KeySource
	now  func() time.Time
}

// New makes an Authority. Both arguments must be safe for concurrent use.
func New(keys KeySource, now func() time.Time) *Authority {
	return &Authority{keys: keys, now: now}
}

// Actor is who makes a request, and what the request's bearer token allows of
// that. The zero Actor is anonymous. Copying an Actor is cheap.
type Actor struct {
	snapshot   *policy.Snapshot
	credential *policy.Credential
	// bearer is nil unless a bearer token was presented.
	bearer *claims
	// end of what was presented, where that is not the credential itself but a token of
	// a ServiceAccount; else zero.
	end time.Time
}

// Anonymous says that the actor presented no token of a user.
func (a Actor) Anonymous() bool { return a.credential == nil }

// User is the user that the credential belongs to, empty for an anonymous actor.
func (a Actor) User() string {
	if a.credential == nil {
		return ""
	}
	return a.credential.User
}

// CredentialID names the credential, for logs, and for what must stay bound to
// whoever began it. It is empty for an anonymous actor.
func (a Actor) CredentialID() string {
	if a.credential == nil {
		return ""
	}
	return a.credential.ID
}

// Token is the name of the PackagesToken, empty for an anonymous actor.
func (a Actor) Token() string {
	if a.credential == nil {
		return ""
	}
	return a.credential.Token
}

// under is the actor's credential as another snapshot has it, and false if it is
// no longer there. An anonymous actor has none and is fine.
func (a Actor) under(s *policy.Snapshot) (*policy.Credential, bool) {
	if a.credential == nil || a.snapshot == s {
		return a.credential, true
	}
	return s.CredentialByID(a.credential.ID)
}

// allows says whether the request's bearer token, if there is one, was granted an
// action.
func (a Actor) allows(kind, name, action string) bool {
	if a.bearer == nil {
		return true
	}
	for i := range a.bearer.Access {
		g := &a.bearer.Access[i]
		if g.Type != kind || g.Name != name {
			continue
		}
		for _, granted := range g.Actions {
			if granted == action {
				return true
			}
		}
	}
	return false
}

// Identify reads an Authorization header (RFC 9110, section 11.6.2). Without one
// the actor is anonymous. Basic carries a token's value as the password, or a token of
// a ServiceAccount, and its user name is ignored. Bearer carries what IssueToken gave out; it stands for its
// credential only while the policy has that credential. Every failure is
// ErrBadCredential.
func (a *Authority) Identify(s *policy.Snapshot, authorization string) (Actor, error) {
	if authorization == "" {
		return Actor{}, nil
	}
	scheme, rest, _ := strings.Cut(authorization, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return a.identifyBearer(s, rest)
	case strings.EqualFold(scheme, "Basic"):
		value, ok := basicPassword(rest)
		if !ok {
			return Actor{}, ErrBadCredential
		}
		return a.identifyValue(s, value)
	}
	return Actor{}, ErrBadCredential
}

// IsLogin says whether an Authorization header presents a credential itself, which
// may be guessed. A bearer token cannot be, and ends while its credential is good:
// the refusal of one is where its client turns to the credential again.
func IsLogin(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return authorization != "" && !strings.EqualFold(scheme, "Bearer")
}

func (a *Authority) identifyValue(s *policy.Snapshot, value string) (Actor, error) {
	if len(value) > credential.MaxLength {
		return a.identifyWorkload(s, value)
	}
	c, found := s.CredentialByValue(value)
	if !found || expired(c, a.now()) {
		return Actor{}, ErrBadCredential
	}
	return Actor{snapshot: s, credential: c}, nil
}

// identifyWorkload takes a token that the cluster gave to a program of a ServiceAccount.
// None is as short as a PackagesToken's value. It counts as over a little early, so
// that a bearer token for it, which other replicas may take for that much longer, never
// outlives it.
func (a *Authority) identifyWorkload(s *policy.Snapshot, token string) (Actor, error) {
	c, said, ok := s.CredentialByWorkload(token)
	end, now := said.Expires.Add(-leeway), a.now()
	if !ok || now.Before(said.NotBefore.Add(-leeway)) || !now.Before(end) {
		return Actor{}, ErrBadCredential
	}
	return Actor{snapshot: s, credential: c, end: end}, nil
}

func (a *Authority) identifyBearer(s *policy.Snapshot, token string) (Actor, error) {
	c, ok := a.keys.Keys().verify(token)
	if !ok {
		return Actor{}, ErrBadCredential
	}
	p, now := s.Policy(), a.now()
	switch {
	case c.Issuer != p.Instance.UID,
		c.Audience != p.Hosts.Docker,
		now.Before(time.Unix(c.NotBefore, 0).Add(-leeway)),
		!now.Before(time.Unix(c.Expires, 0).Add(leeway)):
		return Actor{}, ErrBadCredential
	}
	if c.Credential == "" {
		if p.AnonymousPull != policy.AnonymousPublic {
			return Actor{}, ErrBadCredential
		}
		return Actor{snapshot: s, bearer: c}, nil
	}
	held, found := s.CredentialByID(c.Credential)
	if !found || expired(held, now) {
		return Actor{}, ErrBadCredential
	}
	return Actor{snapshot: s, credential: held, bearer: c}, nil
}

// Renew is the actor under the policy and at the time of now, for a request that took
// long: ErrBadCredential if the credential was revoked or has expired meanwhile. The
// end of a bearer token, which is sooner, ends no request that began before it.
func (a *Authority) Renew(s *policy.Snapshot, actor Actor) (Actor, error) {
	c, found := actor.under(s)
	now := a.now()
	if !found || c != nil && expired(c, now) || !actor.end.IsZero() && !now.Before(actor.end) {
		return Actor{}, ErrBadCredential
	}
	return Actor{snapshot: s, credential: c, bearer: actor.bearer, end: actor.end}, nil
}

func expired(c *policy.Credential, now time.Time) bool {
	return c.NotAfter != nil && !now.Before(*c.NotAfter)
}

// basicPassword reads what follows "Basic " (RFC 7617).
func basicPassword(encoded string) (string, bool) {
	if len(encoded) > maxBasicLength {
		return "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", false
	}
	_, password, found := strings.Cut(string(decoded), ":")
	return password, found && password != ""
}
