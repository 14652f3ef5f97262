// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/packages-operator/packages-operator/registry/durable"
)

const (
	// KeySize is the length of a new key, and the least of any, in bytes: the
	// output of SHA-256, as RFC 7518, section 3.2, demands.
	KeySize = 32

	maxKeySize = 4096
	maxKeys    = 16

	// firstKeyID names the key that CreateKeys makes. Later keys need a greater
	// name.
	firstKeyID = "0001"
)

// ErrNoKeys says that there is no key, in a directory or at all.
var ErrNoKeys = errors.New("no key to sign tokens with")

// keyID is what may name a key: safe as a file's name, as a Secret's key and in JSON.
var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// KeySource gives the keys that are in force at the moment.
type KeySource interface {
	Keys() *Keys
}

// Keys are the secrets that bearer tokens are signed and verified with. The key
// with the greatest ID signs; all of them verify. Keys are safe for concurrent use.
type Keys struct {
	byID     map[string]*key
	signing  *key
	verified verified
	// fingerprint is equal for equal keys.
	fingerprint [sha256.Size]byte
}

type key struct {
	// header is the one JWT header that a token under this key has, encoded and
	// with its dot: nothing in a header is left to interpret.
	header string
	macs   sync.Pool
}

// NewKeys takes secrets by key ID: at least one, each of KeySize bytes or more.
func NewKeys(secrets map[string][]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, ErrNoKeys
	}
	if len(secrets) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, at most %d are allowed", len(secrets), maxKeys)
	}
	keys := &Keys{byID: make(map[string]*key, len(secrets))}
	greatest := ""
	for id, secret := range secrets {
		if !keyID.MatchString(id) {
			return nil, fmt.Errorf("%q cannot name a key: use letters, digits, '-' and '_'", id)
		}
		if len(secret) < KeySize || len(secret) > maxKeySize {
			return nil, fmt.Errorf("key %s has %d bytes, %d to %d are allowed", id, len(secret), KeySize, maxKeySize)
		}
		keys.byID[id] = newKey(id, secret)
		greatest = max(greatest, id)
	}
	keys.signing = keys.byID[greatest]
	all := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(secrets)) {
		// Neither a name nor a hash has a space.
		all.Write(fmt.Appendf(nil, "%s %x ", id, sha256.Sum256(secrets[id])))
	}
	all.Sum(keys.fingerprint[:0])
	return keys, nil
}

func newKey(id string, secret []byte) *key {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{"HS256", id, "JWT"})
	if err != nil {
		panic(err) // strings always marshal
	}
	secret = append([]byte(nil), secret...)
	return &key{
		header: base64.RawURLEncoding.EncodeToString(header) + ".",
		macs:   sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }},
	}
}

// Keys makes Keys their own KeySource.
func (k *Keys) Keys() *Keys { return k }

// sum appends the HMAC-SHA256 of message to dst.
func (k *key) sum(dst []byte, message string) []byte {
	mac := k.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte(message))
	dst = mac.Sum(dst)
	k.macs.Put(mac)
	return dst
}

// LoadKeys reads a directory with one file per key, named by its ID, such as a
// mounted Secret. Names that begin with a dot are not read. The error wraps
// ErrNoKeys for a directory without keys, and fs.ErrNotExist for none.
func LoadKeys(dir string) (*Keys, error) {
	name := dir
	// A mounted Secret is replaced as a whole by turning this link: behind it, all
	// keys are of one time.
	if data, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = data
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	secrets := map[string][]byte{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		secret, err := readKey(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		secrets[entry.Name()] = secret
	}
	keys, err := NewKeys(secrets)
	if err != nil {
		return nil, fmt.Errorf("keys in %s: %w", name, err)
	}
	return keys, nil
}

func readKey(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	secret, err := io.ReadAll(io.LimitReader(file, maxKeySize+1))
	return secret, errors.Join(err, file.Close())
}

// CreateKeys loads the keys in dir, and makes the directory (0700) and a first key
// (0600) if there is none. A key that it made is durable when it returns.
func CreateKeys(dir string, random io.Reader) (*Keys, error) {
	keys, err := LoadKeys(dir)
	if err == nil || !errors.Is(err, ErrNoKeys) && !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create keys: %w", err)
	}
	secret := make([]byte, KeySize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("create keys: read random bytes: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, firstKeyID), secret); err != nil {
		return nil, fmt.Errorf("create keys: %w", err)
	}
	return LoadKeys(dir)
}
