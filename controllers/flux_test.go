// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
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
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// Media types of Flux's artifacts.
const (
	fluxConfig  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	fluxContent types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"
)

// fluxVariable names the folder with Flux's controllers, which take long to build:
// make gitops.
const fluxVariable = "FLUX_CONTROLLERS"

// All but the pods is real: the manager and the registry, which knows of tokens what
// the manager tells it; Flux's source-controller and kustomize-controller; TLS.
var _ = Describe("Flux", Serial, func() {
	It("reconciles our objects from our own registry, with a token of ours", func(ctx SpecContext) {
		if os.Getenv(fluxVariable) == "" {
			Skip("make gitops builds Flux's controllers and runs this")
		}
		git := newGit(ctx)
		startFlux(ctx, git)

		By("everything in Git becomes ready")
		git.push(ctx, nil)
		for _, object := range git.objects() {
			Expect(admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"))).To(Succeed())
		}
		git.eventuallyReconciled(ctx, BeTrue(), Equal("ReconciliationSucceeded"))
		versions := map[string]string{}
		for _, object := range git.declared() {
			Expect(conditionsOf(ctx, object)).To(beReady())
			versions[fmt.Sprintf("%T %s", object, object.GetName())] = object.GetResourceVersion()
		}
		Expect(versions).To(HaveLen(6))

		By("what is as Git says is not written again")
		git.reconcile(ctx)
		for _, object := range git.declared() {
			Expect(conditionsOf(ctx, object)).To(beReady())
			Expect(versions).To(HaveKeyWithValue(fmt.Sprintf("%T %s", object, object.GetName()), object.GetResourceVersion()))
		}

		By("what somebody changes by hand is set back")
		repository := &v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: git.target, Name: "octo-app"}}
		change(ctx, repository, func(r *v1alpha1.PackagesRepository) { r.Spec.Visibility = v1alpha1.VisibilityPublic })
		git.reconcile(ctx)
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(repository), repository)).To(Succeed())
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
		Expect(conditionsOf(ctx, repository)).To(beReady())
		Expect(repository.Spec.Visibility).To(Equal(v1alpha1.VisibilityInternal))

		By("what cannot work fails the health check, by name")
		git.push(ctx, func(file, text string) string {
			if file == "packagesrepository_shared.yaml" {
				return strings.Replace(text, "name: platform", "name: nobody", 1)
			}
			return text
		})
		git.fetch(ctx)
		git.eventuallyReconciled(ctx, BeFalse(), And(ContainSubstring("HealthCheckFailed"), ContainSubstring("PackagesRepository/"+git.target+"/shared")))

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
		gone(ctx, &v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: git.target, Name: "monalisa"}})

		By("a token that ends lets Flux in no more")
		Expect(admin.Delete(ctx, newToken(git.namespace, "octo-app-pull"))).To(Succeed())
		Eventually(func() string {
			requestReconcile(ctx, git.source())
			_, reason, _ := conditionOf(ctx, git.source())
			return reason
		}).WithTimeout(patience).WithPolling(time.Second).Should(And(ContainSubstring("OCIArtifactPullFailed"), ContainSubstring("UNAUTHORIZED")))
	}, SpecTimeout(8*time.Minute))
})

// patience is for what Flux does at its own pace.
const patience = 90 * time.Second

// git is a folder of manifests, which somebody pushes to an instance, and Flux keeps a
// namespace as.
type git struct {
	// namespace has the instance that the manifests are pushed to, and Flux's objects;
	// target is kept as the manifests say.
	namespace, target string
	// host is the instance's, and front where it listens.
	host, front string
	transport   http.RoundTripper
	files       map[string]string
}

func newGit(ctx context.Context) *git {
	GinkgoHelper()
	g := &git{namespace: newNamespace(ctx), target: newNamespace(ctx)}
	g.host = "docker." + g.namespace + ".example.com"
	create(ctx, newInstance(g.namespace), newRepository(g.namespace, "octo-app"))
	registry := startRegistry(ctx, g.namespace)
	push, pull := newToken(g.namespace, "monalisa"), newToken(g.namespace, "octo-app-pull")
	pull.Spec.Scopes = []v1alpha1.Scope{v1alpha1.ScopeReadPackages}
	pull.Spec.Repositories = []string{"octocat/octo-app"}
	pull.Spec.Secret = &v1alpha1.TokenSecret{Name: "octo-app-pull", Type: v1alpha1.TokenSecretDockerConfigJSON}
	create(ctx, push, pull)
	conditions(ctx, push).Should(beReady())
	conditions(ctx, pull).Should(beReady())

	served := get[corev1.Secret](ctx, g.namespace, "acme-tls").Data
	g.serve(registry, served)
	create(ctx,
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "packages-test-ca"},
			Data:       map[string][]byte{"ca.crt": served[corev1.TLSCertKey]},
		},
		newCertificate(g.target, "packages-test-tls", g.target+".packages.test", "*."+g.target+".packages.test"))

	g.files = map[string]string{}
	folder := filepath.Join("..", "config", "samples")
	entries, err := os.ReadDir(folder)
	Expect(err).NotTo(HaveOccurred())
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		Expect(err).NotTo(HaveOccurred())
		g.files[entry.Name()] = strings.NewReplacer("hostname: packages.test", "hostname: "+g.target+".packages.test",
			"className: traefik", "className: web").Replace(string(text))
	}
	return g
}

