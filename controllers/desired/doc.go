// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package desired builds what the operator wants to exist for a PackagesInstance
// and a PackagesToken, as server-side-apply intents: a builder per object, pure,
// without a client, a clock or randomness. A builder returns nil for an object
// that is not wanted. Every field that a builder sets, and no other, is the
// operator's to keep.
package desired
