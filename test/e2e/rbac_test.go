// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
	"github.com/packages-operator/packages-operator/test/rights"
)

var _ = Describe("the manager's rights", func() {
	It("let it put right what can only be made anew, and take away what is no longer wanted", func(ctx SpecContext) {
		at := place{sharedNamespace + "-rights", "rights", "rights." + env.domain}
		createNamespace(ctx, at.namespace, tlsSecret, at.hostname)
		labels := map[string]string{v1alpha1.LabelInstance: at.instance}
		misled := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-packages", Labels: labels},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "another"},
		}
		Expect(env.kube.Create(ctx, misled)).To(Succeed())
		stray := &v1alpha1.PackagesPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-7", Labels: labels},
			Spec:       v1alpha1.PackagesPolicySpec{InstanceRef: v1alpha1.LocalInstanceReference{Name: at.instance}, FormatVersion: 1, Index: 7, Document: "{}"},
		}
		Expect(env.kube.Create(ctx, stray)).To(Succeed())
		at.createInstance(ctx, v1alpha1.DeletionPolicyDelete)
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(misled), misled)).To(Succeed())
		Expect(misled.RoleRef.Name).To(Equal(at.instance + "-packages"))
		eventuallyGone(ctx, stray)

		By("a certificate to ask for, from another issuer then")
		certificate := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-packages"}}
		for _, issuer := range []string{"first", "second"} {
			change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) {
				i.Spec.Exposure.Ingress.TLS = &v1alpha1.IngressTLS{IssuerRef: &v1alpha1.IssuerReference{Name: issuer}}
			})
			Eventually(ctx, func() (string, error) {
				err := env.kube.Get(ctx, client.ObjectKeyFromObject(certificate), certificate)
				return certificate.Spec.IssuerRef.Name, err
			}).WithTimeout(patience).Should(Equal(issuer))
		}

		By("an Ingress that is no longer wanted, with its certificate, and an HTTPRoute")
		change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure = v1alpha1.ExposureSpec{Gateway: &v1alpha1.GatewayExposure{ParentRefs: []v1alpha1.GatewayReference{{Name: "none"}}}}
		})
		eventuallyGone(ctx, certificate)
		eventuallyGone(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-packages"}})
		route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-packages"}}
		Eventually(ctx, func() error { return env.kube.Get(ctx, client.ObjectKeyFromObject(route), route) }).WithTimeout(patience).Should(Succeed())
		change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure = v1alpha1.ExposureSpec{} })
		eventuallyGone(ctx, route)

		By("a Secret of the wrong type, which cannot change, as from somebody's backup")
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "pull",
			Labels: map[string]string{v1alpha1.LabelInstance: at.instance, v1alpha1.LabelToken: "pull"}}}
		Expect(env.kube.Create(ctx, secret)).To(Succeed())
		token := &v1alpha1.PackagesToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "pull"},
			Spec: v1alpha1.PackagesTokenSpec{
				InstanceRef: v1alpha1.InstanceReference{Name: at.instance}, User: "octocat", Scopes: toRead,
				Secret: &v1alpha1.TokenSecret{Name: "pull", Type: v1alpha1.TokenSecretDockerConfigJSON},
			},
		}
		Expect(env.kube.Create(ctx, token)).To(Succeed())
		eventuallyReady(ctx, token)
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		Expect(secret.Type).To(Equal(corev1.SecretTypeDockerConfigJson))

		deleteInstance(ctx, at)
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))

	It("name, for one namespace, only what a Role can grant", func(ctx SpecContext) {
		config, err := clientcmd.BuildConfigFromFlags("", env.cluster.Kubeconfig())
		Expect(err).NotTo(HaveOccurred())
		finder, err := discovery.NewDiscoveryClientForConfig(config)
		Expect(err).NotTo(HaveOccurred())
		_, lists, err := finder.ServerGroupsAndResources()
		Expect(err).NotTo(HaveOccurred())
		namespaced := map[string]bool{}
		for _, list := range lists {
			group, _, found := strings.Cut(list.GroupVersion, "/")
			if !found {
				group = ""
			}
			for _, resource := range list.APIResources {
				namespaced[group+"/"+resource.Name] = resource.Namespaced
			}
		}
		role := &rbacv1.ClusterRole{}
		Expect(env.kube.Get(ctx, client.ObjectKey{Name: "packages-operator-manager"}, role)).To(Succeed())
		var clusterWide []string
		for _, right := range rights.Of(role.Rules) {
			if strings.HasPrefix(right.Resource, "/") {
				clusterWide = append(clusterWide, right.Resource)
				continue
			}
			key := right.Group + "/" + right.Resource
			Expect(namespaced).To(HaveKey(key), "the cluster serves no such resource")
			if !namespaced[key] {
				clusterWide = append(clusterWide, right.Resource)
			}
		}
		out := render(ctx, "config/rbac/namespaced")
		for _, resource := range clusterWide {
			Expect(out).NotTo(ContainSubstring("- "+resource+"\n"), "add %s to clusterScoped in hack/chart", resource)
		}
	}, SpecTimeout(specTimeout))
})

