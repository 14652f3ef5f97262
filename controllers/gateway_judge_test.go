// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

func TestWhatGatewaysSayOfHosts(t *testing.T) {
	said := func(conditionType, reason, message string, generation int64) metav1.Condition {
		status := metav1.ConditionTrue
		if reason != conditionType {
			status = metav1.ConditionFalse
		}
		return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: generation}
	}
	type parent = gatewayv1.RouteParentStatus
	of := func(ref gatewayv1.ParentReference, conditions ...metav1.Condition) parent {
		return parent{ParentRef: ref, ControllerName: "example.com/gateway", Conditions: conditions}
	}
	web := gatewayv1.ParentReference{Name: "web"}
	accepted, resolved := said("Accepted", "Accepted", "", 2), said("ResolvedRefs", "ResolvedRefs", "", 2)
	route := func(parents ...parent) hostRoute {
		r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "acme-packages-docker", Generation: 2}}
		r.Status.Parents = parents
		return hostRoute{host: "docker.a.test", route: r}
	}
	listener := func(name, host string, port int32, protocol gatewayv1.ProtocolType) gatewayv1.Listener {
		l := gatewayv1.Listener{Name: gatewayv1.SectionName(name), Port: port, Protocol: protocol}
		if host != "" {
			h := gatewayv1.Hostname(host)
			l.Hostname = &h
		}
		return l
	}
	http, https := listener("http", "", 80, gatewayv1.HTTPProtocolType), listener("https", "*.a.test", 443, gatewayv1.HTTPSProtocolType)
	other := listener("other", "b.test", 443, gatewayv1.HTTPSProtocolType)
	gateway := func(listeners ...gatewayv1.Listener) *gatewayv1.Gateway {
		g := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web", Generation: 1}}
		g.Spec.Listeners = listeners
		return g
	}
	faulty := func(g *gatewayv1.Gateway, name string) *gatewayv1.Gateway {
		g.Status.Listeners = append(g.Status.Listeners, gatewayv1.ListenerStatus{
			Name: gatewayv1.SectionName(name), Conditions: []metav1.Condition{
				said("Accepted", "Accepted", "", 1), said("ResolvedRefs", "InvalidCertificateRef", "no Secret web-tls", 1),
			},
		})
		return g
	}
	one := []v1alpha1.GatewayReference{{Name: "web"}}
	infra := gatewayv1.Namespace("infra")
	section, port := gatewayv1.SectionName("https"), gatewayv1.PortNumber(443)
	for _, test := range []struct {
		name    string
		route   hostRoute
		refs    []v1alpha1.GatewayReference
		gateway *gatewayv1.Gateway
		blind   bool
		reason  string
		state   state
		message string
	}{
		{"takes it", route(of(web, accepted, resolved)), one, gateway(https), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"takes it, and says nothing of what it leads to", route(of(web, accepted)), one, gateway(https), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"is not there", route(of(web, accepted, resolved)), one, nil, false, v1alpha1.ReasonGatewayNotFound, stateProgressing, "there is no Gateway team/web: create it, or name another in spec.exposure.gateway.parentRefs"},
		{"cannot be seen", route(of(web, accepted, resolved)), one, nil, true, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"has not looked", route(), one, gateway(https), false, v1alpha1.ReasonRouteNotAccepted, stateProgressing, "waiting for the controller of the Gateway team/web to look at the HTTPRoute acme-packages-docker of docker.a.test"},
		{"has not looked again", route(of(web, said("Accepted", "Accepted", "", 1), resolved)), one, gateway(https), false, v1alpha1.ReasonRouteNotAccepted, stateProgressing, "waiting for the controller"},
		{"refuses it", route(of(web, said("Accepted", "NoMatchingListenerHostname", "no listener for docker.a.test", 2), resolved)), one, gateway(other), false, v1alpha1.ReasonRouteNotAccepted, stateStalled, "the Gateway team/web does not take docker.a.test: no listener for docker.a.test (NoMatchingListenerHostname)"},
		{"refuses it without a word", route(of(web, said("Accepted", "NotAllowedByListeners", "", 2))), one, gateway(https), false, v1alpha1.ReasonRouteNotAccepted, stateStalled, "the Gateway team/web does not take docker.a.test: NotAllowedByListeners"},
		{"is at it", route(of(web, said("Accepted", "Pending", "soon", 2))), one, gateway(https), false, v1alpha1.ReasonRouteNotAccepted, stateProgressing, "soon (Pending)"},
		{"does not find the Service", route(of(web, accepted, said("ResolvedRefs", "BackendNotFound", "no Service", 2))), one, gateway(https), false, v1alpha1.ReasonRouteNotResolved, stateProgressing, "the Gateway team/web cannot lead docker.a.test to the registry: no Service (BackendNotFound)"},
		{"is another's", route(of(gatewayv1.ParentReference{Name: "web", Namespace: &infra}, accepted, resolved)), one, gateway(https), false, v1alpha1.ReasonRouteNotAccepted, stateProgressing, "waiting for the controller"},
		{"is meant by one listener", route(of(gatewayv1.ParentReference{Name: "web", SectionName: &section, Port: &port}, accepted, resolved)), []v1alpha1.GatewayReference{{Name: "web", SectionName: "https", Port: 443}}, gateway(http, https), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"of two takes one", route(of(web, accepted, resolved)), []v1alpha1.GatewayReference{{Name: "web"}, {Name: "web", Namespace: "infra"}}, gateway(https), false, v1alpha1.ReasonGatewayNotFound, stateProgressing, "there is no Gateway infra/web"},
		{"is refused by one of two controllers", route(of(web, said("Accepted", "NoMatchingParent", "", 2)), of(web, accepted, resolved)), one, gateway(https), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"speaks HTTP alone", route(of(web, accepted, resolved)), one, gateway(http, other), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test; docker wants HTTPS, and the listeners of team/web speak HTTP: something before them has to end TLS"},
		{"has no certificate", route(of(web, accepted, resolved)), one, faulty(gateway(http, https), "https"), false, v1alpha1.ReasonListenerNotReady, stateProgressing, "the listener https of the Gateway team/web does not serve docker.a.test: no Secret web-tls (InvalidCertificateRef)"},
		{"has no certificate for another host", route(of(web, accepted, resolved)), one, faulty(gateway(other, https), "other"), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
		{"has one of two certificates", route(of(web, accepted, resolved)), one, faulty(gateway(https, listener("exact", "docker.a.test", 443, gatewayv1.HTTPSProtocolType)), "https"), false, v1alpha1.ReasonExposed, 0, "Gateway team/web takes docker.a.test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			gateways := map[types.NamespacedName]*gatewayv1.Gateway{}
			if test.gateway != nil {
				gateways[types.NamespacedName{Namespace: "team", Name: "web"}] = test.gateway
			}
			got := judgeRoutes([]hostRoute{test.route}, test.refs, gatewaysSeen{found: gateways, everywhere: !test.blind})
			if got.condition.reason != test.reason || !strings.Contains(got.condition.message, test.message) || got.condition.accepted != (test.state == 0) {
				t.Errorf("condition is %+v", got.condition)
			}
			if (got.trouble != nil) != (test.state != 0) || got.trouble != nil && (got.trouble.state != test.state || got.trouble.message != got.condition.message) {
				t.Errorf("trouble is %+v", got.trouble)
			}
		})
	}
}

func TestAGatewayDoesNotSayTooMuch(t *testing.T) {
	got := sayings("Invalid", strings.Repeat("ö", 5000))
	if len(got) > maxWords+20 || !strings.HasSuffix(got, "… (Invalid)") {
		t.Errorf("%d bytes: …%s", len(got), got[len(got)-30:])
	}
}
