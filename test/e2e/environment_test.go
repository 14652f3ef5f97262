// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
	"github.com/packages-operator/packages-operator/hack/localcluster"
)

const (
	operatorNamespace = "packages-operator-system"
	// sampleDomain is the hostname in config/samples, which is replaced by the run's
	// own.
	sampleDomain = "packages.test"
	tlsSecret    = "packages-test-tls"
)

// environment is the cluster with everything that specs need of it.
type environment struct {
	cluster *localcluster.Cluster
	kube    client.Client
	// domain is the hostname of the shared instance; those of others are below it.
	domain string
	nodeIP netip.Addr
	// roots trust the cluster's own authority.
	roots *x509.CertPool
	// work is a directory of the run's own.
	work string
	// image is the operator's.
	image string
	// audited is where the audit log was when the operator was installed.
	audited int64
	// withoutRights are the parts of it in which the operator was taken away.
	withoutRights []span
}

// span is a part of the audit log.
type span struct{ begin, end int64 }

// setUp makes the environment and registers its end. What a failed setUp leaves
// is taken down as well.
func setUp(ctx SpecContext) {
	name := clusterName()
	takeTurn(name)
	cluster, err := localcluster.Open(name)
	Expect(err).NotTo(HaveOccurred())
	cluster.Log = GinkgoWriter
	env = &environment{cluster: cluster, domain: "packages-" + name + ".test"}
	env.work, err = os.MkdirTemp("", "packages-e2e-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, env.work)

	began := time.Now()
	step := func(text string) {
		GinkgoWriter.Printf("[%5.1fs] %s\n", time.Since(began).Seconds(), text)
		By(text)
	}

	step("a Kubernetes node, Traefik and a Docker daemon")
	hosts := env.registryHosts()
	DeferCleanup(takeDown)
	Expect(cluster.Up(ctx, localcluster.UpOptions{RegistryHosts: hosts})).To(Succeed())
	options, err := cluster.DockerOptions(hosts...)
	Expect(err).NotTo(HaveOccurred())
	Expect(cluster.Docker().Up(ctx, options)).To(Succeed())
	DeferCleanup(removeImages)
	env.roots = x509.NewCertPool()
	Expect(env.roots.AppendCertsFromPEM(options.CA)).To(BeTrue())
	env.nodeIP = options.Address
	env.kube = newKubeClient(cluster.Kubeconfig())

	complete := false
	DeferCleanup(func(ctx SpecContext) {
		if !complete {
			dump(ctx)
		}
	})

	step("the remains of an earlier run")
	clearRemains(ctx)

	step("the operator's image")
	env.image = buildOperatorImage(ctx)
	Expect(cluster.LoadImage(ctx, filepath.Join(env.work, "operator.tar"))).To(Succeed())

	step("what cert-manager would define, for what the operator asks of it")
	kubectl(ctx, "", "apply", "--server-side", "--filename",
		filepath.Join(moduleFolder(ctx, "hack/tools/cert-manager", "github.com/cert-manager/cert-manager"), "deploy/crds/cert-manager.io_certificates.yaml"))

	step("the chart")
	env.audited = openAuditLog().offset
	kubectl(ctx, operatorNamespaceManifest, "apply", "--server-side", "--filename", "-")
	createNamespace(ctx, declared().namespace, tlsSecret, declared().hostname)
	helm4(ctx).install(ctx, declaredInstance()...)

	step("config/samples")
	createNamespace(ctx, sharedNamespace, tlsSecret, env.domain)
	manifests := render(ctx, "config/samples")
	kubectl(ctx, strings.ReplaceAll(manifests, sampleDomain, env.domain), "apply", "--namespace", sharedNamespace, "--filename", "-")
	for _, object := range []client.Object{
		&v1alpha1.PackagesInstance{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: sharedInstance}},
		&v1alpha1.PackagesOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "octo-org"}},
		&v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "octo-app"}},
		&v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "shared"}},
		&v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "monalisa"}},
		&v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "octo-app-pull"}},
	} {
		eventuallyReady(ctx, object)
	}
	eventuallyReachable(ctx, dockerHost(env.domain))
	complete = true
	step("ready")
}

