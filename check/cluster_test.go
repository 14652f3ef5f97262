// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/check"
)

// declared are an instance, a token of it and what the operator made for them.
type declared struct {
	instance v1alpha1.PackagesInstance
	token    v1alpha1.PackagesToken
	secret   corev1.Secret
	service  corev1.Service
}

func newDeclared() *declared {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "packages", Name: name, Generation: 1}
	}
	ready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: v1alpha1.ReasonSucceeded}}
	return &declared{
		instance: v1alpha1.PackagesInstance{
			ObjectMeta: meta("acme"),
			Status: v1alpha1.PackagesInstanceStatus{
				Conditions: ready,
				Endpoints:  v1alpha1.InstanceEndpoints{Docker: &v1alpha1.Endpoint{Host: "docker.example.com", URL: "https://docker.example.com"}},
			},
		},
		token: v1alpha1.PackagesToken{
			ObjectMeta: meta("monalisa"),
			Spec: v1alpha1.PackagesTokenSpec{
				InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, User: "monalisa",
				Repositories: []string{"octo-org/*", "octocat/octo-app"},
				Secret:       &v1alpha1.TokenSecret{Name: "monalisa-token"},
			},
			Status: v1alpha1.PackagesTokenStatus{Conditions: ready},
		},
		secret:  corev1.Secret{ObjectMeta: meta("monalisa-token"), Data: map[string][]byte{"password": []byte("pkgt_value")}},
		service: corev1.Service{ObjectMeta: meta("acme-packages"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.7"}},
	}
}

func (d *declared) find(t *testing.T, target check.Target) (*check.Registry, error) {
	t.Helper()
	scheme := clientgoscheme.Scheme
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var objects []client.Object
	for _, object := range []client.Object{&d.instance, &d.token, &d.secret, &d.service} {
		if object.GetName() != "" {
			objects = append(objects, object)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	target.Namespace, target.Instance, target.Token = "packages", "acme", "monalisa"
	return target.Find(ctx, fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), func(string) {})
}

func TestATargetIsFoundThroughItsObjects(t *testing.T) {
	r, err := newDeclared().find(t, check.Target{})
	if err != nil {
		t.Fatal(err)
	}
	if r.URL != "https://docker.example.com" || r.Address != "" || r.User != "monalisa" || r.Password != "pkgt_value" || r.Repository != "octocat/octo-app" {
		t.Errorf("found %s %s %s %s", r.URL, r.Address, r.User, r.Repository)
	}
	r, err = newDeclared().find(t, check.Target{ViaService: true, Password: "mine", Repository: "octo-org/shared"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Address != "10.96.0.7:80" || r.Password != "mine" || r.Repository != "octo-org/shared" {
		t.Errorf("found %s %s", r.Address, r.Repository)
	}
}

func TestATargetThatIsNotReadySaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*declared)
		want string
	}{
		"an instance that is not there": {
			func(d *declared) { d.instance = v1alpha1.PackagesInstance{} },
			"the PackagesInstance packages/acme is not ready: ",
		},
		"an operator that does not look": {
			func(d *declared) { d.instance.Status.Conditions = nil },
			"the PackagesInstance packages/acme is not ready: the operator has not looked at it: is it running, and does it serve this namespace?",
		},
		"an instance without a volume": {
			func(d *declared) {
				d.instance.Status.Conditions = []metav1.Condition{{
					Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: 1,
					Reason: v1alpha1.ReasonPodsNotReady, Message: "the volume claim waits for a volume",
				}}
			},
			"the PackagesInstance packages/acme is not ready: PodsNotReady: the volume claim waits for a volume",
		},
		"an instance without docker": {
			func(d *declared) {
				d.instance.Status.Endpoints.Docker, d.instance.Spec.Docker.Support = nil, v1alpha1.SupportDisabled
			},
			"the PackagesInstance acme serves no docker: spec.docker.support is Disabled",
		},
		"a token of another instance": {
			func(d *declared) { d.token.Spec.InstanceRef.Name = "other" },
			"the PackagesToken monalisa is of the instance other, and not of acme",
		},
		"a token for all repositories": {
			func(d *declared) { d.token.Spec.Repositories = []string{"octo-org/*"} },
			"the PackagesToken monalisa is not narrowed to a repository: name one with --repository OWNER/REPOSITORY",
		},
		"a token without its Secret": {
			func(d *declared) { d.secret = corev1.Secret{} },
			"reading the token's value: ",
		},
		"a Secret without the value": {
			func(d *declared) { d.secret.Data = nil },
			"the Secret monalisa-token has no password",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeclared()
			test.edit(d)
			if _, err := d.find(t, check.Target{}); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestAServiceThatIsLateIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &check.Registry{Address: listener.Addr().String()}
	if err := r.Reach(t.Context()); err != nil {
		t.Error(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Reach(ctx); err == nil || !strings.Contains(err.Error(), "the instance's Service cannot be reached: dial tcp "+r.Address) {
		t.Errorf("error is %v", err)
	}

	late := make(chan error, 1)
	go func() {
		time.Sleep(200 * time.Millisecond)
		listener, err := net.Listen("tcp", r.Address)
		if err == nil {
			t.Cleanup(func() { _ = listener.Close() })
		}
		late <- err
	}()
	if err := r.Reach(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-late; err != nil {
		t.Error(err)
	}
}
