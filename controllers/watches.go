// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

func (r *instanceReconciler) setup(mgr ctrl.Manager, metadata cache.Cache) error {
	// Everything made for an instance carries its label, the volume claim and pods
	// included, which it does not own.
	made := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		return one(object.GetNamespace(), object.GetLabels()[v1alpha1.LabelInstance])
	})
	declared := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: instanceOf(object)}}
	})
	b := ctrl.NewControllerManagedBy(mgr).
		Named("packagesinstance").
		For(&v1alpha1.PackagesInstance{}).
		Watches(&v1alpha1.PackagesInstance{}, handler.EnqueueRequestsFromMapFunc(r.contenders), builder.WithPredicates(declarationChanged())).
		Watches(&v1alpha1.PackagesOrganization{}, declared, builder.WithPredicates(declarationChanged())).
		Watches(&v1alpha1.PackagesRepository{}, declared, builder.WithPredicates(declarationChanged())).
		Watches(&v1alpha1.PackagesToken{}, declared, builder.WithPredicates(declarationChanged()))
	for _, object := range []client.Object{
		&appsv1.StatefulSet{}, &corev1.PersistentVolumeClaim{}, &corev1.Pod{}, &corev1.Secret{}, &corev1.Service{},
		&corev1.ServiceAccount{}, &networkingv1.Ingress{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, &v1alpha1.PackagesPolicy{},
	} {
		b = b.Watches(object, made)
	}
	r.ingressClasses.concerned = func(ctx context.Context, _ client.Object) []reconcile.Request {
		return r.instancesWhere(ctx, func(i *v1alpha1.PackagesInstance) bool { return i.Spec.Exposure.Ingress != nil })
	}
	r.gatewayAPI.routes.concerned = func(ctx context.Context, route client.Object) []reconcile.Request {
		if route != nil {
			return one(route.GetNamespace(), route.GetLabels()[v1alpha1.LabelInstance])
		}
		return r.instancesWhere(ctx, func(i *v1alpha1.PackagesInstance) bool { return i.Spec.Exposure.Gateway != nil })
	}
	r.gatewayAPI.gateways.concerned = func(ctx context.Context, gateway client.Object) []reconcile.Request {
		return r.instancesWhere(ctx, func(i *v1alpha1.PackagesInstance) bool {
			return i.Spec.Exposure.Gateway != nil && (gateway == nil || slices.ContainsFunc(i.Spec.Exposure.Gateway.ParentRefs, func(ref v1alpha1.GatewayReference) bool {
				return gatewayKey(i.Namespace, ref) == client.ObjectKeyFromObject(gateway)
			}))
		})
	}
	r.certManager.concerned = func(ctx context.Context, certificate client.Object) []reconcile.Request {
		if certificate != nil {
			return one(certificate.GetNamespace(), certificate.GetLabels()[v1alpha1.LabelInstance])
		}
		return r.instancesWhere(ctx, hasIssuer)
	}
	if r.labels.metadata != nil {
		b = b.WatchesRawSource(source.Kind(metadata, namespaceMetadata(), handler.TypedEnqueueRequestsFromMapFunc(r.instancesSelecting)))
	}
	return b.
		WatchesRawSource(foreignSource{r.ingressClasses}).
		WatchesRawSource(foreignSource{r.gatewayAPI.routes}).
		WatchesRawSource(foreignSource{r.gatewayAPI.gateways}).
		WatchesRawSource(foreignSource{r.certManager}).
		WatchesRawSource(source.Kind(metadata, secretMetadata(), r.tokensNaming(func(token *v1alpha1.PackagesToken) types.NamespacedName {
			return instanceOf(token)
		}))).
		WatchesRawSource(source.Kind(metadata, secretMetadata(), handler.TypedEnqueueRequestsFromMapFunc(r.instancesNaming))).
		WatchesRawSource(source.Func(r.health.source)).
		WatchesRawSource(source.Kind(metadata, serviceAccountMetadata(), handler.TypedEnqueueRequestsFromMapFunc(r.instancesEmploying))).
		WithOptions(controllerOptions()).
		Complete(r)
}