// clusterName is the checkout's own unless somebody chooses: runs in two
// checkouts do not meet, and what is left of a run that was killed is found by
// the next.
func clusterName() string {
	if name := os.Getenv("E2E_CLUSTER_NAME"); name != "" {
		return name
	}
	root, err := filepath.Abs(repositoryRoot)
	Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256([]byte(root))
	return "e2e-" + hex.EncodeToString(sum[:3])
}

// takeTurn fails if another run uses the cluster. The name of an abstract socket
// is free again when its process ends, however that happens.
func takeTurn(cluster string) {
	GinkgoHelper()
	turn, err := net.Listen("unix", "@packages-operator-"+cluster)
	Expect(err).NotTo(HaveOccurred(), "another run of these tests uses the cluster %s; set E2E_CLUSTER_NAME to run beside it", cluster)
	DeferCleanup(turn.Close)
}

// registryHosts are the hosts that the node and the Docker daemon know.
func (e *environment) registryHosts() []string {
	hosts := []string{e.domain, dockerHost(e.domain)}
	for _, prefix := range []string{"retain", "delete", "gateway", "notes", "only"} {
		hosts = append(hosts, dockerHost(prefix+"."+e.domain))
	}
	return hosts
}

// dockerHost is where a hostname with subdomain isolation serves docker.
func dockerHost(hostname string) string { return "docker." + hostname }

func takeDown(ctx SpecContext) {
	if os.Getenv("E2E_KEEP") != "" {
		GinkgoWriter.Printf("E2E_KEEP: the cluster stays; look around with\n  export KUBECONFIG=%s\nand remove it with\n  go run ./hack/cluster down --name %s\n",
			env.cluster.Kubeconfig(), env.cluster.Name())
		return
	}
	removed, err := env.cluster.Down(ctx)
	Expect(err).NotTo(HaveOccurred())
	GinkgoWriter.Println("removed", strings.Join(removed, ", "))
}

func newKubeClient(kubeconfig string) client.Client {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	config.Proxy = nil
	config.QPS, config.Burst = 200, 400
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(apiextensionsv1.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	Expect(gatewayv1.Install(scheme)).To(Succeed())
	Expect(certmanagerv1.AddToScheme(scheme)).To(Succeed())
	kube, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return kube
}

// buildOperatorImage makes the image by the repository's Dockerfile, writes it to
// operator.tar and returns its name. The tag tells the content, so that a kept
// cluster rolls over to a new build.
func buildOperatorImage(ctx context.Context) string {
	GinkgoHelper()
	folder := filepath.Join(env.work, "image")
	binary := filepath.Join(folder, "bin/packages-operator")
	goBuild(ctx, binary, "./cmd/packages-operator")
	data, err := os.ReadFile(binary)
	Expect(err).NotTo(HaveOccurred())
	dockerfile, err := os.ReadFile(filepath.Join(repositoryRoot, "Dockerfile"))
	Expect(err).NotTo(HaveOccurred())

	sum := sha256.Sum256(data)
	image := "packages-operator:e2e-" + hex.EncodeToString(sum[:6])
	builder := newPerson()
	builder.buildIn(ctx, image, folder, string(dockerfile))
	builder.mustDocker(ctx, "save", "--output", filepath.Join(env.work, "operator.tar"), image)
	DeferCleanup(func(ctx SpecContext) { builder.mustDocker(ctx, "rmi", image) })
	return image
}

func goBuild(ctx context.Context, output, pkg string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", output, pkg)
	cmd.Dir = repositoryRoot
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "go build %s: %s", pkg, out)
}

