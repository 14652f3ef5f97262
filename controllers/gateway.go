// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1ac "sigs.k8s.io/gateway-api/applyconfiguration/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// gatewayAPI are the kinds of the Gateway API.
type gatewayAPI struct{ routes, gateways *foreignKind }

// gatewaysSeen are the Gateways that there are, of those that a spec names.
type gatewaysSeen struct {
	found map[types.NamespacedName]*gatewayv1.Gateway
	// everywhere says that the manager looks into all namespaces, and not into these
	// alone.
	everywhere bool
	namespaces []string
}

// hides says whether nothing is known of a Gateway, not even that it is missing.
func (g gatewaysSeen) hides(gateway types.NamespacedName) bool {
	return !g.everywhere && !slices.Contains(g.namespaces, gateway.Namespace)
}

// routeHosts are the hosts that get an HTTPRoute each.
func routeHosts(hosts policy.Hosts) []desired.RouteHost {
	list := []desired.RouteHost{{Name: hosts.Docker, Docker: true}}
	if hosts.Base != hosts.Docker {
		list = append(list, desired.RouteHost{Name: hosts.Base})
	}
	return list
}

func (r *instanceReconciler) exposeThroughGateway(ctx context.Context, s *instanceScope) (exposureVerdict, error) {
	exposure := s.instance.Spec.Exposure.Gateway
	w, err := r.gatewayAPI.routes.use()
	switch {
	case errors.Is(err, errNotServed):
		if exposure == nil {
			return exposureVerdict{}, nil
		}
		return notExposed(gatewayAPINotInstalled()), nil
	case errors.Is(err, errNotAllowed):
		if exposure == nil {
			return exposureVerdict{}, nil
		}
		return exposureVerdict{}, fmt.Errorf("reading HTTPRoutes of %s: %w: grant it the rights of config/rbac/role.yaml", gatewayv1.GroupName, err)
	case err != nil:
		return exposureVerdict{}, fmt.Errorf("reading HTTPRoutes: %w", err)
	}
	var routes []hostRoute
	wanted := map[string]bool{}
	if exposure != nil {
		for _, host := range routeHosts(s.hosts) {
			want := desired.HTTPRoute(s.instance, host)
			wanted[*want.GetName()] = true
			err := ensure[gatewayv1.HTTPRoute](ctx, w, s.claim, want, gatewayv1ac.ExtractHTTPRoute)
			if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
				// The kind is on its way out, and soon we shall be told.
				return notExposed(gatewayAPINotInstalled()), nil
			}
			if f := (*finding)(nil); errors.As(s.exposureFinding("HTTPRoute", err), &f) {
				return notExposed(f), nil
			}
			if err != nil {
				return exposureVerdict{}, err
			}
			route := &gatewayv1.HTTPRoute{}
			if err := w.cached.Get(ctx, types.NamespacedName{Namespace: *want.GetNamespace(), Name: *want.GetName()}, route); err != nil {
				return exposureVerdict{}, fmt.Errorf("reading HTTPRoute %s: %w", *want.GetName(), err)
			}
			routes = append(routes, hostRoute{host: host.Name, route: route})
		}
	}
	if err := removeRoutes(ctx, w, s, wanted); err != nil || exposure == nil {
		return exposureVerdict{}, err
	}
	gateways, err := r.gatewaysOf(ctx, s.instance.Namespace, exposure.ParentRefs)
	if err != nil {
		return exposureVerdict{}, err
	}
	return judgeRoutes(routes, exposure.ParentRefs, gateways), nil
}