func (r *tokenReconciler) setup(mgr ctrl.Manager, metadata cache.Cache) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("packagestoken").
		For(&v1alpha1.PackagesToken{}).
		Watches(&v1alpha1.PackagesInstance{}, handler.EnqueueRequestsFromMapFunc(r.tokensOf), builder.WithPredicates(declarationChanged())).
		Watches(&v1alpha1.PackagesToken{}, handler.EnqueueRequestsFromMapFunc(r.tokensBeside), builder.WithPredicates(goes())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
			return one(object.GetNamespace(), object.GetLabels()[v1alpha1.LabelToken])
		})).
		WatchesRawSource(source.Kind(metadata, secretMetadata(), r.tokensNaming(func(token *v1alpha1.PackagesToken) types.NamespacedName {
			return client.ObjectKeyFromObject(token)
		}))).
		WatchesRawSource(source.Func(r.verdicts.source(kindToken))).
		WithOptions(controllerOptions()).
		Complete(r)
}

func (r *organizationReconciler) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("packagesorganization").
		For(&v1alpha1.PackagesOrganization{}).
		Watches(&v1alpha1.PackagesInstance{}, handler.EnqueueRequestsFromMapFunc(r.organizationsOf), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(source.Func(r.verdicts.source(kindOrganization))).
		WithOptions(controllerOptions()).
		Complete(r)
}

func (r *repositoryReconciler) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("packagesrepository").
		For(&v1alpha1.PackagesRepository{}).
		Watches(&v1alpha1.PackagesInstance{}, handler.EnqueueRequestsFromMapFunc(r.repositoriesOf), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(source.Func(r.verdicts.source(kindRepository))).
		WithOptions(controllerOptions()).
		Complete(r)
}

// goes lets pass that an object is deleted.
func goes() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetDeletionTimestamp() == nil && e.ObjectNew.GetDeletionTimestamp() != nil
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// declarationChanged lets pass what may change a decision about other objects: the
// spec, the deletion, the finalizers, and whether the object is accepted. Its
// other conditions are of no concern to them.
func declarationChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			len(e.ObjectOld.GetFinalizers()) != len(e.ObjectNew.GetFinalizers()) ||
			acceptedStatus(e.ObjectOld) != acceptedStatus(e.ObjectNew)
	}}
}

func acceptedStatus(object client.Object) metav1.ConditionStatus {
	var conditions []metav1.Condition
	switch object := object.(type) {
	case *v1alpha1.PackagesInstance:
		conditions = object.Status.Conditions
	case *v1alpha1.PackagesOrganization:
		conditions = object.Status.Conditions
	case *v1alpha1.PackagesRepository:
		conditions = object.Status.Conditions
	case *v1alpha1.PackagesToken:
		conditions = object.Status.Conditions
	}
	if accepted := meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted); accepted != nil {
		return accepted.Status
	}
	return metav1.ConditionUnknown
}

// contenders are the instances whose hosts overlap with those of the given one,
// before or after its change.
func (r *instanceReconciler) contenders(ctx context.Context, object client.Object) []reconcile.Request {
	instance, ok := object.(*v1alpha1.PackagesInstance)
	if !ok {
		return nil
	}
	var all v1alpha1.PackagesInstanceList
	if err := r.cached.List(ctx, &all); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the instances that contend for hosts")
		return nil
	}
	hosts := compile.HostsOf(&instance.Spec)
	var requests []reconcile.Request
	for i := range all.Items {
		other := &all.Items[i]
		if _, overlap := compile.HostOverlap(hosts, compile.HostsOf(&other.Spec)); overlap && other.UID != instance.UID {
			requests = append(requests, one(other.Namespace, other.Name)...)
		}
	}
	return requests
}

// instancesWhere are the instances for which something holds.
func (r *instanceReconciler) instancesWhere(ctx context.Context, holds func(*v1alpha1.PackagesInstance) bool) []reconcile.Request {
	var all v1alpha1.PackagesInstanceList
	if err := r.cached.List(ctx, &all); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list instances")
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if holds(&all.Items[i]) {
			requests = append(requests, one(all.Items[i].Namespace, all.Items[i].Name)...)
		}
	}
	return requests
}

