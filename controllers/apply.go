// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// intent is a server-side-apply configuration of a whole object.
type intent interface {
	runtime.ApplyConfiguration
	GetName() *string
	GetNamespace() *string
	GetKind() *string
}

// claim says when an existing object is ours to write: when owner controls it, or
// when nobody does and it is labeled for the owner, as after a restored backup.
type claim struct {
	owner client.Object
	label string
}

func (c claim) holds(object client.Object) bool {
	if controller := metav1.GetControllerOf(object); controller != nil {
		return controller.UID == c.owner.GetUID()
	}
	return object.GetLabels()[c.label] == c.owner.GetName()
}

// outgoing says whether the object belongs to an earlier owner of the same name,
// which the garbage collector is about to remove it with.
func (c claim) outgoing(object client.Object) bool {
	controller := metav1.GetControllerOf(object)
	return controller != nil && controller.UID != c.owner.GetUID() &&
		controller.Name == c.owner.GetName() &&
		controller.APIVersion == v1alpha1.GroupVersion.String() &&
		object.GetLabels()[c.label] == c.owner.GetName()
}

// conflictError is an object that is needed and belongs to somebody else.
type conflictError struct {
	kind, name string
	// controller is KIND NAME of the object's controller, empty for none.
	controller string
}

func (e *conflictError) Error() string {
	return fmt.Sprintf("%s %s belongs to somebody else", e.kind, e.name)
}

// outgoingError is an object that is needed and still being deleted.
type outgoingError struct{ kind, name string }

func (e *outgoingError) Error() string {
	return fmt.Sprintf("%s %s is being deleted; it is made again when it is gone", e.kind, e.name)
}

// writer applies intents. It is safe for concurrent use.
type writer struct {
	// cached reads and writes; its cache holds labeled objects only.
	cached client.Client
	// live reads past the cache, to see objects that are not labeled.
	live client.Reader
	sent requestCache
}

// find returns the object of that name if it may be written, and nil if there is
// none. Errors are conflictError and outgoingError, and those of the API.
func find[T any, PT interface {
	*T
	client.Object
}](ctx context.Context, w *writer, c claim, kind string, key types.NamespacedName) (*T, error) {
	object := PT(new(T))
	err := w.cached.Get(ctx, key, object)
	if apierrors.IsNotFound(err) || err == nil && !c.holds(object) {
		// Not in the cache is not absent: it may lack our label. And what is somebody
		// else's may be gone by now, which would wake somebody else.
		object = new(T)
		err = w.live.Get(ctx, key, object)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s %s: %w", kind, key.Name, err)
	case c.outgoing(object):
		return nil, &outgoingError{kind, key.Name}
	case !c.holds(object):
		conflict := &conflictError{kind: kind, name: key.Name}
		if controller := metav1.GetControllerOf(object); controller != nil {
			conflict.controller = controller.Kind + " " + controller.Name
		}
		return nil, conflict
	case object.GetDeletionTimestamp() != nil:
		return nil, &outgoingError{kind, key.Name}
	}
	return object, nil
}

// ensure makes an object as wanted, if it is ours to write and is not so yet.
func ensure[T any, PT interface {
	*T
	client.Object
}, A intent](ctx context.Context, w *writer, c claim, want A, extract func(*T, string) (A, error)) error {
	key := types.NamespacedName{Namespace: *want.GetNamespace(), Name: *want.GetName()}
	current, err := find[T, PT](ctx, w, c, *want.GetKind(), key)
	if err != nil {
		return err
	}
	return put[T, PT](ctx, w, current, want, extract)
}

// put applies want over current, nil for an object that does not exist. It sends
// nothing when the fields that we own are exactly those wanted, which holds over
// restarts, nor when this very request changed nothing before, as when an
// admission webhook insists on another value.
func put[T any, PT interface {
	*T
	client.Object
}, A intent](ctx context.Context, w *writer, current *T, want A, extract func(*T, string) (A, error)) error {
	kind, name := *want.GetKind(), *want.GetName()
	var identity string
	if current != nil {
		owned, err := extract(current, desired.FieldOwner)
		if err != nil {
			return fmt.Errorf("reading our fields of %s %s: %w", kind, name, err)
		}
		if equality.Semantic.DeepEqual(owned, want) {
			return nil
		}
		if identity, err = requestIdentity(PT(current), want); err != nil {
			return err
		}
		if w.sent.has(PT(current).GetUID(), identity) {
			return nil
		}
	}
	if err := w.cached.Apply(ctx, want, client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", kind, name, err)
	}
	if current == nil {
		return nil
	}
	after := PT(new(T))
	if err := w.cached.Get(ctx, client.ObjectKeyFromObject(PT(current)), after); err != nil {
		return client.IgnoreNotFound(err)
	}
	if after.GetResourceVersion() == PT(current).GetResourceVersion() {
		w.sent.add(PT(current).GetUID(), identity)
	}
	return nil
}

// remove deletes an object that is no longer wanted, if it is ours.
func remove[T any, PT interface {
	*T
	client.Object
}](ctx context.Context, w *writer, c claim, key types.NamespacedName) error {
	object := PT(new(T))
	if err := w.cached.Get(ctx, key, object); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !c.holds(object) || object.GetDeletionTimestamp() != nil {
		return nil
	}
	return w.discard(ctx, object)
}

// discard deletes this very object, and no later one of its name. Reads do not wait
// for the cache to see it: an object without our label was never in there.
func (w *writer) discard(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	if err := w.cached.Delete(ctx, object, client.Preconditions{UID: &uid}, client.DisableReadYourWritesConsistency); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %T %s: %w", object, object.GetName(), err)
	}
	return nil
}

// requestCache remembers, per object, the last request that changed nothing.
type requestCache struct {
	mu       sync.Mutex
	requests map[types.UID]string
}

func (c *requestCache) has(uid types.UID, identity string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[uid] == identity
}

// maxRequests bounds the memory; beyond it, everything is forgotten.
const maxRequests = 10_000

func (c *requestCache) add(uid types.UID, identity string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil || len(c.requests) >= maxRequests {
		c.requests = map[types.UID]string{}
	}
	c.requests[uid] = identity
}

// requestIdentity is the same as long as neither object nor intent changes.
func requestIdentity(object client.Object, want any) (string, error) {
	body, err := json.Marshal(want)
	if err != nil {
		return "", fmt.Errorf("encoding an intent: %w", err)
	}
	digest := sha256.Sum256(body)
	return object.GetResourceVersion() + " " + string(digest[:]), nil
}
