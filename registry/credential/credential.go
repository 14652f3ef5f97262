// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package credential knows what the value of a token looks like, and what may be
// stored and shown in its place. Everything here is pure and safe for concurrent
// use; no function keeps a value, or puts one into an error.
package credential

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Prefix begins every minted value, so that secret scanners can find them.
const Prefix = "pkgt_"

const (
	// randomLength characters of base 62 carry 178 bits.
	randomLength   = 30
	checksumLength = 6
	mintedLength   = len(Prefix) + randomLength + checksumLength
)

// MinLength and MaxLength bound the value of a token, in bytes.
const (
	MinLength = 40
	MaxLength = 255
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Domains of the two hashes: knowing one tells nothing about the other.
const (
	hashDomain = "packages-operator.io/credential/hash/v1"
	idDomain   = "packages-operator.io/credential/id/v1"
)

// ErrChecksum marks a value that has the prefix of minted values and was not
// minted: it was cut off, mistyped or invented.
var ErrChecksum = errors.New("the value begins with " + Prefix + " and its checksum is wrong: copy it whole")

// Generate mints a value: Prefix, 30 random base-62 characters, and 6 that are
// the CRC-32 (IEEE) of those 30. random must be cryptographically secure; its
// error is returned wrapped.
func Generate(random io.Reader) (string, error) {
	value := make([]byte, 0, mintedLength)
	value = append(value, Prefix...)
	var buffer [randomLength]byte
	for len(value) < len(Prefix)+randomLength {
		if _, err := io.ReadFull(random, buffer[:]); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		for _, b := range buffer {
			// 248 is the greatest multiple of 62 in a byte: above it, a remainder
			// would favor the first characters.
			if b < 248 && len(value) < len(Prefix)+randomLength {
				value = append(value, base62[b%62])
			}
		}
	}
	return string(appendChecksum(value, string(value[len(Prefix):]))), nil
}

func appendChecksum(dst []byte, random string) []byte {
	sum := crc32.ChecksumIEEE([]byte(random))
	var digits [checksumLength]byte
	for i := checksumLength - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return append(dst, digits[:]...)
}

// Check returns ErrChecksum for a value that has the Prefix without being
// well-formed, and nil for every other, so that brought values pass.
func Check(value string) error {
	rest, minted := strings.CutPrefix(value, Prefix)
	if !minted {
		return nil
	}
	if len(value) != mintedLength {
		return ErrChecksum
	}
	random := rest[:randomLength]
	for i := 0; i < len(random); i++ {
		if strings.IndexByte(base62, random[i]) < 0 {
			return ErrChecksum
		}
	}
	if string(appendChecksum(nil, random)) != rest[randomLength:] {
		return ErrChecksum
	}
	return nil
}

// ValidateSupplied reports why a value that a user brings cannot be a token's, or
// nil: it needs 40 to 255 printable ASCII characters without a space, and passes
// Check.
func ValidateSupplied(value string) error {
	if len(value) < MinLength {
		return fmt.Errorf("the value has %d characters: use at least %d, made by a random generator", len(value), MinLength)
	}
	if len(value) > MaxLength {
		return fmt.Errorf("the value has %d characters: use at most %d", len(value), MaxLength)
	}
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c > ' ' && c < 0x7f {
			continue
		}
		if i == len(value)-1 && c == '\n' {
			return errors.New("the value ends with a line break: leave it out")
		}
		return fmt.Errorf("character %d of the value is a space or not printable ASCII", i+1)
	}
	return Check(value)
}

// Hash stands for a value where it is stored. It marshals to lower-case hex.
type Hash [sha256.Size]byte

// Sum is the Hash of a value. Values have far more entropy than can be guessed, so
// one fast round of SHA-256 is enough.
func Sum(value string) Hash { return domainSum(hashDomain, value) }

// ID names a value in logs and statuses, in 32 hex characters. It differs for
// every value, and tells nothing about the value or its Hash.
func ID(value string) string {
	sum := domainSum(idDomain, value)
	return hex.EncodeToString(sum[:16])
}

// domainSum hashes both parts behind their lengths, so that no two inputs are
// written alike.
func domainSum(domain, value string) Hash {
	var stack [8 + len(hashDomain) + 8 + MaxLength]byte
	input := binary.BigEndian.AppendUint64(stack[:0], uint64(len(domain)))
	input = append(input, domain...)
	input = binary.BigEndian.AppendUint64(input, uint64(len(value)))
	input = append(input, value...)
	return sha256.Sum256(input)
}

// String is the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) {
	return hex.AppendEncode(make([]byte, 0, 2*len(h)), h[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; it takes lower-case hex only.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("hash has %d characters, %d are needed", len(text), 2*len(h))
	}
	var decoded Hash
	if _, err := hex.Decode(decoded[:], text); err != nil {
		return errors.New("hash is not hexadecimal")
	}
	if decoded.String() != string(text) {
		return errors.New("hash is not in lower case")
	}
	*h = decoded
	return nil
}

// ParseHash reads what Hash.String writes.
func ParseHash(s string) (Hash, error) {
	var h Hash
	err := h.UnmarshalText([]byte(s))
	return h, err
}
