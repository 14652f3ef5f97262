// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
)

func TestWhatCertManagerSays(t *testing.T) {
	type condition = certmanagerv1.CertificateCondition
	ready := func(status metav1.ConditionStatus, generation int64) condition {
		return condition{Type: "Ready", Status: status, Reason: "DoesNotExist", Message: "Issuing certificate as Secret does not exist", ObservedGeneration: generation}
	}
	for _, test := range []struct {
		name       string
		conditions []condition
		want       string
	}{
		{"nothing yet", nil, "waiting for cert-manager to look at the Certificate acme-packages"},
		{"of an earlier generation", []condition{ready(metav1.ConditionTrue, 1)}, "waiting for cert-manager to look at the Certificate acme-packages"},
		{"that it is at it", []condition{ready(metav1.ConditionFalse, 2), {Type: "Issuing", Status: metav1.ConditionTrue, Reason: "DoesNotExist", Message: "Issuing"}}, "cert-manager has no certificate for the Certificate acme-packages: Issuing certificate as Secret does not exist (DoesNotExist)"},
		{"that it failed", []condition{{Type: "Issuing", Status: metav1.ConditionFalse, Reason: "Failed", Message: "the order is in error"}, ready(metav1.ConditionFalse, 2)}, "cert-manager has no certificate for the Certificate acme-packages: Issuing certificate as Secret does not exist (DoesNotExist); the order is in error (Failed)"},
		{"that all is well", []condition{ready(metav1.ConditionTrue, 2)}, ""},
		{"that all is well, though it failed before", []condition{ready(metav1.ConditionTrue, 2), {Type: "Issuing", Status: metav1.ConditionFalse, Reason: "Failed"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := issuanceTrouble(&certmanagerv1.Certificate{
				ObjectMeta: metav1.ObjectMeta{Name: "acme-packages", Generation: 2},
				Status:     certmanagerv1.CertificateStatus{Conditions: test.conditions},
			})
			switch {
			case test.want == "" && got != nil:
				t.Errorf("trouble: %v", got)
			case test.want != "" && (got == nil || got.message != test.want || got.state != stateProgressing || got.reason != v1alpha1.ReasonCertificateNotIssued):
				t.Errorf("trouble is %v, want %s", got, test.want)
			}
		})
	}
}

// The certificate in the Secret decides whether clients can connect.
func TestWhatAnIssuedCertificateIsWorth(t *testing.T) {
	works := certificateVerdict{condition: acceptance{true, v1alpha1.ReasonCertificateValid, "valid"}}
	f := stalled(v1alpha1.ReasonHostNotCovered, "not covered")
	broken := certificateVerdict{condition: acceptance{false, f.reason, f.message}, trouble: f}
	pending := issuance{progressing(v1alpha1.ReasonCertificateNotIssued, "not yet")}
	for _, test := range []struct {
		name    string
		secret  certificateVerdict
		issued  issuance
		reason  string
		trouble *finding
	}{
		{"issued and right", works, issuance{}, v1alpha1.ReasonCertificateValid, nil},
		{"issued and wrong", broken, issuance{}, v1alpha1.ReasonHostNotCovered, f},
		{"about to be replaced", works, pending, v1alpha1.ReasonCertificateNotIssued, nil},
		{"about to be put right", broken, pending, v1alpha1.ReasonCertificateNotIssued, pending.trouble},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judgeIssued(test.secret, test.issued)
			if got.condition.reason != test.reason || got.trouble != test.trouble || got.condition.accepted != (test.reason == v1alpha1.ReasonCertificateValid) {
				t.Errorf("verdict is %+v", got)
			}
		})
	}
}
