// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/packages-operator/packages-operator/controllers/desired"
)

// lookAgain is how often the cluster is asked whether it serves a kind, unless
// Options say otherwise. Everybody may ask that, so no right is needed for it.
const lookAgain = 10 * time.Second

// Why a foreign kind cannot be used.
var (
	errNotServed  = errors.New("the cluster does not serve this kind")
	errNotAllowed = errors.New("the manager may not read this kind")
	errNotKnown   = errors.New("the cluster has not said yet whether it serves this kind")
)

// foreignKind is a kind that is not the operator's, and that a cluster may lack or
// keep from the manager. It comes and goes while the manager runs: there is a cache
// of it for as long as the cluster serves it. Safe for concurrent use.
type foreignKind struct {
	mgr       ctrl.Manager
	discovery Discovery
	object    client.Object
	gvk       schema.GroupVersionKind
	// remember says what of the kind the cache holds.
	remember cache.Options
	every    time.Duration
	// concerned are who to look at after an event about an object, or with nil after
	// the kind has come or gone.
	concerned func(context.Context, client.Object) []reconcile.Request

	mu     sync.Mutex
	writer *writer
	// unusable is why there is no writer.
	unusable error
	stop     context.CancelFunc
	queue    workqueue.TypedRateLimitingInterface[reconcile.Request]

	known     chan struct{}
	knownOnce sync.Once
}

// foreignKinds makes foreign kinds for a manager.
type foreignKinds struct {
	mgr       ctrl.Manager
	discovery Discovery
	every     time.Duration
}

func (f foreignKinds) add(object client.Object, remember cache.Options) (*foreignKind, error) {
	gvk, err := apiutil.GVKForObject(object, f.mgr.GetScheme())
	if err != nil {
		return nil, err
	}
	remember.HTTPClient, remember.Scheme, remember.Mapper = f.mgr.GetHTTPClient(), f.mgr.GetScheme(), f.mgr.GetRESTMapper()
	k := &foreignKind{
		mgr: f.mgr, discovery: f.discovery, object: object, gvk: gvk, remember: remember, every: f.every,
		concerned: func(context.Context, client.Object) []reconcile.Request { return nil },
		unusable:  errNotKnown, known: make(chan struct{}),
	}
	return k, f.mgr.Add(k)
}

// use returns what the kind is read and written through, or one of the errors above.
func (k *foreignKind) use() (*writer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writer, k.unusable
}

// NeedLeaderElection says no: the next leader is ready at once.
func (k *foreignKind) NeedLeaderElection() bool { return false }

// Start looks after the kind until the context ends.
func (k *foreignKind) Start(ctx context.Context) error {
	defer k.settle(nil, errNotKnown, nil)
	log := ctrl.LoggerFrom(ctx).WithValues("kind", k.gvk.String())
	for {
		wait := k.every
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "Cannot find out about a kind, trying again")
			wait = min(wait, time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (k *foreignKind) look(ctx context.Context) error {
	served, err := k.isServed()
	if err != nil {
		return err
	}
	_, before := k.use()
	switch {
	case !served && !errors.Is(before, errNotServed):
		k.settle(nil, errNotServed, nil)
	case served && before != nil:
		w, stop, err := k.open(ctx)
		switch {
		case err == nil:
			k.settle(w, nil, stop)
		case !apierrors.IsForbidden(err):
			return err
		case errors.Is(before, errNotAllowed):
			return nil
		default:
			k.settle(nil, errNotAllowed, nil)
		}
	default:
		return nil
	}
	k.enqueue(k.concerned(ctx, nil))
	return nil
}

func (k *foreignKind) isServed() (bool, error) {
	list, err := k.discovery.ServerResourcesForGroupVersion(k.gvk.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the kinds of %s: %w", k.gvk.GroupVersion(), err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == k.gvk.Kind }), nil
}

// open starts a cache of the kind and waits until it is filled.
func (k *foreignKind) open(ctx context.Context) (*writer, context.CancelFunc, error) {
	if err := k.mayRead(ctx); err != nil {
		return nil, nil, err
	}
	objects, err := cache.New(k.mgr.GetConfig(), k.remember)
	if err != nil {
		return nil, nil, fmt.Errorf("making a cache of %s: %w", k.gvk.Kind, err)
	}
	readYourWrites := true
	cached, err := client.New(k.mgr.GetConfig(), client.Options{
		HTTPClient: k.mgr.GetHTTPClient(), Scheme: k.mgr.GetScheme(), Mapper: k.mgr.GetRESTMapper(),
		FieldOwner: desired.FieldOwner,
		Cache:      &client.CacheOptions{Reader: objects, EnableReadYourWritesConsistency: &readYourWrites},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making a client for %s: %w", k.gvk.Kind, err)
	}
	open, stop := context.WithCancel(ctx)
	go func() {
		if err := objects.Start(open); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "A cache ended", "kind", k.gvk.String())
		}
	}()
	filling, cancel := context.WithTimeout(open, time.Minute)
	defer cancel()
	informer, err := objects.GetInformer(filling, k.object)
	if err == nil {
		_, err = informer.AddEventHandler(k.handler(open))
	}
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("filling the cache of %s: %w", k.gvk.Kind, err)
	}
	return &writer{cached: cached, live: k.mgr.GetAPIReader()}, stop, nil
}

// mayRead tries to list, which a cache would do for ever.
func (k *foreignKind) mayRead(ctx context.Context) error {
	namespaces := []string{metav1.NamespaceAll}
	if len(k.remember.DefaultNamespaces) > 0 {
		namespaces = namespaces[:0]
		for namespace := range k.remember.DefaultNamespaces {
			namespaces = append(namespaces, namespace)
		}
	}
	for _, namespace := range namespaces {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(k.gvk.GroupVersion().WithKind(k.gvk.Kind + "List"))
		if err := k.mgr.GetAPIReader().List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return err
		}
	}
	return nil
}

func (k *foreignKind) handler(ctx context.Context) toolscache.ResourceEventHandler {
	about := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if object, ok := object.(client.Object); ok {
			k.enqueue(k.concerned(ctx, object))
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    about,
		UpdateFunc: func(_, object any) { about(object) },
		DeleteFunc: about,
	}
}

// settle takes the place of what was known before.
func (k *foreignKind) settle(w *writer, unusable error, stop context.CancelFunc) {
	k.mu.Lock()
	before := k.stop
	k.writer, k.unusable, k.stop = w, unusable, stop
	k.mu.Unlock()
	if before != nil {
		before()
	}
	k.knownOnce.Do(func() { close(k.known) })
}

func (k *foreignKind) enqueue(requests []reconcile.Request) {
	k.mu.Lock()
	queue := k.queue
	k.mu.Unlock()
	if queue == nil {
		return // Everything is reconciled once after a start.
	}
	for _, request := range requests {
		queue.Add(request)
	}
}

// foreignSource feeds a controller's queue. The controller begins once it is known
// whether the cluster serves the kind.
type foreignSource struct{ *foreignKind }

func (s foreignSource) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = queue
	return nil
}

func (s foreignSource) WaitForSync(ctx context.Context) error {
	select {
	case <-s.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
