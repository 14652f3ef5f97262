// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd holds the CustomResourceDefinitions, so that programs refuse what
// the cluster refuses.
package crd

import "embed"

// Bases are the generated definitions, one file per kind, in bases/.
//
//go:embed bases/*.yaml
var Bases embed.FS
