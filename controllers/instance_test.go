// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("A PackagesInstance", func() {
	It("becomes a running registry", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())

		Expect(instance.Status.Endpoints.Docker).To(HaveValue(Equal(v1alpha1.Endpoint{
			Host: "docker." + instance.Spec.Hostname, URL: "https://docker." + instance.Spec.Hostname,
		})))
		Expect(instance.Status.PolicyRevision).To(Equal(policyOf(ctx, namespace).Revision()))
		Expect(instance.Status.Version).To(Equal("test"))
		get[appsv1.StatefulSet](ctx, namespace, "acme-packages")
		get[corev1.Service](ctx, namespace, "acme-packages")
		get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data")
		get[corev1.ServiceAccount](ctx, namespace, "acme-packages")
		get[rbacv1.Role](ctx, namespace, "acme-packages")
		get[rbacv1.RoleBinding](ctx, namespace, "acme-packages")
		get[networkingv1.Ingress](ctx, namespace, "acme-packages")
		Expect(get[corev1.Secret](ctx, namespace, "acme-packages-keys").Data).To(HaveLen(1))
	})
})
