// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

var _ = Describe("Deleting", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var repository *v1alpha1.PackagesRepository
	var token *v1alpha1.PackagesToken

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance, repository, token = newInstance(namespace), newRepository(namespace, "octo-app"), newToken(namespace, "monalisa")
		repository.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		create(ctx, instance, repository, token)
		conditions(ctx, instance).Should(beReady())
		conditions(ctx, repository).Should(beReady())
		conditions(ctx, token).Should(beReady())
	})

	volume := func(ctx SpecContext) *corev1.PersistentVolumeClaim {
		return get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data")
	}

	It("an instance keeps its volume, which an instance of the same name takes up", func(ctx SpecContext) {
		before := volume(ctx)
		Expect(before.Annotations).To(HaveKeyWithValue(desired.AnnotationDataUID, string(instance.UID)))
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, instance)
		Expect(volume(ctx).DeletionTimestamp).To(BeNil())

		// The garbage collector is not here to do so.
		for _, object := range madeObjects(namespace) {
			if _, claim := object.(*corev1.PersistentVolumeClaim); !claim {
				Expect(admin.Delete(ctx, object)).To(Succeed())
			}
		}
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PackagesPolicy{}, client.InNamespace(namespace))).To(Succeed())
		again := newInstance(namespace)
		create(ctx, again)
		conditions(ctx, again).Should(beReady())
		Expect(volume(ctx).UID).To(Equal(before.UID))
		// The registry finds its own identity in the data.
		Expect(get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Spec.Template.Spec.Containers[0].Args).
			To(ContainElements("--instance-uid", string(instance.UID)))
		Expect(policyOf(ctx, namespace).Policy().Instance.UID).To(Equal(string(instance.UID)))
	})

	It("an instance deletes its volume if the policy says so at that time", func(ctx SpecContext) {
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, instance)
		// Kubernetes protects the claim until its pod is gone.
		Expect(volume(ctx).DeletionTimestamp).NotTo(BeNil())
	})

	It("the instance first, then what refers to it, ends", func(ctx SpecContext) {
		node.makeDeaf(namespace, true)
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, instance)
		conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonInstanceNotFound))
		conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonInstanceNotFound))
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		Expect(admin.Delete(ctx, token)).To(Succeed())
		gone(ctx, repository)
		gone(ctx, token)
	})

	It("what refers to the instance first, then the instance, ends", func(ctx SpecContext) {
		Expect(admin.Delete(ctx, token)).To(Succeed())
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		gone(ctx, repository)
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, instance)
	})

	It("a repository whose images cannot be deleted anymore ends with its instance", func(ctx SpecContext) {
		node.keepPodsAway(namespace, true)
		node.makeDeaf(namespace, true)
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonProgressing))
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, repository)
		gone(ctx, instance)
	})

	DescribeTable("the namespace ends, if its contents go in this order:", func(ctx SpecContext, order ...int) {
		// Here this stands for the namespace controller. The API server refuses to
		// create anything in the namespace from now on.
		Expect(admin.Delete(ctx, get[corev1.Namespace](ctx, "", namespace))).To(Succeed())
		contents := []client.Object{instance, repository, token, volume(ctx)}
		for _, i := range order {
			Expect(admin.Delete(ctx, contents[i])).To(Succeed())
		}
		for _, object := range madeObjects(namespace) {
			Expect(client.IgnoreNotFound(admin.Delete(ctx, object))).To(Succeed())
		}
		gone(ctx, instance)
		gone(ctx, repository)
		gone(ctx, token)
	},
		Entry("instance, repository, token, volume", 0, 1, 2, 3),
		Entry("repository, token, instance, volume", 1, 2, 0, 3),
		Entry("volume, token, repository, instance", 3, 2, 1, 0),
	)
})