// moduleFolder is where the source of a module is, in the version that a module of this
// repository pins.
func moduleFolder(ctx context.Context, pinned, module string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(repositoryRoot, pinned)
	out, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), "go mod download %s: %s", module, out)
	var found struct{ Dir string }
	Expect(json.Unmarshal(out, &found)).To(Succeed())
	return found.Dir
}

// repositoryRoot is relative to this package, where its tests run.
const repositoryRoot = "../.."

// operatorNamespaceManifest is the namespace as config/manager has it.
const operatorNamespaceManifest = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + operatorNamespace + `
  labels: {pod-security.kubernetes.io/enforce: restricted}
`

// render is what kubectl would apply of a folder of this repository.
func render(ctx context.Context, folder string) string {
	GinkgoHelper()
	return kubectl(ctx, "", "kustomize", filepath.Join(repositoryRoot, folder))
}

// kubectl returns standard output.
func kubectl(ctx context.Context, stdin string, args ...string) string {
	GinkgoHelper()
	cmd, err := env.cluster.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	Expect(cmd.Run()).To(Succeed(), "kubectl %s: %s", strings.Join(args, " "), &stderr)
	return stdout.String()
}

// namespaceLabel marks the namespaces of the suite.
const namespaceLabel = "packages-operator.io/e2e"

// createNamespace makes a namespace that admits only restricted pods, with a
// certificate for a hostname and the names below it.
func createNamespace(ctx context.Context, name, secret, hostname string) {
	GinkgoHelper()
	Expect(env.kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		namespaceLabel:                       "true",
		"pod-security.kubernetes.io/enforce": "restricted",
	}}})).To(Succeed())
	cert, key, err := env.cluster.IssueCertificate(hostname, "*."+hostname)
	Expect(err).NotTo(HaveOccurred())
	Expect(env.kube.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: secret},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	})).To(Succeed())
	// Pods cannot be made before their namespace has its account.
	Eventually(ctx, func() error {
		return env.kube.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
	}).Should(Succeed())
}

// clearRemains makes a kept cluster as good as new: without the namespaces of an
// earlier run, and with its volumes free and empty.
func clearRemains(ctx context.Context) {
	GinkgoHelper()
	var namespaces corev1.NamespaceList
	Expect(env.kube.List(ctx, &namespaces, client.HasLabels{namespaceLabel})).To(Succeed())
	for i := range namespaces.Items {
		deleteNamespace(ctx, namespaces.Items[i].Name)
	}
	var volumes corev1.PersistentVolumeList
	Expect(env.kube.List(ctx, &volumes)).To(Succeed())
	for i := range volumes.Items {
		volume := &volumes.Items[i]
		if volume.Spec.ClaimRef == nil || volume.Spec.Local == nil {
			continue
		}
		entries, err := filepath.Glob(filepath.Join(volume.Spec.Local.Path, "*"))
		Expect(err).NotTo(HaveOccurred())
		for _, entry := range entries {
			Expect(os.RemoveAll(entry)).To(Succeed())
		}
		before := volume.DeepCopy()
		volume.Spec.ClaimRef = nil
		Expect(env.kube.Patch(ctx, volume, client.MergeFrom(before))).To(Succeed())
	}
}

func deleteNamespace(ctx context.Context, name string) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	Expect(client.IgnoreNotFound(env.kube.Delete(ctx, namespace))).To(Succeed())
	eventuallyGone(ctx, namespace)
}

// removeImages takes the run's images out of a Docker daemon that may be
// somebody else's.
func removeImages(ctx SpecContext) {
	docker := func(args ...string) string {
		cmd, err := env.cluster.Docker().Command(ctx, args...)
		Expect(err).NotTo(HaveOccurred())
		out, err := cmd.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "docker %s: %s", strings.Join(args, " "), out)
		return string(out)
	}
	images := strings.Fields(docker("images", "--quiet", "--filter", "reference=*"+env.domain+"/*/*/*"))
	slices.Sort(images)
	if images = slices.Compact(images); len(images) > 0 {
		docker(append([]string{"rmi", "--force"}, images...)...)
	}
}
