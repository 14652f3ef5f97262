// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package picture puts together what the cluster's objects say about an instance:
// where it is, what belongs to it, what is wrong and what a person can do. It is
// pure: it neither asks the cluster nor looks at the clock.
package picture
