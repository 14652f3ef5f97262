// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var _ = Describe("Another namespace than the instance's", func() {
	var home, away string
	var instance *v1alpha1.PackagesInstance
	var organization *v1alpha1.PackagesOrganization
	var repository *v1alpha1.PackagesRepository
	var token *v1alpha1.PackagesToken

	allowed := func(owners ...string) []v1alpha1.AllowedNamespaces {
		return []v1alpha1.AllowedNamespaces{{Names: []string{away}, Owners: owners}}
	}

	BeforeEach(func(ctx SpecContext) {
		home, away = newNamespace(ctx), newNamespace(ctx)
		instance = newInstance(home)
		organization, repository, token = newOrganization(away, "octo-org"), newRepository(away, "shared"), newToken(away, "monalisa")
		repository.Spec.Owner = "octo-org"
		organization.Spec.InstanceRef.Namespace = home
		repository.Spec.InstanceRef.Namespace = home
		token.Spec.InstanceRef.Namespace = home
	})

	all := func() []client.Object { return []client.Object{organization, repository, token} }
	value := func(ctx SpecContext) string {
		return string(get[corev1.Secret](ctx, away, "monalisa-token").Data["password"])
	}
	declared := func(ctx SpecContext) func() bool {
		return func() bool {
			_, found := policyOf(ctx, home).Repository("octo-org/octo-app")
			return found
		}
	}

	It("declares for the owners that it is allowed, and is limited to them", func(ctx SpecContext) {
		instance.Spec.AllowedNamespaces = allowed("octo-org")
		create(ctx, instance)
		create(ctx, all()...)
		for _, object := range all() {
			conditions(ctx, object).Should(beReady())
		}
		s := policyOf(ctx, home)
		c, found := s.CredentialByValue(value(ctx))
		Expect(found).To(BeTrue())
		Expect(c.Repositories).To(Equal([]string{"octo-org/*"}))
		Expect(c.Token).To(Equal(away + "/monalisa"))
		r, found := s.Repository("octo-org/octo-app")
		Expect(found).To(BeTrue())
		role, _ := s.Role("octocat", r)
		Expect(role).To(Equal(policy.RoleAdmin), "the organization's owner")

		By("leaving the policy and everything of the instance in its own namespace")
		var policies v1alpha1.PackagesPolicyList
		Expect(admin.List(ctx, &policies, client.InNamespace(away))).To(Succeed())
		Expect(policies.Items).To(BeEmpty())
		var secrets corev1.SecretList
		Expect(admin.List(ctx, &secrets, client.InNamespace(home), client.HasLabels{v1alpha1.LabelToken})).To(Succeed())
		Expect(secrets.Items).To(BeEmpty())
	})

	It("has no part in an instance that does not name it, and learns nothing of it", func(ctx SpecContext) {
		create(ctx, all()...)
		var before []string
		for _, object := range all() {
			conditions(ctx, object).Should(And(
				beProgressing(v1alpha1.ReasonNamespaceNotAllowed),
				condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNamespaceNotAllowed),
			))
			before = append(before, messageOf(conditionsOf(ctx, object), v1alpha1.ConditionReady))
		}
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		for i, object := range all() {
			Consistently(func() string { return messageOf(conditionsOf(ctx, object), v1alpha1.ConditionReady) }, "1s").Should(Equal(before[i]))
		}
		s := policyOf(ctx, home)
		Expect(s.Policy().Repositories).To(BeEmpty())
		Expect(s.Policy().Credentials).To(BeEmpty())
		var secrets corev1.SecretList
		Expect(admin.List(ctx, &secrets, client.InNamespace(away), client.HasLabels{v1alpha1.LabelToken})).To(Succeed())
		Expect(secrets.Items).To(BeEmpty(), "no value is made for a token that has no effect")

		By("coming in as soon as it is named")
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.AllowedNamespaces = allowed("octo-org") })
		for _, object := range all() {
			conditions(ctx, object).Should(beReady())
		}
	})

	It("is out within a second when it is taken off the list, and its content is kept", func(ctx SpecContext) {
		repository.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		instance.Spec.AllowedNamespaces = allowed("octo-org")
		create(ctx, instance)
		create(ctx, all()...)
		for _, object := range all() {
			conditions(ctx, object).Should(beReady())
		}
		password := value(ctx)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.AllowedNamespaces = nil })
		taken := time.Now()
		Eventually(accepts(ctx, home, password)).Should(BeFalse())
		Expect(declared(ctx)()).To(BeFalse())
		GinkgoWriter.Printf("the policy changed %s after the instance\n", time.Since(taken))
		for _, object := range all() {
			conditions(ctx, object).Should(beProgressing(v1alpha1.ReasonNamespaceNotAllowed))
		}
		Expect(token.Status.Credentials).To(BeEmpty())

		By("not deleting what it may no longer delete")
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		gone(ctx, repository)
		Expect(policyOf(ctx, home).Policy().Purges).To(BeEmpty())
	})

	It("is chosen by its labels, for as long as it has them", func(ctx SpecContext) {
		instance.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{{
			Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"packages.example.com/org": v1alpha1.LabelValue(home)}},
			Owners:   []string{"octo-org"},
		}}
		create(ctx, instance)
		conditions(ctx, instance).Should(And(beReady(),
			condition(v1alpha1.ConditionNamespacesSelected, metav1.ConditionTrue, v1alpha1.ReasonNamespacesSelected)))
		create(ctx, all()...)
		conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonNamespaceNotAllowed))

		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: away}}
		label := func(value string) {
			change(ctx, namespace, func(n *corev1.Namespace) { n.Labels["packages.example.com/org"] = value })
		}
		label(home)
		for _, object := range all() {
			conditions(ctx, object).Should(beReady())
		}
		password := value(ctx)
		label("other")
		Eventually(accepts(ctx, home, password)).Should(BeFalse())
		for _, object := range all() {
			conditions(ctx, object).Should(beProgressing(v1alpha1.ReasonNamespaceNotAllowed))
		}
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.AllowedNamespaces = nil })
		conditions(ctx, instance).ShouldNot(ContainElement(HaveField("Type", v1alpha1.ConditionNamespacesSelected)))
	})

	It("is told which owners it is allowed, of what it declares for others", func(ctx SpecContext) {
		instance.Spec.AllowedNamespaces = allowed("hubot")
		token.Spec.Repositories = []string{"octo-org/*"}
		create(ctx, instance)
		create(ctx, all()...)
		for _, object := range all() {
			conditions(ctx, object).Should(And(
				beStalled(v1alpha1.ReasonOwnerNotAllowed),
				condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonOwnerNotAllowed),
			))
			Expect(messageOf(conditionsOf(ctx, object), v1alpha1.ConditionReady)).To(ContainSubstring("to speak for hubot alone"))
		}
		Expect(declared(ctx)()).To(BeFalse())

		By("keeping of a token what it may have")
		narrowed := newToken(away, "narrowed")
		narrowed.Spec.InstanceRef.Namespace = home
		narrowed.Spec.Repositories = []string{"octo-org/octo-app", "hubot/tools"}
		create(ctx, narrowed)
		conditions(ctx, narrowed).Should(beStalled(v1alpha1.ReasonOwnerNotAllowed))
		Expect(narrowed.Status.Credentials).To(HaveLen(1))
		c, found := policyOf(ctx, home).CredentialByValue(string(get[corev1.Secret](ctx, away, "narrowed-token").Data["password"]))
		Expect(found).To(BeTrue())
		Expect(c.Repositories).To(Equal([]string{"hubot/tools"}))
	})

	It("refers to its own instance of the same name by default", func(ctx SpecContext) {
		instance.Spec.AllowedNamespaces = allowed("octo-org")
		own := newInstance(away)
		mine := newRepository(away, "mine")
		create(ctx, instance, own, mine)
		create(ctx, repository)
		conditions(ctx, mine).Should(beReady())
		conditions(ctx, repository).Should(beReady())
		Expect(policyOf(ctx, away).Policy().Repositories).To(ConsistOf(HaveField("Owner", "octocat")))
		Expect(policyOf(ctx, home).Policy().Repositories).To(ConsistOf(HaveField("Owner", "octo-org")))
	})

	It("does not take a repository from whoever holds it", func(ctx SpecContext) {
		instance.Spec.AllowedNamespaces = allowed("octo-org")
		held := newRepository(home, "held")
		held.Spec.Owner = "octo-org"
		create(ctx, instance, held)
		conditions(ctx, held).Should(beReady())
		create(ctx, repository)
		conditions(ctx, repository).Should(beStalled(v1alpha1.ReasonDuplicateRepository))
		Expect(messageOf(conditionsOf(ctx, repository), v1alpha1.ConditionReady)).To(ContainSubstring("a PackagesRepository of another namespace"))
		Expect(admin.Delete(ctx, held)).To(Succeed())
		conditions(ctx, repository).Should(beReady())
	})
})

