// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Down removes everything that the cluster has on this machine, its Docker
// daemon included, and says what there was. Without a cluster it does nothing.
func (c *Cluster) Down(ctx context.Context) (removed []string, err error) {
	release, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return c.down(ctx)
}

func (c *Cluster) down(ctx context.Context) ([]string, error) {
	removed, err := c.Docker().down(ctx)
	if err != nil {
		return removed, err
	}
	more, err := c.removeNode(ctx)
	return append(removed, more...), err
}

func (c *Cluster) removeNode(ctx context.Context) ([]string, error) {
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	removed, err := c.node().Stop(ctx)
	if err != nil {
		return removed, err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return removed, fmt.Errorf("remove the cluster's state: %w", err)
	}
	return append(removed, c.dir), nil
}
