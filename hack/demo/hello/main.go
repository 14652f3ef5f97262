// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command hello is what the demo's image runs.
package main

import (
	"fmt"
	"os"
)

func main() {
	host, err := os.Hostname()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("Hello from %s, user %d.\n", host, os.Getuid())
}
