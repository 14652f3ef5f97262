// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// Media types of Flux's artifacts.
const (
	fluxConfig  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	fluxContent types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"
)

var _ = Describe("Flux", func() {
	It("reconciles our objects from our own registry, with a token of ours", func(ctx SpecContext) {
		startFlux(ctx)
		git := newGit(ctx)

		By("everything in Git becomes ready")
		git.push(ctx, nil)
		kubectl(ctx, git.objects(), "apply", "--namespace", sharedNamespace, "--filename", "-")
		git.eventuallyReconciled(ctx, BeTrue(), Equal("ReconciliationSucceeded"))
		versions := map[string]string{}
		for _, object := range git.declared() {
			Expect(readiness(ctx, object)).To(Succeed())
			versions[fmt.Sprintf("%T %s", object, object.GetName())] = object.GetResourceVersion()
		}
		Expect(versions).To(HaveLen(6))

		By("what is as Git says is not written again")
		git.reconcile(ctx)
		for _, object := range git.declared() {
			Expect(readiness(ctx, object)).To(Succeed())
			Expect(versions).To(HaveKeyWithValue(fmt.Sprintf("%T %s", object, object.GetName()), object.GetResourceVersion()))
		}

		By("what somebody changes by hand is set back")
		repository := &v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: git.namespace, Name: "octo-app"}}
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityPublic })
		git.reconcile(ctx)
		Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(repository), repository)).To(Succeed())
		Expect(repository.Spec.Visibility).To(Equal(v1alpha1.VisibilityPrivate))

		By("a change in Git comes into force")
		git.push(ctx, func(file, text string) string {
			if file == "packagesrepository_octo-app.yaml" {
				return strings.Replace(text, "visibility: Private", "visibility: Internal", 1)
			}
			return text
		})
		git.fetch(ctx)
		git.eventuallyReconciled(ctx, BeTrue(), Equal("ReconciliationSucceeded"))
		Expect(readiness(ctx, repository)).To(Succeed())
		Expect(repository.Spec.Visibility).To(Equal(v1alpha1.VisibilityInternal))

		By("what cannot work fails the health check, by name")
		git.push(ctx, func(file, text string) string {
			if file == "packagesrepository_shared.yaml" {
				return strings.Replace(text, "name: platform", "name: nobody", 1)
			}
			return text
		})
		git.fetch(ctx)
		git.eventuallyReconciled(ctx, BeFalse(), And(ContainSubstring("HealthCheckFailed"), ContainSubstring("PackagesRepository/"+git.namespace+"/shared")))

		By("what is taken out of Git goes")
		git.push(ctx, func(file, text string) string {
			switch file {
			case "kustomization.yaml":
				return strings.Replace(text, "  - packagestoken_monalisa.yaml\n", "", 1)
			case "packagestoken_monalisa.yaml":
				return ""
			}
			return text
		})
		git.fetch(ctx)
		eventuallyGone(ctx, &v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: git.namespace, Name: "monalisa"}})

		By("a token that ends lets Flux in no more")
		Expect(env.kube.Delete(ctx, &v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: git.pull}})).To(Succeed())
		Eventually(ctx, func() string {
			requestReconcile(ctx, git.source())
			_, reason, _ := conditionOf(ctx, git.source())
			return reason
		}).WithTimeout(patience).WithPolling(time.Second).Should(Or(
			And(ContainSubstring("OCIArtifactPullFailed"), ContainSubstring("UNAUTHORIZED")),
			And(ContainSubstring("AuthenticationFailed"), ContainSubstring(`secrets "`+git.pull+`" not found`)), // it goes with the token
		))
	}, SpecTimeout(8*time.Minute))
})

// git is a folder of manifests, which somebody pushes to the shared instance and Flux
// keeps a namespace as.
type git struct {
	// namespace is the one that is kept.
	namespace, hostname string
	// pull is the token that Flux pulls with, and its Secret.
	pull   string
	pusher credential
	files  map[string]string
}

