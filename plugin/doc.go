// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plugin is kubectl packages: what a person does with instances and tokens
// at a terminal. It talks to the Kubernetes API as that person, and to docker's
// configuration; it knows neither the controllers nor the registry.
package plugin
