// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oci answers the requests of the OCI Distribution Specification. Its
// handlers translate: a typed request, the actor's rights, a call to the catalog
// or the blob store, and a response.
package oci

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/route"
)

// Catalog is what the handlers need of the catalog.
type Catalog interface {
	catalog.Blobs
	catalog.Uploads
	catalog.Manifests
	catalog.Listings
}

// Options are a Handler's parts.
type Options struct {
	Policy  *policy.Live
	Access  *access.Authority
	Catalog Catalog
	Blobs   blob.Store
	Log     logr.Logger
	// FailedLogin is told of every login that failed, by client address, and says
	// how long the client has to wait until it may fail again; zero for not at all.
	// Nil limits nothing.
	FailedLogin func(netip.Addr) (wait time.Duration)
	// Room returns blob.ErrNoSpace when nothing more should be stored. Deleting
	// goes on then.
	Room func() error
	// ChunkSize in bytes is what clients are asked to send at a time at least, if
	// not zero; smaller chunks are taken too.
	ChunkSize int64
	// Loopback lets loopback names select the Docker registry, so that it can be
	// used without DNS.
	Loopback bool
	// Now is the clock; nil means time.Now. Rand is the source of upload ids;
	// nil means crypto/rand.
	Now  func() time.Time
	Rand io.Reader
}

// Handler serves the Docker registry of one instance. It is safe for concurrent
// use.
type Handler struct {
	Options
	writer blob.Writer
	room   room
	// busy holds the ids of uploads that a request is writing to right now.
	busy sync.Map
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Handler{Options: o, writer: blob.Writer{Store: o.Blobs}, room: newRoom()}
}

// exchange is one request with what was found out about it.
type exchange struct {
	http.ResponseWriter
	r      *http.Request
	policy *policy.Snapshot
	actor  access.Actor
	req    route.Request
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// ReadFrom keeps sendfile: http.ServeContent copies through the outermost
// writer, and hands it a limited part of the content.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); !ok {
			return blob.Copy(x.ResponseWriter, r)
		}
	}
	return io.Copy(x.ResponseWriter, r)
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, r: r, policy: h.Policy.Load()}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := h.serve(x); err != nil {
		h.refuse(x, err)
	}
}

func (h *Handler) serve(x *exchange) error {
	if x.policy == nil {
		return errcode.New(http.StatusServiceUnavailable, errcode.Unknown, "the registry has not received its policy yet; try again in a moment")
	}
	if err := h.checkHost(x); err != nil {
		return err
	}
	req, routeErr := route.Parse(x.r)
	if routeErr != nil {
		return routeErr
	}
	x.req = req
	record := recordOf(x.r.Context())
	record.describe(req)
	if req.Kind == route.Token {
		return h.token(x)
	}
	authorization := x.r.Header.Get("Authorization")
	actor, err := h.Access.Identify(x.policy, authorization)
	if err != nil {
		if access.IsLogin(authorization) {
			if err := h.failedLogin(x); err != nil {
				return err
			}
		}
		return h.unauthorized(x, neededScope(req), "invalid_token", badCredential)
	}
	x.actor = actor
	record.identify(actor)
	return h.dispatch(x)
}

// dispatch asks for the right that the request needs, then handles it.
func (h *Handler) dispatch(x *exchange) error {
	switch x.req.Kind {
	case route.Version:
		return h.version(x)
	case route.Catalog:
		return h.names(x)
	}
	operation, found := operations[x.req.Kind]
	if !found {
		return fmt.Errorf("no handler for %s", x.req.Kind)
	}
	decision := access.Authorize(x.policy, x.actor, x.req.Name, operation.action)
	if err := h.decided(x, decision, neededScope(x.req)); err != nil {
		return err
	}
	if operation.stores {
		if err := h.Room(); err != nil {
			return err
		}
	}
	return operation.handle(h, x)
}

// authorizeAgain follows a pushed body, which may have taken hours to arrive: what
// the policy no longer allows now is not stored.
func (h *Handler) authorizeAgain(x *exchange) error {
	x.policy = h.Policy.Load()
	if err := h.checkHost(x); err != nil {
		return err
	}
	scope := access.ScopeFor(x.req.Name, access.Push)
	actor, err := h.Access.Renew(x.policy, x.actor)
	if err != nil {
		return h.unauthorized(x, scope, "invalid_token", badCredential)
	}
	return h.decided(x, access.Authorize(x.policy, actor, x.req.Name, access.Push), scope)
}

