// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// In this order, and with the operator for all namespaces installed again at the end.
var _ = Describe("the chart", Serial, Ordered, func() {
	AfterAll(func(ctx SpecContext) {
		helm4(ctx).install(ctx)
		deleteInstance(ctx, declared())
		deleteNamespace(ctx, declared().namespace)
		eventuallyReady(ctx, shared().instanceObject())
	})

	It("declares instances, also before their kind is there, and never takes one away", func(ctx SpecContext) {
		instance := declared().instanceObject()
		eventuallyReady(ctx, instance)
		before := instance.UID
		helm4(ctx).install(ctx, declaredInstance()...)
		Expect(helm4(ctx).must(ctx, "get", "manifest", release)).To(ContainSubstring("hostname: " + declared().hostname))
		helm4(ctx).install(ctx, append(declaredInstance(), "--set", "instances[0].spec.docker.support=ReadOnly")...)
		eventuallyReady(ctx, instance)
		Expect(instance.Spec.Docker.Support).To(Equal(v1alpha1.SupportReadOnly))
		helm4(ctx).install(ctx)
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(instance), instance)).To(Succeed())
		Expect(instance.UID).To(Equal(before))
		Expect(instance.DeletionTimestamp).To(BeNil())
	}, SpecTimeout(specTimeout))

	It("leads with its notes to a first docker push", func(ctx SpecContext) {
		notes := helm4(ctx).must(ctx, "get", "notes", release)
		hostname := "notes." + env.domain
		const namespace = sharedNamespace + "-notes"
		createNamespace(ctx, namespace, "packages-tls", hostname)
		notes = strings.NewReplacer("packages.example.com", hostname, "className: nginx", "className: "+localcluster.IngressClass,
			"--namespace default", "--namespace "+namespace).Replace(notes)
		pusher := newPerson()
		pusher.buildHello(ctx, "image:1")
		notes = strings.NewReplacer(" IMAGE ", " image:1 ", "/IMAGE:1.0", "/image:1.0").Replace(notes)

		// What is indented is for a shell, after the advice to try helm test.
		_, notes, found := strings.Cut(notes, "A registry of your own")
		Expect(found).To(BeTrue())
		var script strings.Builder
		for _, line := range strings.Split(notes, "\n") {
			if command, indented := strings.CutPrefix(line, "  "); indented {
				script.WriteString(command + "\n")
			}
		}
		Expect(script.String()).To(And(ContainSubstring("kubectl apply"), ContainSubstring("docker login"), ContainSubstring("docker push")))
		at := place{namespace, "acme", hostname}
		declare, use, found := strings.Cut(script.String(), "kubectl get secret")
		Expect(found).To(BeTrue())
		pusher.shell(ctx, declare)
		eventuallyReachable(ctx, at.dockerHost()) // Traefik is a moment behind
		pusher.shell(ctx, "kubectl get secret"+use)

		p := loggedIn(ctx, at.dockerHost(), at.readCredential(ctx, "octocat-token"))
		p.expectPull(ctx, at.image("octocat/octo-app/image:1.0"))
		deleteInstance(ctx, at)
		deleteNamespace(ctx, namespace)
	}, SpecTimeout(specTimeout))

	It("upgrades the definitions", func(ctx SpecContext) {
		older := filepath.Join(env.work, "older-chart")
		out, err := exec.CommandContext(ctx, "cp", "-r", chartPath, older).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		path := filepath.Join(older, "templates/generated/crds/packagestokens.yaml")
		text, err := os.ReadFile(path)
		Expect(err).NotTo(HaveOccurred())
		const with, without = "    shortNames:\n    - pkgtoken\n", "    shortNames:\n    - oldtoken\n"
		Expect(string(text)).To(ContainSubstring(with))
		Expect(os.WriteFile(path, []byte(strings.Replace(string(text), with, without, 1)), 0o600)).To(Succeed())

		definition := &apiextensionsv1.CustomResourceDefinition{}
		shortNames := func() []string {
			Expect(env.kube.Get(ctx, client.ObjectKey{Name: "packagestokens.packages-operator.io"}, definition)).To(Succeed())
			return definition.Spec.Names.ShortNames
		}
		helm4(ctx).must(ctx, append([]string{"upgrade", release, older}, env.imageFlags()...)...)
		Expect(shortNames()).To(Equal([]string{"oldtoken"}))
		helm4(ctx).install(ctx)
		Expect(shortNames()).To(Equal([]string{"pkgtoken"}))
	}, SpecTimeout(specTimeout))

	for _, version := range []struct {
		name string
		helm func(context.Context) helm
	}{{"v4", helm4}, {"v3", helm3}} {
		It("with helm "+version.name+" tests, upgrades, rolls back, goes without taking anything along, and adopts what is there", func(ctx SpecContext) {
			h := version.helm(ctx)
			h.install(ctx, declaredInstance()...)
			// Helm 3 looks for the logs when the pod is gone with its success.
			if version.name == "v3" {
				Expect(h.must(ctx, "test", release, "--timeout", "3m")).To(ContainSubstring("Phase:          Succeeded"))
			} else {
				Expect(h.must(ctx, "test", release, "--logs", "--timeout", "3m")).To(And(ContainSubstring("logged in at https://docker."), ContainSubstring("pulled the same"), ContainSubstring("deleted it again")))
			}

			By("upgrade with a changed value")
			argument := func() []string {
				deployment := &appsv1.Deployment{}
				Expect(env.kube.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: "packages-operator-manager"}, deployment)).To(Succeed())
				return deployment.Spec.Template.Spec.Containers[0].Args
			}
			revision := h.revision(ctx)
			h.install(ctx, append(declaredInstance(), "--set", "logging.level=debug")...)
			Expect(argument()).To(ContainElement("--log-level=debug"))

			By("rollback")
			h.must(ctx, "rollback", release, revision)
			eventuallyRolledOut(ctx)
			Expect(argument()).NotTo(ContainElement("--log-level=debug"))

			By("uninstall")
			at := shared()
			_, c := at.issueToken(ctx, "chart-"+version.name, toWrite, nil)
			at.declareRepository(ctx, "chart-"+version.name, "app", v1alpha1.VisibilityPrivate)
			p := loggedIn(ctx, at.dockerHost(), c)
			image := at.image("chart-" + version.name + "/app/image:1")
			p.pushNew(ctx, image)
			instance := at.instanceObject()
			Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(instance), instance)).To(Succeed())
			ofRelease := declared().instanceObject()
			Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(ofRelease), ofRelease)).To(Succeed())
			before, pod := map[*v1alpha1.PackagesInstance]types.UID{instance: instance.UID, ofRelease: ofRelease.UID}, incarnation(registryPod(ctx, at.namespace, at.instance))
			h.uninstall(ctx)
			for kept, uid := range before {
				Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(kept), kept)).To(Succeed())
				Expect(kept.UID).To(Equal(uid))
				Expect(kept.DeletionTimestamp).To(BeNil())
			}
			p.expectPull(ctx, image)

			By("install again, where an instance of the release is adopted")
			if version.name == "v3" {
				// Helm 3 adopts an object of a kind that it does not know as it is; what is
				// changed later is another matter.
				h.install(ctx, declaredInstance()...)
			}
			h.install(ctx, append(declaredInstance(), "--set", "instances[0].spec.docker.support=ReadOnly")...)
			for kept, uid := range before {
				eventuallyReady(ctx, kept)
				Expect(kept.UID).To(Equal(uid))
			}
			Expect(ofRelease.Spec.Docker.Support).To(Equal(v1alpha1.SupportReadOnly))
			Expect(incarnation(registryPod(ctx, at.namespace, at.instance))).To(Equal(pod))
			at.issueToken(ctx, "chart-"+version.name, toRead, nil)
			p.pushNew(ctx, image)
		}, SpecTimeout(2*specTimeout))
	}

	It("serves some namespaces with a Role in each, and no ClusterRole", func(ctx SpecContext) {
		h := helm4(ctx)
		h.uninstall(ctx)
		const namespace, elsewhere = sharedNamespace + "-only", sharedNamespace + "-elsewhere"
		hostname := "only." + env.domain
		createNamespace(ctx, namespace, tlsSecret, hostname)
		createNamespace(ctx, elsewhere, tlsSecret, hostname)
		h.must(ctx, append([]string{
			"install", release, chartPath, "--set", "watchNamespaces={" + namespace + "}",
			"--set", "instances[0].name=kept,instances[0].namespace=" + namespace + ",instances[0].spec.hostname=kept." + hostname,
			"--set", "instances[0].spec.storage.filesystem.size=1Gi",
		}, env.imageFlags()...)...)
		eventuallyRolledOut(ctx)
		Expect(h.must(ctx, "get", "manifest", release)).NotTo(ContainSubstring("kind: ClusterRole"))
		var roles rbacv1.ClusterRoleBindingList
		Expect(env.kube.List(ctx, &roles)).To(Succeed())
		for _, binding := range roles.Items {
			for _, subject := range binding.Subjects {
				Expect(subject.Namespace).NotTo(Equal(operatorNamespace), "ClusterRoleBinding %s", binding.Name)
			}
		}
		kept := &v1alpha1.PackagesInstance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kept"}}
		eventuallyReady(ctx, kept)

		other := place{elsewhere, "elsewhere", "elsewhere." + hostname}.instanceObject()
		other.Spec = kept.Spec
		Expect(env.kube.Create(ctx, other)).To(Succeed())

		at := place{namespace, "only", hostname}
		at.createInstance(ctx, v1alpha1.DeletionPolicyDelete)
		instance := at.instanceObject()
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(instance), instance)).To(Succeed())
		Expect(meta.FindStatusCondition(instance.Status.Conditions, v1alpha1.ConditionAccepted)).To(HaveField("Message",
			"no other instance in the namespace "+namespace+" has these hosts; the operator sees no other namespace"))
		at.declareRepository(ctx, "octocat", "app", v1alpha1.VisibilityPrivate)
		_, c := at.issueToken(ctx, "octocat", toWrite, nil)
		p := loggedIn(ctx, at.dockerHost(), c)
		p.pushNew(ctx, at.image("octocat/app/image:1"))
		p.expectPull(ctx, at.image("octocat/app/image:1"))
		// Helm looks for logs in the release's namespace, and the test is in one that is served.
		h.must(ctx, "test", release, "--timeout", "3m")

		By("leaving others alone")
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(other), other)).To(Succeed())
		Expect(other.Finalizers).To(BeEmpty())
		Expect(other.Status.Conditions).To(BeEmpty())

		deleteInstance(ctx, at)
		h.uninstall(ctx)
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(kept), kept)).To(Succeed(), "an instance of the release is kept")
		h.install(ctx)
		deleteNamespace(ctx, namespace)
		deleteNamespace(ctx, elsewhere)
	}, SpecTimeout(2*specTimeout))
})

