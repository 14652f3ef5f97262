// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"bytes"
	"os"
	"testing"
)

// The linker keeps every exported method of every type once a template can call
// methods by their names: the program was 76 MB then, and is 58 MB without.
func TestTheProgramHasNoMethodsThatNothingCalls(t *testing.T) {
	program, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	// Its functions' names are in a stripped program as well.
	const template = "text/template.(*state).evalField"
	if bytes.Contains(program, []byte(template)) {
		t.Errorf("%s is in the program of %d MB; what reaches it is in the output of go build -ldflags=-dumpdep", template, len(program)>>20)
	}
}