func newGit(ctx context.Context) *git {
	GinkgoHelper()
	g := &git{namespace: sharedNamespace + "-gitops", hostname: "gitops." + env.domain}
	createNamespace(ctx, g.namespace, tlsSecret, g.hostname)
	_, g.pusher = shared().issueToken(ctx, "monalisa", toWrite, nil)
	token, _ := shared().issueToken(ctx, "monalisa", toRead, func(spec *v1alpha1.PackagesTokenSpec) {
		spec.Repositories = []string{"octocat/octo-app"}
		spec.Secret.Type = v1alpha1.TokenSecretDockerConfigJSON
	})
	g.pull = token.Name
	ca, err := os.ReadFile(env.cluster.CACert())
	Expect(err).NotTo(HaveOccurred())
	createForSpec(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "packages-test-ca"},
		Data:       map[string][]byte{"ca.crt": ca},
	})
	g.files = map[string]string{}
	folder := filepath.Join(repositoryRoot, "config", "samples")
	entries, err := os.ReadDir(folder)
	Expect(err).NotTo(HaveOccurred())
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		Expect(err).NotTo(HaveOccurred())
		g.files[entry.Name()] = strings.ReplaceAll(string(text), "hostname: "+sampleDomain, "hostname: "+g.hostname)
	}
	DeferCleanup(func(ctx SpecContext) {
		for _, object := range []*unstructured.Unstructured{g.kustomization(), g.source()} {
			Expect(client.IgnoreNotFound(env.kube.Delete(ctx, object))).To(Succeed())
			eventuallyGone(ctx, object)
		}
		deleteNamespace(ctx, g.namespace)
	})
	return g
}

// objects are config/flux for this run.
func (g *git) objects() string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(repositoryRoot, "config", "flux", "packages.yaml"))
	Expect(err).NotTo(HaveOccurred())
	return strings.NewReplacer(
		dockerHost(sampleDomain), dockerHost(env.domain),
		"secretRef:\n    name: octo-app-pull", "secretRef:\n    name: "+g.pull,
		"namespace: team", "namespace: "+g.namespace, "targetNamespace: team", "targetNamespace: "+g.namespace,
		"timeout: 2m", "timeout: 40s",
	).Replace(string(text))
}

// declared are the objects in the files.
func (g *git) declared() []client.Object {
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: g.namespace, Name: name} }
	return []client.Object{
		&v1alpha1.PackagesInstance{ObjectMeta: named("acme")},
		&v1alpha1.PackagesOrganization{ObjectMeta: named("octo-org")},
		&v1alpha1.PackagesRepository{ObjectMeta: named("octo-app")},
		&v1alpha1.PackagesRepository{ObjectMeta: named("shared")},
		&v1alpha1.PackagesToken{ObjectMeta: named("monalisa")},
		&v1alpha1.PackagesToken{ObjectMeta: named("octo-app-pull")},
	}
}

// push sends the files, as edit changes them, in the form of flux push artifact. A
// file that becomes empty is left out.
func (g *git) push(ctx context.Context, edit func(file, text string) string) {
	GinkgoHelper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	files := tar.NewWriter(zipped)
	for file, text := range g.files {
		if edit != nil {
			text = edit(file, text)
		}
		if text == "" {
			continue
		}
		Expect(files.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644, Size: int64(len(text))})).To(Succeed())
		_, err := io.WriteString(files, text)
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(files.Close()).To(Succeed())
	Expect(zipped.Close()).To(Succeed())

	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), fluxConfig)
	image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(archive.Bytes(), fluxContent)})
	Expect(err).NotTo(HaveOccurred())
	image = mutate.Annotations(image, map[string]string{
		"org.opencontainers.image.created":  time.Now().UTC().Format(time.RFC3339),
		"org.opencontainers.image.source":   "https://git.example.com/team/packages",
		"org.opencontainers.image.revision": "main@sha1:" + strings.Repeat("0", 40),
	}).(v1.Image)
	tag, err := name.NewTag(shared().image("octocat/octo-app/manifests:main"))
	Expect(err).NotTo(HaveOccurred())
	Expect(remote.Write(tag, image, remote.WithContext(ctx),
		remote.WithTransport(newVisitor(shared().dockerHost()).client.Transport),
		remote.WithAuth(&authn.Basic{Username: g.pusher.user, Password: g.pusher.password}))).To(Succeed())
}

func (g *git) source() *unstructured.Unstructured {
	return fluxObject("source.toolkit.fluxcd.io", "OCIRepository")
}

func (g *git) kustomization() *unstructured.Unstructured {
	return fluxObject("kustomize.toolkit.fluxcd.io", "Kustomization")
}

func fluxObject(group, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind})
	object.SetNamespace(sharedNamespace)
	object.SetName("packages")
	return object
}

// fetch has Flux look at the registry, and returns when it knows what is there.
func (g *git) fetch(ctx context.Context) {
	GinkgoHelper()
	requestReconcile(ctx, g.source())
	eventuallyHandled(ctx, g.source())
}

// reconcile has Flux compare the namespace with Git, and returns when it has.
func (g *git) reconcile(ctx context.Context) {
	GinkgoHelper()
	requestReconcile(ctx, g.kustomization())
	eventuallyHandled(ctx, g.kustomization())
	g.eventuallyReconciled(ctx, BeTrue(), Equal("ReconciliationSucceeded"))
}

