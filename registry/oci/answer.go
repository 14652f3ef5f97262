// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/packages-operator/packages-operator/registry/errcode"
)

type errorDocument struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    errcode.Code `json:"code"`
	Message string       `json:"message"`
	Detail  any          `json:"detail,omitempty"`
}

// writeError sends the error document of OCI Distribution, section "Error Codes".
func writeError(x *exchange, e *errcode.Error) {
	header := x.Header()
	for key, values := range e.Header {
		header[key] = values
	}
	for _, key := range []string{"Content-Type", "Docker-Content-Digest", "Location", "Etag", "Content-Range", "Link", "Oci-Filters-Applied"} {
		header.Del(key)
	}
	// What cannot be written as JSON would be a Detail of ours; the status stands.
	_ = writeJSON(x, e.Status, errorDocument{Errors: []errorEntry{{Code: e.Code, Message: e.Message, Detail: e.Detail}}})
}

// writeJSON sends a document whose length is known, without a body for HEAD.
func writeJSON(x *exchange, status int, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	writeJSONBody(x, status, body)
	return nil
}

func writeJSONBody(x *exchange, status int, body []byte) {
	if x.Header().Get("Content-Type") == "" {
		x.Header().Set("Content-Type", "application/json")
	}
	writeBody(x, status, body)
}

func writeBody(x *exchange, status int, body []byte) {
	x.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		// A failing connection shows in the access log by its byte count.
		_, _ = x.Write(body)
	}
}
