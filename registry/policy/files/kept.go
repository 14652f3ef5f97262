// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/packages-operator/packages-operator/registry/durable"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// keptPolicy is what the file of Options.Keep holds: hashes and names, no values.
type keptPolicy struct {
	// Of is the checksum of what the policy was compiled from.
	Of     string         `json:"of"`
	Shards []policy.Shard `json:"shards"`
}

// checked is a policy that came of files, and their checksum.
type checked struct {
	of       string
	snapshot *policy.Snapshot
}

// load is Load, but for files that a program of the same version has found faultless
// before: to check them again would take most of a start's time.
func (s *Source) load() (*policy.Snapshot, error) {
	files, err := readFiles(s.options.Dir)
	if err != nil {
		return nil, err
	}
	of := checksum(s.options.Version, s.options.URL, files)
	if snapshot := s.options.kept(of); snapshot != nil {
		s.unkept = nil
		return snapshot, nil
	}
	snapshot, err := compileFiles(s.options.Dir, s.options.URL, files)
	if err == nil {
		s.unkept = &checked{of, snapshot}
	}
	return snapshot, err
}

// checksum tells contents of a directory apart.
func checksum(version, url string, files []file) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q\n", version, url) // a hash takes all
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %x\n", f.path, sha256.Sum256(f.content))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// kept is the policy that was kept for a checksum. Nil for none: whatever is wrong
// with the file, the policy can be compiled.
func (o *Options) kept(of string) *policy.Snapshot {
	if o.Keep == "" {
		return nil
	}
	content, err := os.ReadFile(o.Keep)
	if err != nil {
		return nil
	}
	var kept keptPolicy
	if err := json.Unmarshal(content, &kept); err != nil || kept.Of != of {
		return nil
	}
	snapshot, err := policy.Open(kept.Shards)
	if err != nil {
		return nil
	}
	return snapshot
}

// keep is for the next start, which does without where it fails. It waits for the
// disk, and so comes before and after the serving: what revokes a token does not wait.
func (s *Source) keep() {
	if s.options.Keep == "" || s.unkept == nil {
		return
	}
	shards, _, err := policy.Split(*s.unkept.snapshot.Policy())
	if err != nil {
		return
	}
	content, err := json.Marshal(keptPolicy{Of: s.unkept.of, Shards: shards})
	if err != nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(s.options.Keep), 0o700); err != nil {
		return
	}
	if durable.WriteFile(s.options.Keep, content) == nil {
		s.unkept = nil
	}
}
