// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// completionTimeout bounds how long a person waits for a TAB.
const completionTimeout = 3 * time.Second

// cluster is where the flags, the environment and the kubeconfig files lead, as with
// kubectl.
type cluster struct {
	rules     *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
	// warnings get what the API server warns of.
	warnings io.Writer

	// Set by connect.
	client.Client
	namespace string
	server    string
}

func newCluster(warnings io.Writer) *cluster {
	return &cluster{rules: clientcmd.NewDefaultClientConfigLoadingRules(), warnings: warnings}
}

// addFlags adds the flags of kubectl that say which cluster, and as whom.
func (c *cluster) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.rules.ExplicitPath, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// Passwords are no way into a cluster any more.
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	names.ContextOverrideFlags.Namespace.ShortName = "n"
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	clientcmd.BindOverrideFlags(&c.overrides, flags, names)
}

func (c *cluster) config() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules, &c.overrides)
}

// connect makes the client. It does not ask the cluster yet.
func (c *cluster) connect() error {
	if c.Client != nil {
		return nil
	}
	config := c.config()
	server, err := config.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return errors.New("there is no cluster to talk to: name a kubeconfig file with --kubeconfig or in KUBECONFIG")
	case err != nil:
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	server.WarningHandler = rest.NewWarningWriter(c.warnings, rest.WarningWriterOptions{Deduplicate: true})
	c.server = server.Host
	if c.namespace, _, err = config.Namespace(); err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("preparing the client: %w", err)
		}
	}
	if c.Client, err = client.New(server, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("preparing the client: %w", err)
	}
	return nil
}

// explain says of an error of the API what a person can do about it.
func (c *cluster) explain(doing string, err error) error {
	var network net.Error
	var address *url.Error
	var discovery *apiutil.ErrResourceDiscoveryFailed
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster at %s does not accept the kubeconfig's credential: sign in to it again", doing, c.server)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: you lack the right: %w", doing, err)
	case meta.IsNoMatchError(err), errors.As(err, &discovery) && discoversNothing(discovery):
		return fmt.Errorf("%s: the cluster at %s does not know the kinds of packages-operator: install it first", doing, c.server)
	case errors.As(err, &address), errors.As(err, &network):
		return fmt.Errorf("%s: the cluster at %s cannot be reached: %w", doing, c.server, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// discoversNothing is whether all that failed is that a group is not there.
func discoversNothing(err *apiutil.ErrResourceDiscoveryFailed) bool {
	for _, reason := range *err {
		if !apierrors.IsNotFound(reason) {
			return false
		}
	}
	return true
}

// names completes with the names of objects of the namespace.
func names[T any, L interface {
	*T
	client.ObjectList
}](c *cluster) func(context.Context) []string {
	return func(ctx context.Context) []string {
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		list := L(new(T))
		if c.connect() != nil || c.List(ctx, list, client.InNamespace(c.namespace)) != nil {
			return nil
		}
		var found []string
		_ = meta.EachListItem(list, func(object runtime.Object) error {
			if named, err := meta.Accessor(object); err == nil {
				found = append(found, named.GetName())
			}
			return nil
		})
		return found
	}
}

func (c *cluster) namespaces(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	var list corev1.NamespaceList
	if c.connect() != nil || c.List(ctx, &list) != nil {
		return nil
	}
	var found []string
	for i := range list.Items {
		found = append(found, list.Items[i].Name)
	}
	return found
}

func (c *cluster) contexts(context.Context) []string {
	raw, err := c.config().RawConfig()
	if err != nil {
		return nil
	}
	var found []string
	for name := range raw.Contexts {
		found = append(found, name)
	}
	slices.Sort(found)
	return found
}
