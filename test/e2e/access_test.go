// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("access to a repository", func() {
	It("with the role Read pulls and does not push, and with Write pushes", func(ctx SpecContext) {
		at := shared()
		repository := at.declareRepository(ctx, "roles", "app", v1alpha1.VisibilityPrivate,
			may("reader", v1alpha1.RoleRead), may("writer", v1alpha1.RoleWrite))
		image, another := at.image("roles/app/image:1"), at.image("roles/app/image:2")
		writer := at.login(ctx, "writer", toWrite)
		writer.pushNew(ctx, image)
		_, readers := at.issueToken(ctx, "reader", toWrite, nil)
		reader := loggedIn(ctx, at.dockerHost(), readers)
		reader.expectPull(ctx, image)
		reader.build(ctx, another, 4<<10)
		reader.refusedDocker(ctx, "your role in roles/app is Read; pushing needs Write", "push", another)

		By("promoting the reader")
		v := newVisitor(at.dockerHost())
		promoted := func(role v1alpha1.RepositoryRole) {
			change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Access.Users[0].Role = role })
		}
		const upload = "/v2/roles/app/image/blobs/uploads/"
		promoted(v1alpha1.RoleWrite)
		inForce(ctx, "role Write", v.answers(http.MethodPost, upload, readers.basic(), http.StatusAccepted, ""))
		reader.mustDocker(ctx, "push", another)

		By("and back")
		bearer := v.bearer(ctx, readers, "repository:roles/app/image:pull,push")
		promoted(v1alpha1.RoleRead)
		inForce(ctx, "role Read, for a bearer token issued before", v.answers(http.MethodPost, upload, bearer, http.StatusForbidden, "DENIED"))
	}, SpecTimeout(specTimeout))

	It("is answered alike for a repository that one may not see and one that does not exist", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "secretive", "app", v1alpha1.VisibilityPrivate)
		owner := at.login(ctx, "secretive", toWrite)
		existing, missing := at.image("secretive/app/image:1"), at.image("secretive/nil/image:1")
		owner.pushNew(ctx, existing)
		_, strangers := at.issueToken(ctx, "stranger", toWrite, nil)
		stranger := loggedIn(ctx, at.dockerHost(), strangers)

		// The names differ, and nothing else may.
		anonymize := func(s string) string { return strings.ReplaceAll(s, "secretive/nil", "secretive/app") }
		for _, verb := range []string{"pull", "push"} {
			owner.mustDocker(ctx, "tag", existing, missing)
			one := stranger.refusedDocker(ctx, "there is no repository secretive/app", verb, existing)
			other := stranger.refusedDocker(ctx, "there is no repository secretive/nil", verb, missing)
			Expect(anonymize(other)).To(Equal(one), "docker "+verb)
		}

		v := newVisitor(at.dockerHost())
		for _, authorization := range []string{"", strangers.basic(),
			v.bearer(ctx, strangers, "repository:secretive/app/image:pull,push", "repository:secretive/nil/image:pull,push")} {
			for _, request := range []struct{ method, path string }{
				{http.MethodGet, "/manifests/1"},
				{http.MethodHead, "/manifests/1"},
				{http.MethodGet, "/tags/list"},
				{http.MethodGet, "/blobs/sha256:" + strings.Repeat("0", 64)},
				{http.MethodPost, "/blobs/uploads/"},
				{http.MethodDelete, "/manifests/1"},
			} {
				one := v.must(ctx, request.method, "/v2/secretive/app/image"+request.path, authorization)
				other := v.must(ctx, request.method, "/v2/secretive/nil/image"+request.path, authorization)
				what := request.method + " " + request.path
				if authorization == "" {
					Expect(one.status).To(Equal(http.StatusUnauthorized), what)
				} else {
					Expect(one.status).To(Equal(http.StatusNotFound), what)
				}
				Expect(other.status).To(Equal(one.status), what)
				Expect(anonymize(string(other.body))).To(Equal(string(one.body)), what)
				Expect(anonymize(other.header.Get("Www-Authenticate"))).To(Equal(one.header.Get("Www-Authenticate")), what)
				Expect(headerNames(other)).To(Equal(headerNames(one)), what)
			}
		}
	}, SpecTimeout(specTimeout))

	It("is open to every signed-in user if internal or public, for pulling only, and to nobody else", func(ctx SpecContext) {
		at := shared()
		owner := at.login(ctx, "open", toWrite)
		guest := at.login(ctx, "guest", toWrite)
		nobody := newPerson()
		for visibility, name := range map[v1alpha1.Visibility]string{
			v1alpha1.VisibilityInternal: "internal",
			v1alpha1.VisibilityPublic:   "public",
		} {
			at.declareRepository(ctx, "open", name, visibility)
			image := at.image("open/" + name + "/image:1")
			owner.pushNew(ctx, image)
			guest.expectPull(ctx, image)
			guest.refusedDocker(ctx, "you have no role in open/"+name+"; pushing needs Write", "push", image)
			nobody.refusedDocker(ctx, "unauthorized", "pull", image)
		}
	}, SpecTimeout(specTimeout))

	It("ends and begins with the repository's visibility", func(ctx SpecContext) {
		at := shared()
		repository := at.declareRepository(ctx, "visible", "app", v1alpha1.VisibilityPrivate)
		at.login(ctx, "visible", toWrite).pushNew(ctx, at.image("visible/app/image:1"))
		_, guests := at.issueToken(ctx, "guest", toRead, nil)
		v := newVisitor(at.dockerHost())
		const manifest = "/v2/visible/app/image/manifests/1"
		Expect(v.must(ctx, http.MethodGet, manifest, guests.basic()).status).To(Equal(http.StatusNotFound))

		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityInternal })
		inForce(ctx, "visibility Internal", v.answers(http.MethodGet, manifest, guests.basic(), http.StatusOK, ""))
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityPrivate })
		inForce(ctx, "visibility Private", v.answers(http.MethodGet, manifest, guests.basic(), http.StatusNotFound, "NAME_UNKNOWN"))
	}, SpecTimeout(specTimeout))
})

// headerNames are the names of an answer's headers.
func headerNames(a answer) map[string]bool {
	names := map[string]bool{}
	for name := range a.header {
		names[name] = true
	}
	return names
}
