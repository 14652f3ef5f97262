// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	// The hash functions of the algorithms.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// MaxLength bounds a token, in bytes. The longest names that Kubernetes allows and an
// RSA key of 4096 bits take about 3 KiB.
const MaxLength = 4 << 10

// algorithm is how a signature is made (RFC 7518, section 3.1). An algorithm is a
// key's, never one that a token chooses.
type algorithm struct {
	hash crypto.Hash
	// curve of an ECDSA key, empty for RSA.
	curve string
}

var algorithms = map[string]algorithm{
	"RS256": {hash: crypto.SHA256},
	"RS384": {hash: crypto.SHA384},
	"RS512": {hash: crypto.SHA512},
	"ES256": {crypto.SHA256, "P-256"},
	"ES384": {crypto.SHA384, "P-384"},
	"ES512": {crypto.SHA512, "P-521"},
}

// verifyingKey checks signatures of one algorithm.
type verifyingKey struct {
	name string
	algorithm
	rsa   *rsa.PublicKey
	ecdsa *ecdsa.PublicKey
}

func (k Key) verifier() (*verifyingKey, error) {
	v := &verifyingKey{name: k.Algorithm}
	var known bool
	if v.algorithm, known = algorithms[k.Algorithm]; !known {
		return nil, fmt.Errorf("key %q: algorithm %q is unknown", k.ID, k.Algorithm)
	}
	public, err := x509.ParsePKIXPublicKey(k.DER)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", k.ID, err)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); v.curve == "" && bits >= minRSABits && bits <= maxRSABits {
			v.rsa = public
			return v, nil
		}
	case *ecdsa.PublicKey:
		if public.Params().Name == v.curve {
			v.ecdsa = public
			return v, nil
		}
	}
	return nil, fmt.Errorf("key %q is none for %s", k.ID, k.Algorithm)
}

// verify says whether a signature is one of the signed text.
func (v *verifyingKey) verify(signed, signature []byte) bool {
	h := v.hash.New()
	h.Write(signed)
	digest := h.Sum(nil)
	if v.rsa != nil {
		return rsa.VerifyPKCS1v15(v.rsa, v.hash, digest, signature) == nil
	}
	size := (v.ecdsa.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	return ecdsa.Verify(v.ecdsa, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
}

// Verifier verifies the tokens of one issuer.
type Verifier struct {
	issuer string
	keys   map[string]*verifyingKey
}

// NewVerifier refuses an issuer without a name or with a key that it cannot use.
func NewVerifier(issuer Issuer) (*Verifier, error) {
	if issuer.Name == "" || len(issuer.Keys) == 0 || len(issuer.Keys) > maxKeys {
		return nil, errors.New("an issuer of tokens has no name, no keys or too many")
	}
	v := &Verifier{issuer: issuer.Name, keys: make(map[string]*verifyingKey, len(issuer.Keys))}
	for _, key := range issuer.Keys {
		parsed, err := key.verifier()
		if err != nil {
			return nil, err
		}
		if key.ID == "" || v.keys[key.ID] != nil {
			return nil, fmt.Errorf("key %q of an issuer has no name or is there twice", key.ID)
		}
		v.keys[key.ID] = parsed
	}
	return v, nil
}

// Verify returns what a token says that the issuer signed for this audience and for
// no other, or false. Whether it holds now is for the caller to say. A nil Verifier
// verifies nothing.
func (v *Verifier) Verify(token, audience string) (Token, bool) {
	if v == nil || len(token) > MaxLength || audience == "" {
		return Token{}, false
	}
	// Decoding would pass over these.
	if strings.ContainsAny(token, "\r\n") {
		return Token{}, false
	}
	signed, encodedSignature, ok := cutLast(token)
	header, payload, found := strings.Cut(signed, ".")
	if !ok || !found || strings.Contains(payload, ".") {
		return Token{}, false
	}
	key := v.keyOf(header)
	if key == nil {
		return Token{}, false
	}
	signature, err := encoding.DecodeString(encodedSignature)
	if err != nil || !key.verify([]byte(signed), signature) {
		return Token{}, false
	}
	decoded, err := encoding.DecodeString(payload)
	if err != nil {
		return Token{}, false
	}
	return v.read(decoded, audience)
}

// encoding refuses bits that stand for nothing: a token is written in one way.
var encoding = base64.RawURLEncoding.Strict()

func cutLast(token string) (signed, signature string, found bool) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return "", "", false
	}
	return token[:dot], token[dot+1:], true
}

// keyOf is the key that a header names, if its algorithm is the header's. Keys and
// certificates that a header has are not read.
func (v *Verifier) keyOf(encodedHeader string) *verifyingKey {
	decoded, err := encoding.DecodeString(encodedHeader)
	if err != nil {
		return nil
	}
	header := object(decoded)
	// A token that demands what is not understood is not understood (RFC 7515, 4.1.11).
	if _, critical := header["crit"]; critical {
		return nil
	}
	key := v.keys[text(header["kid"])]
	if key == nil || text(header["alg"]) != key.name {
		return nil
	}
	return key
}

// read takes the claims of a token whose signature was right.
func (v *Verifier) read(payload []byte, audience string) (Token, bool) {
	claims := object(payload)
	private := object(claims["kubernetes.io"])
	account := object(private["serviceaccount"])
	namespace, name := text(private["namespace"]), text(account["name"])
	token := Token{User: User(namespace, name), UID: text(account["uid"])}
	var from, to, issued bool
	token.NotBefore, from = instant(claims["nbf"])
	token.Expires, to = instant(claims["exp"])
	_, issued = instant(claims["iat"])
	ok := text(claims["iss"]) == v.issuer && forAlone(claims["aud"], audience) &&
		IsUser(token.User) && text(claims["sub"]) == token.User && token.UID != "" &&
		from && to && issued
	if !ok {
		return Token{}, false
	}
	return token, true
}

// forAlone says whether an audience is one alone, as a list or not.
func forAlone(encoded json.RawMessage, audience string) bool {
	if text(encoded) == audience {
		return true
	}
	var list []string
	return json.Unmarshal(encoded, &list) == nil && len(list) == 1 && list[0] == audience
}

// object has the members of a JSON object by their very names, which decoding into a
// struct would not insist on; none if it is no object.
func object(encoded []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(encoded, &members) != nil {
		return nil
	}
	return members
}

func text(encoded json.RawMessage) string {
	var s string
	if json.Unmarshal(encoded, &s) != nil {
		return ""
	}
	return s
}

// instant reads whole seconds since 1970, after it and before the year 10000.
func instant(encoded json.RawMessage) (time.Time, bool) {
	const end = 253402300800
	var seconds int64
	if json.Unmarshal(encoded, &seconds) != nil || seconds <= 0 || seconds >= end {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}
