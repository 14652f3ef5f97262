// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dockerconfig

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Store keeps logins where the configuration file says.
type Store struct {
	// Path is the configuration file; it need not exist.
	Path string
	// Helper reaches the credential helpers that the file names.
	Helper Helper
}

// Place is where a login is kept.
type Place struct {
	// Helper is the program that keeps it; "" if the file does.
	Helper string
	// File is the configuration file.
	File string
}

// Login keeps a login in place of the one that was there for that registry. A file
// that docker could not read is left as it is.
func (s *Store) Login(ctx context.Context, login Login) (Place, error) {
	config, err := read(s.Path)
	if err != nil {
		return Place{}, err
	}
	program, err := config.helperOf(login.Registry)
	if err != nil {
		return Place{}, err
	}
	// As docker writes it: with a helper the entry is there, and empty.
	entry := json.RawMessage("{}")
	if program != "" {
		if err := s.Helper.Store(ctx, program, login); err != nil {
			return Place{}, err
		}
	} else {
		entry, err = json.Marshal(map[string]string{
			"auth": base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password)),
		})
		if err != nil {
			return Place{}, fmt.Errorf("writing the login: %w", err)
		}
	}
	err = change(s.Path, config, func(c *file) (bool, error) {
		return true, c.editAuths(func(auths map[string]json.RawMessage) { auths[login.Registry] = entry })
	}, program == "")
	return Place{Helper: program, File: s.Path}, err
}

// Logout forgets the login for a registry, and says whether there was one.
func (s *Store) Logout(ctx context.Context, registry string) (Place, bool, error) {
	config, err := read(s.Path)
	if err != nil {
		return Place{}, false, err
	}
	program, err := config.helperOf(registry)
	if err != nil {
		return Place{}, false, err
	}
	place := Place{Helper: program, File: s.Path}
	// Docker's commands of all ages wrote one of these.
	names := []string{registry, "http://" + registry, "https://" + registry}
	had := false
	if program != "" {
		for _, name := range names {
			erased, err := s.Helper.Erase(ctx, program, name)
			if err != nil {
				return place, had, err
			}
			had = had || erased
		}
	}
	err = change(s.Path, config, func(c *file) (bool, error) {
		found := false
		err := c.editAuths(func(auths map[string]json.RawMessage) {
			for _, name := range names {
				if _, ok := auths[name]; ok {
					delete(auths, name)
					found = true
				}
			}
		})
		had = had || found
		return found, err
	}, false)
	return place, had, err
}
