// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// What config/rbac/user_roles.yaml adds to the cluster's own roles.
var _ = Describe("Whoever has, in a namespace, the role", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		text, err := os.ReadFile(filepath.Join("..", "config", "rbac", "user_roles.yaml"))
		Expect(err).NotTo(HaveOccurred())
		for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			role := &rbacv1.ClusterRole{}
			err := decoder.Decode(role)
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			Expect(admin.Create(ctx, role)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(admin.Delete(ctx, role)).To(Succeed()) })
		}
		for _, role := range []string{"view", "edit", "admin"} {
			bindAggregated(ctx, namespace, role)
		}
	})

	read := []string{"get", "list", "watch"}
	write := []string{"create", "update", "patch", "delete", "deletecollection"}
	all := slices.Concat(read, write)
	DescribeTable("may:", func(ctx SpecContext, role string, declare, tokens, policies []string) {
		allowed := map[string][]string{
			"packagesinstances": declare, "packagesorganizations": declare, "packagesrepositories": declare,
			"packagestokens": tokens, "packagespolicies": policies,
			"packagesinstances/status": nil, "packagestokens/status": nil,
		}
		// The authorizer hears of roles a moment later: what is refused means
		// something once all that is granted is there.
		for resource, verbs := range allowed {
			for _, verb := range verbs {
				Eventually(func() (bool, error) { return may(ctx, namespace, role, verb, resource) }).Should(BeTrue(), verb+" "+resource)
			}
		}
		for resource, verbs := range allowed {
			for _, verb := range all {
				Expect(may(ctx, namespace, role, verb, resource)).To(Equal(slices.Contains(verbs, verb)), verb+" "+resource)
			}
		}
	},
		Entry("view: read what is declared", "view", read, read, nil),
		Entry("edit: declare all but tokens, which let one act as anybody", "edit", all, read, nil),
		Entry("admin: declare tokens too, and read policies", "admin", all, all, read),
	)
})

// userWith is who has one of the cluster's own roles, and no other.
func userWith(role string) string { return "user-with-" + role }

// bindAggregated gives userWith(role) what the cluster's role of that name gathers
// from others. Here nothing gathers them: that is done by a controller that this
// API server lacks.
func bindAggregated(ctx context.Context, namespace, role string) {
	GinkgoHelper()
	gathering := get[rbacv1.ClusterRole](ctx, "", role)
	Expect(gathering.AggregationRule).NotTo(BeNil())
	for i := range gathering.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&gathering.AggregationRule.ClusterRoleSelectors[i])
		Expect(err).NotTo(HaveOccurred())
		var roles rbacv1.ClusterRoleList
		Expect(admin.List(ctx, &roles, client.MatchingLabelsSelector{Selector: selector})).To(Succeed())
		for _, gathered := range roles.Items {
			create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: role + "-"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: gathered.Name},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: userWith(role)}},
			})
		}
	}
}

// may asks the API server whether userWith(role) may do something with a resource
// of ours.
func may(ctx context.Context, namespace, role, verb, resource string) (bool, error) {
	resource, subresource, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: userWith(role),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Group: v1alpha1.GroupName, Resource: resource, Subresource: subresource, Verb: verb,
		},
	}}
	err := admin.Create(ctx, review)
	return review.Status.Allowed, err
}
