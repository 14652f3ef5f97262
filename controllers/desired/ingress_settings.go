// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"
	"strconv"
	"strings"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// controllerSettings are what an ingress controller has to be told so that it lets
// layers of any size through while they are sent, and waits for a registry that makes
// them durable. Where zero does not stand for no limit, an hour of silence does.
type controllerSettings struct {
	ingress map[string]string
	// service are settings that the controller reads from the Service.
	service map[string]string
	// aliases are further prefixes under which the controller takes the same names.
	aliases []string
	// keptBack are settings that would meet those of other Ingresses, by the annotation
	// that says that there are others.
	keptBack map[string][]string
}

// settingsOf are those of the controllers that have annotations for it, by the
// spec.controller of their IngressClass.
var settingsOf = map[string]controllerSettings{
	"k8s.io/ingress-nginx": {ingress: map[string]string{
		"nginx.ingress.kubernetes.io/proxy-body-size":         "0",
		"nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
		"nginx.ingress.kubernetes.io/proxy-read-timeout":      "3600",
		"nginx.ingress.kubernetes.io/proxy-send-timeout":      "3600",
	}},
	// Its annotations cannot turn off the buffering of requests.
	"nginx.org/ingress-controller": {ingress: map[string]string{
		"nginx.org/client-max-body-size":     "0",
		"nginx.org/proxy-read-timeout":       "3600s",
		"nginx.org/proxy-send-timeout":       "3600s",
		"nginx.org/proxy-max-temp-file-size": "0",
	}},
	// What clients may take is in its ConfigMap.
	"haproxy.org/ingress-controller": {
		ingress: map[string]string{"haproxy.org/timeout-server": "1h"},
		aliases: []string{"haproxy.com/", "ingress.kubernetes.io/"},
	},
	"haproxy-ingress.github.io/controller": {
		ingress: map[string]string{
			"haproxy-ingress.github.io/proxy-body-size": "unlimited",
			"haproxy-ingress.github.io/timeout-server":  "1h",
		},
		aliases: []string{"ingress.kubernetes.io/"},
	},
	// Its targets must be pods, since the Service has no port on the nodes. They are
	// asked for their health at the admin port, where the answer is 200.
	"ingress.k8s.aws/alb": {
		ingress: map[string]string{
			"alb.ingress.kubernetes.io/target-type":              "ip",
			"alb.ingress.kubernetes.io/healthcheck-port":         strconv.Itoa(AdminPort),
			"alb.ingress.kubernetes.io/healthcheck-path":         "/readyz",
			"alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=3600",
		},
		keptBack: map[string][]string{
			"alb.ingress.kubernetes.io/group.name": {"alb.ingress.kubernetes.io/load-balancer-attributes"},
		},
	},
	"azure/application-gateway": {ingress: map[string]string{
		"appgw.ingress.kubernetes.io/request-timeout": "3600",
	}},
	"cilium.io/ingress-controller": {ingress: map[string]string{
		"ingress.cilium.io/request-timeout": "0s",
	}},
	"ingress-controllers.konghq.com/kong": {
		ingress: map[string]string{
			"konghq.com/request-buffering":  "false",
			"konghq.com/response-buffering": "false",
		},
		service: map[string]string{
			"konghq.com/read-timeout":  "3600000",
			"konghq.com/write-timeout": "3600000",
		},
	},
	// Annotations of an Ingress are those of the Route that it becomes.
	"openshift.io/ingress-to-route": {ingress: map[string]string{
		"haproxy.router.openshift.io/timeout": "1h",
	}},
	"projectcontour.io": {ingress: map[string]string{
		"projectcontour.io/response-timeout": "infinity",
	}},
}

// settingsFor finds the settings of a controller. Several controllers of a kind in one
// cluster tell themselves apart by what follows the name.
func settingsFor(controller string) controllerSettings {
	for name := controller; name != ""; {
		if settings, ok := settingsOf[name]; ok {
			return settings
		}
		end := strings.LastIndexByte(name, '/')
		if end < 0 {
			break
		}
		name = name[:end]
	}
	return controllerSettings{}
}

// ingressAnnotations are the user's, and the settings of the controller that the user
// says nothing about.
func ingressAnnotations(users map[string]string, controller string) map[string]string {
	settings := settingsFor(controller)
	annotations := maps.Clone(settings.ingress)
	if annotations == nil {
		annotations = map[string]string{}
	}
	for name := range settings.ingress {
		if settings.saysOtherwise(users, name) {
			delete(annotations, name)
		}
	}
	maps.Copy(annotations, users)
	return annotations
}

// saysOtherwise says whether the user has settled a setting under another name.
func (s controllerSettings) saysOtherwise(users map[string]string, name string) bool {
	_, bare, _ := strings.Cut(name, "/")
	for _, alias := range s.aliases {
		if _, said := users[alias+bare]; said {
			return true
		}
	}
	for by, names := range s.keptBack {
		if _, said := users[by]; said {
			for _, kept := range names {
				if kept == name {
					return true
				}
			}
		}
	}
	return false
}

// serviceAnnotations are the settings that the controller of an instance's Ingress
// reads from its Service; what the user wrote for the Ingress counts here too.
func serviceAnnotations(instance *v1alpha1.PackagesInstance, controller string) map[string]string {
	ingress := instance.Spec.Exposure.Ingress
	if ingress == nil {
		return nil
	}
	annotations := maps.Clone(settingsFor(controller).service)
	for name := range annotations {
		if value, said := ingress.Annotations[name]; said {
			annotations[name] = value
		}
	}
	return annotations
}
