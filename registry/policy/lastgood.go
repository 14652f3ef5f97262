// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lastGoodFile is the name of the stored policy in the data directory.
const lastGoodFile = "policy.json"

// maxLastGood bounds what LoadLastGood reads: every shard at its longest, with
// room for the escapes of JSON in JSON.
const maxLastGood = 2 * MaxShards * MaxDocument

// SaveLastGood keeps shards in dir, so that a registry can start from them while
// the Kubernetes API is away. When it returns nil, the file is durable; when it
// fails or the machine stops, the file before is still there, whole. The file
// holds hashes and names, and only its user may read it (0600). Calls for one dir
// must not overlap.
func SaveLastGood(dir string, shards []Shard) (err error) {
	data, err := json.Marshal(shards)
	if err != nil {
		return fmt.Errorf("encode policy: %w", err)
	}
	path := filepath.Join(dir, lastGoodFile)
	temporary := path + ".tmp"
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep policy: %w", err)
		}
	}()
	// What an earlier crash left behind may have another mode.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// LoadLastGood returns what SaveLastGood kept in dir. The error wraps
// fs.ErrNotExist if nothing was kept. The caller joins the shards, which checks
// them.
func LoadLastGood(dir string) ([]Shard, error) {
	path := filepath.Join(dir, lastGoodFile)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read kept policy: %w", err)
	}
	if info.Size() > maxLastGood {
		return nil, fmt.Errorf("kept policy %s has %d bytes, at most %d are read", path, info.Size(), maxLastGood)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read kept policy: %w", err)
	}
	var shards []Shard
	if err := decodeStrict(string(data), &shards); err != nil {
		return nil, fmt.Errorf("kept policy %s is damaged: %w", path, err)
	}
	return shards, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}
