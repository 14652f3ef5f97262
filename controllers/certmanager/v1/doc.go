// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1 is what the operator uses of cert-manager's API: enough of a Certificate
// to ask for one and to see what became of it. Objects have more fields than these;
// they are applied and never updated, so none is lost.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=cert-manager.io
package v1