// serve puts a proxy with the instance's certificate before its registry, as an ingress
// controller does: at the port that an image's name without one means.
func (g *git) serve(registry string, served map[string][]byte) {
	GinkgoHelper()
	certificate, err := tls.X509KeyPair(served[corev1.TLSCertKey], served[corev1.TLSPrivateKeyKey])
	Expect(err).NotTo(HaveOccurred())
	// An address of this process's own.
	g.front = fmt.Sprintf("127.53.%d.%d:443", os.Getpid()>>8&0xff, os.Getpid()&0xff)
	listener, err := tls.Listen("tcp", g.front, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	Expect(err).NotTo(HaveOccurred())
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: registry})
		r.Out.Host = r.In.Host
	}}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(server.Close)

	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(served[corev1.TLSCertKey])).To(BeTrue())
	g.transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.front)
		},
	}
}

// objects are config/flux for this spec.
func (g *git) objects() []*unstructured.Unstructured {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "config", "flux", "packages.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(strings.NewReplacer(
		"docker.packages.test", g.host,
		"namespace: team", "namespace: "+g.target, "targetNamespace: team", "targetNamespace: "+g.target,
		"timeout: 2m", "timeout: 20s",
	).Replace(string(text)), "\n---\n") {
		object := &unstructured.Unstructured{}
		Expect(yaml.UnmarshalStrict([]byte(document), &object.Object)).To(Succeed())
		object.SetNamespace(g.namespace)
		objects = append(objects, object)
	}
	return objects
}

// declared are the objects in the files.
func (g *git) declared() []client.Object {
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: g.target, Name: name} }
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
	tag, err := name.NewTag(g.host + "/octocat/octo-app/manifests:main")
	Expect(err).NotTo(HaveOccurred())
	password := string(get[corev1.Secret](ctx, g.namespace, "monalisa-token").Data[v1alpha1.TokenKeyPassword])
	Expect(remote.Write(tag, image, remote.WithContext(ctx), remote.WithTransport(g.transport),
		remote.WithAuth(&authn.Basic{Username: "monalisa", Password: password}))).To(Succeed())
}

func (g *git) source() *unstructured.Unstructured {
	return g.fluxObject("source.toolkit.fluxcd.io", "OCIRepository")
}

func (g *git) kustomization() *unstructured.Unstructured {
	return g.fluxObject("kustomize.toolkit.fluxcd.io", "Kustomization")
}

func (g *git) fluxObject(group, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind})
	object.SetNamespace(g.namespace)
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
	Eventually(func(gomega Gomega) {
		source, kustomization := g.source(), g.kustomization()
		gomega.Expect(admin.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
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
	if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
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
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	before := object.DeepCopy()
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[fluxRequest] = time.Now().Format(time.RFC3339Nano)
	object.SetAnnotations(annotations)
	Expect(admin.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
}

func eventuallyHandled(ctx context.Context, object *unstructured.Unstructured) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		handled, _, _ := unstructured.NestedString(object.Object, "status", "lastHandledReconcileAt")
		g.Expect(handled).To(Equal(object.GetAnnotations()[fluxRequest]))
	}).WithTimeout(patience).WithPolling(250 * time.Millisecond).Should(Succeed())
}

// startFlux runs Flux's source-controller and kustomize-controller beside the API
// server, until the spec ends.
func startFlux(ctx context.Context, g *git) {
	GinkgoHelper()
	work := GinkgoT().TempDir()
	kubeconfig := filepath.Join(work, "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: adminConfig.Host, CertificateAuthorityData: adminConfig.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: adminConfig.CertData, ClientKeyData: adminConfig.KeyData}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	Expect(clientcmd.WriteToFile(*config, kubeconfig)).To(Succeed())
	hosts := filepath.Join(work, "hosts")
	front, _, err := net.SplitHostPort(g.front)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"+front+" "+g.host+"\n"), 0o644)).To(Succeed())

	var definitions []string
	for _, controller := range []string{"source-controller", "kustomize-controller"} {
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/fluxcd/"+controller)
		cmd.Dir = filepath.Join("..", "hack", "tools", "flux")
		folder, err := cmd.Output()
		Expect(err).NotTo(HaveOccurred())
		definitions = append(definitions, filepath.Join(strings.TrimSpace(string(folder)), "config", "crd", "bases"))
	}
	_, err = envtest.InstallCRDs(adminConfig, envtest.CRDInstallOptions{Paths: definitions, ErrorIfPathMissing: true})
	Expect(err).NotTo(HaveOccurred())

	address := freeAddress()
	start := func(program string, args ...string) {
		GinkgoHelper()
		health := freeAddress()
		// Its own /etc/hosts leads to the registry.
		args = append([]string{"--mount", "sh", "-c", `mount --bind "$1" /etc/hosts && shift && exec "$@"`, "sh", hosts,
			filepath.Join(os.Getenv(fluxVariable), program), "--metrics-addr", "0", "--health-addr", health}, args...)
		cmd := exec.Command("unshare", args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "RUNTIME_NAMESPACE="+g.namespace, "TMPDIR="+work)
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
				Fail(program + " does not end")
			}
		})
		Eventually(func() error {
			select {
			case err := <-ended:
				ended <- err
				return StopTrying(program + " ended").Wrap(err)
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
	start("source-controller", "--storage-path", work, "--storage-addr", address, "--storage-adv-addr", address)
	start("kustomize-controller")
	DeferCleanup(func(ctx SpecContext) {
		for _, object := range []*unstructured.Unstructured{g.kustomization(), g.source()} {
			Expect(client.IgnoreNotFound(admin.Delete(ctx, object))).To(Succeed())
			gone(ctx, object)
		}
	})
}

// freeAddress is one at which nobody listens.
func freeAddress() string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close() //nolint:errcheck // nothing was sent
	return listener.Addr().String()
}
