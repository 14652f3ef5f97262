// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chart writes what the Helm chart has in common with config/, so that
// each is said once: definitions and rights come from config/, and the chart's
// README and schema from its values.
//
//	chart manifests   from config/: the Role of one namespace, and the chart's
//	                  templates of definitions, rights and monitoring
//	chart docs        from values.yaml: values.schema.json and README.md
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Paths from the top of the repository, where the command runs.
const (
	chartDir = "charts/packages-operator"
	basesDir = "config/crd/bases"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: chart manifests|docs"))
	}
	var err error
	switch os.Args[1] {
	case "manifests":
		err = manifests()
	case "docs":
		err = docs()
	default:
		err = fmt.Errorf("usage: chart manifests|docs")
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "chart:", err)
	os.Exit(1)
}

// write makes a file of the repository.
func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
