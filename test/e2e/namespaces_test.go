// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("another namespace", func() {
	It("declares and pushes for the owners that the instance allows it, until it is taken off the list", func(ctx SpecContext) {
		at := shared()
		instance := at.instanceObject()
		team := place{namespace: sharedNamespace + "-team", instance: at.instance, hostname: at.hostname}
		createForSpec(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team.namespace, Labels: map[string]string{namespaceLabel: "true", "team": "red"}}})
		DeferCleanup(func(ctx SpecContext) {
			change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.AllowedNamespaces = nil })
		})
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{{
				Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "red"}},
				Owners:   []string{"red-team"},
			}}
		})
		// At home, red owns a repository that everybody who is signed in may read.
		at.declareRepository(ctx, "red", "own", v1alpha1.VisibilityInternal)
		at.login(ctx, "red", toWrite).pushNew(ctx, at.image("red/own/image:1"))

		ref := v1alpha1.InstanceReference{Namespace: at.namespace, Name: at.instance}
		createForSpec(ctx, &v1alpha1.PackagesOrganization{
			ObjectMeta: metav1.ObjectMeta{Namespace: team.namespace, Name: "red-team"},
			Spec:       v1alpha1.PackagesOrganizationSpec{InstanceRef: ref, Name: "red-team", Owners: []string{"red"}},
		})
		repository := &v1alpha1.PackagesRepository{
			ObjectMeta: metav1.ObjectMeta{Namespace: team.namespace, Name: "app"},
			Spec:       v1alpha1.PackagesRepositorySpec{InstanceRef: ref, Owner: "red-team", Name: "app"},
		}
		createForSpec(ctx, repository)
		eventuallyReady(ctx, repository)
		_, reds := team.issueToken(ctx, "red", toWrite, func(spec *v1alpha1.PackagesTokenSpec) { spec.InstanceRef = ref })
		red := loggedIn(ctx, at.dockerHost(), reds)
		image := at.image("red-team/app/image:1")
		red.pushNew(ctx, image)
		red.expectPull(ctx, image)
		red.refusedDocker(ctx, "this token is limited to red-team/*", "pull", at.image("red/own/image:1"))
		red.mustDocker(ctx, "tag", image, at.image("red/own/image:2"))
		red.refusedDocker(ctx, "this token is limited to red-team/*", "push", at.image("red/own/image:2"))

		other := repository.DeepCopy()
		other.ObjectMeta = metav1.ObjectMeta{Namespace: team.namespace, Name: "other"}
		other.Spec.Owner = "red"
		createForSpec(ctx, other)
		eventuallyNotReady(ctx, other, v1alpha1.ReasonOwnerNotAllowed)

		By("taking the namespace's label away")
		v := newVisitor(at.dockerHost())
		const manifest = "/v2/red-team/app/image/manifests/1"
		bearer := v.bearer(ctx, reds, "repository:red-team/app/image:pull")
		Expect(v.must(ctx, http.MethodGet, manifest, bearer).status).To(Equal(http.StatusOK))
		change(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team.namespace}}, func(n *corev1.Namespace) { n.Labels["team"] = "blue" })
		inForce(ctx, "a namespace that is no longer chosen, for a bearer token issued before", v.answers(http.MethodGet, manifest, bearer, http.StatusUnauthorized, "UNAUTHORIZED"))
		eventuallyNotReady(ctx, repository, v1alpha1.ReasonNamespaceNotAllowed)
	}, SpecTimeout(specTimeout))
})
