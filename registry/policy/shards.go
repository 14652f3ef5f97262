// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/registry/workload"
)

const (
	// MaxDocument is the greatest length of a shard's document, in bytes.
	MaxDocument = 256 << 10
	// MaxShards bounds how many shards a policy has, its head included.
	MaxShards = 1024
)

var (
	// ErrIncomplete marks shards that are not, or not yet, one whole policy: an
	// update is half applied, or a part is missing. The reader keeps the policy
	// that it has.
	ErrIncomplete = errors.New("the parts of the policy do not belong together")
	// ErrFormat marks shards written by a release that this one does not
	// understand.
	ErrFormat = errors.New("the policy's format is not understood by this release")
)

// Shard is one part of a split Policy. Shard 0 is the head: it holds the settings,
// and its Revision and Parts say which documents make up the policy.
type Shard struct {
	Index         int `json:"index"`
	FormatVersion int `json:"formatVersion"`
	// Revision names the whole policy; only the head has it.
	Revision string `json:"revision,omitempty"`
	// Parts are the digests (sha256:HEX) of all documents in order, the head's
	// own first; only the head has them.
	Parts []string `json:"parts,omitempty"`
	// Document is JSON.
	Document string `json:"document"`
}

type headDocument struct {
	Instance          Instance      `json:"instance"`
	Hosts             Hosts         `json:"hosts"`
	Support           Support       `json:"support"`
	AnonymousPull     AnonymousPull `json:"anonymousPull"`
	ForeignLayers     Acceptance    `json:"foreignLayers,omitempty"`
	MissingReferences Acceptance    `json:"missingReferences,omitempty"`
	Limits            Limits        `json:"limits,omitzero"`

	Issuer workload.Issuer `json:"issuer,omitzero"`
}

// partDocument holds what is many. What an item says decides its shard, so that a
// change of one item rewrites one shard and the head.
type partDocument struct {
	Repositories []Repository `json:"repositories,omitempty"`
	Credentials  []Credential `json:"credentials,omitempty"`
	Purges       []Purge      `json:"purges,omitempty"`
	Teams        []Team       `json:"teams,omitempty"`

	ServiceAccounts []ServiceAccount `json:"serviceAccounts,omitempty"`
}

// Names of partDocument's fields, in the order of item.list.
var partFields = [...]string{"repositories", "credentials", "purges", "teams", "serviceAccounts"}

// item is one encoded element of a partDocument.
type item struct {
	list   int // index into partFields
	spread uint32
	json   []byte
}

// Split cuts a policy into shards of at most MaxDocument bytes and names its
// revision. The result depends on nothing but the policy's content, whatever the
// order of its slices. It fails if one item alone is too long for a shard, or the
// policy needs more than MaxShards.
func Split(p Policy) (shards []Shard, revision string, err error) {
	return splitSorted(sorted(p))
}

func splitSorted(p Policy) (shards []Shard, revision string, err error) {
	head, err := json.Marshal(headDocument{
		Instance: p.Instance, Hosts: p.Hosts, Support: p.Support, AnonymousPull: p.AnonymousPull,
		ForeignLayers: p.ForeignLayers, MissingReferences: p.MissingReferences, Limits: p.Limits,
		Issuer: p.Issuer,
	})
	if err != nil {
		return nil, "", fmt.Errorf("encode settings: %w", err)
	}
	if len(head) > MaxDocument {
		return nil, "", fmt.Errorf("settings take %d bytes, at most %d are allowed", len(head), MaxDocument)
	}
	items, err := encodeItems(p)
	if err != nil {
		return nil, "", err
	}
	documents := []string{string(head)}
	parts, err := spreadItems(items)
	if err != nil {
		return nil, "", err
	}
	documents = append(documents, parts...)

	digests := make([]string, len(documents))
	shards = make([]Shard, len(documents))
	for i, document := range documents {
		digests[i] = documentDigest(document)
		shards[i] = Shard{Index: i, FormatVersion: FormatVersion, Document: document}
	}
	revision = revisionOf(digests)
	shards[0].Revision, shards[0].Parts = revision, digests
	return shards, revision, nil
}