// removeRoutes takes away the HTTPRoutes that an instance no longer wants.
func removeRoutes(ctx context.Context, w *writer, s *instanceScope, wanted map[string]bool) error {
	var existing gatewayv1.HTTPRouteList
	if err := w.cached.List(ctx, &existing, client.InNamespace(s.instance.Namespace),
		client.MatchingLabels{v1alpha1.LabelInstance: s.instance.Name}); err != nil {
		return fmt.Errorf("listing HTTPRoutes: %w", err)
	}
	for i := range existing.Items {
		if key := client.ObjectKeyFromObject(&existing.Items[i]); !wanted[key.Name] {
			if err := remove[gatewayv1.HTTPRoute](ctx, w, s.claim, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func gatewayAPINotInstalled() *finding {
	f := progressing(v1alpha1.ReasonGatewayAPINotInstalled,
		"the cluster does not serve HTTPRoute of gateway.networking.k8s.io/v1: install the Gateway API, or choose spec.exposure.ingress")
	f.again = stalledRetry
	return f
}

// gatewaysOf reads the Gateways that are named, as far as the manager may look.
func (r *instanceReconciler) gatewaysOf(ctx context.Context, namespace string, refs []v1alpha1.GatewayReference) (gatewaysSeen, error) {
	w, err := r.gatewayAPI.gateways.use()
	if errors.Is(err, errNotAllowed) || errors.Is(err, errNotServed) {
		return gatewaysSeen{}, nil
	}
	if err != nil {
		return gatewaysSeen{}, fmt.Errorf("reading Gateways: %w", err)
	}
	seen := gatewaysSeen{
		found:      map[types.NamespacedName]*gatewayv1.Gateway{},
		everywhere: len(r.namespaces) == 0, namespaces: r.namespaces,
	}
	for _, ref := range refs {
		key := gatewayKey(namespace, ref)
		if seen.hides(key) {
			continue
		}
		gateway := &gatewayv1.Gateway{}
		if err := w.cached.Get(ctx, key, gateway); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return gatewaysSeen{}, fmt.Errorf("reading Gateway %s: %w", key, err)
		}
		seen.found[key] = gateway
	}
	return seen, nil
}

func gatewayKey(namespace string, ref v1alpha1.GatewayReference) types.NamespacedName {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: ref.Name}
}

// hostRoute is the HTTPRoute of a host.
type hostRoute struct {
	host  string
	route *gatewayv1.HTTPRoute
}

// judgeRoutes says whether Gateways lead clients to the hosts, as far as the Gateways'
// controllers tell. The first trouble counts, by host and then by reference.
func judgeRoutes(routes []hostRoute, refs []v1alpha1.GatewayReference, gateways gatewaysSeen) exposureVerdict {
	var hosts, names, plain []string
	for _, r := range routes {
		hosts = append(hosts, r.host)
		for _, ref := range refs {
			key := gatewayKey(r.route.Namespace, ref)
			gateway := gateways.found[key]
			if gateway == nil && !gateways.hides(key) {
				return notExposed(progressing(v1alpha1.ReasonGatewayNotFound, fmt.Sprintf(
					"there is no Gateway %s: create it, or name another in spec.exposure.gateway.parentRefs", key)))
			}
			if f := routeTrouble(r, ref, key); f != nil {
				return notExposed(f)
			}
			if gateway != nil {
				f, encrypted := listenerTrouble(gateway, key, ref, r.host)
				if f != nil {
					return notExposed(f)
				}
				if !encrypted && !slices.Contains(plain, key.String()) {
					plain = append(plain, key.String())
				}
			}
			if !slices.Contains(names, key.String()) {
				names = append(names, key.String())
			}
		}
	}
	message := fmt.Sprintf("Gateway %s takes %s", strings.Join(names, " and "), strings.Join(hosts, " and "))
	if len(plain) > 0 {
		message += fmt.Sprintf("; docker wants HTTPS, and the listeners of %s speak HTTP: something before them has to end TLS", strings.Join(plain, " and "))
	}
	return exposed(message)
}

// routeTrouble is why a Gateway does not take a route, by its controller's own words.
func routeTrouble(r hostRoute, ref v1alpha1.GatewayReference, gateway types.NamespacedName) *finding {
	seen := false
	var trouble *finding
	for _, parent := range r.route.Status.Parents {
		if !sameParent(r.route.Namespace, parent.ParentRef, ref) {
			continue
		}
		accepted := meta.FindStatusCondition(parent.Conditions, string(gatewayv1.RouteConditionAccepted))
		if accepted == nil || accepted.ObservedGeneration < r.route.Generation {
			continue
		}
		seen = true
		resolved := meta.FindStatusCondition(parent.Conditions, string(gatewayv1.RouteConditionResolvedRefs))
		switch {
		case accepted.Status != metav1.ConditionTrue:
			trouble = stalled(v1alpha1.ReasonRouteNotAccepted, fmt.Sprintf(
				"the Gateway %s does not take %s: %s", gateway, r.host, words(accepted)))
			if accepted.Reason == string(gatewayv1.RouteReasonPending) {
				trouble.state = stateProgressing
			}
		case resolved != nil && resolved.Status == metav1.ConditionFalse:
			trouble = progressing(v1alpha1.ReasonRouteNotResolved, fmt.Sprintf(
				"the Gateway %s cannot lead %s to the registry: %s", gateway, r.host, words(resolved)))
		default:
			return nil
		}
	}
	if !seen {
		return progressing(v1alpha1.ReasonRouteNotAccepted, fmt.Sprintf(
			"waiting for the controller of the Gateway %s to look at the HTTPRoute %s of %s", gateway, r.route.Name, r.host))
	}
	return trouble
}

func sameParent(namespace string, parent gatewayv1.ParentReference, ref v1alpha1.GatewayReference) bool {
	return value(parent.Group, gatewayv1.GroupName) == gatewayv1.GroupName && value(parent.Kind, "Gateway") == "Gateway" &&
		string(value(parent.Namespace, gatewayv1.Namespace(namespace))) == gatewayKey(namespace, ref).Namespace &&
		string(parent.Name) == ref.Name &&
		string(value(parent.SectionName, "")) == ref.SectionName &&
		value(parent.Port, 0) == ref.Port
}

func value[T any](pointer *T, otherwise T) T {
	if pointer == nil {
		return otherwise
	}
	return *pointer
}

// listenerTrouble is why no listener that a reference names serves a host, and
// otherwise whether one of them ends TLS. What certificate that shows is between the
// Gateway and its controller; that it has none, the controller says here.
func listenerTrouble(gateway *gatewayv1.Gateway, key types.NamespacedName, ref v1alpha1.GatewayReference, host string) (trouble *finding, encrypted bool) {
	var candidates []gatewayv1.Listener
	for _, listener := range gateway.Spec.Listeners {
		if (ref.SectionName == "" || string(listener.Name) == ref.SectionName) &&
			(ref.Port == 0 || listener.Port == ref.Port) && listensFor(listener, host) {
			candidates = append(candidates, listener)
			encrypted = encrypted || listener.Protocol == gatewayv1.HTTPSProtocolType
		}
	}
	for _, listener := range candidates {
		if encrypted && listener.Protocol != gatewayv1.HTTPSProtocolType {
			continue
		}
		fault := listenerFault(gateway, listener.Name)
		if fault == nil {
			return nil, encrypted
		}
		if trouble == nil {
			trouble = progressing(v1alpha1.ReasonListenerNotReady, fmt.Sprintf(
				"the listener %s of the Gateway %s does not serve %s: %s", listener.Name, key, host, words(fault)))
		}
	}
	return trouble, encrypted
}

func listensFor(listener gatewayv1.Listener, host string) bool {
	name := string(value(listener.Hostname, ""))
	if suffix, wildcard := strings.CutPrefix(name, "*"); wildcard {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	return name == "" || strings.EqualFold(name, host)
}

func listenerFault(gateway *gatewayv1.Gateway, name gatewayv1.SectionName) *metav1.Condition {
	for _, status := range gateway.Status.Listeners {
		if status.Name != name {
			continue
		}
		for _, conditionType := range []gatewayv1.ListenerConditionType{
			gatewayv1.ListenerConditionAccepted, gatewayv1.ListenerConditionResolvedRefs, gatewayv1.ListenerConditionProgrammed,
		} {
			condition := meta.FindStatusCondition(status.Conditions, string(conditionType))
			if condition != nil && condition.Status == metav1.ConditionFalse && condition.ObservedGeneration >= gateway.Generation {
				return condition
			}
		}
	}
	return nil
}

// maxWords is how much of what another controller says is passed on.
const maxWords = 1024

// words are what another controller says in a condition.
func words(condition *metav1.Condition) string {
	return sayings(condition.Reason, condition.Message)
}

func sayings(reason, message string) string {
	message = strings.TrimSpace(message)
	if len(message) > maxWords {
		message = strings.ToValidUTF8(message[:maxWords], "") + "…"
	}
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return fmt.Sprintf("%s (%s)", message, reason)
}