// instancesNaming are the instances that take their certificate from a Secret.
func (r *instanceReconciler) instancesNaming(ctx context.Context, secret *metav1.PartialObjectMetadata) []reconcile.Request {
	var instances v1alpha1.PackagesInstanceList
	if err := r.cached.List(ctx, &instances, client.InNamespace(secret.Namespace), client.MatchingFields{indexSecret: secret.Name}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the instances that name a Secret")
		return nil
	}
	var requests []reconcile.Request
	for i := range instances.Items {
		requests = append(requests, one(instances.Items[i].Namespace, instances.Items[i].Name)...)
	}
	return requests
}

// instancesSelecting are the instances with a selector that chooses a namespace. It is
// asked about the labels before a change and after it.
func (r *instanceReconciler) instancesSelecting(ctx context.Context, namespace *metav1.PartialObjectMetadata) []reconcile.Request {
	var instances v1alpha1.PackagesInstanceList
	if err := r.cached.List(ctx, &instances); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the instances that select a namespace")
		return nil
	}
	var requests []reconcile.Request
	for i := range instances.Items {
		instance := &instances.Items[i]
		if slices.ContainsFunc(instance.Spec.AllowedNamespaces, func(entry v1alpha1.AllowedNamespaces) bool {
			return compile.Selects(entry.Selector, namespace.Labels)
		}) {
			requests = append(requests, one(instance.Namespace, instance.Name)...)
		}
	}
	return requests
}

func (r *tokenReconciler) tokensOf(ctx context.Context, instance client.Object) []reconcile.Request {
	var tokens v1alpha1.PackagesTokenList
	if err := r.cached.List(ctx, &tokens, client.MatchingFields{indexInstance: client.ObjectKeyFromObject(instance).String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list an instance's tokens")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(tokens.Items))
	for i := range tokens.Items {
		requests = append(requests, one(tokens.Items[i].Namespace, tokens.Items[i].Name)...)
	}
	return requests
}

// tokensBeside are the other tokens that name a token's Secret.
func (r *tokenReconciler) tokensBeside(ctx context.Context, object client.Object) []reconcile.Request {
	token, ok := object.(*v1alpha1.PackagesToken)
	if !ok || token.Spec.Secret == nil {
		return nil
	}
	var others v1alpha1.PackagesTokenList
	if err := r.cached.List(ctx, &others, client.InNamespace(token.Namespace), client.MatchingFields{indexSecret: token.Spec.Secret.Name}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list the tokens of a Secret")
		return nil
	}
	var requests []reconcile.Request
	for i := range others.Items {
		if others.Items[i].UID != token.UID {
			requests = append(requests, one(others.Items[i].Namespace, others.Items[i].Name)...)
		}
	}
	return requests
}

func (r *organizationReconciler) organizationsOf(ctx context.Context, instance client.Object) []reconcile.Request {
	var organizations v1alpha1.PackagesOrganizationList
	if err := r.cached.List(ctx, &organizations, client.MatchingFields{indexInstance: client.ObjectKeyFromObject(instance).String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list an instance's organizations")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(organizations.Items))
	for i := range organizations.Items {
		requests = append(requests, one(organizations.Items[i].Namespace, organizations.Items[i].Name)...)
	}
	return requests
}

func (r *repositoryReconciler) repositoriesOf(ctx context.Context, instance client.Object) []reconcile.Request {
	var repositories v1alpha1.PackagesRepositoryList
	if err := r.cached.List(ctx, &repositories, client.MatchingFields{indexInstance: client.ObjectKeyFromObject(instance).String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list an instance's repositories")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(repositories.Items))
	for i := range repositories.Items {
		requests = append(requests, one(repositories.Items[i].Namespace, repositories.Items[i].Name)...)
	}
	return requests
}

// tokensNaming maps a Secret to the tokens that name it: as their source, whose
// value it is, or as what they would write if it were not somebody else's.
func (w *writer) tokensNaming(target func(*v1alpha1.PackagesToken) types.NamespacedName) handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	return handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, secret *metav1.PartialObjectMetadata) []reconcile.Request {
		var tokens v1alpha1.PackagesTokenList
		if err := w.cached.List(ctx, &tokens, client.InNamespace(secret.Namespace), client.MatchingFields{indexSecret: secret.Name}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot list the tokens that name a Secret")
			return nil
		}
		var requests []reconcile.Request
		for i := range tokens.Items {
			requests = append(requests, reconcile.Request{NamespacedName: target(&tokens.Items[i])})
		}
		return requests
	})
}

func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

func secretMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return object
}

func one(namespace, name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}
