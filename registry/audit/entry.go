// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit writes who did what: one JSON object a line, on a stream of its
// own.
package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
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

// appendLine appends the line: what encoding/json makes of the entry, without
// reflection, since there is one for every pull.
func (e *Entry) appendLine(line []byte) []byte {
	line = append(line, `{"time":"`...)
	line = e.Time.AppendFormat(line, time.RFC3339Nano)
	line = append(line, '"')
	line = appendString(line, "requestId", e.RequestID)
	line = appendText(append(line, `,"action":`...), string(e.Action))
	line = appendText(append(line, `,"outcome":`...), string(e.Outcome))
	line = appendString(line, "route", e.Route)
	line = appendNumber(line, "status", int64(e.Status))
	line = appendString(line, "code", e.Code)
	line = appendString(line, "reason", e.Reason)
	line = appendString(line, "user", e.User)
	line = appendString(line, "tokenId", e.TokenID)
	line = appendString(line, "token", e.Token)
	line = appendString(line, "name", e.Name)
	line = appendString(line, "reference", e.Reference)
	line = appendString(line, "digest", e.Digest)
	for i, tag := range e.Tags {
		line = append(line, [...]string{`,"tags":[`, `,`}[min(i, 1)]...)
		line = appendText(line, tag)
	}
	if len(e.Tags) > 0 {
		line = append(line, ']')
	}
	line = appendString(line, "from", e.From)
	line = appendNumber(line, "bytes", e.Bytes)
	line = appendString(line, "warning", e.Warning)
	line = appendString(line, "address", e.Address)
	line = appendString(line, "userAgent", e.UserAgent)
	return append(line, "}\n"...)
}

func appendKey(line []byte, key string) []byte {
	line = append(line, `,"`...)
	line = append(line, key...)
	return append(line, `":`...)
}

func appendNumber(line []byte, key string, number int64) []byte {
	if number == 0 {
		return line
	}
	return strconv.AppendInt(appendKey(line, key), number, 10)
}

func appendString(line []byte, key, text string) []byte {
	if text == "" {
		return line
	}
	return appendText(appendKey(line, key), text)
}

// appendText appends a string as JSON has it. What needs no escape, which is nearly
// everything, is copied.
func appendText(line []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscaped(line, text)
		}
	}
	line = append(line, '"')
	line = append(line, text...)
	return append(line, '"')
}

func appendEscaped(line []byte, text string) []byte {
	var escaped bytes.Buffer
	encoder := json.NewEncoder(&escaped)
	// A line is read by programs and people, not by browsers.
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // every string can be written as JSON
	return append(line, bytes.TrimSuffix(escaped.Bytes(), []byte("\n"))...)
}
