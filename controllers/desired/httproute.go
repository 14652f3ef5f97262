// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1ac "sigs.k8s.io/gateway-api/applyconfiguration/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// RouteHost is a host that an HTTPRoute is for.
type RouteHost struct {
	Name string
	// Docker says that the Docker registry is there.
	Docker bool
}

// noTimeout is how the Gateway API says that a request takes as long as it takes.
const noTimeout = gatewayv1.Duration("0s")

// HTTPRoute leads a host to the Service: one route for each host, so that a Gateway
// says of each whether it takes it. It is nil for an instance that is not exposed
// through a Gateway.
func HTTPRoute(instance *v1alpha1.PackagesInstance, host RouteHost) *gatewayv1ac.HTTPRouteApplyConfiguration {
	exposure := instance.Spec.Exposure.Gateway
	if exposure == nil {
		return nil
	}
	labels := stringLabels(exposure.Labels)
	// The operator's own labels win: selectors and watches rest on them.
	maps.Copy(labels, instanceLabels(instance.Name))

	spec := gatewayv1ac.HTTPRouteSpec().
		WithHostnames(gatewayv1.Hostname(host.Name)).
		WithRules(gatewayv1ac.HTTPRouteRule().
			WithMatches(gatewayv1ac.HTTPRouteMatch().
				WithPath(gatewayv1ac.HTTPPathMatch().
					WithType(gatewayv1.PathMatchPathPrefix).
					WithValue("/"))).
			WithTimeouts(gatewayv1ac.HTTPRouteTimeouts().
				WithRequest(noTimeout).
				WithBackendRequest(noTimeout)).
			// What is a default is written out: the list is owned as a whole.
			WithBackendRefs(gatewayv1ac.HTTPBackendRef().
				WithGroup("").
				WithKind("Service").
				WithName(gatewayv1.ObjectName(RegistryName(instance.Name))).
				WithPort(ServicePort).
				WithWeight(1)))
	for _, ref := range exposure.ParentRefs {
		parent := gatewayv1ac.ParentReference().
			WithGroup(gatewayv1.GroupName).
			WithKind("Gateway").
			WithName(gatewayv1.ObjectName(ref.Name))
		if ref.Namespace != "" {
			parent.WithNamespace(gatewayv1.Namespace(ref.Namespace))
		}
		if ref.SectionName != "" {
			parent.WithSectionName(gatewayv1.SectionName(ref.SectionName))
		}
		if ref.Port != 0 {
			parent.WithPort(ref.Port)
		}
		spec.WithParentRefs(parent)
	}
	return gatewayv1ac.HTTPRoute(RouteName(instance.Name, host), instance.Namespace).
		WithLabels(labels).
		WithAnnotations(exposure.Annotations).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(spec)
}
