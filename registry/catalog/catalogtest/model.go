// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// model is the catalog written as plainly as possible, for the random test. Its
// methods return what the store's must return.
type model struct {
	clock     *Clock
	names     map[ref.Name]*modelName
	blobs     map[ref.Digest]*modelBlob
	deletions map[string]time.Time
	purged    map[string]bool
}

type modelName struct {
	// links holds when a link is reviewed; zero is never.
	links     map[ref.Digest]time.Time
	manifests map[ref.Digest]catalog.Manifest
	tags      map[ref.Tag]ref.Digest
}

type modelBlob struct {
	catalog.Blob
	review time.Time
}

func newModel(clock *Clock) *model {
	return &model{
		clock: clock, names: map[ref.Name]*modelName{}, blobs: map[ref.Digest]*modelBlob{},
		deletions: map[string]time.Time{}, purged: map[string]bool{},
	}
}

// name returns an empty one for a name without content.
func (m *model) name(name ref.Name) *modelName {
	if n, found := m.names[name]; found {
		return n
	}
	return &modelName{
		links: map[ref.Digest]time.Time{}, manifests: map[ref.Digest]catalog.Manifest{}, tags: map[ref.Tag]ref.Digest{},
	}
}

// keep stores a changed name, or drops it when it is empty.
func (m *model) keep(name ref.Name, n *modelName) {
	delete(m.names, name)
	if len(n.links)+len(n.manifests) > 0 {
		m.names[name] = n
	}
}

func (n *modelName) uses(digest ref.Digest) bool {
	for _, m := range n.manifests {
		if slices.Contains(m.Blobs, digest) {
			return true
		}
	}
	return false
}

func (m *model) linked(digest ref.Digest) bool {
	for _, n := range m.names {
		if _, found := n.links[digest]; found {
			return true
		}
	}
	return false
}

func (m *model) link(name ref.Name, digest ref.Digest) {
	n := m.name(name)
	n.links[digest] = m.clock.Now().Add(grace)
	if n.uses(digest) {
		n.links[digest] = time.Time{}
	}
	m.keep(name, n)
}

func (m *model) putBlob(name ref.Name, b catalog.Blob) (discard string) {
	if stored, found := m.blobs[b.Digest]; found {
		stored.review = time.Time{}
		if b.Key != stored.Key && b.Key != "" {
			discard = b.Key
			m.deletions[b.Key] = m.clock.Now().Add(catalog.DiscardDelay)
		}
	} else {
		m.blobs[b.Digest] = &modelBlob{Blob: b}
	}
	m.link(name, b.Digest)
	return discard
}

func (m *model) replaceObject(digest ref.Digest, lost, key string) (bool, error) {
	stored, found := m.blobs[digest]
	if !found || stored.Key != lost {
		return false, nil
	}
	if due, queued := m.deletions[key]; !queued || !due.After(m.clock.Now()) {
		return false, catalog.ErrUploadUnknown
	}
	delete(m.deletions, key)
	m.deletions[lost] = m.clock.Now().Add(delay)
	stored.Key = key
	return true, nil
}

func (m *model) abandonObject(key string) {
	for _, b := range m.blobs {
		if b.Key == key {
			return
		}
	}
	if due, queued := m.deletions[key]; queued {
		m.deletions[key] = due.Add(time.Microsecond)
		return
	}
	m.deletions[key] = m.clock.Now()
}

func (m *model) blob(name ref.Name, digest ref.Digest) (catalog.Blob, error) {
	n := m.name(name)
	review, found := n.links[digest]
	if !found {
		return catalog.Blob{}, catalog.ErrBlobUnknown
	}
	if !review.IsZero() && review.Before(m.clock.Now().Add(grace/2)) {
		n.links[digest] = m.clock.Now().Add(grace)
	}
	return m.blobs[digest].Blob, nil
}

func (m *model) mount(name ref.Name, digest ref.Digest, from ref.Name) error {
	if _, found := m.name(from).links[digest]; !found {
		return catalog.ErrBlobUnknown
	}
	m.link(name, digest)
	return nil
}

func (m *model) deleteBlob(name ref.Name, digest ref.Digest) error {
	n := m.name(name)
	if _, found := n.links[digest]; !found {
		return catalog.ErrBlobUnknown
	}
	if n.uses(digest) {
		return catalog.ErrBlobInUse
	}
	delete(n.links, digest)
	m.keep(name, n)
	if !m.linked(digest) {
		m.blobs[digest].review = m.clock.Now().Add(grace)
	}
	return nil
}

