// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What the libraries initialize is a part of every start.
func TestNoGarbageIsCollectedWhilePackagesAreInitialized(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$") // this program, without any test
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1,gctrace=1", "GOGC=")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	initialized, _, _ := strings.Cut(trace.String()+"\ngc ", "\ngc ")
	for _, late := range []string{"k8s.io/client-go/kubernetes/scheme", "sigs.k8s.io/controller-runtime/pkg/client"} {
		if !strings.Contains(initialized, "init "+late) {
			t.Errorf("garbage is collected before %s is initialized:\n%s", late, trace.String())
		}
	}
}
