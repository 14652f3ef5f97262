// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// player does random operations on one name, and knows what that name must have
// after each of them. Players share contents, so that the same blobs are
// uploaded, mounted and deleted in many names at once.
type player struct {
	c      client
	rand   *rand.Rand
	name   string
	others []string
	pool   [][]byte
	// address, if any, is where the next request goes. Behind it a registry may be
	// killed, or another one may collect what no manifest uses.
	address func() string
	// repeated says that the last request was sent more than once.
	repeated bool

	blobs     map[ref.Digest][]byte
	manifests map[ref.Digest]played
	tags      map[string]ref.Digest
}

// played is a manifest that a player has pushed.
type played struct {
	content   []byte
	mediaType string
	blobs     []ref.Digest
	children  []ref.Digest
	subject   ref.Digest
}

// pick is a random key, in an order that only the player's seed decides.
func pick[K ~string, V any](r *rand.Rand, m map[K]V) (K, bool) {
	if len(m) == 0 {
		return "", false
	}
	keys := slices.Sorted(maps.Keys(m))
	return keys[r.IntN(len(keys))], true
}

// ask sends a request and fails unless the answer has one of the statuses.
func (p *player) ask(method, path string, body []byte, statuses []int, headers ...header) (answer, error) {
	a, err := p.send(method, path, body, headers...)
	p.repeated = err != nil
	if p.address != nil {
		for tries := 0; err != nil && tries < 100; tries++ {
			// Whether it happened is not known: what can be done once more, is.
			if toUpload(method, path) {
				return a, errUploadLost
			}
			if method == http.MethodDelete {
				statuses = append(slices.Clone(statuses), http.StatusNotFound)
			}
			a, err = p.send(method, path, body, headers...)
		}
		if err == nil && a.StatusCode == http.StatusNotFound && toUpload(method, path) {
			return a, errUploadLost
		}
	}
	if err == nil && !slices.Contains(statuses, a.StatusCode) {
		err = fmt.Errorf("%s %s%s: status %d, want %v: %.500s", method, p.name, path, a.StatusCode, statuses, a.body)
	}
	return a, err
}

// errUploadLost says that an upload has to be begun again.
var errUploadLost = errors.New("the upload is lost")

// toUpload reports whether a request sends bytes to an upload, or ends it.
func toUpload(method, path string) bool {
	return (method == http.MethodPatch || method == http.MethodPut || method == http.MethodDelete) && strings.HasPrefix(path, "/blobs/uploads/")
}

func (p *player) send(method, path string, body []byte, headers ...header) (answer, error) {
	c := p.c
	if p.address != nil {
		c.addr = p.address()
	}
	return c.send(method, "/v2/"+p.name+path, body, headers...)
}

func (p *player) pushBlob() error {
	content := p.pool[p.rand.IntN(len(p.pool))]
	err := p.tryPushBlob(content, p.rand.IntN(8) == 0)
	for tries := 0; errors.Is(err, errUploadLost) && tries < 100; tries++ {
		// It may be stored after all, and then had better be.
		err = p.tryPushBlob(content, false)
	}
	return err
}

