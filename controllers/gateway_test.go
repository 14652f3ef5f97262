// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("A PackagesInstance behind a Gateway", Ordered, Serial, func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var gateway *gatewayv1.Gateway

	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance = newInstance(namespace)
		instance.Spec.Exposure = v1alpha1.ExposureSpec{Gateway: &v1alpha1.GatewayExposure{
			ParentRefs:  []v1alpha1.GatewayReference{{Name: "web"}},
			Annotations: map[string]string{"external-dns.alpha.kubernetes.io/ttl": "60"},
		}}
		create(ctx, instance)
		DeferCleanup(gatewayCRDs.uninstall)
	})
	exposureReady := func(status metav1.ConditionStatus, reason string) OmegaMatcher {
		return condition(v1alpha1.ConditionExposureReady, status, reason)
	}
	routes := func(ctx context.Context) map[string]*gatewayv1.HTTPRoute {
		var list gatewayv1.HTTPRouteList
		if err := admin.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil
		}
		byHost := map[string]*gatewayv1.HTTPRoute{}
		for i := range list.Items {
			for _, host := range list.Items[i].Spec.Hostnames {
				byHost[string(host)] = &list.Items[i]
			}
		}
		return byHost
	}
	// answer is what the Gateway's controller says of every route.
	answer := func(ctx context.Context, status metav1.ConditionStatus, reason, message string) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			all := routes(ctx)
			g.Expect(all).NotTo(BeEmpty())
			for _, route := range all {
				route.Status.Parents = []gatewayv1.RouteParentStatus{{
					ParentRef: route.Spec.ParentRefs[0], ControllerName: "example.com/gateway",
					Conditions: []metav1.Condition{
						{Type: "Accepted", Status: status, Reason: reason, Message: message, ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now()},
						{Type: "ResolvedRefs", Status: metav1.ConditionTrue, Reason: "ResolvedRefs", ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now()},
					},
				}}
				g.Expect(admin.Status().Update(ctx, route)).To(Succeed())
			}
		}).Should(Succeed())
	}
	accept := func(ctx context.Context) {
		GinkgoHelper()
		answer(ctx, metav1.ConditionTrue, "Accepted", "")
	}

	It("says that the cluster has no Gateway API, and all else is made", func(ctx SpecContext) {
		conditions(ctx, instance).Should(And(
			beProgressing(v1alpha1.ReasonGatewayAPINotInstalled),
			exposureReady(metav1.ConditionFalse, v1alpha1.ReasonGatewayAPINotInstalled),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("install the Gateway API"))
		Expect(instance.Status.PolicyRevision).NotTo(BeEmpty())
	})

	It("notices that it was installed, and says that the Gateway is missing", func(ctx SpecContext) {
		gatewayCRDs.install()
		conditions(ctx, instance).Should(And(
			beProgressing(v1alpha1.ReasonGatewayNotFound),
			exposureReady(metav1.ConditionFalse, v1alpha1.ReasonGatewayNotFound),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("no Gateway " + namespace + "/web"))
		Expect(routes(ctx)).To(And(HaveLen(2), HaveKey(instance.Spec.Hostname), HaveKey("docker."+instance.Spec.Hostname)))
		for _, route := range routes(ctx) {
			Expect(metav1.IsControlledBy(route, instance)).To(BeTrue())
			Expect(route.Annotations).To(HaveKeyWithValue("external-dns.alpha.kubernetes.io/ttl", "60"))
		}
	})

	It("is ready once the Gateway takes every host", func(ctx SpecContext) {
		gateway = &gatewayv1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: gatewayv1.GatewaySpec{GatewayClassName: "example", Listeners: []gatewayv1.Listener{
				{Name: "https", Port: 443, Protocol: gatewayv1.HTTPSProtocolType, TLS: &gatewayv1.ListenerTLSConfig{
					CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "acme-tls"}},
				}},
			}},
		}
		create(ctx, gateway)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonRouteNotAccepted))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(HavePrefix("waiting for the controller of the Gateway"))
		accept(ctx)
		conditions(ctx, instance).Should(And(
			beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed),
			Not(ContainElement(HaveField("Type", v1alpha1.ConditionCertificateReady))),
		))
		Expect(instance.Status.Endpoints.Docker.URL).To(Equal("https://docker." + instance.Spec.Hostname))
	})

	It("passes on why the Gateway does not take a host, until it does", func(ctx SpecContext) {
		answer(ctx, metav1.ConditionFalse, "NotAllowedByListeners", "no listener allows routes of this namespace")
		conditions(ctx, instance).Should(And(
			beStalled(v1alpha1.ReasonRouteNotAccepted),
			exposureReady(metav1.ConditionFalse, v1alpha1.ReasonRouteNotAccepted),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("no listener allows routes of this namespace"))
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
	})

	It("passes on why a listener does not serve, until it does", func(ctx SpecContext) {
		gateway.Status.Listeners = []gatewayv1.ListenerStatus{{
			Name: "https", SupportedKinds: []gatewayv1.RouteGroupKind{}, Conditions: []metav1.Condition{{
				Type: "ResolvedRefs", Status: metav1.ConditionFalse, Reason: "InvalidCertificateRef", Message: "no Secret acme-tls",
				ObservedGeneration: gateway.Generation, LastTransitionTime: metav1.Now(),
			}},
		}}
		Expect(admin.Status().Update(ctx, gateway)).To(Succeed())
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonListenerNotReady))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("no Secret acme-tls"))
		gateway.Status.Listeners = nil
		Expect(admin.Status().Update(ctx, gateway)).To(Succeed())
		conditions(ctx, instance).Should(beReady())
	})

	It("writes nothing in steady state, nor after a restart of the manager", func(ctx SpecContext) {
		since := settled(namespace)
		for _, route := range routes(ctx) {
			change(ctx, route, func(r *gatewayv1.HTTPRoute) { r.Annotations["example.com/touched"] = "yes" })
		}
		change(ctx, gateway, func(g *gatewayv1.Gateway) { g.Annotations = map[string]string{"example.com/touched": "yes"} })
		settled(namespace)
		stopManager()
		stopManager = startManager()
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(BeEmpty())
		Expect(conditionsOf(ctx, instance)).To(beReady())
	})

	It("undoes what somebody changes, and makes again what somebody deletes", func(ctx SpecContext) {
		docker := "docker." + instance.Spec.Hostname
		change(ctx, routes(ctx)[docker], func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Name = "mallory" })
		Eventually(func() string { return string(routes(ctx)[docker].Spec.Rules[0].BackendRefs[0].Name) }).Should(Equal("acme-packages"))
		Expect(admin.Delete(ctx, routes(ctx)[docker])).To(Succeed())
		Eventually(func() map[string]*gatewayv1.HTTPRoute { return routes(ctx) }).Should(HaveKey(docker))
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
	})

	It("moves with subdomain isolation", func(ctx SpecContext) {
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled })
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonRouteNotAccepted))
		Eventually(func() map[string]*gatewayv1.HTTPRoute { return routes(ctx) }).Should(And(HaveLen(1), HaveKey(instance.Spec.Hostname)))
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
		Expect(instance.Status.Endpoints.Docker.Host).To(Equal(instance.Spec.Hostname))
	})

	It("goes over to an Ingress and back", func(ctx SpecContext) {
		before := instance.Spec.Exposure
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure = v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressExposure{ClassName: "web"}}
		})
		conditions(ctx, instance).Should(And(beReady(), exposureReady(metav1.ConditionTrue, v1alpha1.ReasonExposed)))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionExposureReady)).To(HavePrefix("the Ingress"))
		get[networkingv1.Ingress](ctx, namespace, "acme-packages")
		Expect(routes(ctx)).To(BeEmpty())

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure = before })
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
		gone(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "acme-packages"}})
	})

	It("leaves a route alone that belongs to somebody else", func(ctx SpecContext) {
		other := newInstance(newNamespace(ctx))
		other.Spec.Exposure = instance.Spec.Exposure
		foreign := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: other.Namespace, Name: "acme-packages-docker"}}
		create(ctx, foreign, other)
		conditions(ctx, other).Should(beStalled(v1alpha1.ReasonObjectConflict))
		Expect(messageOf(other.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("HTTPRoute acme-packages-docker"))
		Expect(get[gatewayv1.HTTPRoute](ctx, other.Namespace, "acme-packages-docker").ResourceVersion).To(Equal(foreign.ResourceVersion))
		Expect(admin.Delete(ctx, other)).To(Succeed())
	})

	It("loses its routes to whoever holds its hosts", func(ctx SpecContext) {
		holder := newInstance(newNamespace(ctx))
		holder.Spec.Exposure = v1alpha1.ExposureSpec{}
		create(ctx, holder)
		conditions(ctx, holder).Should(beReady())
		hostname := instance.Spec.Hostname
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Hostname = holder.Spec.Hostname })
		conditions(ctx, instance).Should(And(
			beStalled(v1alpha1.ReasonHostConflict), Not(ContainElement(HaveField("Type", v1alpha1.ConditionExposureReady))),
		))
		Expect(routes(ctx)).To(BeEmpty())
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Hostname = hostname })
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
	})

	It("says that the Gateway API has gone, and goes on when it is back", func(ctx SpecContext) {
		gatewayCRDs.uninstall()
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonGatewayAPINotInstalled))
		// Not only this instance works on.
		other := newInstance(newNamespace(ctx))
		create(ctx, other)
		conditions(ctx, other).Should(beReady())

		gatewayCRDs.install()
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonGatewayNotFound))
		gateway.ResourceVersion, gateway.UID = "", ""
		create(ctx, gateway)
		accept(ctx)
		conditions(ctx, instance).Should(beReady())
	})
})
