// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dockerconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Login is what docker login takes.
type Login struct {
	// Registry is the host as it stands in an image's name.
	Registry string
	Username string
	Password string
}

// Helper stores logins as docker's credential helpers do. program is the name of
// the helper's program.
type Helper interface {
	// Store keeps a login, in place of the one that it has for that registry.
	Store(ctx context.Context, program string, login Login) error
	// Erase forgets the login for a server, and says whether there was one.
	Erase(ctx context.Context, program, server string) (bool, error)
}

// Programs is the Helper that runs the programs, from PATH.
type Programs struct{}

// Store implements Helper.
func (Programs) Store(ctx context.Context, program string, login Login) error {
	// The names are the protocol's.
	request, err := json.Marshal(map[string]string{
		"ServerURL": login.Registry, "Username": login.Username, "Secret": login.Password,
	})
	if err != nil {
		return fmt.Errorf("writing to %s: %w", program, err)
	}
	said, err := run(ctx, program, "store", bytes.NewReader(request))
	if err != nil {
		return refusal(program, "store", strings.ReplaceAll(said, login.Password, "…"), err)
	}
	return nil
}

// Erase implements Helper.
func (Programs) Erase(ctx context.Context, program, server string) (bool, error) {
	// Helpers differ in what they say of a login that they do not have, so it is
	// asked for first.
	if said, err := run(ctx, program, "get", strings.NewReader(server)); err != nil {
		if isMissing(err) {
			return false, refusal(program, "get", said, err)
		}
		return false, nil
	}
	if said, err := run(ctx, program, "erase", strings.NewReader(server)); err != nil {
		return false, refusal(program, "erase", said, err)
	}
	return true, nil
}

func run(ctx context.Context, program, action string, stdin io.Reader) (said string, err error) {
	cmd := exec.CommandContext(ctx, program, action)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func isMissing(err error) bool { return errors.Is(err, exec.ErrNotFound) }

func refusal(program, action, said string, err error) error {
	switch {
	case isMissing(err):
		return fmt.Errorf("docker's configuration names the credential helper %s, which is not on PATH: install it, or take its name out of credsStore and credHelpers", program)
	case said == "":
		return fmt.Errorf("the credential helper %s failed to %s: %w", program, action, err)
	}
	return fmt.Errorf("the credential helper %s failed to %s: %s", program, action, said)
}
