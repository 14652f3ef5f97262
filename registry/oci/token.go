// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/errcode"
)

// tokenFormSize bounds the form of a POST to the token endpoint.
const tokenFormSize = 64 << 10

// token serves Docker's token flow: GET with Basic credentials, and the OAuth2
// form of POST, where password and refresh_token are the value of a token.
func (h *Handler) token(x *exchange) error {
	request := access.TokenRequest{Authorization: x.r.Header.Get("Authorization")}
	if x.r.Method == http.MethodPost {
		x.r.Body = http.MaxBytesReader(x.ResponseWriter, x.r.Body, tokenFormSize)
		if err := x.r.ParseForm(); err != nil {
			return errcode.New(http.StatusBadRequest, errcode.Unsupported, "the request's form cannot be read")
		}
		form := x.r.PostForm
		switch grant := form.Get("grant_type"); grant {
		case "password":
			request.Password = form.Get("password")
		case "refresh_token":
			request.RefreshToken = form.Get("refresh_token")
		default:
			return errcode.New(http.StatusBadRequest, errcode.Unsupported, "grant_type must be password or refresh_token")
		}
		request.Service, request.Scopes = form.Get("service"), form["scope"]
	} else {
		query := x.r.URL.Query()
		request.Service, request.Scopes = query.Get("service"), query["scope"]
	}
	response, err := h.Access.IssueToken(x.policy, request)
	record := recordOf(x.r.Context())
	record.identify(response.Actor)
	switch {
	case errors.Is(err, access.ErrBadCredential):
		record.Denied = true
		message := "the token is wrong, expired or revoked; passwords of accounts are not accepted, only tokens"
		if request.Anonymous() {
			message = "sign in with docker login: nothing can be pulled here without a token"
		}
		if request.IsLogin() {
			if err := h.failedLogin(x); err != nil {
				return err
			}
		}
		e := errcode.New(http.StatusUnauthorized, errcode.Unauthorized, message)
		e.Header = http.Header{"Www-Authenticate": {`Basic realm="` + x.policy.Policy().Hosts.Docker + `"`}}
		return e
	case errors.Is(err, access.ErrInvalidRequest):
		return errcode.New(http.StatusBadRequest, errcode.Unsupported, err.Error())
	case err != nil:
		return err
	}
	x.Header().Set("Cache-Control", "no-store")
	return writeJSON(x, http.StatusOK, response)
}

// failedLogin counts a login that failed, and is an error once the client's
// address has too many of them. A login that would succeed never gets here: its
// credential is looked up first.
func (h *Handler) failedLogin(x *exchange) error {
	if h.FailedLogin == nil {
		return nil
	}
	wait := h.FailedLogin(recordOf(x.r.Context()).Address)
	if wait <= 0 {
		return nil
	}
	recordOf(x.r.Context()).Denied = true
	return tooMany(wait, badCredential+", and too many logins from this address failed")
}

// tooMany is a 429 for a client that may come again after wait.
func tooMany(wait time.Duration, message string) error {
	seconds := int64((wait + time.Second - 1) / time.Second)
	err := errcode.New(http.StatusTooManyRequests, errcode.TooManyRequests, fmt.Sprintf("%s; try again in %d s", message, seconds))
	err.Header = http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
	return err
}
