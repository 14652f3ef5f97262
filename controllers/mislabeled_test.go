// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("What carries an instance's label, and is not as it should be,", func() {
	It("is made anew if it cannot be changed, and goes if nothing wants it", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		labels := map[string]string{v1alpha1.LabelInstance: "acme"}
		misled := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "acme-packages", Labels: labels},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "another"},
		}
		stray := &v1alpha1.PackagesPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "acme-7", Labels: labels},
			Spec:       v1alpha1.PackagesPolicySpec{InstanceRef: v1alpha1.LocalInstanceReference{Name: "acme"}, FormatVersion: 1, Index: 7, Document: "{}"},
		}
		create(ctx, misled, stray)
		create(ctx, newInstance(namespace))
		Eventually(func() (string, error) {
			err := admin.Get(ctx, client.ObjectKeyFromObject(misled), misled)
			return misled.RoleRef.Name, err
		}).Should(Equal("acme-packages"))
		gone(ctx, stray)
	})
})
