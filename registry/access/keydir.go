// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"sync/atomic"
	"time"
)

// KeysInterval is how often a KeyDirectory is looked at: more often than a kubelet
// renews a mounted Secret, and cheap.
const KeysInterval = 10 * time.Second

// KeyDirectory is a KeySource that follows the keys in a directory. When they change,
// the new ones are in force from the next look on: the greatest signs, and a token
// stays good while its key is there. It is safe for concurrent use.
type KeyDirectory struct {
	dir    string
	report func(error)
	keys   atomic.Pointer[Keys]
	// fault is what was reported last, empty while all is well. Only Look uses it.
	fault string
}

// FollowKeys returns a KeyDirectory whose keys are at first those that were loaded
// from dir. Report is called, by Look, with nil when other keys are in force and when
// a fault is over, and once with each fault: the keys before then stay.
func FollowKeys(dir string, loaded *Keys, report func(error)) *KeyDirectory {
	d := &KeyDirectory{dir: dir, report: report}
	d.keys.Store(loaded)
	return d
}

// Keys implements KeySource.
func (d *KeyDirectory) Keys() *Keys { return d.keys.Load() }

// Run looks at the directory at every tick, until ctx ends; it returns ctx's error.
func (d *KeyDirectory) Run(ctx context.Context, ticks <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks:
			d.Look()
		}
	}
}

// Look loads the keys and puts them in force. It is not for concurrent use.
func (d *KeyDirectory) Look() {
	keys, err := LoadKeys(d.dir)
	if err != nil {
		// A Secret that was being replaced is whole a moment later.
		keys, err = LoadKeys(d.dir)
	}
	if err != nil {
		if d.fault != err.Error() {
			d.fault = err.Error()
			d.report(err)
		}
		return
	}
	changed := keys.fingerprint != d.Keys().fingerprint
	if changed {
		d.keys.Store(keys)
	}
	if changed || d.fault != "" {
		d.fault = ""
		d.report(nil)
	}
}
