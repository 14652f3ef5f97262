// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dockerconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// helperPrefix begins the name of every credential helper's program.
const helperPrefix = "docker-credential-"

// maxLinks bounds how far a symbolic link is followed.
const maxLinks = 16

// file is the content of a configuration file. What is not understood is kept.
type file struct {
	path string
	// text is what was read; nil if there is no file.
	text []byte
	// entries are its parts.
	entries map[string]json.RawMessage
}

func read(path string) (*file, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &file{path: path, entries: map[string]json.RawMessage{}}, nil
	case err != nil:
		return nil, fmt.Errorf("reading docker's configuration: %w", err)
	}
	c := &file{path: path, text: text, entries: map[string]json.RawMessage{}}
	// Docker takes an empty file for one that says nothing.
	if len(bytes.TrimSpace(text)) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(text, &c.entries); err != nil {
		return nil, c.broken("it", err)
	}
	if c.entries == nil { // null
		c.entries = map[string]json.RawMessage{}
	}
	return c, nil
}

func (c *file) broken(part string, err error) error {
	return fmt.Errorf("docker's configuration %s is left as it is, because %s cannot be read: mend it or move it away: %w", c.path, part, err)
}

// get decodes a part of the file; a part that is not there leaves into as it is.
func (c *file) get(part string, into any) error {
	text, ok := c.entries[part]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return c.broken(part, err)
	}
	return nil
}

// helperOf is the program that keeps a registry's login, or "".
func (c *file) helperOf(registry string) (string, error) {
	var store string
	if err := c.get("credsStore", &store); err != nil {
		return "", err
	}
	var helpers map[string]string
	if err := c.get("credHelpers", &helpers); err != nil {
		return "", err
	}
	if one, ok := helpers[registry]; ok {
		store = one
	}
	if store == "" {
		return "", nil
	}
	return helperPrefix + store, nil
}

func (c *file) editAuths(edit func(map[string]json.RawMessage)) error {
	auths := map[string]json.RawMessage{}
	if err := c.get("auths", &auths); err != nil {
		return err
	}
	if auths == nil { // null
		auths = map[string]json.RawMessage{}
	}
	edit(auths)
	text, err := json.Marshal(auths)
	if err != nil {
		return c.broken("auths", err)
	}
	c.entries["auths"] = text
	return nil
}

// change writes what edit makes of the file, if edit says that it made a change. A
// file that somebody else changed meanwhile is read again. private takes
// everybody else's rights to the file away.
func change(path string, config *file, edit func(*file) (bool, error), private bool) error {
	for {
		changed, err := edit(config)
		if err != nil || !changed {
			return err
		}
		written, err := config.write(private)
		if err != nil || written {
			return err
		}
		if config, err = read(path); err != nil {
			return err
		}
	}
}

// write replaces the file whole, so that no reader sees half of it. It is false
// if the file is no longer what was read.
func (c *file) write(private bool) (written bool, err error) {
	text, err := json.MarshalIndent(c.entries, "", "\t")
	if err != nil {
		return false, fmt.Errorf("writing docker's configuration: %w", err)
	}
	target, err := resolve(c.path)
	if err != nil {
		return false, err
	}
	folder := filepath.Dir(target)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return false, fmt.Errorf("writing docker's configuration: %w", err)
	}
	mode := fs.FileMode(0o600)
	info, err := os.Stat(target)
	if err == nil && !private {
		mode = info.Mode().Perm()
	}
	temporary, err := os.CreateTemp(folder, filepath.Base(target)+".*.tmp")
	if err != nil {
		return false, fmt.Errorf("writing docker's configuration: %w", err)
	}
	defer func() {
		if !written {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(append(text, '\n'))
	if err == nil {
		err = temporary.Chmod(mode)
	}
	if err == nil && info != nil {
		err = keepOwner(temporary, info)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return false, fmt.Errorf("writing docker's configuration: %w", err)
	}
	now, err := os.ReadFile(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(now, c.text) {
		return false, nil
	}
	if err := os.Rename(temporary.Name(), target); err != nil {
		return false, fmt.Errorf("writing docker's configuration: %w", err)
	}
	return true, nil
}

// resolve follows symbolic links, so that a link stays one; what it leads to need
// not be there.
func resolve(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("writing docker's configuration: %s leads in a circle of symbolic links", path)
}
