// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// Kinds of cluster.
const (
	auto     = "auto"
	kind     = "kind"
	local    = "local"
	external = "external" // DEMO_KUBECONFIG
)

// settings are what the environment asks for.
type settings struct {
	cluster        string
	kubeconfig     string
	image          string
	ingressClass   string
	ingressAddress netip.Addr
}

// settingsFrom reads the environment and says everything that is wrong with it.
func settingsFrom(getenv func(string) string) (settings, error) {
	s := settings{cluster: getenv("DEMO_CLUSTER"), kubeconfig: getenv("DEMO_KUBECONFIG")}
	if s.kubeconfig == "" {
		switch s.cluster {
		case "":
			s.cluster = auto
		case auto, kind, local:
		default:
			return s, fmt.Errorf("DEMO_CLUSTER=%s: choose auto, kind or local", s.cluster)
		}
		return s, nil
	}
	s.cluster = external
	var missing []string
	need := func(name, what string) string {
		value := getenv(name)
		if value == "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, what))
		}
		return value
	}
	s.image = need("DEMO_IMAGE", "an image of the operator that the cluster can pull: make image, docker tag, docker push")
	s.ingressClass = need("DEMO_INGRESS_CLASS", "kubectl get ingressclass")
	address := need("DEMO_INGRESS_ADDRESS", "the IP address of the ingress controller")
	if len(missing) > 0 {
		return s, fmt.Errorf("DEMO_KUBECONFIG is set, but not:\n  %s", strings.Join(missing, "\n  "))
	}
	var err error
	if s.ingressAddress, err = netip.ParseAddr(address); err != nil {
		return s, fmt.Errorf("DEMO_INGRESS_ADDRESS=%s is not an IP address", address)
	}
	return s, nil
}
