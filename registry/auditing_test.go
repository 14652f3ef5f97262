// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/route"
)

func TestEveryRouteHasAnActionInTheAuditLog(t *testing.T) {
	for kind := range route.Kind(routes) {
		e, wanted := auditEntry(&oci.Record{Kind: kind, Denied: true}, 403, 0, "")
		if !wanted || e.Outcome != audit.Denied || (e.Action == audit.Unknown) != (kind == 0) {
			t.Errorf("%s: %+v, %v", kind, e, wanted)
		}
	}
	if next := route.Kind(routes); next.String() != "Unknown" {
		t.Errorf("%s is not among the routes of metrics and audit log", next)
	}
}

func TestAnEntryHasTheWarningAndIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	e, wanted := auditEntry(&oci.Record{Kind: route.ManifestPut, Warning: "the image is large", Message: long}, 201, 5, long)
	if !wanted || e.Warning != "the image is large" || !mustLast(&e) {
		t.Errorf("got %+v, %v", e, wanted)
	}
	if len(e.Reason) > 2*maxReason || len(e.UserAgent) > 2*maxUserAgent {
		t.Errorf("%d bytes of reason, %d of user agent", len(e.Reason), len(e.UserAgent))
	}
}
