// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("deletion", func() {
	It("ends when the instance goes first", func(ctx SpecContext) {
		at := newPlace(ctx, "first", v1alpha1.DeletionPolicyDelete)
		repository, token := populate(ctx, at)

		deleteInstance(ctx, at)
		expectNothingLeft(ctx, at)
		eventuallyGone(ctx, at.volumeClaim())
		eventuallyNotReady(ctx, repository, v1alpha1.ReasonInstanceNotFound)
		eventuallyNotReady(ctx, token, v1alpha1.ReasonInstanceNotFound)

		Expect(env.kube.Delete(ctx, repository)).To(Succeed())
		Expect(env.kube.Delete(ctx, token)).To(Succeed())
		eventuallyGone(ctx, repository)
		eventuallyGone(ctx, token)
		eventuallyGone(ctx, at.tokenSecret(token))
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("ends when the repositories and tokens go first", func(ctx SpecContext) {
		at := newPlace(ctx, "last", v1alpha1.DeletionPolicyDelete)
		repository, token := populate(ctx, at)

		Expect(env.kube.Delete(ctx, repository)).To(Succeed())
		Expect(env.kube.Delete(ctx, token)).To(Succeed())
		eventuallyGone(ctx, repository)
		eventuallyGone(ctx, token)
		eventuallyGone(ctx, at.tokenSecret(token))

		deleteInstance(ctx, at)
		expectNothingLeft(ctx, at)
		eventuallyGone(ctx, at.volumeClaim())
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("ends when the namespace goes with everything in it", func(ctx SpecContext) {
		at := newPlace(ctx, "whole", v1alpha1.DeletionPolicyDelete)
		populate(ctx, at)
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("of an instance with Retain keeps the data for the next instance of its name", func(ctx SpecContext) {
		at := newPlace(ctx, "retain", v1alpha1.DeletionPolicyRetain)
		at.declareRepository(ctx, "octocat", "app", v1alpha1.VisibilityPrivate)
		token, c := at.issueToken(ctx, "octocat", toWrite, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		image := at.image("octocat/app/image:1")
		p.pushNew(ctx, image)
		claim := at.volumeClaim()
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(claim), claim)).To(Succeed())
		before := claim.UID

		deleteInstance(ctx, at)
		expectNothingLeft(ctx, at)
		Consistently(ctx, func(g Gomega) {
			g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(claim), claim)).To(Succeed())
			g.Expect(claim.UID).To(Equal(before))
			g.Expect(claim.DeletionTimestamp).To(BeNil())
		}).WithTimeout(shortly / 5).Should(Succeed())

		at.createInstance(ctx, v1alpha1.DeletionPolicyRetain)
		eventuallyReady(ctx, token)
		Expect(at.readCredential(ctx, token.Spec.Secret.Name)).To(Equal(c))
		p.expectPull(ctx, image)
		p.pushNew(ctx, at.image("octocat/app/image:2"))
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("of an instance with Delete deletes the data, by the policy of that time", func(ctx SpecContext) {
		at := newPlace(ctx, "delete", v1alpha1.DeletionPolicyRetain)
		at.declareRepository(ctx, "octocat", "app", v1alpha1.VisibilityPrivate)
		_, c := at.issueToken(ctx, "octocat", toWrite, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		image := at.image("octocat/app/image:1")
		p.pushNew(ctx, image)

		change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) { i.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
		deleteInstance(ctx, at)
		expectNothingLeft(ctx, at)
		eventuallyGone(ctx, at.volumeClaim())

		at.createInstance(ctx, v1alpha1.DeletionPolicyDelete)
		eventuallyReady(ctx, &v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "octocat-app"}})
		p.refusedDocker(ctx, "this name has no such manifest", "pull", image)
		p.mustDocker(ctx, "push", image)
		p.expectPull(ctx, image)
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("of a repository hides its images until it is declared again, or deletes them, as its policy says", func(ctx SpecContext) {
		at := shared()
		_, c := at.issueToken(ctx, "hideaway", toWrite, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		image := at.image("hideaway/app/image:1")
		repository := at.declareRepository(ctx, "hideaway", "app", v1alpha1.VisibilityPrivate)
		p.pushNew(ctx, image)

		Expect(env.kube.Delete(ctx, repository)).To(Succeed())
		inForce(ctx, "deletion of a repository", newVisitor(at.dockerHost()).
			answers(http.MethodGet, "/v2/hideaway/app/image/manifests/1", c.basic(), http.StatusNotFound, "NAME_UNKNOWN"))
		p.refusedDocker(ctx, "there is no repository hideaway/app", "pull", image)
		repository = at.declareRepository(ctx, "hideaway", "app", v1alpha1.VisibilityPrivate)
		p.expectPull(ctx, image)

		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
		eventuallyReady(ctx, repository)
		Expect(env.kube.Delete(ctx, repository)).To(Succeed())
		eventuallyGone(ctx, repository)
		at.declareRepository(ctx, "hideaway", "app", v1alpha1.VisibilityPrivate)
		p.refusedDocker(ctx, "this name has no such manifest", "pull", image)
	}, SpecTimeout(specTimeout))
})

// populate gives an instance a repository whose content is to go with it, with
// an image, and a token.
func populate(ctx context.Context, at place) (*v1alpha1.PackagesRepository, *v1alpha1.PackagesToken) {
	GinkgoHelper()
	repository := at.declareRepository(ctx, "octocat", "app", v1alpha1.VisibilityPrivate)
	change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
	eventuallyReady(ctx, repository)
	token, c := at.issueToken(ctx, "octocat", toWrite, nil)
	pushByHand(ctx, newVisitor(at.dockerHost()), c, "octocat/app/image")
	return repository, token
}

func (p place) volumeClaim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: p.instance + "-packages-data"}}
}

func (p place) tokenSecret(token *v1alpha1.PackagesToken) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: token.Spec.Secret.Name}}
}

func deleteInstance(ctx context.Context, at place) {
	GinkgoHelper()
	instance := at.instanceObject()
	Expect(env.kube.Delete(ctx, instance)).To(Succeed())
	eventuallyGone(ctx, instance)
}

// expectNothingLeft waits for the garbage collector to be done with an instance.
// The volume claim is another question.
func expectNothingLeft(ctx context.Context, at place) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		for _, list := range []client.ObjectList{
			&appsv1.StatefulSetList{}, &corev1.PodList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{},
			&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &networkingv1.IngressList{}, &v1alpha1.PackagesPolicyList{},
		} {
			g.Expect(env.kube.List(ctx, list, client.InNamespace(at.namespace), client.MatchingLabels{v1alpha1.LabelInstance: at.instance})).To(Succeed())
			g.Expect(list).To(HaveField("Items", BeEmpty()), "%T", list)
		}
		keys := &corev1.Secret{}
		g.Expect(client.IgnoreNotFound(env.kube.Get(ctx, at.key(at.instance+"-packages-keys"), keys))).To(Succeed())
		g.Expect(keys.Name).To(BeEmpty(), "the keys Secret")
	}).WithTimeout(patience).Should(Succeed(), fmt.Sprintf("what is left of %s", at.instance))
}
