// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds how many verified tokens are remembered.
const maxVerified = 1024

// verified remembers the claims of tokens whose signature was right. Clients send
// one token many times, and to verify and decode it costs more than the rest of a
// small request. Only what does not change is remembered: whether the claims hold
// is looked at every time. Tokens are found by their digest, so that how long a
// look-up takes tells nothing about a token.
type verified struct {
	mu     sync.RWMutex
	claims map[[sha256.Size]byte]*claims
}

func (v *verified) get(digest [sha256.Size]byte) (*claims, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, found := v.claims[digest]
	return c, found
}

// put forgets everything when there is no room: what is in use comes back soon.
func (v *verified) put(digest [sha256.Size]byte, c *claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.claims == nil || len(v.claims) >= maxVerified {
		v.claims = make(map[[sha256.Size]byte]*claims)
	}
	v.claims[digest] = c
}