// operations are the requests that concern one name, the right that each needs
// there, and whether it stores something.
var operations = map[route.Kind]struct {
	action access.Action
	handle func(*Handler, *exchange) error
	stores bool
}{
	route.TagsList:       {access.Pull, (*Handler).tags, false},
	route.Referrers:      {access.Pull, (*Handler).referrers, false},
	route.BlobHead:       {access.Pull, (*Handler).getBlob, false},
	route.BlobGet:        {access.Pull, (*Handler).getBlob, false},
	route.BlobDelete:     {access.Delete, (*Handler).deleteBlob, false},
	route.UploadStart:    {access.Push, (*Handler).startUpload, true},
	route.UploadStatus:   {access.Push, (*Handler).uploadStatus, false},
	route.UploadChunk:    {access.Push, (*Handler).uploadChunk, true},
	route.UploadFinish:   {access.Push, (*Handler).finishUpload, true},
	route.UploadCancel:   {access.Push, (*Handler).cancelUpload, false},
	route.ManifestHead:   {access.Pull, (*Handler).getManifest, false},
	route.ManifestGet:    {access.Pull, (*Handler).getManifest, false},
	route.ManifestPut:    {access.Push, (*Handler).putManifest, true},
	route.ManifestDelete: {access.Delete, (*Handler).deleteManifest, false},
}

// neededScope is what a client has to ask the token endpoint for to make the
// request; empty where any token does.
func neededScope(req route.Request) string {
	if req.Kind == route.Catalog {
		return access.CatalogScope
	}
	operation, found := operations[req.Kind]
	if !found {
		return ""
	}
	return access.ScopeFor(req.Name, operation.action)
}

// checkHost refuses what is not addressed to the Docker registry.
func (h *Handler) checkHost(x *exchange) error {
	hosts := &x.policy.Policy().Hosts
	host := hostname(x.r.Host)
	switch {
	case host == hosts.Docker, h.Loopback && isLoopback(host):
	case host == hosts.Base:
		return errcode.New(http.StatusNotFound, errcode.Unsupported, "the Docker registry is at "+hosts.Docker)
	default:
		return errcode.New(http.StatusNotFound, errcode.Unsupported, "this host name belongs to no registry here")
	}
	if x.policy.Policy().Support == policy.SupportDisabled {
		recordOf(x.r.Context()).Denied = true
		return errcode.New(http.StatusNotFound, errcode.Unsupported, "Docker packages are disabled on this instance")
	}
	return nil
}

// hostname is a Host header without its port, as the policy writes names: in
// lower case.
func hostname(hostport string) string {
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		// A port that is none could make another host of it in a URL.
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return ""
		}
		hostport = host
	}
	return strings.ToLower(hostport)
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1" || host == "[::1]"
}

// decided turns a decision into nil or the answer that it calls for. scope is
// what a client without it has to ask the token endpoint for.
func (h *Handler) decided(x *exchange, d access.Decision, scope string) error {
	if d.Verdict == access.Allow {
		return nil
	}
	recordOf(x.r.Context()).Denied = true
	switch d.Verdict {
	case access.Challenge:
		return h.unauthorized(x, scope, "", d.Reason)
	case access.InsufficientScope:
		return h.unauthorized(x, scope, "insufficient_scope", d.Reason)
	case access.Hidden:
		return errcode.New(http.StatusNotFound, errcode.NameUnknown, d.Reason)
	case access.ReadOnly:
		return errcode.New(http.StatusMethodNotAllowed, errcode.Unsupported, d.Reason)
	}
	return errcode.New(http.StatusForbidden, errcode.Denied, d.Reason)
}

// unauthorized is a 401 that tells where to get a token.
func (h *Handler) unauthorized(x *exchange, scope, code, message string) error {
	recordOf(x.r.Context()).Denied = true
	err := errcode.New(http.StatusUnauthorized, errcode.Unauthorized, message)
	err.Header = http.Header{"Www-Authenticate": {
		access.ChallengeHeader(h.baseURL(x)+route.TokenPath, x.policy.Policy().Hosts.Docker, scope, code),
	}}
	return err
}

// baseURL is the registry as the client reaches it. It comes from the policy;
// over loopback from the loopback name that checkHost let pass, since the port
// may be one of a forwarding.
func (h *Handler) baseURL(x *exchange) string {
	hosts := &x.policy.Policy().Hosts
	if host := hostname(x.r.Host); host != hosts.Docker && h.Loopback && isLoopback(host) {
		return "http://" + x.r.Host
	}
	return hosts.URL
}

// version serves GET /v2/, where clients learn how to log in.
func (h *Handler) version(x *exchange) error {
	if err := h.decided(x, access.AuthorizeVersion(x.policy, x.actor), ""); err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, struct{}{})
}

