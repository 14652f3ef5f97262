// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit writes who did what: one JSON object a line, on a stream of its
// own.
package audit

import (
	"bytes"
	"encoding/json"
	"time"
)

// Action is what was asked for.
type Action string

// The actions.
const (
	// Login asks for a bearer token, or shows a credential at /v2/.
	Login Action = "login"
	// Pull reads a manifest or a blob; List reads tags, referrers or names.
	Pull Action = "pull"
	List Action = "list"
	// Upload begins or continues the upload of a blob, or asks how far it is;
	// Cancel gives it up.
	Upload Action = "upload"
	Cancel Action = "cancel"
	// Push completes a blob, or stores a manifest with its tags.
	Push Action = "push"
	// Mount links a blob of another name.
	Mount Action = "mount"
	// Delete removes a manifest, a tag or a blob.
	Delete Action = "delete"
	// Purge removes the content of a repository, as the policy asks for.
	Purge Action = "purge"
	// Unknown is a request that was refused before it was read.
	Unknown Action = "unknown"
)

// Outcome is what came of it.
type Outcome string

// The outcomes. Denied is the decision on who may do what; Failed is everything
// else that keeps an action from being done.
const (
	Allowed Outcome = "allowed"
	Denied  Outcome = "denied"
	Failed  Outcome = "failed"
)

// Entry is one line. It holds nothing secret, and fields that do not apply are
// left out.
type Entry struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId,omitempty"`
	Action    Action    `json:"action"`
	Outcome   Outcome   `json:"outcome"`
	// Route and Status are those of the metrics; Code and Reason are what the
	// client was told of a refusal.
	Route  string `json:"route,omitempty"`
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// User, and the id and name of the token that was shown; none for an anonymous
	// request or one whose credential is not accepted.
	User    string `json:"user,omitempty"`
	TokenID string `json:"tokenId,omitempty"`
	Token   string `json:"token,omitempty"`
	// Name of the image, or OWNER/REPOSITORY for Purge. Reference is the tag or the
	// digest as it was asked for, and Digest what it stands for, if that is known.
	Name      string `json:"name,omitempty"`
	Reference string `json:"reference,omitempty"`
	Digest    string `json:"digest,omitempty"`
	// Tags that a push by digest set beside; From is the name that a blob was
	// mounted from.
	Tags []string `json:"tags,omitempty"`
	From string   `json:"from,omitempty"`
	// Bytes of the blob or the manifest; of an Upload, what this request brought.
	Bytes   int64  `json:"bytes,omitempty"`
	Warning string `json:"warning,omitempty"`
	// Address of the client, and what it calls itself.
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

// encode writes the line.
func (e *Entry) encode(b *bytes.Buffer) error {
	encoder := json.NewEncoder(b)
	// A line is read by programs and people, not by browsers.
	encoder.SetEscapeHTML(false)
	return encoder.Encode(e)
}
