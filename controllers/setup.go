// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// Options are what the controllers need beside a manager. All fields but
// TrustedProxies and LookAgain are required.
type Options struct {
	// RegistryImage is the image of the registry pods.
	RegistryImage string
	// TrustedProxies are the reverse proxies of the cluster, such as its ingress
	// controllers, which the registries believe when they say, in X-Forwarded-For,
	// which client they speak for.
	TrustedProxies []netip.Prefix
	// Version is what the registry of that image is called in an instance's status.
	Version string
	// Pods asks registry pods how they are.
	Pods PodStatusReader
	// AskPodsEvery is how often every registry pod is asked whether something is wrong
	// with it.
	AskPodsEvery time.Duration
	// Now is the clock.
	Now func() time.Time
	// Random makes tokens and keys; crypto/rand.Reader outside of tests.
	Random io.Reader
	// LookAgain is how often the cluster is asked whether it serves kinds that it may
	// lack; 0 for every ten seconds.
	LookAgain time.Duration
}

// NewScheme knows every kind that the manager handles.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(
		clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), gatewayv1.Install(scheme), certmanagerv1.AddToScheme(scheme),
	); err != nil {
		return nil, fmt.Errorf("building the scheme: %w", err)
	}
	return scheme, nil
}

// ConfigureCaches bounds what a manager built from the options remembers: the
// objects of our kinds, and of other kinds those that carry our label, in the
// given namespaces or in all for none. Reads see the manager's own writes, so that
// no reconcile acts on what it has already changed.
func ConfigureCaches(options *ctrl.Options, namespaces []string) error {
	labeled := cache.ByObject{Label: ourObjects()}
	labeledPods := labeled
	labeledPods.Transform = cache.TransformStripManagedFields()
	options.Cache.ByObject = map[client.Object]cache.ByObject{
		&appsv1.StatefulSet{}:           labeled,
		&corev1.PersistentVolumeClaim{}: labeled,
		&corev1.Pod{}:                   labeledPods,
		&corev1.Secret{}:                labeled,
		&corev1.Service{}:               labeled,
		&corev1.ServiceAccount{}:        labeled,
		&networkingv1.Ingress{}:         labeled,
		&rbacv1.Role{}:                  labeled,
		&rbacv1.RoleBinding{}:           labeled,
		&v1alpha1.PackagesPolicy{}:      labeled,
	}
	options.Cache.DefaultNamespaces = namespaceConfigs(namespaces)
	readYourWrites := true
	options.Client.Cache = &client.CacheOptions{EnableReadYourWritesConsistency: &readYourWrites}
	options.Client.FieldOwner = desired.FieldOwner
	return nil
}

// ourObjects selects what was made for an instance.
func ourObjects() labels.Selector {
	ours, err := labels.NewRequirement(v1alpha1.LabelInstance, selection.Exists, nil)
	if err != nil {
		panic(err) // of a constant
	}
	return labels.NewSelector().Add(*ours)
}

func namespaceConfigs(namespaces []string) map[string]cache.Config {
	if len(namespaces) == 0 {
		return nil
	}
	configs := make(map[string]cache.Config, len(namespaces))
	for _, namespace := range namespaces {
		configs[namespace] = cache.Config{}
	}
	return configs
}

