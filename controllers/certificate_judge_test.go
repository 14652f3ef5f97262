// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

func TestWhatACertificateIsWorth(t *testing.T) {
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	end := start.Add(90 * 24 * time.Hour)
	valid := &certificate{paired: true, leaf: &x509.Certificate{DNSNames: []string{"a.test", "*.a.test"}, NotBefore: start, NotAfter: end}}
	daily := &certificate{paired: true, leaf: &x509.Certificate{DNSNames: valid.leaf.DNSNames, NotBefore: start, NotAfter: start.Add(24 * time.Hour)}}
	hosts := []string{"docker.a.test", "a.test"}
	for _, test := range []struct {
		name        string
		certificate *certificate
		hosts       []string
		now         time.Time
		reason      string
		ready       bool
		// works says that clients can connect.
		works bool
		again time.Time
	}{
		{"none", nil, hosts, start, v1alpha1.ReasonCertificateNotFound, false, false, time.Time{}},
		{"another's key", &certificate{leaf: valid.leaf}, hosts, start, v1alpha1.ReasonCertificateKeyMismatch, false, false, time.Time{}},
		{"another host", valid, []string{"docker.b.test", "a.test"}, start, v1alpha1.ReasonHostNotCovered, false, false, time.Time{}},
		{"before its time", valid, hosts, start.Add(-time.Second), v1alpha1.ReasonCertificateNotYetValid, false, false, start},
		{"from its first instant", valid, hosts, start, v1alpha1.ReasonCertificateValid, true, true, end.Add(-expiryNotice)},
		{"until two weeks before its end", valid, hosts, end.Add(-expiryNotice - time.Second), v1alpha1.ReasonCertificateValid, true, true, end.Add(-expiryNotice)},
		{"two weeks before its end", valid, hosts, end.Add(-expiryNotice), v1alpha1.ReasonCertificateExpiresSoon, false, true, end.Add(time.Second)},
		{"at its last instant", valid, hosts, end, v1alpha1.ReasonCertificateExpiresSoon, false, true, end.Add(time.Second)},
		{"of a day, in its eighteenth hour", daily, hosts, start.Add(18*time.Hour - time.Second), v1alpha1.ReasonCertificateValid, true, true, start.Add(18 * time.Hour)},
		{"of a day, after that", daily, hosts, start.Add(18 * time.Hour), v1alpha1.ReasonCertificateExpiresSoon, false, true, start.Add(24*time.Hour + time.Second)},
		{"after its time", valid, hosts, end.Add(time.Second), v1alpha1.ReasonCertificateExpired, false, false, time.Time{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judge(test.certificate, "mine", test.hosts, test.now)
			if got.condition.reason != test.reason || got.condition.accepted != test.ready || (got.trouble == nil) != test.works || !got.again.Equal(test.again) {
				t.Errorf("verdict is %+v", got)
			}
			if got.trouble != nil && (got.trouble.reason != got.condition.reason || got.trouble.message != got.condition.message) {
				t.Errorf("the condition says %+v and the instance %v", got.condition, got.trouble)
			}
		})
	}
}
