// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"errors"
	"hash/crc32"
	"io"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

var (
	mintedForm   = regexp.MustCompile(`^pkgt_([0-9A-Za-z]{30})([0-9A-Za-z]{6})$`)
	suppliedForm = regexp.MustCompile(`^[!-~]{40,255}$`)
	hashForm     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm       = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// wellFormed says by other means than Check whether a value may have been minted,
// or brought: the checksum's digits are a number, in whose base big.Int writes
// lower case before upper case.
func wellFormed(value string) bool {
	if !strings.HasPrefix(value, "pkgt_") {
		return true
	}
	parts := mintedForm.FindStringSubmatch(value)
	if parts == nil {
		return false
	}
	swapCase := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}
	sum, ok := new(big.Int).SetString(strings.Map(swapCase, parts[2]), 62)
	return ok && sum.Cmp(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(parts[1]))))) == 0
}

// FuzzValue: what is accepted as a token's value has its form and checksum, and
// what is refused is not repeated in the error; sums name a value and no other.
func FuzzValue(f *testing.F) {
	minted := "pkgt_1231231231231231231231231231233oouW8"
	f.Add(minted, "x")
	f.Add("", Prefix)
	f.Add(Prefix, minted[:40])
	f.Add(strings.Replace(minted, "W", "w", 1), minted+"\n")
	f.Add("brought-0123456789-0123456789-0123456789", "brought-0123456789-0123456789-012345678 ")
	f.Add(strings.Repeat("v", MaxLength), strings.Repeat("v", MaxLength+1))
	f.Add(Sum("x").String(), strings.ToUpper(Sum("x").String()))
	f.Fuzz(func(t *testing.T, value, other string) {
		err := Check(value)
		if (err == nil) != wellFormed(value) || err != nil && !errors.Is(err, ErrChecksum) {
			t.Errorf("Check(%q) gives %v; by its form it is right: %t", value, err, wellFormed(value))
		}
		err = ValidateSupplied(value)
		if want := suppliedForm.MatchString(value) && wellFormed(value); (err == nil) != want {
			t.Errorf("ValidateSupplied(%q) gives %v; by its form it is usable: %t", value, err, want)
		}
		if err != nil && len(value) >= 8 && strings.Contains(err.Error(), value) {
			t.Errorf("the error shows the value: %v", err)
		}

		h, err := ParseHash(value)
		if want := hashForm.MatchString(value); (err == nil) != want || err == nil && h.String() != value || err != nil && h != (Hash{}) {
			t.Errorf("ParseHash(%q) gives %v, %v", value, h, err)
		}
		if again, err := ParseHash(Sum(value).String()); err != nil || again != Sum(value) {
			t.Errorf("the hash of %q is read as %v, %v", value, again, err)
		}
		if !idForm.MatchString(ID(value)) || strings.Contains(Sum(value).String(), ID(value)) {
			t.Errorf("the ID of %q is %q", value, ID(value))
		}
		if value != other && (Sum(value) == Sum(other) || ID(value) == ID(other)) {
			t.Errorf("%q and %q have one sum", value, other)
		}
	})
}

// FuzzMinted: whatever the randomness, a minted value is accepted, and no longer
// once a character of it is another one or missing.
func FuzzMinted(f *testing.F) {
	f.Add([]byte("randomness that is long enough for one value"), uint8(7), byte('x'))
	f.Add([]byte(strings.Repeat("\xf8\xff", 40)+strings.Repeat("\x00", 60)), uint8(40), byte('0'))
	f.Add([]byte(strings.Repeat("\xf7", 30)), uint8(34), byte('\n'))
	f.Fuzz(func(t *testing.T, random []byte, position uint8, character byte) {
		value, err := Generate(strings.NewReader(string(random)))
		if err != nil {
			if value != "" || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %q and %v", value, err)
			}
			return
		}
		if !mintedForm.MatchString(value) || Check(value) != nil || ValidateSupplied(value) != nil {
			t.Fatalf("the minted value %q is refused: %v", value, ValidateSupplied(value))
		}
		i := len(Prefix) + int(position)%(len(value)-len(Prefix))
		changed := []byte(value)
		changed[i] = character
		if string(changed) != value && !errors.Is(Check(string(changed)), ErrChecksum) {
			t.Errorf("%q was minted, and %q is accepted", value, changed)
		}
		if cut := value[:i] + value[i+1:]; !errors.Is(Check(cut), ErrChecksum) {
			t.Errorf("%q was minted, and %q is accepted", value, cut)
		}
	})
}
