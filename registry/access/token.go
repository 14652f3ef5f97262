// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	// TokenLifetime is how long a bearer token lasts at most. Its credential is
	// looked up on every request, so that a revoked one stops at once.
	TokenLifetime = 5 * time.Minute

	// maxScopes and maxScopesLength bound what one token request may ask for.
	maxScopes       = 32
	maxScopesLength = 4 << 10
)

// Types, names and actions of Docker's scopes that are no image.
const (
	typeRepository = "repository"
	typeRegistry   = "registry"
	catalogName    = "catalog"
	catalogAction  = "*"
)

// ErrInvalidRequest marks a token request that no credential would help.
var ErrInvalidRequest = errors.New("invalid token request")

// TokenRequest is a request to the token endpoint: GET with an Authorization
// header, or POST with a form (password or refresh token). At most one credential
// may be in it. A refresh token is what a password may be.
type TokenRequest struct {
	Authorization string
	Username      string
	Password      string
	RefreshToken  string
	// Service is the host that the token is for; empty means this one.
	Service string
	// Scopes as in the request; each may hold several, separated by spaces.
	Scopes []string
}

// Anonymous says that no credential was sent.
func (r TokenRequest) Anonymous() bool {
	return r.Authorization == "" && r.Password == "" && r.RefreshToken == ""
}

// IsLogin says whether the request presents a credential itself; see IsLogin.
func (r TokenRequest) IsLogin() bool {
	return IsLogin(r.Authorization) || r.Password != "" || r.RefreshToken != ""
}

// TokenResponse is the answer, in Docker's JSON.
type TokenResponse struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	// ExpiresIn is in seconds.
	ExpiresIn int64     `json:"expires_in"`
	IssuedAt  time.Time `json:"issued_at"`
	// Actor is who asked, for the log.
	Actor Actor `json:"-"`
}

// IssueToken gives out a bearer token with what the credential may do of what is
// asked for; the rest is left out without a word, as Docker's clients expect, and
// the request that needs it is told why. The token ends when its credential does, or
// the token of a ServiceAccount that it was issued for, and is worth nothing without
// the credential.
//
// The errors are ErrBadCredential, also for no credential where the policy lets
// nobody in without one, and ErrInvalidRequest with the reason.
func (a *Authority) IssueToken(s *policy.Snapshot, request TokenRequest) (TokenResponse, error) {
	p := s.Policy()
	if request.Service != "" && request.Service != p.Hosts.Docker {
		return TokenResponse{}, fmt.Errorf("%w: this registry is the service %s", ErrInvalidRequest, p.Hosts.Docker)
	}
	scopes, err := parseScopes(request.Scopes)
	if err != nil {
		return TokenResponse{}, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	actor, err := a.requester(s, request)
	if err != nil {
		return TokenResponse{}, err
	}
	if actor.Anonymous() && p.AnonymousPull != policy.AnonymousPublic {
		return TokenResponse{}, ErrBadCredential
	}

	issued := a.now().UTC().Truncate(time.Second)
	expires := issued.Add(TokenLifetime)
	if c := actor.credential; c != nil && c.NotAfter != nil && c.NotAfter.Before(expires) {
		expires = c.NotAfter.Truncate(time.Second)
	}
	if end := actor.end; !end.IsZero() && end.Before(expires) {
		expires = end
	}
	token, err := a.keys.Keys().sign(claims{
		Issuer:     p.Instance.UID,
		Subject:    actor.User(),
		Audience:   p.Hosts.Docker,
		IssuedAt:   issued.Unix(),
		NotBefore:  issued.Unix(),
		Expires:    expires.Unix(),
		Credential: actor.CredentialID(),
		Access:     grants(s, actor, scopes),
	})
	if err != nil {
		return TokenResponse{}, fmt.Errorf("sign bearer token: %w", err)
	}
	return TokenResponse{
		Token:       token,
		AccessToken: token,
		ExpiresIn:   int64(expires.Sub(issued) / time.Second),
		IssuedAt:    issued,
		Actor:       actor,
	}, nil
}

// requester identifies who asks. A bearer token cannot renew itself.
func (a *Authority) requester(s *policy.Snapshot, request TokenRequest) (Actor, error) {
	given := 0
	for _, secret := range []string{request.Authorization, request.Password, request.RefreshToken} {
		if secret != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return Actor{}, fmt.Errorf("%w: it has more than one credential", ErrInvalidRequest)
	case request.Password != "":
		return a.identifyValue(s, request.Password)
	case request.RefreshToken != "":
		return a.identifyValue(s, request.RefreshToken)
	case request.Authorization == "" && request.Username != "":
		return Actor{}, ErrBadCredential
	}
	actor, err := a.Identify(s, request.Authorization)
	if err != nil || actor.bearer != nil {
		return Actor{}, ErrBadCredential
	}
	return actor, nil
}

// scope is TYPE:NAME:ACTION[,ACTION...] of a token request.
type scope struct {
	kind    string
	name    string
	actions []string
}

func parseScopes(values []string) ([]scope, error) {
	length := 0
	var scopes []scope
	for _, value := range values {
		length += len(value)
		if length > maxScopesLength {
			return nil, fmt.Errorf("the scopes are longer than %d characters", maxScopesLength)
		}
		for text := range strings.FieldsSeq(value) {
			if len(scopes) == maxScopes {
				return nil, fmt.Errorf("there are more than %d scopes", maxScopes)
			}
			parsed, err := parseScope(text)
			if err != nil {
				return nil, err
			}
			scopes = append(scopes, parsed)
		}
	}
	return scopes, nil
}

func parseScope(text string) (scope, error) {
	kind, rest, found := strings.Cut(text, ":")
	last := strings.LastIndexByte(rest, ':')
	if !found || kind == "" || last <= 0 || last == len(rest)-1 {
		return scope{}, fmt.Errorf("scope %.80q is not of the form repository:NAME:ACTION,ACTION", text)
	}
	return scope{kind: kind, name: rest[:last], actions: strings.Split(rest[last+1:], ",")}, nil
}

// grants is what the actor may do of what was asked for, one entry for a name.
func grants(s *policy.Snapshot, actor Actor, scopes []scope) []grant {
	list := []grant{}
	for _, asked := range scopes {
		actions := grantable(s, actor, asked)
		if len(actions) == 0 {
			continue
		}
		i := slices.IndexFunc(list, func(g grant) bool { return g.Type == asked.kind && g.Name == asked.name })
		if i < 0 {
			list = append(list, grant{Type: asked.kind, Name: asked.name})
			i = len(list) - 1
		}
		for _, action := range actions {
			if !slices.Contains(list[i].Actions, action) {
				list[i].Actions = append(list[i].Actions, action)
			}
		}
	}
	return list
}

// grantable is what the actor may do of one scope; "*" asks for all.
func grantable(s *policy.Snapshot, actor Actor, asked scope) []string {
	if asked.kind == typeRegistry && asked.name == catalogName {
		if slices.Contains(asked.actions, catalogAction) && mayList(s, actor).Verdict == Allow {
			return []string{catalogAction}
		}
		return nil
	}
	// A name that no image can have is left out: the request for it says why.
	name, err := ref.ParseName(asked.name)
	if asked.kind != typeRepository || err != nil {
		return nil
	}
	var actions []string
	for action, needs := range rules {
		if !slices.Contains(asked.actions, needs.name) && !slices.Contains(asked.actions, "*") {
			continue
		}
		if permitted(s, actor, name.Repository(), Action(action)).Verdict == Allow {
			actions = append(actions, needs.name)
		}
	}
	return actions
}
