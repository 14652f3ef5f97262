// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Lease that is not released is taken 15 seconds after its last renewal.
const handover = 10 * time.Second

func TestAManagerThatEndsHandsOnToTheOther(t *testing.T) {
	server := startAPIServer(t)
	server.apply(t, "crd")
	binary := program(t)
	manager := func() func() {
		_, stop := start(t, "Starting the manager", binary, "manager", "--kubeconfig", server.kubeconfig, "--registry-image", "packages-operator:test",
			"--leader-elect", "--leader-election-namespace", "default", "--metrics-bind-address", "0", "--health-probe-bind-address", "0")
		return stop
	}
	holder := func() (string, error) {
		lease := &coordinationv1.Lease{}
		if err := server.admin.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "manager.packages-operator.io"}, lease); err != nil {
			return "", err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return "", errors.New("nobody holds the Lease")
		}
		return *lease.Spec.HolderIdentity, nil
	}
	var first string
	stop := manager()
	eventually(t, func() (err error) {
		first, err = holder()
		return err
	})
	manager()
	time.Sleep(2 * time.Second) // the other has tried, and its caches are full
	stop()
	began := time.Now()
	eventually(t, func() error {
		now, err := holder()
		if err == nil && now == first {
			err = fmt.Errorf("%s still holds the Lease", first)
		}
		return err
	})
	if took := time.Since(began); took > handover {
		t.Errorf("the other took over after %s", took)
	} else {
		t.Logf("the other took over after %s", took.Round(time.Millisecond))
	}
}
