// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// The witness checks every version of every object; these specs say which step has
// which status.
var _ = Describe("Flux and Argo CD", func() {
	var namespace string

	BeforeEach(func(ctx SpecContext) { namespace = newNamespace(ctx) })

	hold := func(ctx SpecContext, object client.Object) {
		change(ctx, object, func(o client.Object) { controllerutil.AddFinalizer(o, "example.com/hold") })
		Expect(admin.Delete(ctx, object)).To(Succeed())
		haveStatus(ctx, object).Should(Equal("Terminating Progressing"))
		change(ctx, object, func(o client.Object) { controllerutil.RemoveFinalizer(o, "example.com/hold") })
		gone(ctx, object)
	}

	It("follow an instance from its creation over change, suspension, failure and recovery to its end", func(ctx SpecContext) {
		instance := newInstance(namespace)
		node.makeDeaf(namespace, true)
		create(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPolicyNotServed))
		haveStatus(ctx, instance).Should(Equal("InProgress Progressing"))
		node.makeDeaf(namespace, false)
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))

		node.makeDeaf(namespace, true)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled })
		haveStatus(ctx, instance).Should(Equal("InProgress Progressing"))
		node.makeDeaf(namespace, false)
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Suspend = true })
		haveStatus(ctx, instance).Should(Equal("Current Suspended"))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Suspend = false })
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))

		node.ail(namespace, crashing("packages-operator: over"))
		haveStatus(ctx, instance).Should(Equal("InProgress Degraded"))
		node.ail(namespace, nil)
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.PodTemplate.Tolerations = []corev1.Toleration{{Operator: "Maybe"}}
		})
		haveStatus(ctx, instance).Should(Equal("Failed Degraded"))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.PodTemplate.Tolerations = nil })
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))
		hold(ctx, instance)
	})

	It("follow organizations, repositories and tokens", func(ctx SpecContext) {
		organization, repository, token := newOrganization(namespace, "octo-org"), newRepository(namespace, "octo-app"), newToken(namespace, "monalisa")
		repository.Spec.Access.Teams = []v1alpha1.TeamAccess{{Organization: "octo-org", Name: "platform", Role: v1alpha1.RoleRead}}
		objects := []client.Object{organization, repository, token}
		create(ctx, objects...)
		for _, object := range objects {
			conditions(ctx, object).Should(beProgressing(v1alpha1.ReasonInstanceNotFound))
			haveStatus(ctx, object).Should(Equal("InProgress Progressing"))
		}
		create(ctx, newInstance(namespace))
		for _, object := range objects {
			haveStatus(ctx, object).Should(Equal("Current Healthy"))
		}

		// Changes that wait for the registry, and then have effect.
		node.makeDeaf(namespace, true)
		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) { o.Spec.Teams[0].Members = []string{"hubot", "builder"} })
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityPublic })
		change(ctx, token, func(t *v1alpha1.PackagesToken) { t.Spec.Scopes = []v1alpha1.Scope{v1alpha1.ScopeReadPackages} })
		for _, object := range objects {
			haveStatus(ctx, object).Should(Equal("InProgress Progressing"))
		}
		node.makeDeaf(namespace, false)
		for _, object := range objects {
			haveStatus(ctx, object).Should(Equal("Current Healthy"))
		}

		// Failures that a person ends.
		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) { o.Spec.Teams[0].Members = []string{"stranger"} })
		haveStatus(ctx, organization).Should(Equal("Failed Degraded"))
		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) { o.Spec.Teams[0].Members = []string{"hubot"} })
		haveStatus(ctx, organization).Should(Equal("Current Healthy"))
		duplicate := newRepository(namespace, "duplicate")
		create(ctx, duplicate)
		haveStatus(ctx, duplicate).Should(Equal("Failed Degraded"))
		past := metav1.NewTime(clock.now().Add(-1))
		change(ctx, token, func(t *v1alpha1.PackagesToken) { t.Spec.ExpiresAt = &past })
		haveStatus(ctx, token).Should(Equal("Failed Degraded"))
		change(ctx, token, func(t *v1alpha1.PackagesToken) { t.Spec.ExpiresAt = nil })
		haveStatus(ctx, token).Should(Equal("Current Healthy"))

		for _, object := range objects {
			hold(ctx, object)
		}
		haveStatus(ctx, duplicate).Should(Equal("Current Healthy"))
	})
})

var _ = Describe("The deletionPolicy", Serial, func() {
	DescribeTable("of an instance may change until its end:", func(ctx SpecContext, first, last v1alpha1.DeletionPolicy, deleted bool) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		instance.Spec.DeletionPolicy = first
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		stopManager()
		func() {
			defer func() { stopManager = startManager() }()
			Expect(admin.Delete(ctx, instance)).To(Succeed())
			change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.DeletionPolicy = last })
		}()
		gone(ctx, instance)
		claim := get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data")
		Expect(claim.DeletionTimestamp != nil).To(Equal(deleted))
	},
		Entry("from Retain to Delete", v1alpha1.DeletionPolicyRetain, v1alpha1.DeletionPolicyDelete, true),
		Entry("from Delete to Retain", v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain, false),
	)
})
