// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dockerconfig

import (
	"errors"
	"path/filepath"
)

// Path is the configuration file that docker uses: config.json in the folder that
// the variable DOCKER_CONFIG names, or else in .docker of the user's home.
func Path(getenv func(string) string, home func() (string, error)) (string, error) {
	folder := getenv("DOCKER_CONFIG")
	if folder == "" {
		user, err := home()
		if err != nil || user == "" {
			return "", errors.New("there is no home directory for docker's configuration: set DOCKER_CONFIG to a folder")
		}
		folder = filepath.Join(user, ".docker")
	}
	return filepath.Join(folder, "config.json"), nil
}
