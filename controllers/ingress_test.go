// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

func newIngressClass(name, controller string) *networkingv1.IngressClass {
	return &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       networkingv1.IngressClassSpec{Controller: controller},
	}
}

// createClass makes an IngressClass that goes with the spec.
func createClass(ctx context.Context, name, controller string) *networkingv1.IngressClass {
	GinkgoHelper()
	class := newIngressClass(name, controller)
	create(ctx, class)
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(admin.Delete(ctx, class))).To(Succeed()) })
	return class
}

var _ = Describe("The Ingress of a PackagesInstance", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance = newInstance(namespace)
	})
	exposureReady := func(status metav1.ConditionStatus, reason string) OmegaMatcher {
		return condition(v1alpha1.ConditionExposureReady, status, reason)
	}
	annotations := func(ctx context.Context) func() map[string]string {
		return func() map[string]string {
			return get[networkingv1.Ingress](ctx, namespace, "acme-packages").Annotations
		}
	}
	className := func(ctx context.Context) func() *string {
		return func() *string {
			return get[networkingv1.Ingress](ctx, namespace, "acme-packages").Spec.IngressClassName
		}
	}

	It("says that its class is missing, until it is there", func(ctx SpecContext) {
		instance.Spec.Exposure.Ingress.ClassName = namespace
		create(ctx, instance)
		conditions(ctx, instance).Should(And(
			beProgressing(v1alpha1.ReasonIngressClassNotFound),
			exposureReady(metav1.ConditionFalse, v1alpha1.ReasonIngressClassNotFound),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("there is no IngressClass "+namespace+":"), ContainSubstring("there is web"),
		))
		class := createClass(ctx, namespace, "example.com/web")
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionExposureReady)).To(ContainSubstring("example.com/web"))

		Expect(admin.Delete(ctx, class)).To(Succeed())
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonIngressClassNotFound))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.ClassName = "web" })
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))
	})

	It("has what its controller has to be told, below what the user says", func(ctx SpecContext) {
		class := createClass(ctx, namespace, "k8s.io/ingress-nginx")
		instance.Spec.Exposure.Ingress.ClassName = class.Name
		instance.Spec.Exposure.Ingress.Annotations = map[string]string{
			"nginx.ingress.kubernetes.io/proxy-read-timeout": "60",
			"external-dns.alpha.kubernetes.io/ttl":           "60",
		}
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		Expect(annotations(ctx)()).To(And(
			HaveKeyWithValue("nginx.ingress.kubernetes.io/proxy-body-size", "0"),
			HaveKeyWithValue("nginx.ingress.kubernetes.io/proxy-request-buffering", "off"),
			HaveKeyWithValue("nginx.ingress.kubernetes.io/proxy-read-timeout", "60"),
			HaveKeyWithValue("external-dns.alpha.kubernetes.io/ttl", "60"),
		))
		// The class is another controller's now, as after a migration.
		Expect(admin.Delete(ctx, class)).To(Succeed())
		createClass(ctx, namespace, "haproxy.org/ingress-controller")
		Eventually(annotations(ctx)).Should(Equal(map[string]string{
			"haproxy.org/timeout-server":                     "1h",
			"nginx.ingress.kubernetes.io/proxy-read-timeout": "60",
			"external-dns.alpha.kubernetes.io/ttl":           "60",
		}))
	})

	It("has the cluster's default class when none is named", Serial, func(ctx SpecContext) {
		instance.Spec.Exposure.Ingress.ClassName = ""
		create(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonIngressClassNotFound))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("no default IngressClass"))
		Expect(className(ctx)()).To(BeNil())

		class := createClass(ctx, namespace, "example.com/web")
		change(ctx, class, func(c *networkingv1.IngressClass) {
			c.Annotations = map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}
		})
		conditions(ctx, instance).Should(beReady())
		Expect(className(ctx)()).To(HaveValue(Equal(namespace)))

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.ClassName = "web" })
		Eventually(className(ctx)).Should(HaveValue(Equal("web")))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.ClassName = "" })
		Eventually(className(ctx)).Should(HaveValue(Equal(namespace)))
		conditions(ctx, instance).Should(beReady())
	})

	It("may have its class in the annotation of old", func(ctx SpecContext) {
		instance.Spec.Exposure.Ingress.ClassName = ""
		instance.Spec.Exposure.Ingress.Annotations = map[string]string{"kubernetes.io/ingress.class": "gce"}
		create(ctx, instance)
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))
		Expect(className(ctx)()).To(BeNil())
	})

	DescribeTable("says what the API server refuses:", func(ctx SpecContext, annotation, value, why string) {
		instance.Spec.Exposure.Ingress.Annotations = map[string]string{annotation: value}
		create(ctx, instance)
		conditions(ctx, instance).Should(And(
			beStalled(v1alpha1.ReasonExposureInvalid),
			exposureReady(metav1.ConditionFalse, v1alpha1.ReasonExposureInvalid),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring(why))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.Annotations = nil })
		conditions(ctx, instance).Should(beReady())
	},
		Entry("the name of an annotation", "a..b/c", "web", "a..b/c"),
		Entry("too much in annotations", "example.com/notes", strings.Repeat("a", 256<<10), "metadata.annotations: Too long"),
	)

	It("says nothing of an instance that is not exposed", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure = v1alpha1.ExposureSpec{} })
		conditions(ctx, instance).Should(And(beReady(), Not(ContainElement(HaveField("Type", v1alpha1.ConditionExposureReady)))))
	})

	It("goes without a look at classes where the manager may not read them", Serial, func(ctx SpecContext) {
		role := &rbacv1.ClusterRole{}
		Expect(admin.Get(ctx, client.ObjectKey{Name: managerUser}, role)).To(Succeed())
		rules := role.Rules
		stopManager()
		DeferCleanup(func(ctx SpecContext) {
			change(ctx, role, func(r *rbacv1.ClusterRole) { r.Rules = rules })
			stopManager()
			stopManager = startManager()
		})
		change(ctx, role, func(r *rbacv1.ClusterRole) {
			r.Rules = slices.DeleteFunc(slices.Clone(rules), func(rule rbacv1.PolicyRule) bool {
				return slices.Contains(rule.Resources, "ingressclasses")
			})
			Expect(len(r.Rules)).To(BeNumerically("<", len(rules)))
		})
		refusedOnPurpose = append(refusedOnPurpose, managerUser+` may not list ingressclasses.networking.k8s.io in ""`)
		stopManager = startManager()
		instance.Spec.Exposure.Ingress.ClassName = namespace
		create(ctx, instance)
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))

		By("and looks as soon as it may")
		change(ctx, role, func(r *rbacv1.ClusterRole) { r.Rules = rules })
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonIngressClassNotFound))
	})
})
