// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

// down removes what up made, also what an interrupted up made. Built tools
// stay in the cache.
func down(ctx context.Context, p *progress) error {
	p.title = "make demo-down"
	dir, err := stateDir()
	if err != nil {
		return err
	}
	r, err := loadRecord()
	if err != nil {
		return err
	}
	if r == nil {
		p.say("Nothing to remove.")
		return nil
	}
	c, err := localcluster.Open(name)
	if err != nil {
		return err
	}
	t, err := targetOf(r, settings{}, c, p)
	if err != nil {
		return err
	}
	removed, err := t.down(ctx)
	for _, item := range removed {
		p.say("removed %s", item)
	}
	if err != nil {
		return &failure{err: err, next: "remove what the message names, then make demo-down again."}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	p.say("removed %s", dir)
	return nil
}
