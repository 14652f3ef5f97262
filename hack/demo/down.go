// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

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
	removeImages(ctx, c.Docker())
	removed, err := t.down(ctx)
	for _, item := range removed {
		p.say("removed %s", item)
	}
	if err != nil {
		return advise(err, "remove what the message names, then make demo-down again.")
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	p.say("removed %s", dir)
	return nil
}

// removeImages takes the demo's images out of a Docker daemon that stays. One
// that is ours goes as a whole, and one that does not answer keeps them.
func removeImages(ctx context.Context, docker *localcluster.Docker) {
	list, err := docker.Command(ctx, "images", "--quiet", "--filter", "reference=packages-operator:demo-*", "--filter", "reference="+image)
	if err != nil {
		return
	}
	out, err := output(ctx, list)
	if ids := strings.Fields(out); err == nil && len(ids) > 0 {
		if remove, err := docker.Command(ctx, append([]string{"rmi", "--force"}, ids...)...); err == nil {
			_ = remove.Run()
		}
	}
}
