// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a manifest. The deepest field of the
// specification is annotations of a descriptor in an array: four levels.
const maxDepth = 32

// maxItems bounds one array and one object. A manifest of MaxSize has no room for
// more descriptors; smaller items would take many times their length in memory.
const maxItems = 40_000

// maxValues bounds all values together. A manifest of MaxSize that is full of
// descriptors has half as many; what is longer takes seconds to read.
const maxValues = 250_000

// maxArtifactType is the length of a media type in characters: two names of 127
// (RFC 6838, section 4.2) and a slash.
const maxArtifactType = 255

// fields are the names that Parse reads, by their folded form. A decoder
// that ignores case would take another spelling for the same field, so two
// programs could see two different manifests in one digest: refused.
var fields = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject",
		"annotations", "digest", "size", "urls", "platform", "data", "fsLayers", "blobs",
	} {
		m[fold(name)] = name
	}
	return m
}()

// fold writes every letter as the least of those that differ from it by case
// alone, as decoders that ignore case see it: "ſ" is one of "s", but lower case.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
			least = min(least, c)
		}
		return least
	}, s)
}

// checkStrict refuses what decoders may read differently: text that is not UTF-8,
// duplicate keys, keys that differ from a field of the specification by case alone,
// deep nesting, anything behind the first value, and what would take too much
// memory to decode.
func checkStrict(content []byte) error {
	if !utf8.Valid(content) {
		return errors.New("a manifest is JSON, whose text is UTF-8, and this is not")
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	c := checker{Decoder: dec}
	if err := c.value("", 0, false); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON ends before it is complete")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the JSON value")
	}
	return nil
}

// checker reads values, and counts them.
type checker struct {
	*json.Decoder
	values int
}

// value reads one value. freeKeys marks an object whose keys are the user's own,
// such as annotations.
func (c *checker) value(path string, depth int, freeKeys bool) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	if c.values++; c.values > maxValues {
		return fmt.Errorf("the manifest has more than %d values", maxValues)
	}
	token, err := c.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		seen := make(map[string]struct{})
		for c.More() {
			keyToken, err := c.Token()
			if err != nil {
				return err
			}
			key := keyToken.(string)
			if _, twice := seen[key]; twice {
				return fmt.Errorf("%s stands there twice", join(path, key))
			}
			seen[key] = struct{}{}
			if len(seen) > maxItems {
				return fmt.Errorf("%s has more than %d keys", cmp.Or(path, "the manifest"), maxItems)
			}
			if !freeKeys {
				if field, known := fields[fold(key)]; known && field != key {
					return fmt.Errorf("%s must be written %q", join(path, key), field)
				}
			}
			if err := c.value(join(path, key), depth+1, freeKeys || key == "annotations"); err != nil {
				return err
			}
		}
		_, err = c.Token()
		return err
	case json.Delim('['):
		for i := 0; c.More(); i++ {
			if i == maxItems {
				return fmt.Errorf("%s has more than %d items", cmp.Or(path, "the manifest"), maxItems)
			}
			if err := c.value(path, depth+1, freeKeys); err != nil {
				return err
			}
		}
		_, err = c.Token()
		return err
	}
	return nil
}

func join(path, key string) string {
	if len(key) > 64 {
		key = strings.ToValidUTF8(key[:64], "") + "…"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
