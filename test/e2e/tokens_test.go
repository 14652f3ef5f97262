// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("a token", func() {
	It("with read:packages alone does not push, whoever owns it", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "scopes", "app", v1alpha1.VisibilityPrivate, may("admin", v1alpha1.RoleAdmin))
		image := at.image("scopes/app/image:1")
		at.login(ctx, "scopes", toWrite).pushNew(ctx, image)
		for _, user := range []string{"scopes", "admin"} {
			p := at.login(ctx, user, toRead)
			p.expectPull(ctx, image)
			p.refusedDocker(ctx, "this token lacks the scope write:packages", "push", image)
		}
	}, SpecTimeout(specTimeout))

	It("that is deleted is refused at once, though a bearer token of it has not run out", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "revoked", "app", v1alpha1.VisibilityPrivate)
		token, c := at.issueToken(ctx, "revoked", toWrite, nil)
		owner := loggedIn(ctx, at.dockerHost(), c)
		image := at.image("revoked/app/image:1")
		owner.pushNew(ctx, image)
		v := newVisitor(at.dockerHost())
		bearer := v.bearer(ctx, c, "repository:revoked/app/image:pull,push")
		const manifest = "/v2/revoked/app/image/manifests/1"
		Expect(v.must(ctx, http.MethodGet, manifest, bearer).status).To(Equal(http.StatusOK))
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: token.Spec.Secret.Name}}

		Expect(env.kube.Delete(ctx, token)).To(Succeed())
		inForce(ctx, "deletion of a token", v.answers(http.MethodGet, manifest, bearer, http.StatusUnauthorized, "UNAUTHORIZED"))
		Expect(v.must(ctx, http.MethodGet, manifest, c.basic()).status).To(Equal(http.StatusUnauthorized))
		owner.refusedDocker(ctx, "unauthorized", "pull", image)
		owner.refusedDocker(ctx, "unauthorized", "push", image)
		out, err := newPerson().login(ctx, at.dockerHost(), c)
		Expect(err).To(HaveOccurred())
		Expect(out).To(ContainSubstring("the token is wrong, expired or revoked"))
		eventuallyGone(ctx, token)
		eventuallyGone(ctx, secret)
	}, SpecTimeout(specTimeout))

	It("is refused from the instant that it expires at", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "expiry", "app", v1alpha1.VisibilityPrivate)
		image := at.image("expiry/app/image:1")
		at.login(ctx, "expiry", toWrite).pushNew(ctx, image)
		token, c := at.issueToken(ctx, "expiry", toRead, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		p.expectPull(ctx, image)
		// Issued for longer than the token will last.
		v := newVisitor(at.dockerHost())
		bearer := v.bearer(ctx, c, "repository:expiry/app/image:pull")
		const manifest = "/v2/expiry/app/image/manifests/1"

		expiresAt := metav1.NewTime(time.Now().Truncate(time.Second).Add(4 * time.Second))
		change(ctx, token, func(t *v1alpha1.PackagesToken) { t.Spec.ExpiresAt = &expiresAt })
		eventuallyReady(ctx, token)
		time.Sleep(time.Until(expiresAt.Add(-time.Second)))
		for _, authorization := range []string{bearer, c.basic()} {
			Expect(v.must(ctx, http.MethodGet, manifest, authorization).status).To(Equal(http.StatusOK), "a second before the token expires")
		}
		time.Sleep(time.Until(expiresAt.Time))
		for _, authorization := range []string{bearer, c.basic()} {
			inForce(ctx, "expiry", v.answers(http.MethodGet, manifest, authorization, http.StatusUnauthorized, "UNAUTHORIZED"))
		}
		p.refusedDocker(ctx, "unauthorized", "pull", image)
		eventuallyNotReady(ctx, token, v1alpha1.ReasonExpired)
	}, SpecTimeout(specTimeout))

	It("that is narrowed reaches the repositories it names and no others", func(ctx SpecContext) {
		at := shared()
		for _, name := range []string{"one", "two"} {
			at.declareRepository(ctx, "narrow", name, v1alpha1.VisibilityPrivate)
		}
		at.declareRepository(ctx, "elsewhere", "public", v1alpha1.VisibilityPublic)
		owner := at.login(ctx, "narrow", toWrite)
		one, two, elsewhere := at.image("narrow/one/image:1"), at.image("narrow/two/image:1"), at.image("elsewhere/public/image:1")
		owner.pushNew(ctx, one)
		owner.pushNew(ctx, two)
		at.login(ctx, "elsewhere", toWrite).pushNew(ctx, elsewhere)

		token, c := at.issueToken(ctx, "narrow", toWrite, func(s *v1alpha1.PackagesTokenSpec) { s.Repositories = []string{"narrow/one"} })
		p := loggedIn(ctx, at.dockerHost(), c)
		p.expectPull(ctx, one)
		p.mustDocker(ctx, "push", one)
		for _, image := range []string{two, elsewhere} {
			p.refusedDocker(ctx, "this token is limited to narrow/one", "pull", image)
			p.refusedDocker(ctx, "this token is limited to narrow/one", "push", image)
		}

		change(ctx, token, func(t *v1alpha1.PackagesToken) { t.Spec.Repositories = []string{"narrow/*"} })
		v := newVisitor(at.dockerHost())
		inForce(ctx, "narrowing to narrow/*", v.answers(http.MethodGet, "/v2/narrow/two/image/manifests/1", c.basic(), http.StatusOK, ""))
		p.expectPull(ctx, two)
		p.refusedDocker(ctx, "this token is limited to narrow/*", "pull", elsewhere)
	}, SpecTimeout(specTimeout))

	It("whose Secret is altered or deleted gets a new value, and the old one stops at once", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "minted", "app", v1alpha1.VisibilityPrivate)
		token, first := at.issueToken(ctx, "minted", toWrite, nil)
		at.login(ctx, "minted", toWrite).pushNew(ctx, at.image("minted/app/image:1"))
		v := newVisitor(at.dockerHost())
		const manifest = "/v2/minted/app/image/manifests/1"
		works := func(c credential) func() error {
			return func() error { return v.answers(http.MethodGet, manifest, c.basic(), http.StatusOK, "")(ctx) }
		}
		Eventually(ctx, works(first)).Should(Succeed())

		old := first
		for what, harm := range map[string]func(*corev1.Secret){
			"altering": func(s *corev1.Secret) {
				change(ctx, s, func(s *corev1.Secret) { s.Data["password"] = []byte("guessable-guessable-guessable-guessable") })
			},
			"deleting": func(s *corev1.Secret) { Expect(env.kube.Delete(ctx, s)).To(Succeed()) },
		} {
			harm(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: token.Spec.Secret.Name}})
			inForce(ctx, what+" a token's Secret", v.answers(http.MethodGet, manifest, old.basic(), http.StatusUnauthorized, "UNAUTHORIZED"))
			var renewed credential
			Eventually(ctx, func(g Gomega) {
				secret := &corev1.Secret{}
				g.Expect(env.kube.Get(ctx, at.key(token.Spec.Secret.Name), secret)).To(Succeed())
				renewed = credential{string(secret.Data["username"]), string(secret.Data["password"])}
				g.Expect(renewed.password).To(HavePrefix("pkgt_"))
				g.Expect(renewed.password).NotTo(Equal(old.password))
				g.Expect(works(renewed)()).To(Succeed())
			}).Should(Succeed())
			old = renewed
		}
	}, SpecTimeout(specTimeout))
})
