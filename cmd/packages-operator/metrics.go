// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Who may read the manager's metrics.
const (
	metricsAuthorized = "Authorized"
	metricsAnyone     = "Anyone"
)

// metricsOptions are the manager's flags about its metrics.
type metricsOptions struct {
	address        string
	access         string
	certificateDir string
}

func (o *metricsOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.address, "metrics-bind-address", ":8443", "where Prometheus metrics are served, over TLS; 0 for nowhere")
	flags.StringVar(&o.access, "metrics-access", metricsAuthorized,
		"who may read the metrics: Authorized, who shows a token of this cluster and may get /metrics, which takes the right to review tokens and access in the whole cluster; or Anyone, who reaches the port")
	flags.StringVar(&o.certificateDir, "metrics-cert-dir", "",
		"a directory with the certificate of the metrics, tls.crt, and its key, tls.key, which are read again when they change; without it a certificate is made that nobody can verify")
}

func (o *metricsOptions) server() (metricsserver.Options, error) {
	options := metricsserver.Options{BindAddress: o.address, SecureServing: true, CertDir: o.certificateDir}
	switch o.access {
	case metricsAuthorized:
		options.FilterProvider = filters.WithAuthenticationAndAuthorization
	case metricsAnyone:
	default:
		return options, fmt.Errorf("--metrics-access is %q; write Authorized or Anyone", o.access)
	}
	if o.certificateDir != "" {
		// The server would make a certificate of its own for want of these.
		if _, err := tls.LoadX509KeyPair(filepath.Join(o.certificateDir, "tls.crt"), filepath.Join(o.certificateDir, "tls.key")); err != nil {
			return options, fmt.Errorf("reading the certificate of the metrics (--metrics-cert-dir): %w", err)
		}
	}
	return options, nil
}
