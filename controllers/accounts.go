// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// serviceAccounts finds out which of the ServiceAccounts that repositories name there
// are, from a cache of metadata.
type serviceAccounts struct {
	metadata client.Reader
	// namespaces that are watched; all for none.
	namespaces []string
}

// add looks up those that the repositories name.
func (a *serviceAccounts) add(ctx context.Context, repositories []v1alpha1.PackagesRepository, found map[types.NamespacedName]types.UID) error {
	for i := range repositories {
		for _, entry := range repositories[i].Spec.Access.ServiceAccounts {
			key := types.NamespacedName{Namespace: entry.Namespace, Name: entry.Name}
			if _, known := found[key]; known || len(a.namespaces) > 0 && !slices.Contains(a.namespaces, key.Namespace) {
				continue
			}
			object := serviceAccountMetadata()
			if err := a.metadata.Get(ctx, key, object); apierrors.IsNotFound(err) {
				continue
			} else if err != nil {
				return fmt.Errorf("reading the ServiceAccount %s: %w", key, err)
			}
			// One that is being deleted may be gone any moment, and its tokens with it.
			if object.DeletionTimestamp.IsZero() {
				found[key] = object.UID
			}
		}
	}
	return nil
}

// instancesEmploying are the instances of the repositories that name a ServiceAccount.
func (r *instanceReconciler) instancesEmploying(ctx context.Context, account *metav1.PartialObjectMetadata) []reconcile.Request {
	var repositories v1alpha1.PackagesRepositoryList
	if err := r.cached.List(ctx, &repositories, client.MatchingFields{indexServiceAccount: client.ObjectKeyFromObject(account).String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the repositories that name a ServiceAccount")
		return nil
	}
	var requests []reconcile.Request
	for i := range repositories.Items {
		requests = append(requests, reconcile.Request{NamespacedName: instanceOf(&repositories.Items[i])})
	}
	return requests
}

func serviceAccountMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return object
}

const (
	// issuerAge is how old what is known of the issuer may be: so long may a key that
	// is new be refused, and one that was taken away be accepted.
	issuerAge = time.Minute
	// issuerRetry is when to ask again after a failure.
	issuerRetry = 10 * time.Second
	// issuerTimeout bounds one question.
	issuerTimeout = 10 * time.Second
)

// Where a cluster publishes who signs the tokens of its ServiceAccounts. The keys are
// asked of the API server itself, wherever else the configuration says that they are.
const (
	issuerConfiguration = "/.well-known/openid-configuration"
	issuerKeySet        = "/openid/v1/jwks"
)

// clusterIssuer knows who signs the tokens of the cluster's ServiceAccounts. Safe for
// concurrent use.
type clusterIssuer struct {
	get func(ctx context.Context, path string) ([]byte, error)
	now func() time.Time

	mu     sync.Mutex
	issuer workload.Issuer
	err    error
	asked  time.Time
}

// newClusterIssuer asks the API server.
func newClusterIssuer(mgr ctrl.Manager, now func() time.Time) (*clusterIssuer, error) {
	config := rest.CopyConfig(mgr.GetConfig())
	config.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	server, err := rest.UnversionedRESTClientForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a client for the cluster's issuer: %w", err)
	}
	return &clusterIssuer{now: now, get: func(ctx context.Context, path string) ([]byte, error) {
		return server.Get().AbsPath(path).DoRaw(ctx)
	}}, nil
}

// add asks for the issuer, if that was not done just now. What is known stays in force
// while there is no answer. again is when to ask the next time.
func (c *clusterIssuer) add(ctx context.Context, input *compile.Input) (again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := issuerAge
	if c.err != nil {
		age = issuerRetry
	}
	if now := c.now(); c.asked.IsZero() || now.Sub(c.asked) >= age || now.Before(c.asked) {
		c.asked = now
		var issuer workload.Issuer
		if issuer, c.err = c.ask(ctx); c.err == nil {
			c.issuer = issuer
		} else {
			ctrl.LoggerFrom(ctx).Info("Cannot find out who signs the tokens of ServiceAccounts", "reason", c.err.Error(), "known", !c.issuer.IsZero())
		}
	}
	input.Issuer = c.issuer
	if c.err == nil {
		return issuerAge
	}
	input.IssuerFault = c.err.Error()
	return issuerRetry
}

func (c *clusterIssuer) ask(ctx context.Context) (workload.Issuer, error) {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	configuration, err := c.get(ctx, issuerConfiguration)
	if err != nil {
		return workload.Issuer{}, fmt.Errorf("the API server does not answer %s: %w", issuerConfiguration, err)
	}
	keySet, err := c.get(ctx, issuerKeySet)
	if err != nil {
		return workload.Issuer{}, fmt.Errorf("the API server does not answer %s: %w", issuerKeySet, err)
	}
	return workload.ParseIssuer(configuration, keySet)
}

// admitWorkloads adds to an input what it takes to let ServiceAccounts in, if any
// repository names one. again is when that has to be looked at anew, zero for never.
func (r *instanceReconciler) admitWorkloads(ctx context.Context, input *compile.Input) (again time.Duration, err error) {
	if !slices.ContainsFunc(input.Repositories, func(repository v1alpha1.PackagesRepository) bool {
		return len(repository.Spec.Access.ServiceAccounts) > 0
	}) {
		return 0, nil
	}
	input.ServiceAccounts = map[types.NamespacedName]types.UID{}
	if err := r.accounts.add(ctx, input.Repositories, input.ServiceAccounts); err != nil {
		return 0, err
	}
	return r.issuer.add(ctx, input), nil
}