var _ = Describe("A manager that is limited to some namespaces", Serial, func() {
	It("says that it knows no labels, and goes by names", func(ctx SpecContext) {
		home, named, labeled := newNamespace(ctx), newNamespace(ctx), newNamespace(ctx)
		stopManager()
		DeferCleanup(func() {
			stopManager()
			stopManager = startManager()
		})
		stopManager = startManager(home, named, labeled)

		instance := newInstance(home)
		instance.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{
			{Names: []string{named}, Owners: []string{"octocat"}}, {Selector: &v1alpha1.NamespaceSelector{}, Owners: []string{"octocat"}},
		}
		create(ctx, instance)
		conditions(ctx, instance).Should(And(beReady(),
			condition(v1alpha1.ConditionNamespacesSelected, metav1.ConditionFalse, v1alpha1.ReasonNamespaceLabelsUnknown)))
		Expect(messageOf(conditionsOf(ctx, instance), v1alpha1.ConditionNamespacesSelected)).To(HaveSuffix("write names in spec.allowedNamespaces[1]"))
		for namespace, ready := range map[string]bool{named: true, labeled: false} {
			token := newToken(namespace, "monalisa")
			token.Spec.InstanceRef.Namespace = home
			create(ctx, token)
			if ready {
				conditions(ctx, token).Should(beReady())
			} else {
				conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonNamespaceNotAllowed))
			}
		}
	})
})
