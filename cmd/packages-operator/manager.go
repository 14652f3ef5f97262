// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/packages-operator/packages-operator/controllers"
	"github.com/packages-operator/packages-operator/registry/clientaddr"
)

// askPodsEvery is how soon at the latest an instance says that its volume is full.
const askPodsEvery = 30 * time.Second

// managerOptions are the flags of the manager subcommand.
type managerOptions struct {
	log            logOptions
	kubeconfig     string
	namespaces     []string
	registryImage  string
	trusted        []string
	leaderElect    bool
	leaseNamespace string
	metrics        metricsOptions
	probeAddress   string
}

func newManagerCommand() *cobra.Command {
	var options managerOptions
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Reconcile PackagesInstances and what is declared for them",
		Long: `manager runs the controllers: it makes every PackagesInstance a running
registry, mints the values of PackagesTokens, and hands what the objects say to
the registry's pods.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return options.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	options.addFlags(cmd.Flags())
	return cmd
}

func (o *managerOptions) addFlags(flags *pflag.FlagSet) {
	o.log.addFlags(flags)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig file; without it the manager expects to run in a pod")
	flags.StringSliceVar(&o.namespaces, "namespaces", nil, "the namespaces to serve, separated by commas; all if empty. Hosts are compared among these only")
	flags.StringVar(&o.registryImage, "registry-image", os.Getenv("REGISTRY_IMAGE"),
		"the image of the registry's pods, usually the manager's own; the default is the environment variable REGISTRY_IMAGE")
	flags.StringSliceVar(&o.trusted, "trusted-proxies", nil,
		"addresses and networks of the cluster's ingress controllers, such as 10.244.0.0/16, from which the registries take the X-Forwarded-For header for the truth; a change replaces their pods")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "let one of several managers act at a time, by a Lease")
	flags.StringVar(&o.leaseNamespace, "leader-election-namespace", "", "the namespace of the Lease; the default is the pod's own")
	o.metrics.addFlags(flags)
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served; 0 for nowhere")
}

func (o *managerOptions) run(ctx context.Context, stderr io.Writer) error {
	logger, err := o.log.logger(stderr)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	if o.registryImage == "" {
		return errors.New("no image for the registry's pods: set --registry-image or the environment variable REGISTRY_IMAGE to the image that this program is in")
	}
	metrics, err := o.metrics.server()
	if err != nil {
		return err
	}
	trusted, err := clientaddr.ParsePrefixes(o.trusted)
	if err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	cluster, err := restConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	// The API server's priority and fairness decides, and not client-go's five
	// requests a second.
	cluster.QPS = -1
	finder, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	if err := controllers.Preflight(finder); err != nil {
		return err
	}
	mgr, err := o.manager(cluster, metrics, logger)
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, mgr, o.namespaces, controllers.Options{
		RegistryImage:  o.registryImage,
		TrustedProxies: trusted,
		Version:        buildVersion(),
		Pods:           controllers.NewPodStatusReader(),
		AskPodsEvery:   askPodsEvery,
		Now:            time.Now,
		Random:         rand.Reader,
	}); err != nil {
		return err
	}
	logger.Info("Starting the manager", "version", buildVersion(), "registryImage", o.registryImage, "namespaces", strings.Join(o.namespaces, ","))
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	return nil
}

// restConfig never takes a current context that nobody named: a program started
// by mistake must not act on whatever cluster happens to be configured.
func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cluster, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("this is no pod (%w): name a cluster with --kubeconfig FILE", err)
		}
		return cluster, nil
	}
	cluster, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig: %w", err)
	}
	return cluster, nil
}

func (o *managerOptions) manager(cluster *rest.Config, metrics metricsserver.Options, logger logr.Logger) (ctrl.Manager, error) {
	scheme, err := controllers.NewScheme()
	if err != nil {
		return nil, err
	}
	options := ctrl.Options{
		Scheme:                        scheme,
		Logger:                        logger,
		Metrics:                       metrics,
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "manager.packages-operator.io",
		LeaderElectionNamespace:       o.leaseNamespace,
		LeaderElectionReleaseOnCancel: true,
	}
	if err := controllers.ConfigureCaches(&options, o.namespaces); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cluster, options)
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	if err := errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	); err != nil {
		return nil, fmt.Errorf("adding the health checks: %w", err)
	}
	return mgr, nil
}
