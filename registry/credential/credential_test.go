// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

func TestGenerateMintsValuesThatScannersFindAndCheckAccepts(t *testing.T) {
	form := regexp.MustCompile(`^pkgt_[0-9A-Za-z]{36}$`)
	seen := map[string]bool{}
	for range 1000 {
		value, err := Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(value) {
			t.Fatalf("minted value has not the documented form: %d characters", len(value))
		}
		if err := Check(value); err != nil {
			t.Fatalf("Check of a minted value: %v", err)
		}
		if err := ValidateSupplied(value); err != nil {
			t.Fatalf("ValidateSupplied of a minted value: %v", err)
		}
		if seen[value] {
			t.Fatal("the same value was minted twice")
		}
		seen[value] = true
	}
}

func TestGenerateRejectsBytesThatWouldBiasTheValue(t *testing.T) {
	// 248 to 255 must be drawn again; the rest of the stream is zeros.
	stream := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{255}, randomLength)), bytes.NewReader(make([]byte, randomLength)))
	value, err := Generate(stream)
	if err != nil {
		t.Fatal(err)
	}
	if want := Prefix + strings.Repeat("0", randomLength); value[:len(want)] != want {
		t.Errorf("got %q, want it to begin with %q", value, want)
	}
}

func TestGenerateIsTheSameForTheSameRandomBytes(t *testing.T) {
	random := bytes.Repeat([]byte{1, 2, 3}, randomLength/3)
	value, err := Generate(bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	const golden = "pkgt_1231231231231231231231231231233oouW8"
	if value != golden {
		t.Errorf("got %q, want %q: values minted by earlier releases would no longer check", value, golden)
	}
}

func TestGenerateReportsAFailingSource(t *testing.T) {
	failure := errors.New("no entropy")
	if _, err := Generate(iotest.ErrReader(failure)); !errors.Is(err, failure) {
		t.Errorf("got %v, want it to wrap %v", err, failure)
	}
}

func TestCheck(t *testing.T) {
	minted, err := Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(s string, i int) string {
		c := byte('0')
		if s[i] == c {
			c = '1'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	tests := map[string]struct {
		value string
		want  error
	}{
		"minted":                        {minted, nil},
		"brought, no prefix":            {"whatever a person brings", nil},
		"empty":                         {"", nil},
		"only the prefix":               {Prefix, ErrChecksum},
		"cut off":                       {minted[:len(minted)-1], ErrChecksum},
		"one character more":            {minted + "a", ErrChecksum},
		"first random character wrong":  {swap(minted, len(Prefix)), ErrChecksum},
		"last checksum character wrong": {swap(minted, len(minted)-1), ErrChecksum},
		"a character outside base 62":   {minted[:len(Prefix)] + "-" + minted[len(Prefix)+1:], ErrChecksum},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := Check(test.value); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestValidateSupplied(t *testing.T) {
	tests := map[string]struct {
		value string
		want  string // part of the error; empty for none
	}{
		"shortest":            {strings.Repeat("x", 40), ""},
		"longest":             {strings.Repeat("~", 255), ""},
		"too short":           {strings.Repeat("x", 39), "39 characters: use at least 40"},
		"empty":               {"", "0 characters"},
		"too long":            {strings.Repeat("x", 256), "at most 255"},
		"with a space":        {strings.Repeat("x", 20) + " " + strings.Repeat("x", 20), "character 21"},
		"with a line break":   {strings.Repeat("x", 40) + "\n", "ends with a line break"},
		"not ASCII":           {strings.Repeat("x", 40) + "é", "character 41"},
		"control character":   {"\x00" + strings.Repeat("x", 40), "character 1 "},
		"minted and cut off":  {Prefix + strings.Repeat("x", 35), "checksum"},
		"prefix in the midst": {strings.Repeat("x", 40) + Prefix, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := ValidateSupplied(test.value)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want it to contain %q", err, test.want)
			}
			if err != nil && test.value != "" && strings.Contains(err.Error(), test.value) {
				t.Error("the error shows the value")
			}
		})
	}
}

// The stored hashes of earlier releases must keep matching.
func TestHashAndIDStayAsTheyAre(t *testing.T) {
	const value = "pkgt_1231231231231231231231231231233oouW8"
	if got, want := Sum(value).String(), "2185a5636e8b731f472f81b09bf096ecc7f0e5445b4f766b9b2443a78a55d3d4"; got != want {
		t.Errorf("Sum is %s, want %s", got, want)
	}
	if got, want := ID(value), "6faf05b3adcfd57610e295a3265e7081"; got != want {
		t.Errorf("ID is %s, want %s", got, want)
	}
	if strings.HasPrefix(Sum(value).String(), ID(value)) {
		t.Error("the public ID is part of the hash")
	}
}

func TestSumOfLongValues(t *testing.T) {
	a, b := strings.Repeat("a", 10_000), strings.Repeat("a", 10_001)
	if Sum(a) == Sum(b) || ID(a) == ID(b) {
		t.Error("values of different length have the same sum")
	}
}

func TestHashText(t *testing.T) {
	h := Sum("x")
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Hash
	if err := json.Unmarshal(data, &back); err != nil || back != h {
		t.Errorf("round trip gave %v, %v; want %v", back, err, h)
	}
	if parsed, err := ParseHash(h.String()); err != nil || parsed != h {
		t.Errorf("ParseHash gave %v, %v; want %v", parsed, err, h)
	}
	for name, text := range map[string]string{
		"too short":   h.String()[1:],
		"too long":    h.String() + "0",
		"upper case":  strings.ToUpper(h.String()),
		"not hex":     strings.Repeat("g", 64),
		"empty":       "",
		"with spaces": strings.Repeat(" ", 64),
	} {
		if _, err := ParseHash(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSumDoesNotAllocate(t *testing.T) {
	value := strings.Repeat("v", MaxLength)
	if n := testing.AllocsPerRun(100, func() { _ = Sum(value) }); n != 0 {
		t.Errorf("Sum allocates %v times", n)
	}
}