// newMetadata is a cache of what is needed of objects that are not ours: of every
// Secret its name and version, see userSecrets, of every ServiceAccount its name and
// UID, and of every namespace its labels.
// Helm's own records of releases, the most frequent and largest of all Secrets, are
// left out: nobody brings a token in one.
func newMetadata(mgr ctrl.Manager, namespaces []string) (cache.Cache, error) {
	metadata, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient:        mgr.GetHTTPClient(),
		Scheme:            mgr.GetScheme(),
		Mapper:            mgr.GetRESTMapper(),
		DefaultNamespaces: namespaceConfigs(namespaces),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {
				Field: fields.OneTermNotEqualSelector("type", "helm.sh/release.v1"),
			},
			&corev1.Namespace{}: {Transform: func(object any) (any, error) {
				if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
					meta.ObjectMeta = metav1.ObjectMeta{
						Name: meta.Name, Labels: meta.Labels,
						UID: meta.UID, ResourceVersion: meta.ResourceVersion,
					}
				}
				return object, nil
			}},
		},
		DefaultTransform: func(object any) (any, error) {
			if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
				meta.ObjectMeta = metav1.ObjectMeta{
					Namespace: meta.Namespace, Name: meta.Name, DeletionTimestamp: meta.DeletionTimestamp,
					UID: meta.UID, ResourceVersion: meta.ResourceVersion,
				}
			}
			return object, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache of metadata: %w", err)
	}
	return metadata, nil
}

// Names of cache indexes.
const (
	// indexInstance is the instance that organizations, repositories and tokens, of
	// whatever namespace, refer to: NAMESPACE/NAME.
	indexInstance = "spec.instanceRef"
	// indexSecret is the name of the Secret that a token reads or writes, or that an
	// instance takes its certificate from.
	indexSecret = "secret"
	// indexServiceAccount are the ServiceAccounts that a repository gives a role:
	// NAMESPACE/NAME.
	indexServiceAccount = "spec.access.serviceAccounts"
)

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	return errors.Join(
		indexer.IndexField(ctx, &v1alpha1.PackagesOrganization{}, indexInstance, func(object client.Object) []string {
			return []string{instanceOf(object).String()}
		}),
		indexer.IndexField(ctx, &v1alpha1.PackagesRepository{}, indexInstance, func(object client.Object) []string {
			return []string{instanceOf(object).String()}
		}),
		indexer.IndexField(ctx, &v1alpha1.PackagesToken{}, indexInstance, func(object client.Object) []string {
			return []string{instanceOf(object).String()}
		}),
		indexer.IndexField(ctx, &v1alpha1.PackagesRepository{}, indexServiceAccount, func(object client.Object) []string {
			repository, ok := object.(*v1alpha1.PackagesRepository)
			if !ok {
				return nil
			}
			var accounts []string
			for _, entry := range repository.Spec.Access.ServiceAccounts {
				accounts = append(accounts, types.NamespacedName{Namespace: entry.Namespace, Name: entry.Name}.String())
			}
			return accounts
		}),
		indexer.IndexField(ctx, &v1alpha1.PackagesInstance{}, indexSecret, func(object client.Object) []string {
			if instance, ok := object.(*v1alpha1.PackagesInstance); ok && desired.TLSSecretName(instance) != "" {
				return []string{desired.TLSSecretName(instance)}
			}
			return nil
		}),
		indexer.IndexField(ctx, &v1alpha1.PackagesToken{}, indexSecret, func(object client.Object) []string {
			token, ok := object.(*v1alpha1.PackagesToken)
			switch {
			case ok && token.Spec.Source != nil:
				return []string{token.Spec.Source.SecretRef.Name}
			case ok && token.Spec.Secret != nil:
				return []string{token.Spec.Secret.Name}
			}
			return nil
		}),
	)
}

// instanceOf names the instance that an organization, a repository or a token refers
// to.
func instanceOf(object client.Object) types.NamespacedName {
	var to v1alpha1.InstanceReference
	switch object := object.(type) {
	case *v1alpha1.PackagesOrganization:
		to = object.Spec.InstanceRef
	case *v1alpha1.PackagesRepository:
		to = object.Spec.InstanceRef
	case *v1alpha1.PackagesToken:
		to = object.Spec.InstanceRef
	}
	return compile.InstanceKey(object.GetNamespace(), to)
}

