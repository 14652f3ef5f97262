// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("an organization", func() {
	It("lets a team push for as long as one is in it, and ends a user of its name", func(ctx SpecContext) {
		at := shared()
		guild := &v1alpha1.PackagesOrganization{
			ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "guild"},
			Spec: v1alpha1.PackagesOrganizationSpec{
				InstanceRef: v1alpha1.InstanceReference{Name: at.instance}, Name: "guild",
				Owners: []string{"master"}, Members: []string{"smith", "apprentice"},
				Teams: []v1alpha1.OrganizationTeam{{Name: "forge", Members: []string{"smith"}}},
			},
		}
		createForSpec(ctx, guild)
		repository := at.declareRepository(ctx, "guild", "app", v1alpha1.VisibilityPrivate)
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) {
			r.Spec.Access.Teams = []v1alpha1.TeamAccess{{Organization: "guild", Name: "forge", Role: v1alpha1.RoleWrite}}
		})
		eventuallyReady(ctx, repository)
		eventuallyReady(ctx, guild)
		first, second := at.image("guild/app/image:1"), at.image("guild/app/image:2")

		_, smiths := at.issueToken(ctx, "smith", toWrite, nil)
		smith := loggedIn(ctx, at.dockerHost(), smiths)
		smith.pushNew(ctx, first)
		at.login(ctx, "master", toWrite).expectPull(ctx, first)
		at.login(ctx, "apprentice", toWrite).refusedDocker(ctx, "there is no repository guild/app", "push", first)

		By("taking the smith out of the team")
		v := newVisitor(at.dockerHost())
		const manifest, upload = "/v2/guild/app/image/manifests/1", "/v2/guild/app/image/blobs/uploads/"
		bearer := v.bearer(ctx, smiths, "repository:guild/app/image:pull,push")
		Expect(v.must(ctx, http.MethodGet, manifest, bearer).status).To(Equal(http.StatusOK))
		change(ctx, guild, func(o *v1alpha1.PackagesOrganization) { o.Spec.Teams[0].Members = []string{} })
		inForce(ctx, "leaving a team, for a bearer token issued before", v.answers(http.MethodPost, upload, bearer, http.StatusNotFound, "NAME_UNKNOWN"))
		smith.build(ctx, second, 4<<10)
		smith.refusedDocker(ctx, "there is no repository guild/app", "push", second)

		By("declaring an organization of the smith's name")
		namesake := guild.DeepCopy()
		namesake.ObjectMeta = metav1.ObjectMeta{Namespace: at.namespace, Name: "smith"}
		namesake.Spec.Name = "smith"
		namesake.Spec.Members, namesake.Spec.Teams = nil, nil
		createForSpec(ctx, namesake)
		inForce(ctx, "a user's name becoming an organization's", v.answers(http.MethodGet, "/v2/", smiths.basic(), http.StatusUnauthorized, "UNAUTHORIZED"))
		eventuallyNotReady(ctx, guild, v1alpha1.ReasonUserIsOrganization)
	}, SpecTimeout(specTimeout))
})
