// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("The podTemplate of a PackagesInstance", func() {
	It("shapes the pods, and its absence takes it back", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		plain := get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Spec.Template
		Expect(plain.Spec.Containers[0].Args).To(ContainElements("--trusted-proxies", "10.244.0.0/16"), "what the manager was told of the cluster")

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.PodTemplate = v1alpha1.PodTemplate{
				NodeSelector: map[string]string{"disk": "fast"},
				Tolerations:  []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}},
				Resources:    v1alpha1.PodResources{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1024Mi")}},
			}
		})
		template := func() corev1.PodTemplateSpec {
			return get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Spec.Template
		}
		Eventually(func() map[string]string { return template().Spec.NodeSelector }).Should(HaveKeyWithValue("disk", "fast"))
		Expect(template().Spec.Tolerations).To(ConsistOf(HaveField("Key", "dedicated")))
		Expect(template().Spec.Containers[0].Env).To(ContainElement(corev1.EnvVar{Name: "GOMEMLIMIT", Value: "921MiB"}))
		conditions(ctx, instance).Should(beReady())
		since := settled(namespace)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Annotations = map[string]string{"example.com/touched": "1"} })
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(BeEmpty(), "what the API server wrote in another form is still as wanted")

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.PodTemplate = v1alpha1.PodTemplate{} })
		Eventually(template).Should(Equal(plain))
	})

	It("is told to be impossible under the names of its own fields, until it is mended", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		instance.Spec.PodTemplate.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: "Maybe"}}
		instance.Spec.PodTemplate.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}
		create(ctx, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonPodTemplateInvalid))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("spec.podTemplate.tolerations[0].operator: "),
			ContainSubstring("spec.podTemplate.resources.requests: "),
		))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.PodTemplate = v1alpha1.PodTemplate{} })
		conditions(ctx, instance).Should(beReady())
	})
})
