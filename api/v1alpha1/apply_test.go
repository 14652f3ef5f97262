// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	applyv1alpha1 "github.com/packages-operator/packages-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// The generated apply configurations send what the API takes, and a policy's
// document comes back byte for byte.
func TestApplyConfigurations(t *testing.T) {
	ctx := context.Background()
	namespace := newNamespace(t)
	const document = `{"b": 1,  "a": "\u003c"}`
	want := v1alpha1.PackagesPolicySpec{
		InstanceRef:   v1alpha1.LocalInstanceReference{Name: "acme"},
		FormatVersion: 1,
		Revision:      "r1",
		Parts:         []string{"sha256:" + sixtyFourHex},
		Document:      document,
	}
	configuration := applyv1alpha1.PackagesPolicy("acme-0", namespace).
		WithSpec(applyv1alpha1.PackagesPolicySpec().
			WithInstanceRef(applyv1alpha1.LocalInstanceReference().WithName("acme")).
			WithFormatVersion(1).
			WithIndex(0).
			WithRevision("r1").
			WithParts("sha256:" + sixtyFourHex).
			WithDocument(document))
	if err := api.Apply(ctx, configuration, client.FieldOwner("test")); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.PackagesPolicy
	if err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "acme-0"}, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("the policy that was applied (-want +got):\n%s", diff)
	}
}
