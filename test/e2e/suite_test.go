// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole chain on real parts: a Kubernetes node with
// containerd, Traefik, a Docker daemon and its command line, and the operator as
// its Helm chart installs it; test/chart shows that config/default is the same. Run it
// with make e2e, as root on Linux.
//
// Most specs share one instance, the one of config/samples, and declare
// repositories and users of their own in it; those that take an instance down
// make their own in a namespace of their own.
//
// Settings: E2E_CLUSTER_NAME, to run twice at a time in one checkout; E2E_KEEP=1, to
// keep the cluster afterwards, for a look around or a faster next run.
package e2e

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Patience: what is local takes seconds, and minutes only when it hangs.
const (
	shortly  = 15 * time.Second
	patience = 90 * time.Second
	// atOnce bounds how long a change of the declared objects may take to be in
	// force, from the moment the API server accepted it.
	atOnce = time.Second

	specTimeout = 4 * time.Minute
)

// env is what all specs share. BeforeSuite sets it.
var env *environment

func TestEndToEnd(t *testing.T) {
	RegisterFailHandler(Fail)
	log.SetLogger(GinkgoLogr)
	suite, reporter := GinkgoConfiguration()
	reporter.Verbose = reporter.Verbose || testing.Verbose()
	reporter.NoColor = true // go test is between us and the terminal
	RunSpecs(t, "the whole chain", suite, reporter)
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(shortly)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	setUp(ctx)
})

// A failed spec reports what the cluster can tell about it, before anything is
// cleaned up.
var _ = JustAfterEach(func(ctx SpecContext) {
	if CurrentSpecReport().Failed() && env != nil && env.kube != nil {
		dumpCtx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		dump(dumpCtx)
	}
})
