// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// What config/components/token-users adds. It is in force for all specs that run beside
// these, so that it comes after them.
var _ = Describe("Where making a token takes the right to impersonate its user", Serial, Ordered, func() {
	var namespace, elsewhere string

	// as reaches the API server as a user with all rights on tokens in both namespaces.
	as := func(user string) client.Client {
		GinkgoHelper()
		config := rest.CopyConfig(adminConfig)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		c, err := client.New(config, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	// grant gives a user the right to impersonate others: in a namespace, or in all.
	grant := func(ctx SpecContext, namespace, user string, impersonated ...string) {
		GinkgoHelper()
		rules := []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"packagesusers"}, Verbs: []string{"impersonate"}, ResourceNames: impersonated}}
		subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
		meta := metav1.ObjectMeta{Namespace: namespace, Name: "tokens-of-" + user}
		if namespace == "" {
			create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
				&rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}})
			return
		}
		create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules},
			&rbacv1.RoleBinding{ObjectMeta: *meta.DeepCopy(), Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}})
	}
	number := 0
	tokenOf := func(namespace, user string) *v1alpha1.PackagesToken {
		number++
		token := newToken(namespace, fmt.Sprint("token-", number))
		token.Spec.User = user
		return token
	}

	BeforeAll(func(ctx SpecContext) {
		namespace, elsewhere = newNamespace(ctx), newNamespace(ctx)
		create(ctx, newInstance(namespace))
		tokens := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "all-of-tokens"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"packagestokens"},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
		}}}
		create(ctx, tokens)
		DeferCleanup(func(ctx SpecContext) { Expect(admin.Delete(ctx, tokens)).To(Succeed()) })
		for _, user := range []string{"plain", "local", "global"} {
			for _, in := range []string{namespace, elsewhere} {
				create(ctx, &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: "tokens-" + user},
					Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: tokens.Name},
				})
			}
		}
		grant(ctx, namespace, "local", "monalisa", "hubot")
		grant(ctx, "", "global") // without names: everybody

		text, err := os.ReadFile(filepath.Join("..", "config", "components", "token-users", "validating_admission_policy.yaml"))
		Expect(err).NotTo(HaveOccurred())
		for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			create(ctx, object)
			DeferCleanup(func(ctx SpecContext) { Expect(admin.Delete(ctx, object)).To(Succeed()) })
		}
		// The API server hears of policies a moment later.
		Eventually(func() error {
			return as("plain").Create(ctx, tokenOf(namespace, "monalisa"), client.DryRunAll)
		}).Should(MatchError(apierrors.IsForbidden, "IsForbidden"))
	})

	It("lets nobody make one by the rights on tokens alone", func(ctx SpecContext) {
		err := as("plain").Create(ctx, tokenOf(namespace, "monalisa"))
		Expect(apierrors.IsForbidden(err)).To(BeTrue())
		Expect(err).To(MatchError(ContainSubstring("you may not make tokens for the user monalisa in the namespace " + namespace +
			": ask for the right to impersonate packagesusers.packages-operator.io of that name")))
	})

	It("lets a person make them for the users that they may impersonate, where they may", func(ctx SpecContext) {
		create := func(user, namespace, of string) error { return as(user).Create(ctx, tokenOf(namespace, of)) }
		Expect(create("local", namespace, "monalisa")).To(Succeed())
		Expect(create("local", namespace, "hubot")).To(Succeed())
		Expect(create("local", namespace, "octocat")).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		Expect(create("local", elsewhere, "monalisa")).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		Expect(create("global", namespace, "octocat")).To(Succeed())
		Expect(create("global", elsewhere, "anybody")).To(Succeed())
	})

	It("holds nobody up who leaves the spec as it is: not the operator, nor whoever labels or deletes", func(ctx SpecContext) {
		token := tokenOf(namespace, "octocat")
		Expect(as("global").Create(ctx, token)).To(Succeed())
		conditions(ctx, token).Should(beReady())

		plain := as("plain")
		changed := token.DeepCopy()
		changed.Spec.Scopes = []v1alpha1.Scope{v1alpha1.ScopeReadPackages, v1alpha1.ScopeWritePackages, v1alpha1.ScopeDeletePackages}
		Expect(plain.Patch(ctx, changed, client.MergeFrom(token))).To(MatchError(apierrors.IsForbidden, "IsForbidden"), "more scopes")
		labeled := token.DeepCopy()
		labeled.Labels = map[string]string{"example.com/team": "a"}
		Expect(plain.Patch(ctx, labeled, client.MergeFrom(token))).To(Succeed())
		Expect(plain.Delete(ctx, token)).To(Succeed())
		gone(ctx, token)
	})
})
