// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"net/netip"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

// Record is what a handler knows about a request and the log wants to tell. It
// holds nothing secret.
type Record struct {
	// Address that the client speaks from; invalid when unknown.
	Address netip.Addr
	// RequestID names the request in logs and in answers to failures.
	RequestID string
	// Kind of the request; zero when the address is unknown.
	Kind         route.Kind
	Name         ref.Name
	Reference    string
	User         string
	CredentialID string
	// Token is the name of the PackagesToken.
	Token string
	// Digest and Size in bytes of the content that the request is about, once they
	// are known; Tags are those that a push by digest set beside.
	Digest ref.Digest
	Size   int64
	Tags   []ref.Tag
	// From is the name that a blob was mounted from, empty if none was.
	From ref.Name
	// Denied says that the request was refused for who asks, or for what the
	// instance serves.
	Denied bool
	// Code and Message of the error that was answered, if any.
	Code    string
	Message string
	// Warning that the answer to a request that succeeded has, if any.
	Warning string
}

type recordKey struct{}

// WithRecord lets the handler fill in r.
func WithRecord(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// recordOf never returns nil, so that handlers need not ask.
func recordOf(ctx context.Context) *Record {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r
	}
	return &Record{}
}

// identify notes who makes the request.
func (r *Record) identify(actor access.Actor) {
	r.User, r.CredentialID, r.Token = actor.User(), actor.CredentialID(), actor.Token()
}

func (r *Record) describe(req route.Request) {
	r.Kind, r.Name = req.Kind, req.Name
	switch {
	case req.Digest != "":
		r.Reference, r.Digest = string(req.Digest), req.Digest
	case req.Reference != (ref.Reference{}):
		r.Reference, r.Digest = req.Reference.String(), req.Reference.Digest
	}
}
