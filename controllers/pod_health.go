// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// podHealth is what the registries said is wrong with them when they were last
// asked, and since when instances have no pod that is ready. Safe for concurrent
// use.
type podHealth struct {
	mu      sync.Mutex
	pods    map[types.UID][]string
	without map[types.NamespacedName]time.Time
	wake    func(types.NamespacedName)
}

// record keeps the troubles that a pod names, and says whether they are others than
// before.
func (h *podHealth) record(pod types.UID, troubles []string) (changed bool) {
	troubles = slices.Sorted(slices.Values(troubles))
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.pods[pod]
	if h.pods == nil {
		h.pods = map[types.UID][]string{}
	}
	h.pods[pod] = troubles
	return !slices.Equal(before, troubles)
}

// of returns what a pod said; known is false if it was never asked.
func (h *podHealth) of(pod types.UID) (troubles []string, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	troubles, known = h.pods[pod]
	return troubles, known
}

// keep forgets all pods but those.
func (h *podHealth) keep(pods map[types.UID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for uid := range h.pods {
		if !pods[uid] {
			delete(h.pods, uid)
		}
	}
}

// missing returns since when an instance has been without a pod that is ready.
func (h *podHealth) missing(instance types.NamespacedName, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since, known := h.without[instance]; known {
		return since
	}
	if h.without == nil {
		h.without = map[types.NamespacedName]time.Time{}
	}
	h.without[instance] = now
	return now
}

// found forgets that an instance was without a pod.
func (h *podHealth) found(instance types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.without, instance)
}

// source feeds a controller's queue with the instances whose pods' troubles changed.
func (h *podHealth) source(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake = func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) }
	return nil
}

func (h *podHealth) wakeInstance(key types.NamespacedName) {
	h.mu.Lock()
	wake := h.wake
	h.mu.Unlock()
	if wake != nil {
		wake(key)
	}
}

// podsAskedAtOnce bounds what a round costs.
const podsAskedAtOnce = 8

// healthWatch asks every registry how it is, again and again: a disk that fills up
// is no event of the Kubernetes API. A round costs a small request for each pod;
// an instance is reconciled only when an answer differs from the one before.
type healthWatch struct {
	cached client.Reader
	pods   PodStatusReader
	health *podHealth
	every  time.Duration
}

// Start implements manager.Runnable.
func (w *healthWatch) Start(ctx context.Context) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.round(ctx)
		}
	}
}

func (w *healthWatch) round(ctx context.Context) {
	var pods corev1.PodList
	if err := w.cached.List(ctx, &pods, client.MatchingLabels{desired.LabelComponent: desired.ComponentRegistry}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the registries' pods")
		return
	}
	places := make(chan struct{}, podsAskedAtOnce)
	var wait sync.WaitGroup
	there := map[types.UID]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		there[pod.UID] = true
		if !podAnswers(pod) {
			continue
		}
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			status, err := w.pods.PodStatus(ctx, pod)
			// One that does not answer is known by its probes.
			if err == nil && w.health.record(pod.UID, status.Troubles) {
				w.health.wakeInstance(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelInstance]})
			}
		})
	}
	wait.Wait()
	w.health.keep(there)
}

// podAnswers says whether a pod may be asked: its registry runs, ready or not.
func podAnswers(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
		return false
	}
	return podReady(pod) || slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Running != nil
	})
}
