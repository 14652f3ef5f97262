// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"

	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/route"
)

// maxReason and maxUserAgent bound, in bytes, what one request writes into the
// audit log.
const (
	maxReason    = 512
	maxUserAgent = 200
)

// actions are what the kinds of requests are called in the audit log. Those that
// are always written change something, hand out a token, or pull; of the others
// only refusals are.
var actions = map[route.Kind]struct {
	action audit.Action
	always bool
}{
	route.Version:        {audit.Login, false},
	route.Token:          {audit.Login, true},
	route.Catalog:        {audit.List, false},
	route.TagsList:       {audit.List, false},
	route.Referrers:      {audit.List, false},
	route.BlobHead:       {audit.Pull, false},
	route.BlobGet:        {audit.Pull, false},
	route.BlobDelete:     {audit.Delete, true},
	route.UploadStart:    {audit.Upload, true},
	route.UploadStatus:   {audit.Upload, false},
	route.UploadChunk:    {audit.Upload, true},
	route.UploadFinish:   {audit.Push, true},
	route.UploadCancel:   {audit.Cancel, true},
	route.ManifestHead:   {audit.Pull, false},
	route.ManifestGet:    {audit.Pull, true},
	route.ManifestPut:    {audit.Push, true},
	route.ManifestDelete: {audit.Delete, true},
}

// auditEntry is what the audit log says of a request that is answered with the
// status, if it says anything. The time is left to the caller.
func auditEntry(r *oci.Record, status int, received int64, userAgent string) (e audit.Entry, wanted bool) {
	kind, known := actions[r.Kind]
	if !known {
		kind.action = audit.Unknown
	}
	outcome := audit.Allowed
	switch {
	case r.Denied:
		outcome = audit.Denied
	case !kind.always:
		return e, false
	case status >= http.StatusBadRequest:
		outcome = audit.Failed
	}
	action, size := kind.action, r.Size
	switch {
	case r.From != "":
		action = audit.Mount
	case r.Kind == route.UploadStart && r.Digest != "":
		action = audit.Push
	case action == audit.Upload:
		size = received
	}
	e = audit.Entry{
		RequestID: r.RequestID,
		Action:    action,
		Outcome:   outcome,
		Route:     r.Kind.String(),
		Status:    status,
		Code:      r.Code,
		Reason:    truncate(r.Message, maxReason),
		User:      r.User,
		TokenID:   r.CredentialID,
		Token:     r.Token,
		Name:      string(r.Name),
		Reference: r.Reference,
		Digest:    string(r.Digest),
		Tags:      texts(r.Tags),
		From:      string(r.From),
		Bytes:     size,
		Warning:   r.Warning,
		UserAgent: truncate(userAgent, maxUserAgent),
	}
	if r.Address.IsValid() {
		e.Address = r.Address.String()
	}
	return e, true
}

// mustLast says of an entry that it has to be written before the client is told:
// something was changed.
func mustLast(e *audit.Entry) bool {
	return e.Outcome == audit.Allowed && e.Action != audit.Pull && e.Action != audit.Login
}

func texts(tags []ref.Tag) []string {
	if len(tags) == 0 {
		return nil
	}
	list := make([]string, len(tags))
	for i, tag := range tags {
		list[i] = string(tag)
	}
	return list
}
