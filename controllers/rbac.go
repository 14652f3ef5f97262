// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

// What the manager may do. Leases are granted in its own namespace only, by a role
// of their own.
//
// What is declared is read from caches alone, so nothing of it is got; finalizers are
// written with patch:
// +kubebuilder:rbac:groups=packages-operator.io,resources=packagesinstances;packagesrepositories,verbs=list;watch;patch
// +kubebuilder:rbac:groups=packages-operator.io,resources=packagesorganizations;packagestokens,verbs=list;watch
// +kubebuilder:rbac:groups=packages-operator.io,resources=packagesinstances/status;packagesorganizations/status;packagesrepositories/status;packagestokens/status,verbs=patch
//
// Policies; reading them is also what the registries' Roles grant, and nobody can
// grant what they do not have:
// +kubebuilder:rbac:groups=packages-operator.io,resources=packagespolicies,verbs=get;list;watch;create;patch;delete
//
// Objects that go with their owner:
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles,verbs=get;list;watch;create;patch
//
// Objects that are deleted when the spec no longer wants them, or that must be made
// anew to change. Secrets: keys, tokens, and the values that users bring:
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims;secrets,verbs=get;list;watch;create;patch;delete
//
// Labels of namespaces, for the selectors of spec.allowedNamespaces:
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
//
// Who signs the tokens of ServiceAccounts, for spec.access.serviceAccounts:
// +kubebuilder:rbac:urls=/.well-known/openid-configuration;/openid/v1/jwks,verbs=get
//
// What an ingress controller has to be told, and whether there is one:
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses,verbs=list;watch
// The same for the Gateway API, where the cluster has it:
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=list;watch
// And for cert-manager:
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch;create;patch;delete
//
// Why an instance is not ready, and what happened to it; what happens again to the same
// version of an object is counted in its event, with patch:
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
