// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/controllers"
)

// soon bounds what the product does within seconds; the tests run on busy machines.
const soon = time.Minute

// managerUser is whom the manager acts as: nobody but the holder of the generated
// ClusterRole.
const managerUser = "packages-operator-manager"

var (
	scheme *runtime.Scheme
	// admin is a client with all rights, that reads past every cache.
	admin client.WithWatch
	// adminConfig reaches the API server with all rights.
	adminConfig *rest.Config
	// adminKubeconfig is the path of a kubeconfig file with all rights.
	adminKubeconfig string
	// managerConfig reaches the API server as managerUser.
	managerConfig *rest.Config
	// audit is the API server's log of requests.
	audit *auditLog
	// node stands in for what envtest lacks.
	node *standIn
	// observer looks at all that happens.
	observer *witness
	// clock is the manager's.
	clock shiftedClock
	// logs are all that the manager says.
	logs logBuffer
	// stopManager ends the manager that runs, and waits for it.
	stopManager func()
)

func TestControllers(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("these tests need a kube-apiserver and an etcd: use `make test`, or name their folder in KUBEBUILDER_ASSETS")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(soon)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	RunSpecs(t, "Controllers")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	logger := zap.New(zap.WriteTo(io.MultiWriter(GinkgoWriter, &logs)), zap.UseDevMode(true))
	ctrl.SetLogger(logger)

	folder := GinkgoT().TempDir()
	audit = newAuditLog(filepath.Join(folder, "audit.log"))
	auditPolicy := filepath.Join(folder, "audit-policy.yaml")
	Expect(os.WriteFile(auditPolicy, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"), 0o600)).To(Succeed())

	env := &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	env.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", auditPolicy).
		Set("audit-log-path", audit.path).
		Set("audit-log-mode", "blocking")
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	var err error
	adminConfig, err = env.Start()
	Expect(err).NotTo(HaveOccurred())
	adminConfig.QPS, adminConfig.Burst = 1000, 1000

	scheme, err = controllers.NewScheme()
	Expect(err).NotTo(HaveOccurred())
	admin, err = client.NewWithWatch(adminConfig, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	grantManagerRole(ctx)
	user, err := env.AddUser(envtest.User{Name: managerUser}, adminConfig)
	Expect(err).NotTo(HaveOccurred())
	managerConfig = user.Config()
	root, err := env.AddUser(envtest.User{Name: "root", Groups: []string{"system:masters"}}, adminConfig)
	Expect(err).NotTo(HaveOccurred())
	kubeconfig, err := root.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	adminKubeconfig = filepath.Join(folder, "kubeconfig")
	Expect(os.WriteFile(adminKubeconfig, kubeconfig, 0o600)).To(Succeed())

	observer = startWitness(admin)
	DeferCleanup(func() { observer.stop() })
	Expect(admin.Create(ctx, newIngressClass("web", "example.com/web"))).To(Succeed())
	node = newStandIn(admin)
	node.start()
	DeferCleanup(node.stop)
	stopManager = startManager()
	DeferCleanup(func() { stopManager() })
})

// managerRole is the manager's in config/rbac.
func managerRole() *rbacv1.ClusterRole {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "config", "rbac", "role.yaml"))
	Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	return role
}

// grantManagerRole gives the manager the rights that config/rbac gives it.
func grantManagerRole(ctx context.Context) {
	GinkgoHelper()
	role := managerRole()
	Expect(admin.Create(ctx, role)).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: managerUser}},
	})).To(Succeed())
}

// startManager runs a manager as the product does, for the given namespaces or all
// for none, until the returned function is called.
func startManager(namespaces ...string) (stop func()) {
	GinkgoHelper()
	again := true
	options := ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
	}
	// One process runs one manager after the other.
	options.Controller.SkipNameValidation = &again
	Expect(controllers.ConfigureCaches(&options, namespaces)).To(Succeed())
	mgr, err := ctrl.NewManager(managerConfig, options)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	Expect(controllers.Setup(ctx, mgr, namespaces, controllers.Options{
		RegistryImage:  "packages-operator:test",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Version:        "test",
		Pods:           node,
		AskPodsEvery:   2 * time.Second,
		Now:            clock.now,
		Random:         rand.Reader,
		LookAgain:      200 * time.Millisecond,
	})).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		GinkgoHelper()
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				Fail("the manager ended: " + err.Error())
			}
		case <-time.After(soon):
			Fail("the manager does not end")
		}
	}
}

// shiftedClock goes with the time, ahead of it. Safe for concurrent use.
type shiftedClock struct{ ahead atomic.Int64 }

func (c *shiftedClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// forward puts the clock on.
func (c *shiftedClock) forward(by time.Duration) { c.ahead.Add(int64(by)) }
