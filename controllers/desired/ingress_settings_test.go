// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

func TestWhatIngressControllersAreTold(t *testing.T) {
	nginx := map[string]string{
		"nginx.ingress.kubernetes.io/proxy-body-size":         "0",
		"nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
		"nginx.ingress.kubernetes.io/proxy-read-timeout":      "3600",
		"nginx.ingress.kubernetes.io/proxy-send-timeout":      "3600",
	}
	with := func(annotations map[string]string, name, value string) map[string]string {
		changed := map[string]string{name: value}
		for n, v := range annotations {
			if n != name {
				changed[n] = v
			}
		}
		return changed
	}
	alb := map[string]string{
		"alb.ingress.kubernetes.io/target-type":              "ip",
		"alb.ingress.kubernetes.io/healthcheck-port":         "8081",
		"alb.ingress.kubernetes.io/healthcheck-path":         "/readyz",
		"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=3600",
	}
	grouped := with(alb, "alb.ingress.kubernetes.io/group.name", "shared")
	delete(grouped, "alb.ingress.kubernetes.io/load-balancer-attributes")
	kong := map[string]string{"konghq.com/request-buffering": "false", "konghq.com/response-buffering": "false"}
	for _, test := range []struct {
		name, controller string
		users            map[string]string
		ingress, service map[string]string
	}{
		{name: "one that nobody knows", controller: "example.com/web", users: map[string]string{"a": "b"}, ingress: map[string]string{"a": "b"}},
		{name: "one that is not known", controller: "", users: map[string]string{"a": "b"}, ingress: map[string]string{"a": "b"}},
		{name: "a name that only begins like a known one", controller: "k8s.io/ingress-nginx-fork"},
		{name: "Traefik, which has no annotation for it", controller: "traefik.io/ingress-controller"},
		{name: "GKE, which has none on an Ingress", controller: "k8s.io/ingress-gce"},

		{name: "ingress-nginx", controller: "k8s.io/ingress-nginx", ingress: nginx},
		{
			name: "the user's own value wins", controller: "k8s.io/ingress-nginx",
			users:   map[string]string{"nginx.ingress.kubernetes.io/proxy-body-size": "10g"},
			ingress: with(nginx, "nginx.ingress.kubernetes.io/proxy-body-size", "10g"),
		},
		{
			name: "so does an empty one", controller: "k8s.io/ingress-nginx",
			users:   map[string]string{"nginx.ingress.kubernetes.io/proxy-body-size": ""},
			ingress: with(nginx, "nginx.ingress.kubernetes.io/proxy-body-size", ""),
		},
		{
			name: "other annotations pass", controller: "k8s.io/ingress-nginx",
			users:   map[string]string{"external-dns.alpha.kubernetes.io/ttl": "60"},
			ingress: with(nginx, "external-dns.alpha.kubernetes.io/ttl", "60"),
		},
		{name: "NGINX Inc.", controller: "nginx.org/ingress-controller", ingress: map[string]string{
			"nginx.org/client-max-body-size":     "0",
			"nginx.org/proxy-read-timeout":       "3600s",
			"nginx.org/proxy-send-timeout":       "3600s",
			"nginx.org/proxy-max-temp-file-size": "0",
		}},
		{name: "HAProxy Technologies", controller: "haproxy.org/ingress-controller", ingress: map[string]string{"haproxy.org/timeout-server": "1h"}},
		{name: "one of several of them", controller: "haproxy.org/ingress-controller/internal", ingress: map[string]string{"haproxy.org/timeout-server": "1h"}},
		{
			name: "the user's own value under another prefix", controller: "haproxy.org/ingress-controller",
			users:   map[string]string{"haproxy.com/timeout-server": "5m"},
			ingress: map[string]string{"haproxy.com/timeout-server": "5m"},
		},
		{name: "HAProxy Ingress", controller: "haproxy-ingress.github.io/controller/staging", ingress: map[string]string{
			"haproxy-ingress.github.io/proxy-body-size": "unlimited",
			"haproxy-ingress.github.io/timeout-server":  "1h",
		}},
		{
			name: "its older prefix", controller: "haproxy-ingress.github.io/controller",
			users: map[string]string{"ingress.kubernetes.io/proxy-body-size": "1g"},
			ingress: map[string]string{
				"ingress.kubernetes.io/proxy-body-size":    "1g",
				"haproxy-ingress.github.io/timeout-server": "1h",
			},
		},
		{name: "AWS", controller: "ingress.k8s.aws/alb", ingress: alb},
		{
			name: "AWS with a load balancer that others share", controller: "ingress.k8s.aws/alb",
			users: map[string]string{"alb.ingress.kubernetes.io/group.name": "shared"}, ingress: grouped,
		},
		{name: "Azure", controller: "azure/application-gateway", ingress: map[string]string{"appgw.ingress.kubernetes.io/request-timeout": "3600"}},
		{name: "Cilium", controller: "cilium.io/ingress-controller", ingress: map[string]string{"ingress.cilium.io/request-timeout": "0s"}},
		{name: "OpenShift", controller: "openshift.io/ingress-to-route", ingress: map[string]string{"haproxy.router.openshift.io/timeout": "1h"}},
		{name: "Contour", controller: "projectcontour.io/ingress-controller", ingress: map[string]string{"projectcontour.io/response-timeout": "infinity"}},
		{
			name: "Kong, with settings on the Service", controller: "ingress-controllers.konghq.com/kong", ingress: kong,
			service: map[string]string{"konghq.com/read-timeout": "3600000", "konghq.com/write-timeout": "3600000"},
		},
		{
			name: "Kong, with the user's own", controller: "ingress-controllers.konghq.com/kong",
			users:   map[string]string{"konghq.com/read-timeout": "1000"},
			ingress: with(kong, "konghq.com/read-timeout", "1000"),
			service: map[string]string{"konghq.com/read-timeout": "1000", "konghq.com/write-timeout": "3600000"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			exposed := instance(func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.Annotations = test.users })
			got := desired.Ingress(exposed, []string{"a.test"}, desired.IngressClass{Name: "web", Controller: test.controller}).Annotations
			if diff := cmp.Diff(test.ingress, got); diff != "" {
				t.Errorf("annotations of the Ingress (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.service, desired.Service(exposed, test.controller).Annotations); diff != "" {
				t.Errorf("annotations of the Service (-want +got):\n%s", diff)
			}
			hidden := instance(func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress = nil })
			if got := desired.Service(hidden, test.controller).Annotations; got != nil {
				t.Errorf("annotations of the Service of an instance without an Ingress: %v", got)
			}
		})
	}
}
