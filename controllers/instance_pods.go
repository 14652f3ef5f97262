// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// stalledRetry is how soon to try again where a change brings no event to us: of an
// object without our label, a quota, a storage class.
const stalledRetry = 10 * time.Second

// observe looks at what runs. The first Ready of a generation waits until the pods
// serve its policy; from then on a pod may come and go.
func (r *instanceReconciler) observe(ctx context.Context, s *instanceScope) error {
	s.conclusion.ready = "docker login, push and pull at " + s.hosts.Docker
	if s.instance.Spec.Docker.Support == v1alpha1.SupportDisabled {
		s.conclusion.ready = "the Docker registry is disabled, as spec.docker.support says; its packages are kept"
	}
	if s.instance.Spec.Suspend {
		return &finding{state: stateIdle, reason: v1alpha1.ReasonSuspended,
			message: "suspended, so no registry runs: set spec.suspend to false to run it again"}
	}

	key := client.ObjectKeyFromObject(s.instance)
	var statefulSet appsv1.StatefulSet
	var all corev1.PodList
	err := r.cached.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: desired.RegistryName(key.Name)}, &statefulSet)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the StatefulSet: %w", err)
	}
	if err := r.cached.List(ctx, &all, client.InNamespace(key.Namespace), client.MatchingLabels(desired.PodLabels(key.Name))); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}

	ready := wasReady(s.instance.Status.Conditions, s.instance.Generation)
	if ready && !r.verdicts.outstanding(key, s.purges) {
		return nil
	}
	running := slices.DeleteFunc(slices.Clone(all.Items), func(pod corev1.Pod) bool { return !podReady(&pod) })
	served, policyError := r.ask(ctx, s, running)
	if len(running) > 0 && (!served || r.verdicts.outstanding(key, s.purges)) {
		// Without a pod that runs, the one that will wakes us.
		s.pollAfter = r.verdicts.nextPoll(key)
	}
	if ready {
		return nil
	}
	switch {
	case !rolledOut(&statefulSet):
		return podFinding(&statefulSet, all.Items)
	case policyError != "":
		return progressing(v1alpha1.ReasonPolicyNotServed, "the registry keeps its former policy: "+policyError)
	case !served:
		return progressing(v1alpha1.ReasonPolicyNotServed, "waiting for the registry to take up its policy")
	}
	return nil
}

// ask reads the status of the pods that run and records what they serve. It returns
// whether they serve the instance's generation, and why not if they say so.
func (r *instanceReconciler) ask(ctx context.Context, s *instanceScope, pods []corev1.Pod) (served bool, policyError string) {
	for i := range pods {
		pod := &pods[i]
		status, err := r.pods.PodStatus(ctx, pod)
		if err != nil {
			// A pod that just went away, most likely. It is asked again.
			ctrl.LoggerFrom(ctx).V(1).Info("No status from a registry pod", "pod", pod.Name, "reason", err.Error())
			continue
		}
		if status.Instance.UID != "" && status.Instance.UID != string(s.dataUID) {
			continue
		}
		policyError = status.PolicyError
		served = r.verdicts.observe(client.ObjectKeyFromObject(s.instance), status.PolicyRevision, status.Purged)
	}
	return served, policyError
}

func podReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// rolledOut says whether every pod is one of the newest template, and ready.
func rolledOut(statefulSet *appsv1.StatefulSet) bool {
	wanted := int32(1)
	if statefulSet.Spec.Replicas != nil {
		wanted = *statefulSet.Spec.Replicas
	}
	status := statefulSet.Status
	return status.ObservedGeneration == statefulSet.Generation &&
		status.UpdatedReplicas >= wanted && status.ReadyReplicas >= wanted &&
		status.CurrentRevision == status.UpdateRevision
}

// podFinding says why the pods are not ready, as far as they tell. It leaves out
// what differs from one try to the next.
func podFinding(statefulSet *appsv1.StatefulSet, pods []corev1.Pod) *finding {
	for i := range pods {
		if message := podTrouble(&pods[i]); message != "" {
			return progressing(v1alpha1.ReasonPodsNotReady, message)
		}
	}
	return progressing(v1alpha1.ReasonPodsNotReady, "waiting for the pod of StatefulSet "+statefulSet.Name+" to become ready")
}

func podTrouble(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return fmt.Sprintf("pod %s finds no node: kubectl describe pod -n %s %s says what is short, or that its volume is not bound",
				pod.Name, pod.Namespace, pod.Name)
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil {
			switch waiting.Reason {
			// These two take turns.
			case "ErrImagePull", "ImagePullBackOff":
				return fmt.Sprintf("pod %s cannot pull the image %s: check that the node can reach it", pod.Name, container.Image)
			case "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError":
				return fmt.Sprintf("pod %s cannot start (%s): kubectl describe pod -n %s %s says more",
					pod.Name, waiting.Reason, pod.Namespace, pod.Name)
			}
		}
		for _, terminated := range []*corev1.ContainerStateTerminated{container.State.Terminated, container.LastTerminationState.Terminated} {
			if terminated != nil && terminated.ExitCode != 0 && !container.Ready {
				return fmt.Sprintf("pod %s ended: %s", pod.Name, lastWords(pod, terminated))
			}
		}
	}
	return ""
}

// lastWords is the sentence that the registry exits with, which is the last of its
// lines; those before are logs, with timestamps.
func lastWords(pod *corev1.Pod, terminated *corev1.ContainerStateTerminated) string {
	if terminated.Reason == "OOMKilled" {
		return "it ran out of memory"
	}
	for line := range strings.SplitSeq(terminated.Message, "\n") {
		if sentence, found := strings.CutPrefix(line, "packages-operator: "); found {
			return sentence
		}
	}
	return fmt.Sprintf("kubectl logs -n %s %s --previous says more", pod.Namespace, pod.Name)
}
