// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"sync"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// contents keeps manifests' bytes, by digest, within a number of bytes. A digest has
// the same content for good, whatever other processes do: who has a manifest, and
// under which media type, is asked of the database every time.
type contents struct {
	lookups

	mu       sync.RWMutex
	limit    int
	size     int
	byDigest map[ref.Digest][]byte
}

func newContents(limit int) *contents {
	return &contents{limit: limit, byDigest: map[ref.Digest][]byte{}}
}

// get is nil for what is not kept.
func (c *contents) get(digest ref.Digest) []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	content := c.byDigest[digest]
	if c.limit > 0 {
		c.count(aManifest, content != nil)
	}
	return content
}

// bytes is about how much memory the entries take.
func (c *contents) bytes() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.size
}

// keep adds content. One entry does not push out most of the others; which of them
// go is left to the map's random order.
func (c *contents) keep(digest ref.Digest, content []byte) {
	size := entryOverhead + len(content)
	if size > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byDigest[digest] != nil {
		return
	}
	for other, bytes := range c.byDigest {
		if c.size+size <= c.limit {
			break
		}
		c.size -= entryOverhead + len(bytes)
		delete(c.byDigest, other)
	}
	c.byDigest[digest] = content
	c.size += size
}
