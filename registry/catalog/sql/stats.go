// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

// Stats are what a Store has counted since it was opened, and how it is now.
type Stats struct {
	Database DatabaseStats
	// Cache is by what is kept.
	Cache map[string]CacheStats
	// CacheBytes are about how much memory that takes, and CacheLimit how much it
	// may; both are zero where nothing is kept.
	CacheBytes, CacheLimit int
}

// DatabaseStats are about the database behind a Store.
type DatabaseStats struct {
	// Commits of transactions; with a file, many operations share one.
	Commits uint64
	// Pending are the changes that wait for their turn, are being made, or are not
	// yet durable.
	Pending int64
	// Idle and Busy connections, at most Max; with a file, those that read.
	Idle, Busy, Max int
}

// CacheStats count look-ups.
type CacheStats struct{ Hits, Misses uint64 }

// kindNames are the keys of Stats.Cache.
var kindNames = [kinds]string{aTag: "tag", aManifest: "manifest", aBlob: "blob", aPage: "page"}

// Stats may be asked for at any time, at little cost.
func (s *Store) Stats() Stats {
	stats := Stats{Database: s.database.stats(), Cache: make(map[string]CacheStats, kinds)}
	for k, name := range kindNames {
		stats.Cache[name] = CacheStats{
			Hits:   s.cache.hits[k].Load() + s.contents.hits[k].Load(),
			Misses: s.cache.misses[k].Load() + s.contents.misses[k].Load(),
		}
	}
	// One of the two keeps nothing.
	stats.CacheBytes = s.cache.bytes() + s.contents.bytes()
	stats.CacheLimit = max(0, s.cache.limit, s.contents.limit)
	return stats
}
