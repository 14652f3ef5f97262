// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dockerconfig keeps logins where docker, and whoever reads docker's
// configuration, looks for them: in the credential helper that docker's
// configuration file names, or in that file itself.
package dockerconfig
