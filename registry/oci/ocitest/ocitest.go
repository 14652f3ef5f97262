// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ocitest runs the registry's handler without a network or a disk: over a
// catalog that the test brings, with a fixed clock, key and randomness, so that
// equal requests have equal answers.
package ocitest

import (
	"bytes"
	"net/http"
	"time"

	"github.com/go-logr/logr"

	"github.com/packages-operator/packages-operator/registry/access"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// Now is the time at which all requests are answered.
var Now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Handler serves the policy in force over a catalog that holds all content itself:
// there is no blob store. Bearer tokens of one Handler are good at another one with
// an equal policy.
func Handler(live *policy.Live, catalog oci.Catalog) (http.Handler, error) {
	keys, err := access.NewKeys(map[string][]byte{"0001": bytes.Repeat([]byte("k"), access.KeySize)})
	if err != nil {
		return nil, err
	}
	now := func() time.Time { return Now }
	return oci.New(oci.Options{
		Policy:  live,
		Access:  access.New(keys, now),
		Catalog: catalog,
		Log:     logr.Discard(),
		Room:    func() error { return nil },
		Now:     now,
		Rand:    zeros{},
	}), nil
}

// zeros are randomness without end, and without chance.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
