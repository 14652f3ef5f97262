// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/packages-operator/packages-operator/registry/durable"
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
func SaveLastGood(dir string, shards []Shard) error {
	data, err := json.Marshal(shards)
	if err != nil {
		return fmt.Errorf("encode policy: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, lastGoodFile), data); err != nil {
		return fmt.Errorf("keep policy: %w", err)
	}
	return nil
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
