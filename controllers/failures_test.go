// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// waiting is a pod whose container waits for a reason.
func waiting(reason string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "registry", Image: "packages-operator:test",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off 20s, try 7"}},
		}}
	}
}

// crashing is a pod whose container ended with those last words.
func crashing(words string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		waiting("CrashLoopBackOff")(s)
		s.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Message: words}
	}
}

func unschedulable(s *corev1.PodStatus) {
	s.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/17 nodes are available",
	}}
}

var _ = Describe("What keeps a registry's pod from running", func() {
	DescribeTable("is told before it ran and after, and forgotten when it is over:",
		func(ctx SpecContext, how func(*corev1.PodStatus), health, reason, message string) {
			namespace := newNamespace(ctx)
			instance := newInstance(namespace)
			node.ail(namespace, how)
			create(ctx, instance)
			told := func() {
				conditions(ctx, instance).Should(And(beProgressing(reason), ContainElement(HaveField("Message", ContainSubstring(message)))))
				haveStatus(ctx, instance).Should(Equal("InProgress " + health))
			}
			told()
			node.ail(namespace, nil)
			conditions(ctx, instance).Should(beReady())
			haveStatus(ctx, instance).Should(Equal("Current Healthy"))

			node.ail(namespace, how)
			told()
			node.ail(namespace, nil)
			conditions(ctx, instance).Should(beReady())
		},
		Entry("the image cannot be pulled", waiting("ErrImagePull"), "Degraded", v1alpha1.ReasonImagePullFailed, "cannot pull the image packages-operator:test"),
		Entry("the image cannot be pulled, again", waiting("ImagePullBackOff"), "Degraded", v1alpha1.ReasonImagePullFailed, "cannot pull the image packages-operator:test"),
		Entry("no node takes it, for its volume waits", unschedulable, "Progressing", v1alpha1.ReasonVolumePending, "kubectl describe pvc -n "),
		Entry("it ends again and again", crashing("{\"time\":\"2026-11-22T03:26:19Z\"}\npackages-operator: cannot open postgres://u:hunter2@db/x\n"),
			"Degraded", v1alpha1.ReasonPodCrashing, "pod acme-packages-0 ended: cannot open postgres://…@db/x"),
		Entry("it cannot be started", waiting("CreateContainerConfigError"), "Progressing", v1alpha1.ReasonPodsNotReady, "CreateContainerConfigError"),
	)

	It("is a node, when the volume is there", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		node.ail(namespace, unschedulable)
		create(ctx, instance)
		bind(ctx, namespace, "1Gi")
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPodUnschedulable))
		node.ail(namespace, nil)
		conditions(ctx, instance).Should(beReady())
	})

	It("is the data of another instance, until somebody hands it over", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		node.ail(namespace, crashing(`packages-operator: data directory /data: data belongs to another instance: it is of instance "uid-of-before", this is "x"; start with --adopt to take it over`))
		create(ctx, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonDataOfAnotherInstance))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring(
			"kubectl annotate pvc -n " + namespace + " acme-packages-data --overwrite packages-operator.io/data-uid=uid-of-before"))
		haveStatus(ctx, instance).Should(Equal("Failed Degraded"))

		kubectl(ctx, "annotate", "pvc", "-n", namespace, "acme-packages-data", "--overwrite", "packages-operator.io/data-uid=uid-of-before")
		Eventually(func() []string { return registryArguments(ctx, namespace) }).Should(ContainElements("--instance-uid", "uid-of-before"))
		node.ail(namespace, nil)
		conditions(ctx, instance).Should(beReady())
		Expect(policyOf(ctx, namespace).Policy().Instance.UID).To(Equal("uid-of-before"))
	})

	It("is no restart that is over within two minutes", Serial, func(ctx SpecContext) {
		DeferCleanup(func() { clock.ahead.Store(0) })
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		// Its container ended once, and runs again without an answer.
		node.ail(namespace, func(s *corev1.PodStatus) {
			s.Phase = corev1.PodRunning
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "registry", LastTerminationState: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "packages-operator: over"},
			}}}
		})
		Consistently(func() []metav1.Condition { return conditionsOf(ctx, instance) }, time.Second).Should(beReady())
		clock.forward(2 * time.Minute)
		touch(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPodCrashing))
		node.ail(namespace, nil)
		conditions(ctx, instance).Should(beReady())

		// The next restart has its own two minutes.
		node.keepPodsAway(namespace, true)
		Eventually(func() error {
			return admin.Get(ctx, keyOf(namespace, "acme-packages-0"), &corev1.Pod{})
		}).Should(Satisfy(isNotFound))
		touch(ctx, instance)
		Consistently(func() []metav1.Condition { return conditionsOf(ctx, instance) }, time.Second).Should(beReady())
		clock.forward(2 * time.Minute)
		touch(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPodsNotReady))
		node.keepPodsAway(namespace, false)
		conditions(ctx, instance).Should(beReady())
	})
})

