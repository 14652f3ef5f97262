// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var _ = Describe("A PackagesRepository", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var repository *v1alpha1.PackagesRepository

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance, repository = newInstance(namespace), newRepository(namespace, "octo-app")
	})

	served := func(ctx SpecContext) func() *policy.Repository {
		return func() *policy.Repository {
			found, _ := policyOf(ctx, namespace).Repository("octocat/octo-app")
			return found
		}
	}

	It("is served with the rights that it declares", func(ctx SpecContext) {
		create(ctx, instance, repository)
		conditions(ctx, repository).Should(beReady())
		Expect(served(ctx)()).To(HaveValue(Equal(policy.Repository{
			Owner: "octocat", Name: "octo-app", Visibility: policy.Private,
			Users: []policy.Member{{Name: "monalisa", Role: policy.RoleWrite}},
		})))

		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityPublic })
		conditions(ctx, repository).Should(beReady())
		Expect(served(ctx)().Visibility).To(Equal(policy.Public))
	})

	It("is ready only when the registry has taken it up", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		node.makeDeaf(namespace, true)
		create(ctx, repository)
		conditions(ctx, repository).Should(And(
			beProgressing(v1alpha1.ReasonInstanceNotReady),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
		))
		node.makeDeaf(namespace, false)
		conditions(ctx, repository).Should(beReady())
	})

	It("waits for an instance that does not exist yet", func(ctx SpecContext) {
		create(ctx, repository)
		conditions(ctx, repository).Should(And(
			beProgressing(v1alpha1.ReasonInstanceNotFound),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInstanceNotFound),
		))
		Expect(messageOf(repository.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("acme"))
		create(ctx, instance)
		conditions(ctx, repository).Should(beReady())
	})

	It("keeps its owner and name from a later one, until it goes", func(ctx SpecContext) {
		create(ctx, instance, repository)
		conditions(ctx, repository).Should(beReady())
		second := newRepository(namespace, "second")
		second.Spec.Visibility = v1alpha1.VisibilityPublic
		create(ctx, second)
		conditions(ctx, second).Should(And(
			beStalled(v1alpha1.ReasonDuplicateRepository),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonDuplicateRepository),
		))
		Expect(messageOf(second.Status.Conditions, v1alpha1.ConditionAccepted)).To(ContainSubstring("PackagesRepository octo-app"))
		Expect(served(ctx)().Visibility).To(Equal(policy.Private))
		Expect(conditionsOf(ctx, repository)).To(beReady())

		Expect(admin.Delete(ctx, repository)).To(Succeed())
		conditions(ctx, second).Should(beReady())
		Expect(served(ctx)().Visibility).To(Equal(policy.Public))

		// The second is the incumbent now, and the first is the newcomer.
		again := newRepository(namespace, "octo-app")
		create(ctx, again)
		conditions(ctx, again).Should(beStalled(v1alpha1.ReasonDuplicateRepository))
		Expect(conditionsOf(ctx, second)).To(beReady())
	})

	It("is hidden when it is deleted, and shown when it is declared again", func(ctx SpecContext) {
		create(ctx, instance, repository)
		conditions(ctx, repository).Should(beReady())
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		gone(ctx, repository)
		Eventually(served(ctx)).Should(BeNil())
		Expect(policyOf(ctx, namespace).Policy().Purges).To(BeEmpty(), "absence never deletes")

		again := newRepository(namespace, "octo-app")
		create(ctx, again)
		conditions(ctx, again).Should(beReady())
		Expect(served(ctx)()).NotTo(BeNil())
	})

	Context("with deletionPolicy Delete", func() {
		BeforeEach(func(ctx SpecContext) {
			repository.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
			create(ctx, instance, repository)
			conditions(ctx, repository).Should(beReady())
		})

		It("goes only when the registry has deleted its images", func(ctx SpecContext) {
			node.makeDeaf(namespace, true)
			Expect(admin.Delete(ctx, repository)).To(Succeed())
			conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonProgressing))
			Eventually(func() []policy.Purge { return policyOf(ctx, namespace).Policy().Purges }).Should(ConsistOf(
				policy.Purge{ID: string(repository.UID), Owner: "octocat", Name: "octo-app"}))
			Expect(served(ctx)()).To(BeNil())
			// The images are deleted once: a later object of the name waits for that.
			later := newRepository(namespace, "later")
			create(ctx, later)
			conditions(ctx, later).Should(beStalled(v1alpha1.ReasonDuplicateRepository))

			node.makeDeaf(namespace, false)
			gone(ctx, repository)
			conditions(ctx, later).Should(beReady())
			Expect(policyOf(ctx, namespace).Policy().Purges).To(BeEmpty())
		})

		It("goes at once if the policy becomes Retain meanwhile", func(ctx SpecContext) {
			node.makeDeaf(namespace, true)
			Expect(admin.Delete(ctx, repository)).To(Succeed())
			conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonProgressing))
			change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain })
			gone(ctx, repository)
			Eventually(func() []policy.Purge { return policyOf(ctx, namespace).Policy().Purges }).Should(BeEmpty())
		})

		It("leaves the images alone if another object holds the owner and name", func(ctx SpecContext) {
			second := newRepository(namespace, "second")
			second.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
			create(ctx, second)
			conditions(ctx, second).Should(beStalled(v1alpha1.ReasonDuplicateRepository))
			Expect(admin.Delete(ctx, second)).To(Succeed())
			gone(ctx, second)
			Expect(policyOf(ctx, namespace).Policy().Purges).To(BeEmpty())
			Consistently(served(ctx), time.Second).ShouldNot(BeNil())
		})
	})
})
