// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodTrouble(t *testing.T) {
	waiting := func(reason string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Image: "example.com/packages-operator:1",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		}}}
	}
	ended := func(state corev1.ContainerStateTerminated) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: &state},
		}}}
	}
	for name, test := range map[string]struct {
		status corev1.PodStatus
		want   string
	}{
		"starting": {waiting("ContainerCreating"), ""},
		"no node": {corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
			Message: "0/17 nodes are available",
		}}}, "finds no node"},
		"no image":              {waiting("ErrImagePull"), "cannot pull the image example.com/packages-operator:1"},
		"no image, backing off": {waiting("ImagePullBackOff"), "cannot pull the image example.com/packages-operator:1"},
		"no configuration":      {waiting("CreateContainerConfigError"), "CreateContainerConfigError"},
		"ended with a reason": {ended(corev1.ContainerStateTerminated{
			ExitCode: 1,
			Message:  "{\"time\":\"2026-11-22T03:26:19Z\",\"msg\":\"Opened\"}\npackages-operator: another process uses /data\n",
		}), "acme-packages-0 ended: another process uses /data"},
		"ended without one": {ended(corev1.ContainerStateTerminated{ExitCode: 2, Message: "{}"}), "kubectl logs -n team acme-packages-0 --previous"},
		"out of memory":     {ended(corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}), "ran out of memory"},
		"ended well":        {ended(corev1.ContainerStateTerminated{ExitCode: 0}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "acme-packages-0"}, Status: test.status}
			got := podTrouble(pod)
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			// What differs from one try to the next would be written again and again.
			if strings.Contains(got, "17") || strings.Contains(got, "2026") {
				t.Errorf("the message counts or tells the time: %q", got)
			}
		})
	}
}

func TestRolledOut(t *testing.T) {
	one := int32(1)
	done := appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Generation: 2},
		Spec:       appsv1.StatefulSetSpec{Replicas: &one},
		Status: appsv1.StatefulSetStatus{
			ObservedGeneration: 2, ReadyReplicas: 1, UpdatedReplicas: 1, CurrentRevision: "b", UpdateRevision: "b",
		},
	}
	for name, test := range map[string]struct {
		mutate func(*appsv1.StatefulSet)
		want   bool
	}{
		"done":                      {func(*appsv1.StatefulSet) {}, true},
		"not seen yet":              {func(s *appsv1.StatefulSet) { s.Status.ObservedGeneration = 1 }, false},
		"not ready":                 {func(s *appsv1.StatefulSet) { s.Status.ReadyReplicas = 0 }, false},
		"the old pod is ready":      {func(s *appsv1.StatefulSet) { s.Status.UpdatedReplicas = 0 }, false},
		"the old template is still": {func(s *appsv1.StatefulSet) { s.Status.CurrentRevision = "a" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			set := done.DeepCopy()
			test.mutate(set)
			if got := rolledOut(set); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestPodStatusOverHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		want    string
		wantErr string
	}{
		"an answer": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/status" {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			_, _ = w.Write([]byte(`{"policyRevision":"abc","purged":["1"],"new":true}`))
		}, "abc", ""},
		"not now": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "", "503"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, "", "reading the answer"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/status", http.StatusFound)
		}, "", "redirected"},
		"without end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"policyRevision":"` + strings.Repeat("a", 2*maxPodStatusBytes)))
		}, "", "reading the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			reader := NewPodStatusReader().(*httpPodStatus)
			// Every pod's address leads to the server of this test.
			reader.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
				if address != "[2001:db8::1]:8081" {
					t.Errorf("dialed %s", address)
				}
				return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
			}
			got, err := reader.PodStatus(t.Context(), &corev1.Pod{Status: corev1.PodStatus{PodIP: "2001:db8::1"}})
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got %v, want an error with %q", err, test.wantErr)
				}
				return
			}
			if err != nil || got.PolicyRevision != test.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
