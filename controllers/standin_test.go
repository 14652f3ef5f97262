// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// standIn plays the parts that an API server alone lacks: the controller of
// StatefulSets with a kubelet, and the registry in the pods, which takes up what
// the PackagesPolicies of its instance say.
type standIn struct {
	client client.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	// podless namespaces have StatefulSets, whose pods never come.
	podless map[string]bool
	// deaf namespaces have registries that keep the policy they have.
	deaf map[string]bool
	// ailing namespaces have pods that are not ready, with the status that a kubelet
	// or scheduler would write; in troubled ones the registries name troubles.
	ailing   map[string]func(*corev1.PodStatus)
	troubled map[string][]string
	// registries are real ones; a namespace that has one speaks through it.
	registries map[string]*policy.Live
	last       map[types.NamespacedName]controllers.PodStatus
}

func newStandIn(c client.Client) *standIn {
	return &standIn{
		client: c, done: make(chan struct{}),
		podless: map[string]bool{}, deaf: map[string]bool{}, ailing: map[string]func(*corev1.PodStatus){}, troubled: map[string][]string{},
		registries: map[string]*policy.Live{}, last: map[types.NamespacedName]controllers.PodStatus{},
	}
}

func (n *standIn) start() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		defer GinkgoRecover()
		for ctx.Err() == nil {
			if err := n.runStatefulSets(ctx); err != nil && ctx.Err() == nil {
				GinkgoLogr.Info("The stand-in tries again", "reason", err.Error())
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

func (n *standIn) stop() {
	n.cancel()
	<-n.done
}

// keepPodsAway and makeDeaf change how a namespace behaves.
func (n *standIn) keepPodsAway(namespace string, away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.podless[namespace] = away
}

func (n *standIn) makeDeaf(namespace string, deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf[namespace] = deaf
}

// ail makes pods fail as the function writes; nil makes them well.
func (n *standIn) ail(namespace string, how func(*corev1.PodStatus)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ailing[namespace] = how
}

func (n *standIn) trouble(namespace string, names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.troubled[namespace] = names
}

func (n *standIn) speakThrough(namespace string, live *policy.Live) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.registries[namespace] = live
}

func (n *standIn) runStatefulSets(ctx context.Context) error {
	var sets appsv1.StatefulSetList
	if err := n.client.List(ctx, &sets); err != nil {
		return err
	}
	var pods corev1.PodList
	if err := n.client.List(ctx, &pods); err != nil {
		return err
	}
	running := map[types.NamespacedName]*corev1.Pod{}
	for i := range pods.Items {
		running[client.ObjectKeyFromObject(&pods.Items[i])] = &pods.Items[i]
	}
	var errs []error
	for i := range sets.Items {
		set := &sets.Items[i]
		err := n.runStatefulSet(ctx, set, running[types.NamespacedName{Namespace: set.Namespace, Name: set.Name + "-0"}])
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// runStatefulSet makes one set and its pod, nil for none, what they should be.
func (n *standIn) runStatefulSet(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	n.mu.Lock()
	away, ail := n.podless[set.Namespace], n.ailing[set.Namespace]
	n.mu.Unlock()
	replicas := *set.Spec.Replicas
	if away {
		replicas = 0
	}
	switch {
	case pod == nil && replicas == 1:
		pod = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: set.Namespace, Name: set.Name + "-0", Labels: set.Spec.Template.Labels,
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))},
			},
			Spec: set.Spec.Template.Spec,
		}
		if err := n.client.Create(ctx, pod); err != nil {
			return err
		}
	case pod != nil && replicas == 0:
		return client.IgnoreNotFound(n.client.Delete(ctx, pod, client.GracePeriodSeconds(0)))
	}
	ready := replicas
	if replicas == 1 {
		status := corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "192.0.2.1", PodIPs: []corev1.PodIP{{IP: "192.0.2.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}
		if ail != nil {
			ready = 0
			status = corev1.PodStatus{Phase: corev1.PodPending}
			ail(&status)
		}
		if !equality.Semantic.DeepEqual(status.Conditions, pod.Status.Conditions) || !equality.Semantic.DeepEqual(status.ContainerStatuses, pod.Status.ContainerStatuses) {
			pod.Status = status
			if err := n.client.Status().Update(ctx, pod); err != nil {
				return err
			}
		}
	}
	wanted := appsv1.StatefulSetStatus{
		ObservedGeneration: set.Generation, Replicas: replicas, ReadyReplicas: ready,
		AvailableReplicas: ready, CurrentReplicas: replicas, UpdatedReplicas: replicas,
	}
	if set.Status.ObservedGeneration == wanted.ObservedGeneration && set.Status.ReadyReplicas == ready && set.Status.Replicas == replicas {
		return nil
	}
	set.Status = wanted
	return n.client.Status().Update(ctx, set)
}

// PodStatus answers for the registry in a pod.
func (n *standIn) PodStatus(ctx context.Context, pod *corev1.Pod) (controllers.PodStatus, error) {
	key := client.ObjectKeyFromObject(pod)
	n.mu.Lock()
	deaf, last, troubles, live := n.deaf[pod.Namespace], n.last[key], n.troubled[pod.Namespace], n.registries[pod.Namespace]
	n.mu.Unlock()
	last.Troubles = troubles
	if deaf {
		return last, nil
	}
	var objects v1alpha1.PackagesPolicyList
	if err := n.client.List(ctx, &objects, client.InNamespace(pod.Namespace),
		client.MatchingLabels{v1alpha1.LabelInstance: pod.Labels[v1alpha1.LabelInstance]}); err != nil {
		return controllers.PodStatus{}, err
	}
	joined, revision, err := joinPolicy(objects.Items)
	if err != nil {
		return controllers.PodStatus{PolicyRevision: last.PolicyRevision, PolicyError: err.Error(), Troubles: troubles}, nil
	}
	if live != nil {
		revision = ""
		if snapshot := live.Load(); snapshot != nil {
			revision = snapshot.Revision()
		}
	}
	status := controllers.PodStatus{PolicyRevision: revision, Version: "test", Troubles: troubles}
	status.Instance.Namespace, status.Instance.Name, status.Instance.UID = joined.Instance.Namespace, joined.Instance.Name, joined.Instance.UID
	for _, purge := range joined.Purges {
		status.Purged = append(status.Purged, purge.ID)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf[pod.Namespace] {
		// It became deaf before it could take this up.
		last = n.last[key]
		last.Troubles = troubles
		return last, nil
	}
	n.last[key] = status
	return status, nil
}

// joinPolicy reads a policy as a registry does.
func joinPolicy(objects []v1alpha1.PackagesPolicy) (policy.Policy, string, error) {
	var shards []policy.Shard
	for _, object := range objects {
		shards = append(shards, policy.Shard{
			Index: int(object.Spec.Index), FormatVersion: int(object.Spec.FormatVersion),
			Revision: object.Spec.Revision, Parts: object.Spec.Parts, Document: object.Spec.Document,
		})
	}
	return policy.Join(shards)
}
