// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// projected asks the API server for a token of a ServiceAccount, as a kubelet does for
// a pod with a projected volume.
func projected(ctx context.Context, account *corev1.ServiceAccount, audiences ...string) string {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	Expect(admin.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}

var _ = Describe("A ServiceAccount that a repository names", func() {
	var namespace, host string
	var instance *v1alpha1.PackagesInstance
	var repository *v1alpha1.PackagesRepository
	var builder *corev1.ServiceAccount

	newAccount := func(name string) *corev1.ServiceAccount {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		host = "docker." + namespace + ".example.com"
		instance, repository, builder = newInstance(namespace), newRepository(namespace, "app"), newAccount("builder")
		repository.Spec.Access.ServiceAccounts = []v1alpha1.ServiceAccountAccess{{Namespace: namespace, Name: "builder", Role: v1alpha1.RoleWrite}}
	})

	// accepted says whether the registry of the policy takes a token as a password.
	accepted := func(ctx context.Context, token string) func() bool {
		return func() bool {
			_, _, ok := policyOf(ctx, namespace).CredentialByWorkload(token)
			return ok
		}
	}

	It("signs in with a token that its cluster made for the registry's host, and for nothing else", func(ctx SpecContext) {
		create(ctx, builder, instance, repository)
		hidden := newRepository(namespace, "hidden")
		hidden.Spec.Name, hidden.Spec.Access = "hidden", v1alpha1.RepositoryAccess{}
		open := newRepository(namespace, "open")
		open.Spec.Name, open.Spec.Access, open.Spec.Visibility = "open", v1alpha1.RepositoryAccess{}, v1alpha1.VisibilityInternal
		owner := newToken(namespace, "octocat")
		owner.Spec.User = "octocat"
		create(ctx, hidden, open, owner)
		conditions(ctx, repository).Should(beReady())
		address := startRegistry(ctx, namespace)
		conditions(ctx, instance).Should(beReady())
		conditions(ctx, owner).Should(beReady())
		conditions(ctx, open).Should(beReady())

		image := func(repository string) name.Tag {
			tag, err := name.NewTag(address+"/octocat/"+repository+"/web:1", name.Insecure)
			Expect(err).NotTo(HaveOccurred())
			return tag
		}
		as := func(token string) remote.Option {
			return remote.WithAuth(&authn.Basic{Username: "whoever", Password: token})
		}
		content, err := random.Image(1024, 2)
		Expect(err).NotTo(HaveOccurred())
		owned := as(string(get[corev1.Secret](ctx, namespace, "octocat-token").Data["password"]))
		for _, repository := range []string{"hidden", "open"} {
			Expect(remote.Write(image(repository), content, owned, remote.WithContext(ctx))).To(Succeed())
		}

		token := projected(ctx, builder, host)
		Expect(remote.Write(image("octo-app"), content, as(token), remote.WithContext(ctx))).To(Succeed())
		for repository, refusal := range map[string]string{
			"octo-app": "", "open": "", "hidden": "NAME_UNKNOWN", "missing": "NAME_UNKNOWN",
		} {
			_, err := remote.Image(image(repository), as(token), remote.WithContext(ctx))
			if refusal == "" {
				Expect(err).NotTo(HaveOccurred(), repository)
			} else {
				Expect(err).To(MatchError(ContainSubstring(refusal)), repository)
			}
		}
		other, err := random.Image(1024, 1)
		Expect(err).NotTo(HaveOccurred())
		Expect(remote.Write(image("open"), other, as(token), remote.WithContext(ctx))).To(MatchError(ContainSubstring("DENIED")))

		idle := newAccount("idle")
		create(ctx, idle)
		for what, token := range map[string]string{
			"for the API server":           projected(ctx, builder),
			"for the API server too":       projected(ctx, builder, host, "https://kubernetes.default.svc"),
			"for another registry":         projected(ctx, builder, "docker.other.example.com"),
			"for the base host":            projected(ctx, builder, namespace+".example.com"),
			"of an account without a role": projected(ctx, idle, host),
		} {
			_, err := remote.Image(image("open"), as(token), remote.WithContext(ctx))
			Expect(err).To(MatchError(ContainSubstring("UNAUTHORIZED")), "a token "+what)
		}
	})

	It("is out when it is deleted, with its tokens, and back under its name with new ones alone", func(ctx SpecContext) {
		create(ctx, builder, instance, repository)
		conditions(ctx, repository).Should(beReady())
		before := projected(ctx, builder, host)
		Eventually(accepted(ctx, before)).Should(BeTrue())
		Expect(admin.Delete(ctx, builder)).To(Succeed())
		deleted := time.Now()
		Eventually(accepted(ctx, before)).Should(BeFalse())
		GinkgoWriter.Printf("the policy changed %s after the ServiceAccount was deleted\n", time.Since(deleted))
		conditions(ctx, repository).Should(And(
			beProgressing(v1alpha1.ReasonServiceAccountNotFound),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountNotFound),
		))
		again := newAccount("builder")
		create(ctx, again)
		conditions(ctx, repository).Should(beReady())
		Eventually(accepted(ctx, projected(ctx, again, host))).Should(BeTrue())
		Expect(accepted(ctx, before)()).To(BeFalse())
	})

	It("is out when its entry is taken away", func(ctx SpecContext) {
		create(ctx, builder, instance, repository)
		conditions(ctx, repository).Should(beReady())
		token := projected(ctx, builder, host)
		Eventually(accepted(ctx, token)).Should(BeTrue())
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Access.ServiceAccounts = nil })
		Eventually(accepted(ctx, token)).Should(BeFalse())
		Expect(policyOf(ctx, namespace).Policy().Issuer.IsZero()).To(BeTrue())
	})

	It("of another namespace is limited to what that one may speak for", func(ctx SpecContext) {
		away := newNamespace(ctx)
		instance.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{{Names: []string{away}, Owners: []string{"octocat"}}}
		repository.Namespace, repository.Spec.InstanceRef.Namespace = away, namespace
		create(ctx, builder, instance, repository)
		conditions(ctx, repository).Should(beReady())
		c, _, ok := policyOf(ctx, namespace).CredentialByWorkload(projected(ctx, builder, host))
		Expect(ok).To(BeTrue())
		Expect(c.Repositories).To(Equal([]string{"octocat/*"}))
	})
})
