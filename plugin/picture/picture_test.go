// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "team", Name: name, Generation: 2}
}

func made(name string) metav1.ObjectMeta {
	m := named(name)
	m.Labels = map[string]string{v1alpha1.LabelInstance: "acme"}
	return m
}

func condition(kind string, status bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: 2}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

func ready() []metav1.Condition {
	return []metav1.Condition{
		condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonSucceeded, "in force"),
		condition(v1alpha1.ConditionAccepted, true, v1alpha1.ReasonAccepted, "nothing stands in its way"),
	}
}

// ofOneInstance are objects of an instance that is all right.
func ofOneInstance() Objects {
	ref := v1alpha1.InstanceReference{Name: "acme"}
	expires := metav1.NewTime(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	one, class, volumeClass := int32(1), "traefik", "fast"
	return Objects{
		Instances: []v1alpha1.PackagesInstance{{
			ObjectMeta: named("acme"),
			Spec: v1alpha1.PackagesInstanceSpec{
				Docker:   v1alpha1.DockerSpec{Support: v1alpha1.SupportEnabled},
				Exposure: v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressExposure{TLS: &v1alpha1.IngressTLS{SecretName: "acme-tls"}}},
			},
			Status: v1alpha1.PackagesInstanceStatus{
				ObservedGeneration: 2, PolicyRevision: "r7", Version: "v1.2.3",
				Conditions: append(ready(), condition(v1alpha1.ConditionCertificateReady, true, v1alpha1.ReasonCertificateValid, "covers all")),
				Endpoints:  v1alpha1.InstanceEndpoints{Docker: &v1alpha1.Endpoint{Host: "docker.packages.test", URL: "https://docker.packages.test"}},
			},
		}},
		Organizations: []v1alpha1.PackagesOrganization{{
			ObjectMeta: named("octo-org"),
			Spec: v1alpha1.PackagesOrganizationSpec{InstanceRef: ref, Name: "octo-org", Owners: []string{"octocat"}, Members: []string{"hubot", "monalisa"},
				Teams: []v1alpha1.OrganizationTeam{{Name: "platform"}}},
			Status: v1alpha1.PackagesOrganizationStatus{ObservedGeneration: 2, Conditions: ready()},
		}},
		Repositories: []v1alpha1.PackagesRepository{
			{
				ObjectMeta: named("shared"),
				Spec:       v1alpha1.PackagesRepositorySpec{InstanceRef: ref, Owner: "octo-org", Name: "shared", Visibility: v1alpha1.VisibilityInternal},
				Status:     v1alpha1.PackagesRepositoryStatus{ObservedGeneration: 2, Conditions: ready()},
			},
			{
				ObjectMeta: named("octo-app"),
				Spec:       v1alpha1.PackagesRepositorySpec{InstanceRef: ref, Owner: "octocat", Name: "octo-app", Visibility: v1alpha1.VisibilityPrivate},
				Status:     v1alpha1.PackagesRepositoryStatus{ObservedGeneration: 2, Conditions: ready()},
			},
		},
		Tokens: []v1alpha1.PackagesToken{
			{
				ObjectMeta: named("monalisa"),
				Spec: v1alpha1.PackagesTokenSpec{InstanceRef: ref, User: "monalisa", Scopes: []v1alpha1.Scope{"read:packages", "write:packages"},
					Secret: &v1alpha1.TokenSecret{Name: "monalisa-token"}},
				Status: v1alpha1.PackagesTokenStatus{ObservedGeneration: 2, Conditions: ready()},
			},
			{
				ObjectMeta: named("ci"),
				Spec: v1alpha1.PackagesTokenSpec{InstanceRef: ref, User: "hubot", Scopes: []v1alpha1.Scope{"read:packages"}, Repositories: []string{"octocat/*"}, ExpiresAt: &expires,
					Source: &v1alpha1.TokenSource{SecretRef: v1alpha1.SecretKeyReference{Name: "mine", Key: "value"}}},
				Status: v1alpha1.PackagesTokenStatus{ObservedGeneration: 2, Conditions: ready()},
			},
		},
		Claims: []corev1.PersistentVolumeClaim{{
			ObjectMeta: made("acme-packages-data"),
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: &volumeClass},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		}},
		StatefulSets: []appsv1.StatefulSet{{
			ObjectMeta: made("acme-packages"), Spec: appsv1.StatefulSetSpec{Replicas: &one}, Status: appsv1.StatefulSetStatus{ReadyReplicas: 1},
		}},
		Ingresses: []networkingv1.Ingress{{
			ObjectMeta: made("acme-packages"),
			Spec:       networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{Host: "docker.packages.test"}, {Host: "packages.test"}}},
			Status:     networkingv1.IngressStatus{LoadBalancer: networkingv1.IngressLoadBalancerStatus{Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: "198.19.0.2"}}}},
		}},
	}
}

