// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package accessmatrix states who may do what in the registry a second time, and
// compares. Rows holds the rules of GitHub Enterprise Server's packages as a table
// written by hand; Cells generates every situation that they speak of: request,
// actor, repository, its owner, scopes, narrowing, source of a mount, support mode,
// anonymous pull, the way to sign in, and whether the policy came before the request
// or in the middle of it. The tests declare each world in the objects that people
// write, compile them, send each cell to the registry's own handler and demand the
// row's answer.
//
// Nothing here imports the code that decides (registry/access), so that a mistake
// there cannot be in the table as well.
//
//	go test ./test/accessmatrix
//
// That the cells see every branch is shown by breaking each of them:
//
//	go run ./hack/mutate
package accessmatrix
