// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzOpen: whatever stands in a document, Open refuses it or gives a snapshot that splits
// into a policy of the same meaning, which joins to the same again. What was
// altered on the way is refused.
func FuzzOpen(f *testing.F) {
	shards, _, err := Split(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shards[0].Document, shards[1].Document, uint16(0))
	f.Add("{}", "{}", uint16(1))
	f.Add(shards[0].Document, `{"repositories":[null,{}]}`, uint16(2))
	f.Add(shards[0].Document, strings.Replace(shards[1].Document, `"repositories"`, `"Repositories"`, 1), uint16(300))
	f.Add(shards[0].Document, shards[1].Document+shards[1].Document, uint16(40_000))
	f.Add(strings.Replace(shards[0].Document, `"support"`, `"support":"Disabled","support"`, 1), "{}", uint16(0))
	f.Fuzz(func(t *testing.T, head, part string, altered uint16) {
		sealed := seal(head, part)
		s, err := Open(sealed)
		if err != nil {
			return
		}
		split, revision, err := Split(*s.Policy())
		if err != nil {
			t.Fatalf("an opened policy cannot be split: %v", err)
		}
		slices.Reverse(split)
		joined, joinedRevision, err := Join(split)
		if err != nil || joinedRevision != revision {
			t.Fatalf("a split policy gives revision %s and %v, want %s", joinedRevision, err, revision)
		}
		if diff := cmp.Diff(s.Policy(), &joined); diff != "" {
			t.Errorf("the policy changed:\n%s", diff)
		}
		if again, err := NewSnapshot(joined); err != nil || again.Revision() != revision {
			t.Errorf("a policy that was joined again is refused: %v", err)
		}

		document := &sealed[int(altered)&1].Document
		i := int(altered>>1) % len(*document)
		*document = (*document)[:i] + string([]byte{(*document)[i] ^ 1}) + (*document)[i+1:]
		if _, err := Open(sealed); !errors.Is(err, ErrIncomplete) {
			t.Errorf("byte %d of a document was altered, and Open gives %v", i, err)
		}
	})
}

// seal makes the shards of which these are the documents.
func seal(documents ...string) []Shard {
	shards := make([]Shard, len(documents))
	digests := make([]string, len(documents))
	for i, document := range documents {
		digests[i] = documentDigest(document)
		shards[i] = Shard{Index: i, FormatVersion: FormatVersion, Document: document}
	}
	shards[0].Revision, shards[0].Parts = revisionOf(digests), digests
	return shards
}