// Setup adds the controllers to a manager that was made with ConfigureCaches for
// the same namespaces.
func Setup(ctx context.Context, mgr ctrl.Manager, namespaces []string, options Options) error {
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("indexing: %w", err)
	}
	metadata, err := newMetadata(mgr, namespaces)
	if err != nil {
		return err
	}
	if err := mgr.Add(metadata); err != nil {
		return fmt.Errorf("adding the cache of metadata: %w", err)
	}
	labels := &namespaceLabels{}
	if len(namespaces) == 0 {
		labels.metadata = metadata
	}
	issuer, err := newClusterIssuer(mgr, options.Now)
	if err != nil {
		return err
	}
	instances := &references{cached: mgr.GetClient(), labels: labels}
	w := &writer{cached: mgr.GetClient(), live: mgr.GetAPIReader()}
	sources := &userSecrets{metadata: metadata, live: mgr.GetAPIReader()}
	verdicts := newVerdicts()
	health := &podHealth{}
	if err := mgr.Add(&healthWatch{cached: mgr.GetClient(), pods: options.Pods, health: health, every: options.AskPodsEvery}); err != nil {
		return fmt.Errorf("adding the watch over pods: %w", err)
	}
	events := reporter{mgr.GetEventRecorder(desired.FieldOwner)}

	finder, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	foreign := foreignKinds{mgr: mgr, discovery: finder, every: cmp.Or(options.LookAgain, lookAgain)}
	ingressClasses, err := foreign.add(&networkingv1.IngressClass{}, cache.Options{})
	if err != nil {
		return fmt.Errorf("looking after IngressClasses: %w", err)
	}
	labeled := cache.Options{
		DefaultNamespaces:    namespaceConfigs(namespaces),
		DefaultLabelSelector: ourObjects(),
	}
	routes, err := foreign.add(&gatewayv1.HTTPRoute{}, labeled)
	if err != nil {
		return fmt.Errorf("looking after HTTPRoutes: %w", err)
	}
	gateways, err := foreign.add(&gatewayv1.Gateway{}, cache.Options{DefaultNamespaces: namespaceConfigs(namespaces)})
	if err != nil {
		return fmt.Errorf("looking after Gateways: %w", err)
	}
	certManager, err := foreign.add(&certmanagerv1.Certificate{}, labeled)
	if err != nil {
		return fmt.Errorf("looking after Certificates: %w", err)
	}

	for _, setup := range []func() error{
		func() error {
			r := &instanceReconciler{
				writer: w, sources: sources, labels: labels, verdicts: verdicts, pods: options.Pods, health: health, reporter: events,
				accounts: &serviceAccounts{metadata: metadata, namespaces: namespaces}, issuer: issuer,
				certificates:   &certificates{metadata: metadata, live: mgr.GetAPIReader()},
				namespaces:     namespaces,
				ingressClasses: ingressClasses,
				gatewayAPI:     gatewayAPI{routes: routes, gateways: gateways},
				certManager:    certManager,
				image:          options.RegistryImage, trustedProxies: options.TrustedProxies, version: options.Version, now: options.Now, random: options.Random,
			}
			return r.setup(mgr, metadata)
		},
		func() error {
			r := &tokenReconciler{
				writer: w, references: instances, sources: sources, verdicts: verdicts, reporter: events,
				now: options.Now, random: options.Random,
			}
			return r.setup(mgr, metadata)
		},
		func() error {
			r := &organizationReconciler{writer: w, references: instances, verdicts: verdicts, reporter: events, now: options.Now}
			return r.setup(mgr)
		},
		func() error {
			r := &repositoryReconciler{writer: w, references: instances, verdicts: verdicts, reporter: events, now: options.Now}
			return r.setup(mgr)
		},
	} {
		if err := setup(); err != nil {
			return err
		}
	}
	return nil
}

// controllerOptions are every controller's. A reconcile that hangs, on a server
// that does not answer, gives its worker back.
func controllerOptions() controller.Options {
	warmup := true
	return controller.Options{
		MaxConcurrentReconciles: 4,
		ReconciliationTimeout:   time.Minute,
		EnableWarmup:            &warmup,
	}
}
