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

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/blob/filesystem"
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
	crashed := func(sentence string) corev1.PodStatus {
		return ended(corev1.ContainerStateTerminated{ExitCode: 1, Message: "packages-operator: " + sentence})
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
		"cannot run":        {waiting("RunContainerError"), "RunContainerError"},
		"an image's name":   {waiting("InvalidImageName"), "cannot have the image example.com/packages-operator:1"},
		"with a password":   {crashed("cannot reach postgres://packages:hunter2@db.example.com/packages: refused"), "cannot reach postgres://…@db.example.com/packages: refused"},
		"with a setting":    {crashed(`cannot parse "host=db password=hunter2 sslmode=off"`), `cannot parse "host=db password=… sslmode=off"`},
		"with a header":     {crashed("refused Authorization: Bearer hunter2, again"), "refused Authorization: … …, again"},
		"with a token":      {crashed("no such token pkgt_hunter2AAAA here"), "no such token … here"},
		"with a long value": {crashed("value hunter2" + strings.Repeat("A1", 16) + " is bad"), "ended: value … is bad"},
		"with an instant":   {crashed("at 2026-11-22T03:26:19.123Z: too late"), "at …: too late"},
		"with an address":   {crashed("write tcp 10.0.0.17:43117->10.0.0.2:5432: broken pipe"), "write tcp …->10.0.0.2:5432: broken pipe"},
		"with colors":       {crashed("\x1b[31mred\x00\xff"), "ended: [31mred"},
		"with many words":   {crashed(strings.Repeat("word ", 1000)), "word word…"},
		"other data": {
			crashed(`data directory /data: data belongs to another instance: it is of instance "8f7c1b9e-5a52-4b0e-9a6c-1a2b3c4d5e6f", this is "2"; start with --adopt to take it over`),
			"kubectl annotate pvc -n team acme-packages-data --overwrite packages-operator.io/data-uid=8f7c1b9e-5a52-4b0e-9a6c-1a2b3c4d5e6f",
		},
		"ended well": {ended(corev1.ContainerStateTerminated{ExitCode: 0}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "team", Name: "acme-packages-0", Labels: map[string]string{v1alpha1.LabelInstance: "acme"},
			}, Status: test.status}
			got := ""
			if trouble := podTrouble(pod, nil); trouble != nil {
				got = trouble.message
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			// What differs from one try to the next would be written again and again, and
			// secrets have no place in a condition.
			for _, never := range []string{"17", "2026", "hunter2", "\x00", "\x1b"} {
				if strings.Contains(got, never) {
					t.Errorf("%q is in the message %q", never, got)
				}
			}
			if len(got) > 700 {
				t.Errorf("the message has %d bytes", len(got))
			}
		})
	}
}

// What the registry says of another instance's data is understood.
func TestDataOfAnotherInstanceIsKnownByWhatTheRegistrySays(t *testing.T) {
	directory := t.TempDir()
	store, err := filesystem.Open(directory, filesystem.Options{InstanceUID: "uid-of-one"})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = filesystem.Open(directory, filesystem.Options{InstanceUID: "uid-of-two"})
	if err == nil {
		t.Fatal("the data was handed over")
	}
	found := ended(&corev1.Pod{}, &corev1.ContainerStateTerminated{ExitCode: 1, Message: "packages-operator: " + err.Error()})
	if found.reason != v1alpha1.ReasonDataOfAnotherInstance || !strings.Contains(found.message, "packages-operator.io/data-uid=uid-of-one") {
		t.Errorf("got %v", found)
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
