// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the kinds of the packages-operator.io group: what a
// user declares (PackagesInstance, PackagesOrganization, PackagesRepository,
// PackagesToken) and what the manager hands to registry pods (PackagesPolicy).
//
// The package is data only. Every rule that one object can show is a CEL rule
// or a schema constraint in its CustomResourceDefinition, so the API server
// refuses a bad object before any controller sees it. Rules that need two
// objects are decided by the controllers, which report them as conditions.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=packages-operator.io
package v1alpha1
