// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package errcode holds the errors that a registry answers with: an HTTP status,
// a code of the OCI Distribution Specification, and a sentence for a person.
package errcode

import "net/http"

// Code is an error code of OCI Distribution, section "Error Codes".
type Code string

// The codes of OCI Distribution, and those of Docker's registry API that
// clients know in addition.
const (
	BlobUnknown         Code = "BLOB_UNKNOWN"
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	DigestInvalid       Code = "DIGEST_INVALID"
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	ManifestInvalid     Code = "MANIFEST_INVALID"
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"
	NameInvalid         Code = "NAME_INVALID"
	NameUnknown         Code = "NAME_UNKNOWN"
	SizeInvalid         Code = "SIZE_INVALID"
	TagInvalid          Code = "TAG_INVALID"
	Unauthorized        Code = "UNAUTHORIZED"
	Denied              Code = "DENIED"
	Unsupported         Code = "UNSUPPORTED"
	TooManyRequests     Code = "TOOMANYREQUESTS"
	RangeInvalid        Code = "RANGE_INVALID"
	PaginationInvalid   Code = "PAGINATION_NUMBER_INVALID"
	Unavailable         Code = "UNAVAILABLE"
	Unknown             Code = "UNKNOWN"
)

// Error is an answer that refuses a request. It is safe to show to the client.
type Error struct {
	Status  int
	Code    Code
	Message string
	// Detail is marshaled to JSON beside the message; nil leaves it out.
	Detail any
	// Header is added to the response, for example WWW-Authenticate.
	Header http.Header
}

// Error is the code with its message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// New makes an Error.
func New(status int, code Code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}