func TestAPictureOfWhatIsWell(t *testing.T) {
	golden(t, "well", Of(ofOneInstance(), "acme"))
}

func TestAPictureOfWhatIsWrong(t *testing.T) {
	objects := ofOneInstance()
	instance := &objects.Instances[0]
	instance.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonPodsNotReady, "the image cannot be pulled: make it available to the cluster"),
		condition(v1alpha1.ConditionReconciling, true, v1alpha1.ReasonPodsNotReady, "the image cannot be pulled: make it available to the cluster"),
		condition(v1alpha1.ConditionCertificateReady, false, v1alpha1.ReasonCertificateExpiresSoon, "the certificate expires within two weeks: renew it"),
	}
	instance.Status.Endpoints.Docker = nil
	objects.Claims[0].Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	objects.Claims[0].Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	objects.StatefulSets[0].Status.ReadyReplicas = 0
	objects.Pods = []corev1.Pod{{ObjectMeta: made("acme-packages-0"), Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
	}}}}
	objects.Ingresses = nil
	objects.Unseen = []string{"ingresses"}
	// The operator has seen the generation before only.
	objects.Repositories[1].Status.ObservedGeneration = 1
	objects.Tokens[1].Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonExpired, "it has expired: create another"),
		condition(v1alpha1.ConditionAccepted, false, v1alpha1.ReasonExpired, "it has expired: create another"),
		condition(v1alpha1.ConditionStalled, true, v1alpha1.ReasonExpired, "it has expired: create another"),
	}
	// What refers to an instance that is not there has no place but among the problems.
	objects.Tokens = append(objects.Tokens, v1alpha1.PackagesToken{
		ObjectMeta: named("lost"),
		Spec:       v1alpha1.PackagesTokenSpec{InstanceRef: v1alpha1.InstanceReference{Name: "nowhere"}, User: "hubot"},
		Status: v1alpha1.PackagesTokenStatus{ObservedGeneration: 2, Conditions: []metav1.Condition{
			condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonInstanceNotFound, "there is no PackagesInstance nowhere"),
		}},
	})
	golden(t, "wrong", Of(objects, ""))

	if one := Of(objects, "acme"); slices.ContainsFunc(one.Problems, func(p Problem) bool { return p.Name == "lost" }) {
		t.Error("what is wrong with acme includes what refers to another instance")
	}
}

func TestOtherNamespacesAreOtherInstances(t *testing.T) {
	objects := ofOneInstance()
	other := objects.Instances[0]
	other.Namespace = "another"
	objects.Instances = append(objects.Instances, other)
	picture := Of(objects, "")
	if len(picture.Instances) != 2 || picture.Instances[0].Namespace != "another" {
		t.Fatalf("the instances are %+v", picture.Instances)
	}
	if first := picture.Instances[0]; len(first.Tokens)+len(first.Repositories)+len(first.Organizations)+len(first.Storage) != 0 || first.Pods != nil {
		t.Errorf("an instance shows what belongs to another: %+v", first)
	}
}

func TestWhatOtherNamespacesDeclareBelongsToTheInstance(t *testing.T) {
	objects := ofOneInstance()
	foreign := objects.Repositories[0]
	foreign.Namespace, foreign.Spec.Name = "team-b", "foreign"
	foreign.Spec.InstanceRef.Namespace = "team"
	// Of the same name, and for an instance of its own namespace.
	other := objects.Repositories[1]
	other.Namespace = "team-b"
	objects.Repositories = append(objects.Repositories, foreign, other)
	picture := Of(objects, "acme")
	var names []string
	for _, r := range picture.Instances[0].Repositories {
		names = append(names, r.Namespace+" "+r.Name)
	}
	if diff := cmp.Diff([]string{"team octocat/octo-app", "team octo-org/shared", "team-b octo-org/foreign"}, names); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}
	var text bytes.Buffer
	if err := picture.WriteText(&text); err != nil || !strings.Contains(text.String(), "octo-org/foreign (of team-b)") {
		t.Errorf("%v:\n%s", err, &text)
	}
}

// golden compares both forms of a picture with files.
func golden(t *testing.T, name string, picture Picture) {
	t.Helper()
	var text bytes.Buffer
	if err := picture.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.MarshalIndent(picture, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{name + ".txt": text.String(), name + ".json": string(encoded) + "\n"} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}
