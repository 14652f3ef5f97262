// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"encoding/hex"
	"fmt"
	"io"
)

const (
	keyEpochDigits  = 16
	keyRandomDigits = 32
	keyLength       = keyEpochDigits + 1 + keyRandomDigits
)

// NewKey makes the key of an object: the epoch in 16 hexadecimal digits, a dash,
// and 128 bits of random in hexadecimal.
func NewKey(random io.Reader, epoch uint64) (string, error) {
	var bits [keyRandomDigits / 2]byte
	if _, err := io.ReadFull(random, bits[:]); err != nil {
		return "", fmt.Errorf("make an object key: %w", err)
	}
	return KeyPrefix(epoch) + hex.EncodeToString(bits[:]), nil
}

// KeyPrefix is what the keys of an epoch, and no others, begin with.
func KeyPrefix(epoch uint64) string {
	return fmt.Sprintf("%0*x-", keyEpochDigits, epoch)
}

// IsKey reports whether NewKey could have made key. Such a key is safe in a path
// and in a URL.
func IsKey(key string) bool {
	if len(key) != keyLength {
		return false
	}
	for i := range len(key) {
		c := key[i]
		switch {
		case i == keyEpochDigits:
			if c != '-' {
				return false
			}
		case c < '0' || c > '9' && c < 'a' || c > 'f':
			return false
		}
	}
	return true
}
