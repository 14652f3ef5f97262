// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command small stands for the programs of a release in tests.
package main

import "github.com/opencontainers/go-digest"

func main() { println(digest.FromString("small").String()) }