func (p *player) tryPushBlob(content []byte, cancel bool) error {
	digest := ref.SHA256.FromBytes(content)
	if p.rand.IntN(3) == 0 {
		if _, err := p.ask("POST", "/blobs/uploads/?digest="+string(digest), content, []int{http.StatusCreated}); err != nil {
			return err
		}
		p.blobs[digest] = content
		return nil
	}
	begun, err := p.ask("POST", "/blobs/uploads/", nil, []int{http.StatusAccepted})
	if err != nil {
		return err
	}
	location := begun.Header.Get("Location")[len("/v2/"+p.name):]
	rest := content
	for p.rand.IntN(2) == 0 && len(rest) > 1 {
		n := 1 + p.rand.IntN(len(rest)-1)
		if _, err := p.ask("PATCH", location, rest[:n], []int{http.StatusAccepted}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if cancel {
		_, err := p.ask("DELETE", location, nil, []int{http.StatusNoContent})
		if errors.Is(err, errUploadLost) {
			return nil
		}
		return err
	}
	if _, err := p.ask("PUT", location+"?digest="+string(digest), rest, []int{http.StatusCreated}); err != nil {
		return err
	}
	p.blobs[digest] = content
	return nil
}

// mount may find the blob in the other name or not; what it says holds.
func (p *player) mount() error {
	content := p.pool[p.rand.IntN(len(p.pool))]
	digest := ref.SHA256.FromBytes(content)
	a, err := p.ask("POST", "/blobs/uploads/?mount="+string(digest)+"&from="+p.others[p.rand.IntN(len(p.others))], nil,
		[]int{http.StatusCreated, http.StatusAccepted})
	if err != nil {
		return err
	}
	if a.StatusCode == http.StatusCreated {
		p.blobs[digest] = content
		return nil
	}
	if p.repeated && p.blobs[digest] == nil {
		// The first of them may have linked it.
		if _, err := p.ask("DELETE", "/blobs/"+string(digest), nil, []int{http.StatusAccepted, http.StatusNotFound}); err != nil {
			return err
		}
	}
	_, err = p.ask("DELETE", a.Header.Get("Location")[len("/v2/"+p.name):], nil, []int{http.StatusNoContent})
	if errors.Is(err, errUploadLost) {
		return nil
	}
	return err
}

// used reports whether a manifest uses a blob: others may be collected.
func (p *player) used(digest ref.Digest) bool {
	for _, m := range p.manifests {
		if slices.Contains(m.blobs, digest) {
			return true
		}
	}
	return false
}

// orCollected are the statuses, and that the blob is not there where it may have been
// collected.
func (p *player) orCollected(digest ref.Digest, status int) []int {
	if p.address != nil && !p.used(digest) {
		return []int{status, http.StatusNotFound}
	}
	return []int{status}
}

func (p *player) pushManifest() error {
	config, found := pick(p.rand, p.blobs)
	if !found {
		return nil
	}
	layer, _ := pick(p.rand, p.blobs)
	more := fmt.Sprintf(`,"annotations":{"n":"%d"}`, p.rand.IntN(20))
	m := played{mediaType: manifest.OCIManifest, blobs: []ref.Digest{config, layer}}
	if subject, found := pick(p.rand, p.manifests); found && p.rand.IntN(3) == 0 {
		m.subject = subject
		more += fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":1}`, manifest.OCIManifest, subject)
	}
	m.content = image(config, layer, more)
	return p.put(m)
}

func (p *player) pushIndex() error {
	child, found := pick(p.rand, p.manifests)
	if !found {
		return nil
	}
	return p.put(played{mediaType: manifest.OCIIndex, children: []ref.Digest{child},
		content: fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
			manifest.OCIIndex, p.manifests[child].mediaType, child, len(p.manifests[child].content))})
}

// put pushes a manifest, with a tag more often than not.
func (p *player) put(m played) error {
	digest := ref.SHA256.FromBytes(m.content)
	reference := string(digest)
	tagged := p.rand.IntN(3) > 0
	if tagged {
		reference = fmt.Sprintf("tag-%d", p.rand.IntN(8))
	}
	statuses := []int{http.StatusCreated}
	for _, digest := range m.blobs {
		statuses = append(statuses, p.orCollected(digest, http.StatusCreated)...)
	}
	a, err := p.ask("PUT", "/manifests/"+reference, m.content, statuses, header{"Content-Type", m.mediaType})
	if err != nil {
		return err
	}
	if a.StatusCode == http.StatusNotFound {
		return p.findCollected(m.blobs)
	}
	p.manifests[digest] = m
	if tagged {
		p.tags[reference] = digest
	}
	return nil
}

// findCollected asks which of some blobs are still there.
func (p *player) findCollected(digests []ref.Digest) error {
	for _, digest := range digests {
		a, err := p.ask("HEAD", "/blobs/"+string(digest), nil, p.orCollected(digest, http.StatusOK))
		if err != nil {
			return err
		}
		if a.StatusCode == http.StatusNotFound {
			delete(p.blobs, digest)
		}
	}
	return nil
}

func (p *player) deleteTag() error {
	tag, found := pick(p.rand, p.tags)
	if !found {
		return nil
	}
	delete(p.tags, tag)
	_, err := p.ask("DELETE", "/manifests/"+tag, nil, []int{http.StatusAccepted})
	return err
}

func (p *player) deleteManifest() error {
	digest, found := pick(p.rand, p.manifests)
	if !found {
		return nil
	}
	for _, m := range p.manifests {
		if slices.Contains(m.children, digest) {
			_, err := p.ask("DELETE", "/manifests/"+string(digest), nil, []int{http.StatusConflict})
			return err
		}
	}
	delete(p.manifests, digest)
	maps.DeleteFunc(p.tags, func(_ string, target ref.Digest) bool { return target == digest })
	_, err := p.ask("DELETE", "/manifests/"+string(digest), nil, []int{http.StatusAccepted})
	return err
}

func (p *player) deleteBlob() error {
	digest, found := pick(p.rand, p.blobs)
	if !found {
		return nil
	}
	if p.used(digest) {
		_, err := p.ask("DELETE", "/blobs/"+string(digest), nil, []int{http.StatusConflict})
		return err
	}
	_, err := p.ask("DELETE", "/blobs/"+string(digest), nil, p.orCollected(digest, http.StatusAccepted))
	delete(p.blobs, digest)
	return err
}

// check reads what one random thing of each kind is, and all tags.
func (p *player) check() error {
	content := p.pool[p.rand.IntN(len(p.pool))]
	digest := ref.SHA256.FromBytes(content)
	statuses := []int{http.StatusNotFound}
	if _, linked := p.blobs[digest]; linked {
		statuses = p.orCollected(digest, http.StatusOK)
	}
	a, err := p.ask("GET", "/blobs/"+string(digest), nil, statuses)
	if err != nil {
		return err
	}
	if a.StatusCode == http.StatusNotFound {
		delete(p.blobs, digest)
	} else if !bytes.Equal(a.body, content) {
		return fmt.Errorf("blob %s of %s came back changed", digest, p.name)
	}
	if digest, found := pick(p.rand, p.manifests); found {
		a, err := p.ask("GET", "/manifests/"+string(digest), nil, []int{http.StatusOK})
		if err != nil {
			return err
		}
		if !bytes.Equal(a.body, p.manifests[digest].content) || a.Header.Get("Content-Type") != p.manifests[digest].mediaType {
			return fmt.Errorf("manifest %s of %s came back changed", digest, p.name)
		}
		if err := p.checkReferrers(digest); err != nil {
			return err
		}
	}
	for i := range 8 {
		tag := fmt.Sprintf("tag-%d", i)
		status, target := http.StatusNotFound, p.tags[tag]
		if target != "" {
			status = http.StatusOK
		}
		a, err := p.ask("HEAD", "/manifests/"+tag, nil, []int{status})
		if err != nil {
			return err
		}
		if got := a.Header.Get("Docker-Content-Digest"); got != string(target) {
			return fmt.Errorf("tag %s of %s is %s, want %s", tag, p.name, got, target)
		}
	}
	return p.checkTags()
}

func (p *player) checkTags() error {
	if len(p.blobs)+len(p.manifests) == 0 {
		_, err := p.ask("GET", "/tags/list", nil, []int{http.StatusNotFound})
		return err
	}
	statuses := []int{http.StatusOK}
	if p.address != nil && len(p.manifests) == 0 {
		statuses = append(statuses, http.StatusNotFound)
	}
	a, err := p.ask("GET", "/tags/list", nil, statuses)
	if err != nil || a.StatusCode == http.StatusNotFound {
		return err
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.body, &list); err != nil {
		return err
	}
	if want := slices.Sorted(maps.Keys(p.tags)); !slices.Equal(list.Tags, want) {
		return fmt.Errorf("the tags of %s are %v, want %v", p.name, list.Tags, want)
	}
	return nil
}

func (p *player) checkReferrers(subject ref.Digest) error {
	want := []ref.Digest{}
	for digest, m := range p.manifests {
		if m.subject == subject {
			want = append(want, digest)
		}
	}
	slices.Sort(want)
	a, err := p.ask("GET", "/referrers/"+string(subject), nil, []int{http.StatusOK})
	if err != nil {
		return err
	}
	var list struct{ Manifests []struct{ Digest ref.Digest } }
	if err := json.Unmarshal(a.body, &list); err != nil {
		return err
	}
	got := []ref.Digest{}
	for _, d := range list.Manifests {
		got = append(got, d.Digest)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the referrers of %s in %s are %v, want %v", subject, p.name, got, want)
	}
	return nil
}

func TestConcurrentOperationsAgreeWithTheirModel(t *testing.T) {
	const players, rounds = 16, 60
	_, c := start(t)
	c.value = ownerValue
	var pool [][]byte
	for i := range 12 {
		// Rows and files, and the empty blob.
		pool = append(pool, bytes.Repeat([]byte{byte('a' + i)}, i*i*i*40))
	}
	names := make([]string, players)
	for i := range names {
		names[i] = fmt.Sprintf("octocat/octo-app/player%02d", i)
	}
	var wait sync.WaitGroup
	for i := range players {
		p := &player{
			c: c, rand: rand.New(rand.NewPCG(2026, uint64(i))), name: names[i], others: slices.Delete(slices.Clone(names), i, i+1), pool: pool,
			blobs: map[ref.Digest][]byte{}, manifests: map[ref.Digest]played{}, tags: map[string]ref.Digest{},
		}
		operations := []func() error{p.pushBlob, p.pushBlob, p.mount, p.pushManifest, p.pushManifest, p.pushIndex, p.deleteTag, p.deleteManifest, p.deleteBlob}
		wait.Go(func() {
			for round := range rounds {
				err := operations[p.rand.IntN(len(operations))]()
				if err == nil {
					err = p.check()
				}
				if err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
			}
		})
	}
	wait.Wait()
}
