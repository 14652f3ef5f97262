// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("the samples", func() {
	It("let docker log in, push and pull, and a pod run the image", func(ctx SpecContext) {
		image := shared().image("octocat/octo-app/monalisa:1.0")
		monalisa := loggedIn(ctx, shared().dockerHost(), shared().readCredential(ctx, "monalisa-token"))
		monalisa.buildHello(ctx, image)
		monalisa.mustDocker(ctx, "push", image)
		digest := monalisa.repoDigest(ctx, image)
		monalisa.expectPull(ctx, image)

		By("a pod with the imagePullSecret that the operator made")
		pod := helloPod("with-secret", image)
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "octo-app-pull"}}
		createForSpec(ctx, pod)
		Eventually(ctx, func(g Gomega) {
			g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
			g.Expect(pod.Status.Phase).To(Equal(corev1.PodSucceeded), "%+v", pod.Status.ContainerStatuses)
		}).WithTimeout(patience).Should(Succeed())
		Expect(pod.Status.ContainerStatuses[0].ImageID).To(HaveSuffix(digest))
		Expect(kubectl(ctx, "", "logs", "--namespace", pod.Namespace, pod.Name)).To(HavePrefix("Hello from "))
	}, SpecTimeout(specTimeout))

	It("do not let a pod without the imagePullSecret have the image", func(ctx SpecContext) {
		image := shared().image("octocat/octo-app/hidden:1.0")
		monalisa := loggedIn(ctx, shared().dockerHost(), shared().readCredential(ctx, "monalisa-token"))
		monalisa.buildHello(ctx, image)
		monalisa.mustDocker(ctx, "push", image)

		pod := helloPod("without-secret", image)
		createForSpec(ctx, pod)
		Eventually(ctx, func(g Gomega) {
			g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
			g.Expect(pod.Status.ContainerStatuses).To(HaveLen(1))
			waiting := pod.Status.ContainerStatuses[0].State.Waiting
			g.Expect(waiting).NotTo(BeNil())
			g.Expect(waiting.Reason).To(BeElementOf("ErrImagePull", "ImagePullBackOff"))
			g.Expect(waiting.Message).To(ContainSubstring("401 Unauthorized"))
		}).WithTimeout(patience).Should(Succeed())
	}, SpecTimeout(specTimeout))

	It("run where only restricted pods are admitted, as the operator does", func(ctx SpecContext) {
		for _, name := range []string{sharedNamespace, operatorNamespace} {
			namespace := &corev1.Namespace{}
			Expect(env.kube.Get(ctx, client.ObjectKey{Name: name}, namespace)).To(Succeed())
			Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))

			careless := helloPod("careless", "hello")
			careless.Namespace = name
			careless.Spec.SecurityContext = nil
			err := env.kube.Create(ctx, careless, client.DryRunAll)
			Expect(apierrors.IsForbidden(err)).To(BeTrue(), "creating an unrestricted pod in %s: %v", name, err)
		}
		Expect(podIsReady(registryPod(ctx, sharedNamespace, sharedInstance))).To(BeTrue())
		for _, pod := range operatorPods(ctx) {
			Expect(podIsReady(&pod)).To(BeTrue(), pod.Name)
		}
	}, SpecTimeout(specTimeout))
})

// helloPod runs an image of [person.buildHello] once, under the rules of a
// restricted namespace.
func helloPod(name, image string) *corev1.Pod {
	yes, no := true, false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "hello-" + name},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   &yes,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name:            "hello",
				Image:           image,
				ImagePullPolicy: corev1.PullAlways,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no,
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}
