// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// maxTokenLength bounds a bearer token, in bytes. IssueToken stays below it: access
// to maxScopes images takes 7 KiB of JSON at most, the name of a ServiceAccount a
// third of one, and base64 a third more.
const maxTokenLength = 11 << 10

// claims are the payload of a bearer token: those of RFC 7519, Docker's access
// list, and cid, the credential that the token stands for (empty: nobody's).
type claims struct {
	Issuer     string  `json:"iss"`
	Subject    string  `json:"sub,omitempty"`
	Audience   string  `json:"aud"`
	IssuedAt   int64   `json:"iat"`
	NotBefore  int64   `json:"nbf"`
	Expires    int64   `json:"exp"`
	Credential string  `json:"cid,omitempty"`
	Access     []grant `json:"access"`
}

// grant is one entry of Docker's access list.
type grant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// sign encodes claims under the signing key.
func (k *Keys) sign(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	token := make([]byte, 0, len(k.signing.header)+base64.RawURLEncoding.EncodedLen(len(payload))+1+encodedMACLength)
	token = append(token, k.signing.header...)
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	var mac [sha256.Size]byte
	sum := k.signing.sum(mac[:0], string(token))
	token = append(token, '.')
	return string(base64.RawURLEncoding.AppendEncode(token, sum)), nil
}

// encodedMACLength is the length of a signature in base64.
const encodedMACLength = (sha256.Size*8 + 5) / 6

// verify returns the claims of a token that this program signed under one of the
// keys, or false. Whether they hold now is for the caller to say.
func (k *Keys) verify(token string) (*claims, bool) {
	if len(token) > maxTokenLength || len(token) < encodedMACLength+1 {
		return nil, false
	}
	var stack [1 << 10]byte // tokens for an image or two fit, without allocating
	digest := sha256.Sum256(append(stack[:0], token...))
	if c, found := k.verified.get(digest); found {
		return c, true
	}
	c, ok := k.open(token)
	if ok {
		k.verified.put(digest, c)
	}
	return c, ok
}

// open checks a token's signature and decodes it. The issuer is the only verifier,
// so that a header is compared whole with the one that each key has, and nothing is
// parsed before the signature is right: no algorithm, key or certificate that a
// token names matters.
func (k *Keys) open(token string) (*claims, bool) {
	dot := len(token) - encodedMACLength - 1
	signed, encodedMAC := token[:dot], token[dot+1:]
	if token[dot] != '.' {
		return nil, false
	}
	for _, key := range k.byID {
		if payload, found := strings.CutPrefix(signed, key.header); found {
			return key.open(signed, payload, encodedMAC)
		}
	}
	return nil, false
}

func (k *key) open(signed, payload, encodedMAC string) (*claims, bool) {
	var want, encodedWant [encodedMACLength]byte
	sum := k.sum(want[:0], signed)
	base64.RawURLEncoding.Encode(encodedWant[:], sum)
	if !hmac.Equal(encodedWant[:], []byte(encodedMAC)) {
		return nil, false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, false
	}
	c := new(claims)
	if err := json.Unmarshal(decoded, c); err != nil {
		return nil, false
	}
	// What sign writes has one form; no other is taken, whoever holds a key: no
	// duplicate, unknown or case-variant field, and nothing behind the object.
	if canonical, err := json.Marshal(c); err != nil || !bytes.Equal(canonical, decoded) {
		return nil, false
	}
	return c, true
}
