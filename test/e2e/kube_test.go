// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// status is what the status of our kinds has in common.
func status(object client.Object) (observed int64, conditions []metav1.Condition) {
	switch o := object.(type) {
	case *v1alpha1.PackagesInstance:
		return o.Status.ObservedGeneration, o.Status.Conditions
	case *v1alpha1.PackagesOrganization:
		return o.Status.ObservedGeneration, o.Status.Conditions
	case *v1alpha1.PackagesRepository:
		return o.Status.ObservedGeneration, o.Status.Conditions
	case *v1alpha1.PackagesToken:
		return o.Status.ObservedGeneration, o.Status.Conditions
	}
	panic(fmt.Sprintf("%T has no conditions", object))
}

// readiness is nil when the object's present generation is ready.
func readiness(ctx context.Context, object client.Object) error {
	if err := env.kube.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return err
	}
	observed, conditions := status(object)
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || observed != object.GetGeneration() || ready.ObservedGeneration != object.GetGeneration():
		return fmt.Errorf("%s: the operator has not looked at generation %d", object.GetName(), object.GetGeneration())
	case ready.Status != metav1.ConditionTrue:
		return fmt.Errorf("%s is not ready: %s: %s", object.GetName(), ready.Reason, ready.Message)
	}
	return nil
}

func eventuallyReady(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Eventually(ctx, func() error { return readiness(ctx, object) }).WithTimeout(patience).Should(Succeed())
}

// eventuallyNotReady waits for a Ready=False with that reason.
func eventuallyNotReady(ctx context.Context, object client.Object, reason string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		_, conditions := status(object)
		ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Status).To(Equal(metav1.ConditionFalse))
		g.Expect(ready.Reason).To(Equal(reason))
		g.Expect(ready.Message).NotTo(BeEmpty())
	}).Should(Succeed())
}

func eventuallyGone(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Eventually(ctx, func() error {
		err := env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("%T %s is still there", object, object.GetName()), err)
	}).WithTimeout(patience).Should(Succeed())
}

// eventuallyRolledOut waits until the operator runs as its Deployment says.
func eventuallyRolledOut(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		var deployments appsv1.DeploymentList
		g.Expect(env.kube.List(ctx, &deployments, client.InNamespace(operatorNamespace))).To(Succeed())
		g.Expect(deployments.Items).NotTo(BeEmpty())
		for _, d := range deployments.Items {
			g.Expect(d.Status.ObservedGeneration).To(Equal(d.Generation))
			g.Expect(d.Status.UpdatedReplicas).To(Equal(*d.Spec.Replicas), "%s: updated replicas", d.Name)
			g.Expect(d.Status.Replicas).To(Equal(*d.Spec.Replicas), "%s: replicas", d.Name)
			g.Expect(d.Status.AvailableReplicas).To(Equal(*d.Spec.Replicas), "%s: available replicas", d.Name)
		}
	}).WithTimeout(patience).Should(Succeed())
}

// change edits an object as kubectl patch does, and returns when the API server
// has accepted it.
func change[T client.Object](ctx context.Context, object T, edit func(T)) {
	GinkgoHelper()
	Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	before := object.DeepCopyObject().(T)
	edit(object)
	Expect(env.kube.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
}

// createForSpec makes an object that goes with the spec.
func createForSpec(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(env.kube.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(env.kube.Delete(ctx, object))).To(Succeed())
	})
}

// registryPod is the pod that serves an instance.
func registryPod(ctx context.Context, namespace, instance string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Expect(env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: instance + "-packages-0"}, pod)).To(Succeed())
	return pod
}

// operatorPods are the manager's pods that are not on their way out.
func operatorPods(ctx context.Context) []corev1.Pod {
	GinkgoHelper()
	var pods corev1.PodList
	Expect(env.kube.List(ctx, &pods, client.InNamespace(operatorNamespace))).To(Succeed())
	live := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	Expect(live).NotTo(BeEmpty())
	return live
}

func podIsReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// incarnation tells whether a pod's containers are still the same processes.
func incarnation(pod *corev1.Pod) string {
	text := "pod " + string(pod.UID)
	for _, c := range pod.Status.ContainerStatuses {
		text += fmt.Sprintf(", container %s after %d restarts", c.ContainerID, c.RestartCount)
	}
	return text
}
