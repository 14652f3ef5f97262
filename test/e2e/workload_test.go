// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

const builderImage = "packages-operator.test/builder:e2e"

var _ = Describe("a build in a pod", func() {
	It("pushes and pulls as its ServiceAccount, with nothing stored, and ends with it", func(ctx SpecContext) {
		at := shared()
		ci := sharedNamespace + "-ci"
		createNamespace(ctx, ci, tlsSecret, at.hostname)
		DeferCleanup(func(ctx SpecContext) { deleteNamespace(ctx, ci) })
		loadBuilder(ctx)
		for _, name := range []string{"builder", "other"} {
			createForSpec(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ci, Name: name}})
		}
		options, err := env.cluster.DockerOptions()
		Expect(err).NotTo(HaveOccurred())
		createForSpec(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ci, Name: "authority"}, Data: map[string]string{"ca.crt": string(options.CA)},
		})
		repository := at.declareRepository(ctx, "ci", "app", v1alpha1.VisibilityPrivate)
		at.declareRepository(ctx, "ci", "private", v1alpha1.VisibilityPrivate)
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) {
			r.Spec.Access.ServiceAccounts = []v1alpha1.ServiceAccountAccess{{Namespace: ci, Name: "builder", Role: v1alpha1.RoleWrite}}
		})
		eventuallyReady(ctx, repository)

		image := at.image("ci/app/image:1")
		digest := runBuilder(ctx, ci, "builds", "builder", at.dockerHost(), image, corev1.PodSucceeded)
		Expect(digest).To(HavePrefix("sha256:"))
		owner := at.login(ctx, "ci", toRead)
		owner.mustDocker(ctx, "pull", image)
		Expect(owner.repoDigest(ctx, image)).To(Equal(digest))

		By("refusing other repositories, other ServiceAccounts and other audiences")
		Expect(runBuilder(ctx, ci, "strays", "builder", at.dockerHost(), at.image("ci/private/image:1"), corev1.PodFailed)).To(ContainSubstring("NAME_UNKNOWN"))
		Expect(runBuilder(ctx, ci, "intrudes", "other", at.dockerHost(), image, corev1.PodFailed)).To(ContainSubstring("UNAUTHORIZED"))
		Expect(runBuilder(ctx, ci, "confuses", "builder", "https://kubernetes.default.svc", image, corev1.PodFailed)).To(ContainSubstring("UNAUTHORIZED"))

		By("taking such a token with docker, too")
		token := strings.TrimSpace(kubectl(ctx, "", "create", "token", "builder", "--namespace", ci, "--audience", at.dockerHost()))
		person := loggedIn(ctx, at.dockerHost(), credential{"whoever", token})
		person.mustDocker(ctx, "tag", image, at.image("ci/app/image:2"))
		person.mustDocker(ctx, "push", at.image("ci/app/image:2"))

		By("telling in the audit log who it was")
		entries := kubectl(ctx, "", "logs", "--namespace", at.namespace, registryPod(ctx, at.namespace, at.instance).Name)
		Expect(entries).To(MatchRegexp(`"action":"push","outcome":"allowed".*"user":"system:serviceaccount:` + ci + `:builder"`))
		Expect(entries).NotTo(ContainSubstring(token))

		By("deleting the ServiceAccount")
		v := newVisitor(at.dockerHost())
		bearer := v.bearer(ctx, credential{"whoever", token}, "repository:ci/app/image:pull")
		const manifest = "/v2/ci/app/image/manifests/1"
		Expect(v.must(ctx, http.MethodGet, manifest, bearer).status).To(Equal(http.StatusOK))
		Expect(env.kube.Delete(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ci, Name: "builder"}})).To(Succeed())
		inForce(ctx, "the end of a ServiceAccount, for a bearer token issued before", v.answers(http.MethodGet, manifest, bearer, http.StatusUnauthorized, "UNAUTHORIZED"))
		eventuallyNotReady(ctx, repository, v1alpha1.ReasonServiceAccountNotFound)
	}, SpecTimeout(specTimeout))
})

// loadBuilder makes an image of test/e2e/builder and brings it to the node.
func loadBuilder(ctx context.Context) {
	GinkgoHelper()
	binary, archive := filepath.Join(env.work, "builder"), filepath.Join(env.work, "builder.tar")
	goBuild(ctx, binary, "./test/e2e/builder")
	data, err := os.ReadFile(binary)
	Expect(err).NotTo(HaveOccurred())
	Expect(localcluster.WriteImageArchive(archive, builderImage, localcluster.ImageConfig{User: "65532:65532", Entrypoint: []string{"/builder"}},
		[]localcluster.ImageFile{{Path: "builder", Data: data, Mode: 0o755}})).To(Succeed())
	Expect(env.cluster.LoadImage(ctx, archive)).To(Succeed())
}

// runBuilder runs the builder in a pod, with a token of a ServiceAccount for an
// audience, until it ends as it should, and returns what it says.
func runBuilder(ctx context.Context, namespace, name, account, audience, image string, end corev1.PodPhase) string {
	GinkgoHelper()
	pod := helloPod(name, builderImage)
	pod.Namespace = namespace
	host, _, _ := strings.Cut(image, "/")
	expiration := int64(600)
	pod.Spec.ServiceAccountName = account
	pod.Spec.AutomountServiceAccountToken = new(bool)
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: env.nodeIP.String(), Hostnames: []string{host}}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "packages", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: &expiration, Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "authority"}}},
		}}}},
	}
	container := &pod.Spec.Containers[0]
	container.ImagePullPolicy = corev1.PullNever
	container.Args = []string{"/packages/token", "/packages/ca.crt", image}
	container.VolumeMounts = []corev1.VolumeMount{{Name: "packages", MountPath: "/packages", ReadOnly: true}}
	createForSpec(ctx, pod)
	Eventually(ctx, func(g Gomega) {
		g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		g.Expect(pod.Status.Phase).To(BeElementOf(corev1.PodSucceeded, corev1.PodFailed))
	}).WithTimeout(patience).Should(Succeed())
	said := strings.TrimSpace(kubectl(ctx, "", "logs", "--namespace", namespace, pod.Name))
	Expect(pod.Status.Phase).To(Equal(end), said)
	return said
}