// eventuallyReconciled waits until Flux has come to a conclusion about what it
// fetched last; the reason comes with the message if it is a failure.
func (g *git) eventuallyReconciled(ctx context.Context, ready, reason gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(ctx, func(gomega Gomega) {
		source, kustomization := g.source(), g.kustomization()
		gomega.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
		fetched, _, _ := unstructured.NestedString(source.Object, "status", "artifact", "revision")
		gomega.Expect(fetched).NotTo(BeEmpty())
		isReady, why, attempted := conditionOf(ctx, kustomization)
		gomega.Expect(attempted).To(Equal(fetched))
		gomega.Expect(isReady).To(ready)
		gomega.Expect(why).To(reason)
	}).WithTimeout(2 * patience).WithPolling(250 * time.Millisecond).Should(Succeed())
}

// conditionOf is the condition Ready of an object of Flux's, and which revision it
// speaks of.
func conditionOf(ctx context.Context, object *unstructured.Unstructured) (ready bool, reason, attempted string) {
	if err := env.kube.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return false, err.Error(), ""
	}
	attempted, _, _ = unstructured.NestedString(object.Object, "status", "lastAttemptedRevision")
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, one := range conditions {
		condition, _ := one.(map[string]any)
		if condition["type"] != "Ready" {
			continue
		}
		reason = fmt.Sprint(condition["reason"])
		if condition["status"] != "True" {
			reason += ": " + fmt.Sprint(condition["message"])
		}
		return condition["status"] == "True", reason, attempted
	}
	return false, "", attempted
}

const fluxRequest = "reconcile.fluxcd.io/requestedAt"

func requestReconcile(ctx context.Context, object *unstructured.Unstructured) {
	GinkgoHelper()
	Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	before := object.DeepCopy()
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[fluxRequest] = time.Now().Format(time.RFC3339Nano)
	object.SetAnnotations(annotations)
	Expect(env.kube.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
}

func eventuallyHandled(ctx context.Context, object *unstructured.Unstructured) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		handled, _, _ := unstructured.NestedString(object.Object, "status", "lastHandledReconcileAt")
		g.Expect(handled).To(Equal(object.GetAnnotations()[fluxRequest]))
	}).WithTimeout(patience).WithPolling(250 * time.Millisecond).Should(Succeed())
}

// startFlux runs Flux's source-controller and kustomize-controller beside the
// cluster, until the spec ends.
func startFlux(ctx context.Context) {
	GinkgoHelper()
	for _, controller := range []string{"source-controller", "kustomize-controller"} {
		folder := moduleFolder(ctx, "hack/tools/flux", "github.com/fluxcd/"+controller)
		kubectl(ctx, "", "apply", "--server-side", "--filename", filepath.Join(folder, "config/crd/bases"))
	}
	storage := filepath.Join(env.work, "flux")
	Expect(os.MkdirAll(storage, 0o700)).To(Succeed())
	address := freeAddress()
	startController(ctx, toolPath(ctx, "flux", "source-controller"),
		"--storage-path", storage, "--storage-addr", address, "--storage-adv-addr", address)
	startController(ctx, toolPath(ctx, "flux", "kustomize-controller"))
}

// startController runs a controller of Flux's, which finds the registry's hosts at
// the node, until the spec ends.
func startController(ctx context.Context, program string, args ...string) {
	GinkgoHelper()
	hosts := filepath.Join(env.work, "hosts")
	text := "127.0.0.1 localhost\n"
	for _, host := range env.registryHosts() {
		text += env.nodeIP.String() + " " + host + "\n"
	}
	Expect(os.WriteFile(hosts, []byte(text), 0o644)).To(Succeed())
	health := freeAddress()
	args = append([]string{"--mount", "sh", "-c", `mount --bind "$1" /etc/hosts && shift && exec "$@"`, "sh", hosts, program,
		"--metrics-addr", "0", "--health-addr", health}, args...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env.cluster.Kubeconfig(), "RUNTIME_NAMESPACE="+sharedNamespace, "TMPDIR="+env.work)
	cmd.Stdout, cmd.Stderr = GinkgoWriter, GinkgoWriter
	Expect(cmd.Start()).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	DeferCleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			// An interrupt may well be an error to it.
			_ = err
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			Fail(filepath.Base(program) + " does not end")
		}
	})
	Eventually(ctx, func() error {
		select {
		case err := <-ended:
			ended <- err
			return StopTrying(filepath.Base(program) + " ended").Wrap(err)
		default:
		}
		response, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	}).WithTimeout(patience).Should(Succeed())
}

// freeAddress is one at which nobody listens.
func freeAddress() string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close() //nolint:errcheck // nothing was sent
	return listener.Addr().String()
}
