// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/netip"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/loginlimit"
)

// Outcomes of logins that fail, as labels.
const (
	loginRefused = "refused"
	loginLimited = "limited"
)

// limitLogins returns what limits failed logins, counts them, and logs an address
// when it goes over its limit: once, and not at every failure from there on.
func limitLogins(log logr.Logger, m *metrics) func(netip.Addr) time.Duration {
	limiter := loginlimit.New(time.Now)
	return func(address netip.Addr) time.Duration {
		verdict := limiter.Failed(address)
		outcome := loginRefused
		if verdict.Wait > 0 {
			outcome = loginLimited
		}
		m.failedLogins.WithLabelValues(outcome).Inc()
		if verdict.First {
			log.Info("Too many logins from an address failed; until there are fewer, failed ones get 429", "remote", address.String())
		}
		return verdict.Wait
	}
}