var _ = Describe("What a registry says is wrong with it", func() {
	DescribeTable("is told, and forgotten when it is over:", func(ctx SpecContext, trouble, status, message string) {
		namespace := newNamespace(ctx)
		instance, token := newInstance(namespace), newToken(namespace, "monalisa")
		create(ctx, instance, token)
		conditions(ctx, instance).Should(beReady())
		conditions(ctx, token).Should(beReady())

		node.trouble(namespace, trouble)
		conditions(ctx, instance).Should(condition(v1alpha1.ConditionReady, metav1.ConditionFalse, trouble))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring(message))
		haveStatus(ctx, instance).Should(Equal(status))
		Expect(conditionsOf(ctx, token)).To(beReady(), "a token works as far as its registry does")
		// What comes now is taken up nevertheless.
		later := newToken(namespace, "hubot")
		create(ctx, later)
		conditions(ctx, later).Should(beReady())
		settled(namespace)

		node.trouble(namespace)
		conditions(ctx, instance).Should(beReady())
	},
		Entry("its disk is full", v1alpha1.ReasonStorageFull, "Failed Degraded", "raise spec.storage.filesystem.size, or delete images"),
		Entry("its database is full", v1alpha1.ReasonDatabaseFull, "Failed Degraded", "the registry's database has no room"),
		Entry("its database is down", v1alpha1.ReasonDatabaseUnavailable, "InProgress Degraded", "kubectl logs -n "),
		Entry("its bucket is away", v1alpha1.ReasonStorageUnavailable, "InProgress Degraded", "kubectl logs -n "),
	)

	It("is told before the first Ready, too", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		node.trouble(namespace, v1alpha1.ReasonStorageFull)
		create(ctx, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonStorageFull))
		node.trouble(namespace)
		conditions(ctx, instance).Should(beReady())
	})

	It("is told of a pod that is not ready because of it", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		node.trouble(namespace, v1alpha1.ReasonDatabaseUnavailable)
		node.ail(namespace, func(s *corev1.PodStatus) {
			s.Phase, s.PodIP, s.PodIPs = corev1.PodRunning, "192.0.2.1", []corev1.PodIP{{IP: "192.0.2.1"}}
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "registry", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		})
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonDatabaseUnavailable))
		node.ail(namespace, nil)
		node.trouble(namespace)
		conditions(ctx, instance).Should(beReady())
	})

	It("may be something that this manager has no word for", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		instance := newInstance(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		node.trouble(namespace, "KeysMissing", "a\nb")
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPodsNotReady))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("the registry reports KeysMissing"))
		node.trouble(namespace)
		conditions(ctx, instance).Should(beReady())
	})
})

// touch has an object reconciled again.
func touch(ctx SpecContext, object client.Object) {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	before := object.DeepCopyObject().(client.Object)
	annotations := map[string]string{}
	for key, value := range object.GetAnnotations() {
		annotations[key] = value
	}
	annotations["example.com/touched"] += "x"
	object.SetAnnotations(annotations)
	Expect(admin.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
}
