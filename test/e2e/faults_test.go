// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

var _ = Describe("a push", func() {
	DescribeTable("survives that the operator and the registry are",
		func(ctx SpecContext, owner string, layer int64, end func(context.Context, *corev1.Pod)) {
			at := shared()
			at.declareRepository(ctx, owner, "app", v1alpha1.VisibilityPrivate)
			p := at.login(ctx, owner, toWrite)
			small, large := at.image(owner+"/app/small:1"), at.image(owner+"/app/large:1")
			p.pushNew(ctx, small)
			// The first layer is done while the others are on their way.
			p.build(ctx, large, 1*mebibyte, layer, layer, layer, layer)
			registry, managers := registryPod(ctx, at.namespace, at.instance), operatorPods(ctx)

			out, err := p.pushWatched(ctx, large, func() {
				end(ctx, registry)
				for i := range managers {
					end(ctx, &managers[i])
				}
			})
			if err != nil {
				AddReportEntry("docker push ended with: " + strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]))
			} else {
				AddReportEntry("docker push ended well")
			}
			acknowledged := layersThat(out, "Pushed")
			Expect(acknowledged).NotTo(BeEmpty())
			Eventually(ctx, func(g Gomega) {
				pod := &corev1.Pod{}
				g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(registry), pod)).To(Succeed())
				g.Expect(incarnation(pod)).NotTo(Equal(incarnation(registry)))
				g.Expect(podIsReady(pod)).To(BeTrue())
			}).WithTimeout(patience).Should(Succeed())
			eventuallyReachable(ctx, at.dockerHost())

			again := p.mustDocker(ctx, "push", large)
			Expect(layersThat(again, "Layer already exists")).To(ContainElements(acknowledged), "layers skipped by the second push")
			if err == nil {
				Expect(layersThat(again, "Pushed")).To(BeEmpty())
			}
			p.expectPull(ctx, large)
			p.expectPull(ctx, small)
			eventuallyRolledOut(ctx)
			eventuallyActing(ctx, at)
		},
		Entry("killed, with 200 MB", "crash", int64(50*mebibyte),
			func(_ context.Context, pod *corev1.Pod) { killContainer(pod) }, SpecTimeout(specTimeout)),
		Entry("deleted, with 80 MB", "drain", int64(20*mebibyte),
			func(ctx context.Context, pod *corev1.Pod) { Expect(env.kube.Delete(ctx, pod)).To(Succeed()) }, SpecTimeout(specTimeout)),
	)
})

var _ = Describe("while the API server is stopped", func() {
	It("pulls and pushes go on, and a registry that is killed comes back and serves", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "adrift", "app", v1alpha1.VisibilityPrivate)
		_, c := at.issueToken(ctx, "adrift", toWrite, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		before, during, after := at.image("adrift/app/image:before"), at.image("adrift/app/image:during"), at.image("adrift/app/image:after")
		p.pushNew(ctx, before)
		registry := registryPod(ctx, at.namespace, at.instance)
		v := newVisitor(at.dockerHost())

		func() {
			Expect(env.cluster.StopComponent(ctx, localcluster.APIServer)).To(Succeed())
			// Not a cleanup of the spec, so that a failure finds it running.
			defer func() {
				Expect(env.cluster.StartComponent(context.WithoutCancel(ctx), localcluster.APIServer)).To(Succeed())
			}()
			p.expectPull(ctx, before)
			p.pushNew(ctx, during)

			killContainer(registry)
			Eventually(ctx, v.answers(http.MethodGet, "/v2/adrift/app/image/manifests/during", c.basic(), http.StatusOK, "")).
				WithArguments(ctx).WithTimeout(patience).Should(Succeed())
			p.expectPull(ctx, before)
			p.expectPull(ctx, during)
			p.pushNew(ctx, after)
			p.refusedDocker(ctx, "there is no repository", "pull", at.image("adrift/nil/image:1"))
		}()

		Eventually(ctx, func(g Gomega) {
			pod := registryPod(ctx, at.namespace, at.instance)
			g.Expect(pod.UID).To(Equal(registry.UID))
			g.Expect(incarnation(pod)).NotTo(Equal(incarnation(registry)))
			g.Expect(podIsReady(pod)).To(BeTrue())
		}).WithTimeout(patience).Should(Succeed())
		eventuallyRolledOut(ctx)
		eventuallyActing(ctx, at)
		Eventually(ctx, v.answers(http.MethodGet, "/v2/adrift/app/image/manifests/after", c.basic(), http.StatusOK, "")).
			WithArguments(ctx).Should(Succeed())
		p.expectPull(ctx, after)
	}, SpecTimeout(specTimeout))
})

// killContainer ends the processes of the pod's only container with SIGKILL, as
// a crash would. The kubelet learns of it as it learns of a crash.
func killContainer(pod *corev1.Pod) {
	GinkgoHelper()
	Expect(pod.Status.ContainerStatuses).To(HaveLen(1))
	_, id, found := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	Expect(found).To(BeTrue())
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	Expect(err).NotTo(HaveOccurred())
	killed := 0
	for _, file := range groups {
		group, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(group, []byte(id)) {
			continue // it has ended, or is another's
		}
		process, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		Expect(err).NotTo(HaveOccurred())
		Expect(syscall.Kill(process, syscall.SIGKILL)).To(Succeed())
		killed++
	}
	Expect(killed).NotTo(BeZero(), "no process of container %s", id)
}

// eventuallyActing waits until the operator does its work again, after it was
// away: until a change that somebody declares takes effect.
func eventuallyActing(ctx context.Context, at place) {
	GinkgoHelper()
	at.issueToken(ctx, "probe", toRead, nil)
}