func (m *model) putManifest(name ref.Name, manifest catalog.Manifest, tags []ref.Tag) error {
	n := m.name(name)
	for _, digest := range manifest.Blobs {
		if _, found := n.links[digest]; !found && !slices.Contains(manifest.Optional, digest) {
			return &catalog.MissingError{}
		}
	}
	for _, digest := range manifest.Manifests {
		if _, found := n.manifests[digest]; !found && !slices.Contains(manifest.Optional, digest) {
			return &catalog.MissingError{}
		}
	}
	for _, digest := range manifest.Blobs {
		if _, found := n.links[digest]; found {
			n.links[digest] = time.Time{}
		}
	}
	manifest.Optional = nil
	n.manifests[manifest.Digest] = manifest
	for _, tag := range tags {
		n.tags[tag] = manifest.Digest
	}
	m.keep(name, n)
	return nil
}

func (m *model) deleteManifest(name ref.Name, digest ref.Digest) error {
	n := m.name(name)
	manifest, found := n.manifests[digest]
	if !found {
		return catalog.ErrManifestUnknown
	}
	for _, parent := range n.manifests {
		if slices.Contains(parent.Manifests, digest) {
			return catalog.ErrManifestInUse
		}
	}
	delete(n.manifests, digest)
	maps.DeleteFunc(n.tags, func(_ ref.Tag, d ref.Digest) bool { return d == digest })
	for _, b := range manifest.Blobs {
		if _, found := n.links[b]; found && !n.uses(b) {
			n.links[b] = m.clock.Now().Add(grace)
		}
	}
	m.keep(name, n)
	return nil
}

func (m *model) deleteTag(name ref.Name, tag ref.Tag) error {
	n := m.name(name)
	if _, found := n.tags[tag]; !found {
		return catalog.ErrManifestUnknown
	}
	delete(n.tags, tag)
	return nil
}

// review reviews all that is due.
func (m *model) review() {
	now := m.clock.Now()
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	for name, n := range m.names {
		for digest, at := range n.links {
			if due(at) {
				delete(n.links, digest)
				m.keep(name, n)
				if !m.linked(digest) {
					m.forget(digest)
				}
			}
		}
	}
	for digest, b := range m.blobs {
		if due(b.review) {
			m.forget(digest)
		}
	}
}

func (m *model) forget(digest ref.Digest) {
	if key := m.blobs[digest].Key; key != "" {
		m.deletions[key] = m.clock.Now().Add(delay)
	}
	delete(m.blobs, digest)
}

func (m *model) purge(id, repository string) {
	if m.purged[id] {
		return
	}
	m.purged[id] = true
	for name, n := range m.names {
		if name.Repository() != repository {
			continue
		}
		delete(m.names, name)
		for digest := range n.links {
			if !m.linked(digest) {
				m.blobs[digest].review = m.clock.Now().Add(grace)
			}
		}
	}
}

func (m *model) dueDeletions() []string {
	var keys []string
	for key, due := range m.deletions {
		if !due.After(m.clock.Now()) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *model) tags(name ref.Name, last string, limit int) ([]ref.Tag, error) {
	n, found := m.names[name]
	if !found {
		return nil, catalog.ErrNameUnknown
	}
	return page(slices.Sorted(maps.Keys(n.tags)), ref.Tag(last), limit), nil
}

func (m *model) listed(last string, limit int) []ref.Name {
	var names []ref.Name
	for name, n := range m.names {
		if len(n.manifests) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return page(names, ref.Name(last), limit)
}

func (m *model) referrers(name ref.Name, subject ref.Digest) []catalog.Descriptor {
	var found []catalog.Descriptor
	for _, manifest := range m.name(name).manifests {
		if manifest.Subject == subject {
			found = append(found, descriptorOf(manifest))
		}
	}
	slices.SortFunc(found, func(a, b catalog.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return found
}

// page is the part of a sorted list that is behind last.
func page[T cmp.Ordered](sorted []T, last T, limit int) []T {
	from, _ := slices.BinarySearch(sorted, last)
	for from < len(sorted) && sorted[from] == last {
		from++
	}
	return sorted[from:min(len(sorted), from+limit)]
}