func encodeItems(p Policy) ([]item, error) {
	items := make([]item, 0, len(p.Repositories)+len(p.Credentials)+len(p.Purges)+len(p.Teams)+len(p.ServiceAccounts))
	add := func(list int, key string, value any) error {
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s of %s: %w", key, partFields[list], err)
		}
		if len(encoded)+len(emptyPart) > MaxDocument {
			return fmt.Errorf("%s of %s takes %d bytes, at most %d are allowed: shorten its lists", key, partFields[list], len(encoded), MaxDocument-len(emptyPart))
		}
		sum := sha256.Sum256([]byte(partFields[list] + "/" + key))
		items = append(items, item{list: list, spread: binary.BigEndian.Uint32(sum[:]), json: encoded})
		return nil
	}
	for i := range p.Repositories {
		if err := add(0, p.Repositories[i].Owner+"/"+p.Repositories[i].Name, &p.Repositories[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Credentials {
		if err := add(1, p.Credentials[i].ID, &p.Credentials[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Purges {
		if err := add(2, p.Purges[i].ID, &p.Purges[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Teams {
		if err := add(3, p.Teams[i].Name, &p.Teams[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.ServiceAccounts {
		if err := add(4, p.ServiceAccounts[i].User, &p.ServiceAccounts[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// emptyPart is as long as the frame around a part's items can be.
const emptyPart = `{"repositories":[],"credentials":[],"purges":[],"teams":[],"serviceAccounts":[]}`

// spreadItems doubles the number of parts until every document is short enough.
func spreadItems(items []item) ([]string, error) {
	for count := 1; count < MaxShards; count *= 2 {
		sizes := make([]int, count)
		fits := true
		for _, it := range items {
			size := &sizes[it.spread%uint32(count)]
			*size += len(it.json) + 1
			fits = fits && *size+len(emptyPart) <= MaxDocument
		}
		if fits {
			return partDocuments(items, sizes), nil
		}
	}
	return nil, fmt.Errorf("the policy needs more than %d parts of %d bytes", MaxShards, MaxDocument)
}

// partDocuments writes what json.Marshal would write for each partDocument.
func partDocuments(items []item, sizes []int) []string {
	count := uint32(len(sizes))
	buffers := make([]bytes.Buffer, count)
	open := make([]int, count) // 1 + the list that is open, 0 before the first
	for i := range buffers {
		buffers[i].Grow(sizes[i] + len(emptyPart))
		buffers[i].WriteByte('{')
	}
	for _, it := range items {
		n := it.spread % count
		b := &buffers[n]
		switch open[n] {
		case it.list + 1:
			b.WriteByte(',')
		case 0:
			fmt.Fprintf(b, "%q:[", partFields[it.list])
		default:
			fmt.Fprintf(b, "],%q:[", partFields[it.list])
		}
		open[n] = it.list + 1
		b.Write(it.json)
	}
	documents := make([]string, count)
	for i := range buffers {
		if open[i] != 0 {
			buffers[i].WriteByte(']')
		}
		buffers[i].WriteByte('}')
		documents[i] = buffers[i].String()
	}
	return documents
}

// Join puts shards together again, in any order, and returns the policy with its
// revision. It returns ErrIncomplete unless the head's parts are all there with
// the digests that it names, and ErrFormat for a format version or a field that
// this release does not know. Shards that the head does not name are left-overs
// of a longer policy, and ignored.
func Join(shards []Shard) (Policy, string, error) { return new(Reader).join(shards) }

// Open joins shards into a Snapshot, under the same rules as Join and NewSnapshot.
func Open(shards []Shard) (*Snapshot, error) { return new(Reader).Open(shards) }

// Reader opens policies one after the other and decodes only the parts that it
// has not just seen, so that one change in a long policy is in force soon. The
// zero value is ready; a Reader is for one goroutine.
type Reader struct {
	// parts of the last policy, by digest. Snapshots share what is in them.
	parts map[string]partDocument
}

// Open is like the function Open.
func (r *Reader) Open(shards []Shard) (*Snapshot, error) {
	p, revision, err := r.join(shards)
	if err != nil {
		return nil, err
	}
	return newSnapshot(p, revision)
}

func (r *Reader) join(shards []Shard) (Policy, string, error) {
	head := slices.IndexFunc(shards, func(s Shard) bool { return s.Index == 0 })
	if head < 0 {
		return Policy{}, "", fmt.Errorf("%w: part 0 is missing", ErrIncomplete)
	}
	if v := shards[head].FormatVersion; v != FormatVersion {
		return Policy{}, "", fmt.Errorf("%w: it has version %d, this release reads %d", ErrFormat, v, FormatVersion)
	}
	documents, err := collect(shards, shards[head].Parts)
	if err != nil {
		return Policy{}, "", err
	}
	revision := revisionOf(shards[head].Parts)
	if shards[head].Revision != revision {
		return Policy{}, "", fmt.Errorf("%w: revision %q does not stand for these parts", ErrIncomplete, shards[head].Revision)
	}

	var settings headDocument
	if err := decodeStrict(documents[0], &settings); err != nil {
		return Policy{}, "", fmt.Errorf("%w: part 0: %w", ErrFormat, err)
	}
	p := Policy{
		Instance: settings.Instance, Hosts: settings.Hosts, Support: settings.Support, AnonymousPull: settings.AnonymousPull,
		ForeignLayers: settings.ForeignLayers, MissingReferences: settings.MissingReferences, Limits: settings.Limits,
		Issuer: settings.Issuer,
	}
	parts := make(map[string]partDocument, len(documents))
	for i, digest := range shards[head].Parts[1:] {
		part, known := r.parts[digest]
		if !known {
			if err := decodeStrict(documents[i+1], &part); err != nil {
				return Policy{}, "", fmt.Errorf("%w: part %d: %w", ErrFormat, i+1, err)
			}
		}
		parts[digest] = part
		p.Repositories = append(p.Repositories, part.Repositories...)
		p.Credentials = append(p.Credentials, part.Credentials...)
		p.Purges = append(p.Purges, part.Purges...)
		p.Teams = append(p.Teams, part.Teams...)
		p.ServiceAccounts = append(p.ServiceAccounts, part.ServiceAccounts...)
	}
	r.parts = parts
	return sorted(p), revision, nil
}

// collect returns the documents in order, each checked against its digest.
func collect(shards []Shard, digests []string) ([]string, error) {
	if len(digests) == 0 || len(digests) > MaxShards {
		return nil, fmt.Errorf("%w: the head names %d parts", ErrIncomplete, len(digests))
	}
	documents := make([]string, len(digests))
	present := make([]bool, len(digests))
	for _, s := range shards {
		if s.Index < 0 || s.Index >= len(digests) {
			continue
		}
		if present[s.Index] {
			return nil, fmt.Errorf("%w: part %d is there twice", ErrIncomplete, s.Index)
		}
		if s.FormatVersion != FormatVersion {
			return nil, fmt.Errorf("%w: part %d has version %d, this release reads %d", ErrFormat, s.Index, s.FormatVersion, FormatVersion)
		}
		if documentDigest(s.Document) != digests[s.Index] {
			return nil, fmt.Errorf("%w: part %d is of another revision", ErrIncomplete, s.Index)
		}
		documents[s.Index], present[s.Index] = s.Document, true
	}
	if missing := slices.Index(present, false); missing >= 0 {
		return nil, fmt.Errorf("%w: part %d of %d is missing", ErrIncomplete, missing, len(digests))
	}
	return documents, nil
}

func decodeStrict(document string, into any) error {
	decoder := json.NewDecoder(bytes.NewReader([]byte(document)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

func documentDigest(document string) string {
	sum := sha256.Sum256([]byte(document))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// revisionOf hashes what a policy consists of. Digests have one length, so that
// joining them is not ambiguous.
func revisionOf(digests []string) string {
	text := fmt.Sprintf("packages-operator.io/policy/revision\n%d\n%s\n", FormatVersion, strings.Join(digests, "\n"))
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
