// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers turns PackagesInstances, PackagesOrganizations,
// PackagesRepositories and PackagesTokens into running registries: load, decide,
// apply, report.
//
// The instance's controller is the only one that compiles a policy. It leaves its
// verdict about every organization, repository and token in memory, from where their
// controllers report it; a restarted manager compiles again before they do.
// Whatever is written goes through server-side apply with one field owner, and
// only when the object differs from it.
package controllers
