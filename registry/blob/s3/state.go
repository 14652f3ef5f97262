// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"crypto/md5" //nolint:gosec // what S3 makes its ETags with; nothing is kept secret by it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/packages-operator/packages-operator/registry/blob"
)

// state is what blob.Partial.State holds. Without an upload, the bytes, if any,
// are the object in its place, with the ETag Base.
type state struct {
	// Base is the ETag of what is in the object's place before it is complete.
	Base string `json:"base,omitempty"`
	// Upload is the multipart upload, and Nonce what its object will be known by.
	Upload string `json:"upload,omitempty"`
	Nonce  string `json:"nonce,omitempty"`
	// PartSize is the size of all Parts, which are ETags in order.
	PartSize int64    `json:"partSize,omitempty"`
	Parts    []string `json:"parts,omitempty"`
	// Tail names the object with the bytes behind Parts, and Short is the ETag of
	// the part that has them as well.
	Tail  string `json:"tail,omitempty"`
	Short string `json:"short,omitempty"`
	// Stale is the tail before, which nobody needs once this state is recorded.
	Stale string `json:"stale,omitempty"`
}

// decode reads the state of p, and checks what the code relies on.
func decode(p blob.Partial) (state, error) {
	var st state
	if len(p.State) > 0 {
		if err := json.Unmarshal(p.State, &st); err != nil {
			return st, fmt.Errorf("object %s has a state that cannot be read: %w", p.Key, err)
		}
	}
	var whole bool
	switch {
	case p.Size == 0:
		whole = st.Upload == "" && st.Base == ""
	case st.Upload == "":
		whole = st.Base != ""
	case st.PartSize < MinPartSize:
	default:
		tail := p.Size - st.PartSize*int64(len(st.Parts))
		whole = tail >= 0 && tail < st.PartSize && (tail > 0) == (st.Tail != "" && st.Short != "")
	}
	if !whole {
		return st, fmt.Errorf("object %s has a state that does not fit its %d bytes", p.Key, p.Size)
	}
	return st, nil
}

// encode cannot fail: the fields are plain.
func (st state) encode() []byte {
	b, err := json.Marshal(st)
	if err != nil {
		panic(err)
	}
	return b
}

// allParts are the ETags of the parts that make up the object.
func (st state) allParts() []string {
	if st.Short == "" {
		return st.Parts
	}
	return append(st.Parts[:len(st.Parts):len(st.Parts)], st.Short)
}

// errETag is returned for an ETag that is no MD5.
var errETag = errors.New("not an MD5")

// composite is the ETag that an object of these parts has: the MD5 of their MD5s,
// and their number. Storage that encrypts with keys of its own has other ETags.
func composite(parts []string) (string, error) {
	h := md5.New() //nolint:gosec // see the import
	for _, part := range parts {
		sum, err := hex.DecodeString(strings.Trim(part, `"`))
		if err != nil || len(sum) != md5.Size {
			return "", errETag
		}
		h.Write(sum)
	}
	return fmt.Sprintf(`"%x-%d"`, h.Sum(nil), len(parts)), nil
}
