// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	// maxKeys bounds how many keys of an issuer are taken.
	maxKeys = 32
	// An RSA key that is shorter is weak, and one that is longer takes long.
	minRSABits, maxRSABits = 2048, 8192
)

// Issuer is who signs a cluster's tokens, and the keys that it publishes.
type Issuer struct {
	// Name as tokens have it, a URL.
	Name string `json:"name"`
	// Keys sorted by ID.
	Keys []Key `json:"keys"`
}

// Key is a public key. It verifies tokens of one algorithm.
type Key struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	// DER is the key as X.509 has it (SubjectPublicKeyInfo).
	DER []byte `json:"der"`
}

// IsZero says that there is no issuer.
func (i Issuer) IsZero() bool { return i.Name == "" && len(i.Keys) == 0 }

// ParseIssuer reads what a cluster publishes under /.well-known/openid-configuration
// (OpenID Connect Discovery 1.0) and /openid/v1/jwks (RFC 7517). Keys of a kind that
// is not known are left out; it is an error if none remains.
func ParseIssuer(configuration, keySet []byte) (Issuer, error) {
	var published struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(configuration, &published); err != nil {
		return Issuer{}, fmt.Errorf("the issuer's configuration is not understood: %w", err)
	}
	if published.Issuer == "" {
		return Issuer{}, errors.New("the issuer's configuration names no issuer")
	}
	var set struct {
		Keys []jsonWebKey `json:"keys"`
	}
	if err := json.Unmarshal(keySet, &set); err != nil {
		return Issuer{}, fmt.Errorf("the issuer's keys are not understood: %w", err)
	}
	issuer := Issuer{Name: published.Issuer}
	for _, encoded := range set.Keys {
		key, ok := encoded.key()
		if ok && !slices.ContainsFunc(issuer.Keys, func(k Key) bool { return k.ID == key.ID }) {
			issuer.Keys = append(issuer.Keys, key)
		}
	}
	switch {
	case len(issuer.Keys) == 0:
		return Issuer{}, errors.New("the issuer publishes no key that is understood")
	case len(issuer.Keys) > maxKeys:
		return Issuer{}, fmt.Errorf("the issuer publishes %d keys, at most %d are taken", len(issuer.Keys), maxKeys)
	}
	slices.SortFunc(issuer.Keys, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	return issuer, nil
}

// jsonWebKey is a key as RFC 7517 and RFC 7518 write it.
type jsonWebKey struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// key is the key, and false if it is not one that tokens are verified with.
func (j jsonWebKey) key() (Key, bool) {
	if j.ID == "" || j.Use != "" && j.Use != "sig" {
		return Key{}, false
	}
	var public any
	switch j.Type {
	case "RSA":
		modulus, exponent := integer(j.Modulus), integer(j.Exponent)
		if modulus == nil || exponent == nil || exponent.BitLen() > 31 {
			return Key{}, false
		}
		public = &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	case "EC":
		i := slices.IndexFunc(curves, func(c elliptic.Curve) bool { return c.Params().Name == j.Curve })
		x, y := integer(j.X), integer(j.Y)
		if i < 0 || x == nil || y == nil {
			return Key{}, false
		}
		size := (curves[i].Params().BitSize + 7) / 8
		if x.BitLen() > 8*size || y.BitLen() > 8*size {
			return Key{}, false
		}
		point := append([]byte{4}, x.FillBytes(make([]byte, size))...)
		parsed, err := ecdsa.ParseUncompressedPublicKey(curves[i], append(point, y.FillBytes(make([]byte, size))...))
		if err != nil {
			return Key{}, false
		}
		public = parsed
	default:
		return Key{}, false
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, false
	}
	key := Key{ID: j.ID, Algorithm: j.Algorithm, DER: der}
	_, err = key.verifier()
	return key, err == nil
}

var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}

// integer reads a Base64urlUInt, nil if it is none.
func integer(encoded string) *big.Int {
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(data) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(data)
}