// After all specs the audit log has what the manager did with its rights: nothing
// was refused, and, if no spec was left out, no right went unused. Its right to read
// policies is there because it grants it to registries, and nobody can grant what they
// do not have; that registries use it counts.
var _ = AfterSuite(func(ctx SpecContext) {
	if env == nil || env.kube == nil || env.audited == 0 {
		return // setUp failed
	}
	text := auditText()
	read := func(whose func(user string) bool) *rights.Log {
		log, err := rights.Read(bytes.NewReader(text), whose)
		Expect(err).NotTo(HaveOccurred())
		return log
	}
	manager := func(user string) bool {
		return user == "system:serviceaccount:"+operatorNamespace+":packages-operator-manager"
	}
	registry := func(user string) bool {
		return strings.HasPrefix(user, "system:serviceaccount:"+sharedNamespace) && strings.HasSuffix(user, "-packages")
	}
	// For some namespaces it has no such right, and asks in case somebody gave it.
	mayClasses := "system:serviceaccount:" + operatorNamespace + `:packages-operator-manager may not list ingressclasses.networking.k8s.io in ""`
	Expect(slices.DeleteFunc(read(manager).Refused(), func(refused string) bool { return refused == mayClasses })).
		To(BeEmpty(), "what the manager was refused")
	// Those of other instances may still run when their rights are deleted with them.
	Expect(read(func(user string) bool {
		return user == "system:serviceaccount:"+sharedNamespace+":"+sharedInstance+"-packages"
	}).Refused()).To(BeEmpty(), "what the shared registry was refused")

	leader := &rbacv1.Role{}
	Expect(env.kube.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: "packages-operator-leader-election"}, leader)).To(Succeed())
	rules := leader.Rules
	for _, name := range []string{"packages-operator-manager", "packages-operator-metrics-auth"} {
		role := &rbacv1.ClusterRole{}
		Expect(env.kube.Get(ctx, client.ObjectKey{Name: name}, role)).To(Succeed())
		rules = append(rules, role.Rules...)
	}
	unused := read(func(user string) bool { return manager(user) || registry(user) }).Unused(rights.Of(rules))
	GinkgoWriter.Printf("of %d rights, these were not used: %v\n", len(rights.Of(rules)), unused)
	suite, _ := GinkgoConfiguration()
	if len(suite.FocusStrings)+len(suite.SkipStrings)+len(suite.FocusFiles)+len(suite.SkipFiles) > 0 || suite.LabelFilter != "" {
		return
	}
	Expect(unused).To(Or(BeEmpty(), ConsistOf(rights.Seldom)), "rights that the manager has and did not use")
})

// auditText is the audit log of the run, but for when the operator was taken away.
func auditText() []byte {
	GinkgoHelper()
	log, err := os.ReadFile(env.cluster.AuditLog())
	Expect(err).NotTo(HaveOccurred())
	// A line that was being written at a moment is of a request before it.
	lineAfter := func(at int64) int64 {
		if at > 0 && log[at-1] != '\n' {
			at += int64(bytes.IndexByte(log[at:], '\n')) + 1
		}
		return at
	}
	var text []byte
	at := env.audited
	for _, without := range env.withoutRights {
		text = append(text, log[lineAfter(at):lineAfter(without.begin)]...)
		at = without.end
	}
	return append(text, log[lineAfter(at):]...)
}
