// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var _ = Describe("A PackagesOrganization", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var organization *v1alpha1.PackagesOrganization
	var repository *v1alpha1.PackagesRepository

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance, organization = newInstance(namespace), newOrganization(namespace, "octo-org")
		repository = newRepository(namespace, "shared")
		repository.Spec.Owner = "octo-org"
		repository.Spec.Access = v1alpha1.RepositoryAccess{Teams: []v1alpha1.TeamAccess{
			{Organization: "octo-org", Name: "platform", Role: v1alpha1.RoleWrite},
		}}
	})

	// role is what a user may do in octo-org's repository, by the policy.
	role := func(ctx SpecContext, user string) func() policy.Role {
		return func() policy.Role {
			s := policyOf(ctx, namespace)
			r, found := s.Repository("octo-org/octo-app")
			if !found {
				return ""
			}
			role, _ := s.Role(user, r)
			return role
		}
	}

	It("makes its owners Admin and gives its teams their roles, and takes them back", func(ctx SpecContext) {
		create(ctx, instance, organization, repository)
		conditions(ctx, organization).Should(beReady())
		conditions(ctx, repository).Should(beReady())
		Expect(role(ctx, "octocat")()).To(Equal(policy.RoleAdmin))
		Expect(role(ctx, "hubot")()).To(Equal(policy.RoleWrite))
		Expect(role(ctx, "builder")()).To(BeEmpty(), "members as such have no role")

		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) {
			o.Spec.Owners, o.Spec.Teams[0].Members = []string{"builder"}, []string{}
		})
		Eventually(role(ctx, "hubot")).Should(BeEmpty())
		Expect(role(ctx, "octocat")()).To(BeEmpty())
		Expect(role(ctx, "builder")()).To(Equal(policy.RoleAdmin))
		conditions(ctx, organization).Should(beReady())
	})

	It("waits for an instance that does not exist yet", func(ctx SpecContext) {
		create(ctx, organization)
		conditions(ctx, organization).Should(And(
			beProgressing(v1alpha1.ReasonInstanceNotFound),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInstanceNotFound),
		))
		create(ctx, instance)
		conditions(ctx, organization).Should(beReady())
		Eventually(eventsAbout(ctx, organization)).Should(ContainElement(HaveField("Reason", v1alpha1.ReasonSucceeded)))
	})

	It("is ready only when the registry has taken it up", func(ctx SpecContext) {
		create(ctx, instance, repository)
		conditions(ctx, instance).Should(beReady())
		node.makeDeaf(namespace, true)
		create(ctx, organization)
		conditions(ctx, organization).Should(And(
			beProgressing(v1alpha1.ReasonInstanceNotReady),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
		))
		node.makeDeaf(namespace, false)
		conditions(ctx, organization).Should(beReady())
	})

	It("keeps its name from a later one, until it goes", func(ctx SpecContext) {
		create(ctx, instance, organization, repository)
		conditions(ctx, organization).Should(beReady())
		second := newOrganization(namespace, "second")
		second.Spec.Owners = []string{"mallory"}
		create(ctx, second)
		conditions(ctx, second).Should(And(
			beStalled(v1alpha1.ReasonDuplicateOrganization),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonDuplicateOrganization),
		))
		Expect(messageOf(second.Status.Conditions, v1alpha1.ConditionAccepted)).To(ContainSubstring("PackagesOrganization octo-org"))
		Expect(role(ctx, "mallory")()).To(BeEmpty())
		Expect(conditionsOf(ctx, organization)).To(beReady())

		Expect(admin.Delete(ctx, organization)).To(Succeed())
		conditions(ctx, second).Should(beReady())
		Expect(role(ctx, "mallory")()).To(Equal(policy.RoleAdmin))
	})

	It("keeps its name when a part of it is refused", func(ctx SpecContext) {
		create(ctx, instance, organization)
		conditions(ctx, organization).Should(beReady())
		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) {
			o.Spec.Teams[0].Members = []string{"hubot", "stranger"}
		})
		conditions(ctx, organization).Should(And(
			beStalled(v1alpha1.ReasonNotAMember),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAMember),
		))
		Expect(messageOf(organization.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("spec.teams[0].members[1]: stranger"))
		second := newOrganization(namespace, "another")
		create(ctx, second)
		conditions(ctx, second).Should(beStalled(v1alpha1.ReasonDuplicateOrganization))
		change(ctx, organization, func(o *v1alpha1.PackagesOrganization) { o.Spec.Members = append(o.Spec.Members, "stranger") })
		conditions(ctx, organization).Should(beReady())
		Expect(conditionsOf(ctx, second)).To(beStalled(v1alpha1.ReasonDuplicateOrganization))
	})

	It("ends the tokens and the roles of a user of its name, whichever came first, and gives them back when it goes", func(ctx SpecContext) {
		usersRepository := newRepository(namespace, "octo-app")
		token := newToken(namespace, "monalisa")
		create(ctx, instance, usersRepository, token)
		conditions(ctx, token).Should(beReady())
		conditions(ctx, usersRepository).Should(beReady())
		value := string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])
		Expect(accepts(ctx, namespace, value)()).To(BeTrue())

		namesake := newOrganization(namespace, "namesake")
		namesake.Spec.Name = "monalisa"
		create(ctx, namesake)
		Eventually(accepts(ctx, namespace, value)).Should(BeFalse())
		conditions(ctx, token).Should(And(
			beStalled(v1alpha1.ReasonUserIsOrganization),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUserIsOrganization),
		))
		Expect(messageOf(token.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("PackagesOrganization namesake"))
		Expect(token.Status.Credentials).To(BeEmpty())
		conditions(ctx, usersRepository).Should(And(
			beStalled(v1alpha1.ReasonUserIsOrganization),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUserIsOrganization),
		))
		Expect(messageOf(usersRepository.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("spec.access.users[0]: monalisa"))
		s := policyOf(ctx, namespace)
		r, found := s.Repository("octocat/octo-app")
		Expect(found).To(BeTrue(), "the rest of the repository is served")
		Expect(r.Users).To(BeEmpty())
		// A token of a name that is an organization's already.
		late := newToken(namespace, "late")
		create(ctx, late)
		conditions(ctx, late).Should(beStalled(v1alpha1.ReasonUserIsOrganization))

		Expect(admin.Delete(ctx, namesake)).To(Succeed())
		conditions(ctx, token).Should(beReady())
		conditions(ctx, late).Should(beReady())
		conditions(ctx, usersRepository).Should(beReady())
		Expect(accepts(ctx, namespace, value)()).To(BeTrue())
	})

	It("is waited for by a repository that names its team", func(ctx SpecContext) {
		create(ctx, instance, repository)
		conditions(ctx, repository).Should(And(
			beProgressing(v1alpha1.ReasonTeamNotFound),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonTeamNotFound),
		))
		Expect(messageOf(repository.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("spec.access.teams[0]: there is no organization octo-org"))
		create(ctx, organization)
		conditions(ctx, repository).Should(beReady())
		Expect(role(ctx, "hubot")()).To(Equal(policy.RoleWrite))
	})

	It("does not keep a repository with a faulty entry from deleting its images", func(ctx SpecContext) {
		repository.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		create(ctx, instance, repository)
		conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonTeamNotFound))
		node.makeDeaf(namespace, true)
		Expect(admin.Delete(ctx, repository)).To(Succeed())
		conditions(ctx, repository).Should(beProgressing(v1alpha1.ReasonProgressing))
		Eventually(func() []policy.Purge { return policyOf(ctx, namespace).Policy().Purges }).Should(ConsistOf(
			policy.Purge{ID: string(repository.UID), Owner: "octo-org", Name: "octo-app"}))
		node.makeDeaf(namespace, false)
		gone(ctx, repository)
	})
})
