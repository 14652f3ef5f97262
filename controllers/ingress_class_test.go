// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

func TestWhichClassServesAnIngress(t *testing.T) {
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	class := func(name string, age time.Duration, isDefault string) networkingv1.IngressClass {
		return networkingv1.IngressClass{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, CreationTimestamp: metav1.NewTime(start.Add(-age)),
				Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: isDefault},
			},
			Spec: networkingv1.IngressClassSpec{Controller: "example.com/" + name},
		}
	}
	old, new1, new2, plain := class("old", time.Hour, "true"), class("new-1", 0, "true"), class("new-2", 0, "true"), class("plain", 0, "false")
	for _, test := range []struct {
		name     string
		classes  []networkingv1.IngressClass
		exposure v1alpha1.IngressExposure
		want     desired.IngressClass
		message  string
	}{
		{"the one that is named", []networkingv1.IngressClass{old, plain}, v1alpha1.IngressExposure{ClassName: "plain"}, desired.IngressClass{Name: "plain", Controller: "example.com/plain"}, ""},
		{"one that is not there", []networkingv1.IngressClass{plain, old}, v1alpha1.IngressExposure{ClassName: "web"}, desired.IngressClass{Name: "web"}, "there is no IngressClass web: install its ingress controller, or name another in spec.exposure.ingress.className; there is old, plain"},
		{"none at all", nil, v1alpha1.IngressExposure{ClassName: "web"}, desired.IngressClass{Name: "web"}, "there is no IngressClass web: install its ingress controller, or name another in spec.exposure.ingress.className"},
		{"the default", []networkingv1.IngressClass{plain, old}, v1alpha1.IngressExposure{}, desired.IngressClass{Name: "old", Controller: "example.com/old"}, ""},
		{"the newest default", []networkingv1.IngressClass{old, new1}, v1alpha1.IngressExposure{}, desired.IngressClass{Name: "new-1", Controller: "example.com/new-1"}, ""},
		{"the first by name of the newest", []networkingv1.IngressClass{new2, new1, old}, v1alpha1.IngressExposure{}, desired.IngressClass{Name: "new-1", Controller: "example.com/new-1"}, ""},
		{"no default", []networkingv1.IngressClass{plain}, v1alpha1.IngressExposure{}, desired.IngressClass{}, "the cluster has no default IngressClass: name one in spec.exposure.ingress.className; there is plain"},
		{"the annotation of old", []networkingv1.IngressClass{old, plain}, v1alpha1.IngressExposure{Annotations: map[string]string{legacyClass: "plain"}}, desired.IngressClass{Controller: "example.com/plain"}, ""},
		{"the annotation of old, with a name that is no class", []networkingv1.IngressClass{old}, v1alpha1.IngressExposure{Annotations: map[string]string{legacyClass: "gce"}}, desired.IngressClass{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, finding := chooseClass(test.classes, &test.exposure)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			switch {
			case test.message == "" && finding != nil:
				t.Errorf("finding: %v", finding)
			case test.message != "" && (finding == nil || finding.message != test.message || finding.reason != v1alpha1.ReasonIngressClassNotFound):
				t.Errorf("finding is %v, want %s", finding, test.message)
			}
		})
	}
}

func TestAMessageListsFewClasses(t *testing.T) {
	var classes []networkingv1.IngressClass
	for _, name := range strings.Split("g f e d c b a", " ") {
		classes = append(classes, networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	if got, want := whatThereIs(classes), "; there is a, b, c, d, e, …"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