var revisionGrammar = regexp.MustCompile(`(?m)^REVISION: (\d+)$`)

// revision is the release's present one.
func (h helm) revision(ctx context.Context) string {
	GinkgoHelper()
	found := revisionGrammar.FindStringSubmatch(h.must(ctx, "status", release))
	Expect(found).NotTo(BeNil())
	return found[1]
}

// uninstall takes the operator away and waits until its pods are gone. Meanwhile they
// may be refused what they ask for, since helm takes their rights away, too.
func (h helm) uninstall(ctx context.Context) {
	GinkgoHelper()
	began := openAuditLog().offset
	h.must(ctx, "uninstall", release, "--wait")
	Eventually(ctx, func(g Gomega) {
		var pods corev1.PodList
		g.Expect(env.kube.List(ctx, &pods, client.InNamespace(operatorNamespace))).To(Succeed())
		g.Expect(pods.Items).To(BeEmpty())
	}).WithTimeout(patience).Should(Succeed())
	// It stays; without it the next has to make one, which takes a right.
	Expect(client.IgnoreNotFound(env.kube.Delete(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "manager.packages-operator.io"},
	}))).To(Succeed())
	env.withoutRights = append(env.withoutRights, span{began, openAuditLog().offset})
}

// shell runs what somebody would paste into a terminal.
func (p *person) shell(ctx context.Context, script string) {
	GinkgoHelper()
	kubectlPath, err := env.cluster.KubectlPath()
	Expect(err).NotTo(HaveOccurred())
	docker := p.command(ctx, "version")
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(docker.Env, "KUBECONFIG="+env.cluster.Kubeconfig(), "PATH="+filepath.Dir(kubectlPath)+":"+filepath.Dir(docker.Path)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", script, out)
}
