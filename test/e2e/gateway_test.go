// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

var _ = Describe("a Gateway", func() {
	It("takes an instance over from an Ingress: docker login, push and pull", func(ctx SpecContext) {
		at := newPlace(ctx, "gateway", v1alpha1.DeletionPolicyDelete)
		at.declareRepository(ctx, "octocat", "app", v1alpha1.VisibilityPrivate)
		_, c := at.issueToken(ctx, "octocat", toWrite, nil)
		before := at.image("octocat/app/image:1")
		loggedIn(ctx, at.dockerHost(), c).pushNew(ctx, before)
		restarts := incarnation(registryPod(ctx, at.namespace, at.instance))

		change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure = v1alpha1.ExposureSpec{Gateway: &v1alpha1.GatewayExposure{
				ParentRefs: []v1alpha1.GatewayReference{{Name: "web", SectionName: "https"}},
			}}
		})
		eventuallyNotReady(ctx, at.instanceObject(), v1alpha1.ReasonGatewayNotFound)
		gateway := &gatewayv1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "web"},
			Spec: gatewayv1.GatewaySpec{
				GatewayClassName: localcluster.GatewayClass,
				Listeners: []gatewayv1.Listener{{
					Name: "https", Port: 443, Protocol: gatewayv1.HTTPSProtocolType,
					TLS: &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "missing"}}},
				}},
			},
		}
		Expect(env.kube.Create(ctx, gateway)).To(Succeed())
		// Traefik takes no route at a listener that lacks its certificate.
		eventuallyNotReady(ctx, at.instanceObject(), v1alpha1.ReasonRouteNotAccepted)
		change(ctx, gateway, func(g *gatewayv1.Gateway) { g.Spec.Listeners[0].TLS.CertificateRefs[0].Name = tlsSecret })
		eventuallyReady(ctx, at.instanceObject())
		eventuallyGone(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: at.instance + "-packages"}})
		eventuallyReachable(ctx, at.dockerHost())

		owner := loggedIn(ctx, at.dockerHost(), c)
		owner.expectPull(ctx, before)
		after := at.image("octocat/app/image:2")
		owner.build(ctx, after, 64*mebibyte, 4<<10)
		owner.mustDocker(ctx, "push", after)
		owner.expectPull(ctx, after)
		Expect(incarnation(registryPod(ctx, at.namespace, at.instance))).To(Equal(restarts))
		deleteNamespace(ctx, at.namespace)
	}, SpecTimeout(specTimeout))
})
