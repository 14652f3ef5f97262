// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// cache keeps what was read, by name, within a number of bytes. It is allowed
// because one process writes the database: the writer forgets what it is about
// to change before it commits, and until it has, nothing read of that name is
// kept. So nobody sees an old state after anybody has seen the new one.
//
// Only what exists is kept, so that new content has nothing to forget.
type cache struct {
	lookups

	mu    sync.RWMutex
	limit int
	size  int
	names map[ref.Name]*cachedName
	// generation counts the commits that changed what may be kept; changing
	// holds the names that a commit under way changes.
	generation uint64
	changing   map[ref.Name]bool
}

type cachedName struct {
	size      int
	tags      map[ref.Tag]catalog.Descriptor
	manifests map[ref.Digest]catalog.Manifest
	blobs     map[ref.Digest]cachedBlob
	// pages of the list of tags, and the bytes in size that they take. Every tag
	// that comes, moves or goes makes all of them wrong.
	pages     map[pageOfTags][]ref.Tag
	pagesSize int
}

// pageOfTags is at most limit tags behind last.
type pageOfTags struct {
	last  string
	limit int
}

// maxPages of a name are kept: what is listed often is the beginning.
const maxPages = 16

// cachedBlob is a blob with the time of its link's review, zero for none. The
// link may have got a later one since, or none.
type cachedBlob struct {
	catalog.Blob
	review time.Time
}

// kind is a kind of entries, for counting.
type kind int

const (
	aTag kind = iota
	aManifest
	aBlob
	aPage
	kinds
)

// lookups count what was looked for in memory.
type lookups struct{ hits, misses [kinds]atomic.Uint64 }

func (l *lookups) count(k kind, found bool) {
	if found {
		l.hits[k].Add(1)
	} else {
		l.misses[k].Add(1)
	}
}

// looked counts a look-up. A cache that keeps nothing is not looked into.
func (c *cache) looked(k kind, found bool) {
	if c.limit > 0 {
		c.count(k, found)
	}
}

// bytes is about how much memory the entries take.
func (c *cache) bytes() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.size
}

// entryOverhead is about what an entry takes beside its strings and bytes.
const entryOverhead = 256

func newCache(limit int) *cache {
	return &cache{limit: limit, names: map[ref.Name]*cachedName{}, changing: map[ref.Name]bool{}}
}

// tag, manifest, blob and page return what is kept, and otherwise the generation to
// hand to keep with what is read now.

func (c *cache) tag(name ref.Name, tag ref.Tag) (d catalog.Descriptor, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := c.names[name]; n != nil {
		d, found = n.tags[tag]
	}
	return d, found, c.generation
}

func (c *cache) manifest(name ref.Name, digest ref.Digest) (m catalog.Manifest, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := c.names[name]; n != nil {
		m, found = n.manifests[digest]
	}
	return m, found, c.generation
}

func (c *cache) blob(name ref.Name, digest ref.Digest) (b cachedBlob, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := c.names[name]; n != nil {
		b, found = n.blobs[digest]
	}
	return b, found, c.generation
}

func (c *cache) page(name ref.Name, page pageOfTags) (tags []ref.Tag, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := c.names[name]; n != nil {
		tags, found = n.pages[page]
	}
	return tags, found, c.generation
}

func (c *cache) keepTag(generation uint64, name ref.Name, tag ref.Tag, d catalog.Descriptor) {
	size := entryOverhead + len(tag) + annotationsSize(d.Annotations)
	c.keep(generation, name, size, func(n *cachedName) bool {
		_, found := n.tags[tag]
		n.tags[tag] = d
		return !found
	})
}

func (c *cache) keepManifest(generation uint64, name ref.Name, m catalog.Manifest) {
	size := entryOverhead + len(m.Content) + annotationsSize(m.Annotations) + 128*(len(m.Blobs)+len(m.Manifests))
	c.keep(generation, name, size, func(n *cachedName) bool {
		_, found := n.manifests[m.Digest]
		n.manifests[m.Digest] = m
		return !found
	})
}

func (c *cache) keepBlob(generation uint64, name ref.Name, b cachedBlob) {
	c.keep(generation, name, entryOverhead+len(b.Content), func(n *cachedName) bool {
		_, found := n.blobs[b.Digest]
		n.blobs[b.Digest] = b
		return !found
	})
}

// keepPage keeps tags, which must not be written to any more.
func (c *cache) keepPage(generation uint64, name ref.Name, page pageOfTags, tags []ref.Tag) {
	size := entryOverhead + len(page.last)
	for _, tag := range tags {
		size += 16 + len(tag) // with the string's header
	}
	c.keep(generation, name, size, func(n *cachedName) bool {
		if _, found := n.pages[page]; found || len(n.pages) == maxPages {
			return false
		}
		n.pages[page] = tags
		n.pagesSize += size
		return true
	})
}

// forgetPages of a name.
func (c *cache) forgetPages(n *cachedName) {
	n.size -= n.pagesSize
	c.size -= n.pagesSize
	n.pagesSize = 0
	clear(n.pages)
}

func annotationsSize(annotations map[string]string) int {
	size := 0
	for key, value := range annotations {
		size += 64 + len(key) + len(value)
	}
	return size
}

// keep adds an entry that was read when the cache had the generation, unless
// what was read may have changed since. add reports whether the entry is new.
func (c *cache) keep(generation uint64, name ref.Name, size int, add func(*cachedName) bool) {
	// One entry must not push out most of the others.
	if size > c.limit/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation || c.changing[name] {
		return
	}
	if c.size+size > c.limit {
		c.makeRoom(size)
	}
	n := c.names[name]
	if n == nil {
		n = &cachedName{
			size:      entryOverhead + len(name),
			tags:      map[ref.Tag]catalog.Descriptor{},
			manifests: map[ref.Digest]catalog.Manifest{},
			blobs:     map[ref.Digest]cachedBlob{},
			pages:     map[pageOfTags][]ref.Tag{},
		}
		c.names[name] = n
		c.size += n.size
	}
	if add(n) {
		n.size += size
		c.size += size
	}
}

// makeRoom forgets names, in the map's random order, until an eighth of the
// limit is free beside what is needed.
func (c *cache) makeRoom(size int) {
	for name := range c.names {
		if c.size+size <= c.limit-c.limit/8 {
			return
		}
		c.forget(name)
	}
}

func (c *cache) forget(name ref.Name) {
	if n := c.names[name]; n != nil {
		c.size -= n.size
		delete(c.names, name)
	}
}

// changes are the names whose kept entries a transaction makes wrong. A name
// with tags loses these and its pages alone, one without loses everything.
type changes map[ref.Name][]ref.Tag

// name notes that anything in a name may change.
func (c changes) name(name ref.Name) { c[name] = nil }

// tag notes that a tag comes, moves or goes.
func (c changes) tag(name ref.Name, tag ref.Tag) {
	if tags, found := c[name]; !found || tags != nil {
		c[name] = append(tags, tag)
	}
}

// begin forgets what a commit changes, before it.
func (c *cache) begin(changed changes) {
	if len(changed) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, tags := range changed {
		c.changing[name] = true
		if tags == nil {
			c.forget(name)
			continue
		}
		if n := c.names[name]; n != nil {
			c.forgetPages(n)
			for _, tag := range tags {
				if d, found := n.tags[tag]; found {
					size := entryOverhead + len(tag) + annotationsSize(d.Annotations)
					n.size -= size
					c.size -= size
					delete(n.tags, tag)
				}
			}
		}
	}
}

// end follows a commit, whether it succeeded or not.
func (c *cache) end(changed changes) {
	if len(changed) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.changing)
}