// refuse answers with an error. What is not meant for the client is logged, and
// the client sees only that it happened.
func (h *Handler) refuse(x *exchange, err error) {
	answer := answerFor(err)
	if answer != nil && answer.Code == errcode.Unavailable {
		h.Log.Error(err, "Request cannot be served", "method", x.r.Method, "path", x.r.URL.Path, "request", recordOf(x.r.Context()).RequestID)
	}
	if answer == nil {
		if errors.Is(err, context.Canceled) && x.r.Context().Err() != nil {
			answer = errcode.New(statusClientClosed, errcode.Unknown, "the client went away")
		} else {
			h.Log.Error(err, "Request failed", "method", x.r.Method, "path", x.r.URL.Path, "request", recordOf(x.r.Context()).RequestID)
			answer = errcode.New(http.StatusInternalServerError, errcode.Unknown, "the registry failed to do this; its log tells why under request "+recordOf(x.r.Context()).RequestID)
		}
	}
	short := *answer
	if len(short.Message) > maxMessage {
		short.Message = strings.ToValidUTF8(short.Message[:maxMessage], "") + "…"
	}
	record := recordOf(x.r.Context())
	record.Code, record.Message = string(short.Code), short.Message
	writeError(x, &short)
}

// badCredential is all that is said about a credential that is not accepted.
const badCredential = "the token is wrong, expired or revoked"

// maxMessage bounds in bytes what an answer, and the log, says about a refusal: a
// manifest may lack thousands of blobs.
const maxMessage = 2 << 10

// statusClientClosed is what access logs write for a request whose client left.
const statusClientClosed = 499

// answerFor translates what the catalog and the blob store refuse; nil for an
// error that is the registry's own.
func answerFor(err error) *errcode.Error {
	var (
		answer  *errcode.Error
		missing *catalog.MissingError
		tooBig  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &missing):
		return missingAnswer(missing)
	case errors.As(err, &tooBig):
		return errcode.New(http.StatusRequestEntityTooLarge, errcode.SizeInvalid, "the request's body is too large")
	case errors.Is(err, catalog.ErrNameUnknown):
		return errcode.New(http.StatusNotFound, errcode.NameUnknown, "nothing has been pushed to this name yet")
	case errors.Is(err, catalog.ErrBlobUnknown):
		return errcode.New(http.StatusNotFound, errcode.BlobUnknown, "this name has no such blob")
	case errors.Is(err, catalog.ErrBlobInUse):
		return errcode.New(http.StatusConflict, errcode.Denied, "a manifest of this name refers to the blob; delete the manifest first")
	case errors.Is(err, catalog.ErrManifestUnknown):
		return errcode.New(http.StatusNotFound, errcode.ManifestUnknown, "this name has no such manifest or tag")
	case errors.Is(err, catalog.ErrManifestInUse):
		return errcode.New(http.StatusConflict, errcode.Denied, "an index of this name refers to the manifest; delete the index first")
	case errors.Is(err, catalog.ErrUploadUnknown):
		return errcode.New(http.StatusNotFound, errcode.BlobUploadUnknown, "no such upload; it may have ended or expired: begin again")
	case errors.Is(err, catalog.ErrUploadConflict):
		return errcode.New(http.StatusConflict, errcode.BlobUploadInvalid, "another request is writing to this upload")
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, catalog.ErrOutcomeUnknown):
		return unavailable("the registry's database does not answer at the moment; try again in a while")
	case errors.Is(err, blob.ErrUnavailable):
		return unavailable("the registry's storage does not answer at the moment; try again in a while")
	case errors.Is(err, catalog.ErrNoSpace), errors.Is(err, blob.ErrNoSpace):
		return errcode.New(http.StatusInsufficientStorage, errcode.Unknown, "the registry's storage is full; ask its administrator for more room")
	case errors.Is(err, blob.ErrTooLarge):
		return tooLarge("the layer is larger than this registry's storage takes")
	case errors.Is(err, blob.ErrDigestMismatch):
		return errcode.New(http.StatusBadRequest, errcode.DigestInvalid, "the content does not have the digest that was announced")
	}
	return nil
}

// retryAfter is how many seconds later a client is asked to come back.
const retryAfter = "5"

func unavailable(message string) *errcode.Error {
	answer := errcode.New(http.StatusServiceUnavailable, errcode.Unavailable, message)
	answer.Header = http.Header{"Retry-After": {retryAfter}}
	return answer
}

func missingAnswer(missing *catalog.MissingError) *errcode.Error {
	answer := errcode.New(http.StatusNotFound, errcode.ManifestBlobUnknown, "push what the manifest refers to first: "+missing.Error())
	if len(missing.Blobs) == 0 {
		answer.Code = errcode.ManifestUnknown
	}
	return answer
}
