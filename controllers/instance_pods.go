// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
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

// restartGrace is how long a registry that was ready may be without a pod that is,
// and without a word why, before the instance is no longer called ready.
const restartGrace = 2 * time.Minute

// observe looks at what runs. The first Ready of a generation waits until the pods
// serve its policy. From then on a pod may restart; what keeps one from running, or
// the registry from working, takes Ready back.
func (r *instanceReconciler) observe(ctx context.Context, s *instanceScope) error {
	s.conclusion.ready = "docker login, push and pull at " + s.hosts.Docker
	if s.instance.Spec.Docker.Support == v1alpha1.SupportDisabled {
		s.conclusion.ready = "the Docker registry is disabled, as spec.docker.support says; its packages are kept"
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
	if s.instance.Spec.Suspend {
		return s.suspended(all.Items)
	}

	ready := wasReady(s.instance.Status.Conditions, s.instance.Generation)
	troubles, served, policyError := r.inspect(ctx, s, all.Items, ready)
	switch {
	case s.blocked != nil:
		return s.blocked
	case ready:
		return r.stillReady(s, all.Items, troubles)
	case !rolledOut(&statefulSet):
		if len(troubles) > 0 {
			return troubleFinding(key, troubles[0])
		}
		return podFinding(&statefulSet, all.Items, s.volume)
	case policyError != "":
		return progressing(v1alpha1.ReasonPolicyNotServed, "the registry keeps its former policy: "+policyError)
	case !served:
		return progressing(v1alpha1.ReasonPolicyNotServed, "waiting for the registry to take up its policy")
	case len(troubles) > 0:
		return troubleFinding(key, troubles[0])
	}
	r.health.found(key)
	return nil
}

// suspended says that nothing runs, as soon as nothing does: then the volume may be
// copied or replaced.
func (s *instanceScope) suspended(pods []corev1.Pod) error {
	switch {
	case s.blocked != nil:
		return s.blocked
	case len(pods) > 0:
		return progressing(v1alpha1.ReasonProgressing, fmt.Sprintf("waiting for pod %s to end, as spec.suspend says", pods[0].Name))
	}
	s.conclusion.readyReason = v1alpha1.ReasonSuspended
	s.conclusion.ready = "suspended, as spec.suspend says: no registry runs, and its packages are kept; set spec.suspend to false to run it again"
	return nil
}

// inspect asks the pods how they are, unless the answers are known and can change
// nothing.
func (r *instanceReconciler) inspect(ctx context.Context, s *instanceScope, pods []corev1.Pod, ready bool) (troubles []string, served bool, policyError string) {
	key := client.ObjectKeyFromObject(s.instance)
	answering := slices.DeleteFunc(slices.Clone(pods), func(pod corev1.Pod) bool { return !podAnswers(&pod) })
	unknown := slices.ContainsFunc(answering, func(pod corev1.Pod) bool {
		_, known := r.health.of(pod.UID)
		return !known
	})
	if !ready || unknown || r.verdicts.outstanding(key, s.purges) {
		served, policyError = r.ask(ctx, s, answering)
		if slices.ContainsFunc(answering, func(pod corev1.Pod) bool { return podReady(&pod) }) &&
			(!ready && !served || r.verdicts.outstanding(key, s.purges)) {
			// Without a pod that is ready, the one that will be wakes us.
			s.pollAfter = r.verdicts.nextPoll(key)
		}
	}
	for i := range answering {
		said, _ := r.health.of(answering[i].UID)
		troubles = append(troubles, said...)
	}
	return troubles, served, policyError
}

// stillReady says what takes Ready from an instance that had it.
func (r *instanceReconciler) stillReady(s *instanceScope, pods []corev1.Pod, troubles []string) error {
	key := client.ObjectKeyFromObject(s.instance)
	if len(troubles) > 0 {
		return troubleFinding(key, troubles[0])
	}
	if slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return podReady(&pod) }) {
		r.health.found(key)
		return nil
	}
	for i := range pods {
		if trouble := podTrouble(&pods[i], s.volume); trouble != nil && trouble.lasts {
			return trouble.finding
		}
	}
	now := r.now()
	if left := r.health.missing(key, now).Add(restartGrace).Sub(now); left > 0 {
		s.pollAfter = left
		return nil
	}
	return podFinding(nil, pods, s.volume)
}

// ask reads the status of pods and records what they serve and what is wrong with
// them. It returns whether those that are ready serve the instance's generation, and
// why not if they say so.
func (r *instanceReconciler) ask(ctx context.Context, s *instanceScope, pods []corev1.Pod) (served bool, policyError string) {
	for i := range pods {
		pod := &pods[i]
		status, err := r.pods.PodStatus(ctx, pod)
		if err != nil {
			// A pod that just went away, most likely, or comes. It is asked again.
			ctrl.LoggerFrom(ctx).V(1).Info("No status from a registry pod", "pod", pod.Name, "reason", err.Error())
			continue
		}
		if status.Instance.UID != "" && status.Instance.UID != string(s.dataUID) {
			continue
		}
		r.health.record(pod.UID, status.Troubles)
		if podReady(pod) {
			policyError = status.PolicyError
			served = r.verdicts.observe(client.ObjectKeyFromObject(s.instance), status.PolicyRevision, status.Purged)
		}
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
