// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("Two PackagesInstances whose hosts overlap", func() {
	var first, second *v1alpha1.PackagesInstance

	BeforeEach(func(ctx SpecContext) {
		first, second = newInstance(newNamespace(ctx)), newInstance(newNamespace(ctx))
		// Certificates are not what these specs are about.
		first.Spec.Exposure.Ingress.TLS, second.Spec.Exposure.Ingress.TLS = nil, nil
		create(ctx, first)
		conditions(ctx, first).Should(beReady())
	})

	// The host sets overlap though the hostnames differ.
	overlap := func() {
		second.Spec.Hostname = "docker." + first.Spec.Hostname
		second.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled
	}

	It("leave the hosts to the incumbent, and the other has no effect until it goes", func(ctx SpecContext) {
		overlap()
		create(ctx, second, newRepository(second.Namespace, "octo-app"), newToken(second.Namespace, "monalisa"))
		conditions(ctx, second).Should(And(
			beStalled(v1alpha1.ReasonHostConflict),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonHostConflict),
		))
		Expect(messageOf(second.Status.Conditions, v1alpha1.ConditionAccepted)).To(And(
			ContainSubstring(first.Namespace+"/acme"), ContainSubstring("docker."+first.Spec.Hostname),
		))
		Expect(second.Status.Endpoints.Docker).To(BeNil())
		for _, object := range madeObjects(second.Namespace) {
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Satisfy(isNotFound))
		}
		conditions(ctx, newRepository(second.Namespace, "octo-app")).Should(beProgressing(v1alpha1.ReasonInstanceNotReady))
		conditions(ctx, newToken(second.Namespace, "monalisa")).Should(beProgressing(v1alpha1.ReasonInstanceNotReady))
		Expect(conditionsOf(ctx, first)).To(beReady())

		Expect(admin.Delete(ctx, first)).To(Succeed())
		conditions(ctx, second).Should(beReady())
		conditions(ctx, newRepository(second.Namespace, "octo-app")).Should(beReady())
		conditions(ctx, newToken(second.Namespace, "monalisa")).Should(beReady())
	})

	It("leave the hosts to the incumbent though the newcomer is the older object", func(ctx SpecContext) {
		create(ctx, second)
		conditions(ctx, second).Should(beReady())
		change(ctx, first, func(i *v1alpha1.PackagesInstance) { i.Spec.Hostname = second.Spec.Hostname })
		conditions(ctx, first).Should(beStalled(v1alpha1.ReasonHostConflict))
		Expect(conditionsOf(ctx, second)).To(beReady())
		// What was made before goes on, without an Ingress.
		get[appsv1.StatefulSet](ctx, first.Namespace, "acme-packages")
		gone(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: first.Namespace, Name: "acme-packages"}})

		change(ctx, first, func(i *v1alpha1.PackagesInstance) { i.Spec.Hostname = "else." + i.Spec.Hostname })
		conditions(ctx, first).Should(beReady())
		get[networkingv1.Ingress](ctx, first.Namespace, "acme-packages")
	})
})
