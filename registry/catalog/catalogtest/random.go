// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// Random is the part of Run that does the same random operations on a store and
// on a model, and compares everything that can be seen.
func Random(t *testing.T, open Open) {
	const seeds, operations = 4, 400
	base := uint64(time.Now().UnixNano())
	for i := range uint64(seeds) {
		// Half of the seeds are new every time; a failure's name tells its seed.
		seed := i
		if i%2 == 1 {
			seed = base + i
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := newFixture(t, open)
			w := &walk{fixture: f, model: newModel(f.clock), random: rand.New(rand.NewPCG(seed, 0))}
			for i := range operations {
				step := w.step()
				if t.Failed() {
					t.Fatalf("operation %d of seed %d: %s", i, seed, step)
				}
				if i%20 == 0 {
					w.compare()
				}
			}
			w.compare()
		})
	}
}

// walk is one run of random operations.
type walk struct {
	*fixture
	model  *model
	random *rand.Rand
	keys   int
}

var (
	someNames = []ref.Name{app, tool, other, "octocat/octo-app-2/app"}
	someTags  = []ref.Tag{"1", "2", "latest"}
)

const someContents = 6

func (w *walk) name() ref.Name { return someNames[w.random.IntN(len(someNames))] }

func (w *walk) content() string { return fmt.Sprint("blob ", w.random.IntN(someContents)) }

// blob is inline for some contents, and an object with a new key for others.
func (w *walk) blob() catalog.Blob {
	n := w.random.IntN(someContents)
	content := fmt.Sprint("blob ", n)
	if n%2 == 0 {
		return inline(content)
	}
	w.keys++
	return object(content, fmt.Sprint("key-", w.keys))
}

// manifest always gives equal fields to equal digests.
func (w *walk) manifest(n int) catalog.Manifest {
	if n%3 == 2 {
		return index(fmt.Sprint("manifest ", n), digestOf(fmt.Sprint("manifest ", n-1)), digestOf(fmt.Sprint("manifest ", n-2)))
	}
	m := image(fmt.Sprint("manifest ", n), digestOf(fmt.Sprint("blob ", n%someContents)), digestOf(fmt.Sprint("blob ", (n+1)%someContents)))
	if n%3 == 1 {
		m.Subject = digestOf("subject")
		m.ArtifactType = "application/vnd.example"
	}
	return m
}

func (w *walk) step() string {
	ctx := w.t.Context()
	name, second := w.name(), w.name()
	switch w.random.IntN(15) {
	case 0, 1, 2:
		b := w.blob()
		got, err := w.PutBlob(ctx, name, b)
		w.must(err)
		discard := w.model.putBlob(name, b)
		w.same(got, discard)
		if discard == "" || w.random.IntN(2) == 0 {
			return fmt.Sprint("PutBlob ", name, " ", b.Digest)
		}
		lost := w.model.blobs[b.Digest].Key
		done, err := w.ReplaceObject(ctx, b.Digest, lost, discard)
		wantDone, wantErr := w.model.replaceObject(b.Digest, lost, discard)
		w.sameError(err, wantErr)
		w.same(done, wantDone)
		return fmt.Sprint("ReplaceObject ", b.Digest, " ", lost, " ", discard)
	case 3:
		digest := digestOf(w.content())
		w.sameError(w.Mount(ctx, name, digest, second), w.model.mount(name, digest, second))
		return fmt.Sprint("Mount ", name, " ", digest, " ", second)
	case 4:
		digest := digestOf(w.content())
		got, err := w.Blob(ctx, name, digest)
		want, wantErr := w.model.blob(name, digest)
		w.sameError(err, wantErr)
		w.same(got, want)
		return fmt.Sprint("Blob ", name, " ", digest)
	case 5:
		digest := digestOf(w.content())
		w.sameError(w.DeleteBlob(ctx, name, digest), w.model.deleteBlob(name, digest))
		return fmt.Sprint("DeleteBlob ", name, " ", digest)
	case 6, 7, 8:
		m := w.manifest(w.random.IntN(9))
		for _, digest := range slices.Concat(m.Blobs, m.Manifests) {
			if w.random.IntN(4) == 0 {
				m.Optional = append(m.Optional, digest)
			}
		}
		tags := slices.Clone(someTags[:w.random.IntN(len(someTags)+1)])
		w.sameError(w.PutManifest(ctx, name, m, tags), w.model.putManifest(name, m, tags))
		return fmt.Sprint("PutManifest ", name, " ", m.Digest, tags)
	case 9:
		digest := w.manifest(w.random.IntN(9)).Digest
		w.sameError(w.DeleteManifest(ctx, name, digest), w.model.deleteManifest(name, digest))
		return fmt.Sprint("DeleteManifest ", name, " ", digest)
	case 10:
		tag := someTags[w.random.IntN(len(someTags))]
		w.sameError(w.DeleteTag(ctx, name, tag), w.model.deleteTag(name, tag))
		return fmt.Sprint("DeleteTag ", name, " ", tag)
	case 11:
		d := time.Duration(w.random.Int64N(int64(grace)))
		w.clock.Advance(d)
		return fmt.Sprint("Advance ", d)
	case 12:
		w.review()
		w.model.review()
		w.sameDeletions()
		return "Review"
	case 13:
		// Any that was ever written: none comes back.
		key := fmt.Sprint("key-", 1+w.random.IntN(max(w.keys, 1)))
		w.keys = max(w.keys, 1)
		w.must(w.AbandonObject(ctx, key))
		w.model.abandonObject(key)
		return fmt.Sprint("AbandonObject ", key)
	default:
		// Purges are rare, for they leave little to compare.
		if w.random.IntN(4) == 0 {
			id := fmt.Sprint(w.random.IntN(8))
			w.must(w.Purge(ctx, id, name.Repository()))
			w.model.purge(id, name.Repository())
			return fmt.Sprint("Purge ", id, " ", name.Repository())
		}
		keys := w.model.dueDeletions()
		w.deletionsDone()
		for _, key := range keys {
			delete(w.model.deletions, key)
		}
		return fmt.Sprint("DeletionsDone ", keys)
	}
}

// sameError compares which error it is.
func (w *walk) sameError(got, want error) {
	w.t.Helper()
	var missing *catalog.MissingError
	if errors.As(want, &missing) {
		if !errors.As(got, &missing) {
			w.t.Errorf("error is %v, want a MissingError", got)
		}
		return
	}
	if !errors.Is(got, want) {
		w.t.Errorf("error is %v, want %v", got, want)
	}
}

func (w *walk) sameDeletions() {
	w.t.Helper()
	w.wantDeletions(w.model.dueDeletions()...)
}

// compare looks at everything in a way that changes nothing.
func (w *walk) compare() {
	w.t.Helper()
	ctx := w.t.Context()
	w.sameDeletions()
	limit := 1 + w.random.IntN(4)
	names, err := w.Names(ctx, string(app), limit)
	w.must(err)
	w.same(names, w.model.listed(string(app), limit))
	for _, name := range someNames {
		tags, err := w.Tags(ctx, name, "1", limit)
		wantTags, wantErr := w.model.tags(name, "1", limit)
		w.sameError(err, wantErr)
		w.same(tags, wantTags)
		for _, tag := range someTags {
			got, err := w.ResolveTag(ctx, name, tag)
			digest, found := w.model.name(name).tags[tag]
			if !found {
				w.sameError(err, catalog.ErrManifestUnknown)
				continue
			}
			w.must(err)
			w.same(got, descriptorOf(w.model.name(name).manifests[digest]))
		}
		for n := range 9 {
			digest := w.manifest(n).Digest
			got, err := w.Manifest(ctx, name, digest)
			want, found := w.model.name(name).manifests[digest]
			if !found {
				w.sameError(err, catalog.ErrManifestUnknown)
				continue
			}
			w.must(err)
			w.same(got, want)
		}
		got, err := w.Referrers(ctx, name, digestOf("subject"), "", "", 100)
		w.must(err)
		w.same(got, w.model.referrers(name, digestOf("subject")))
	}
	for n := range someContents {
		digest := digestOf(fmt.Sprint("blob ", n))
		links, err := w.Links(ctx, digest, 100)
		w.must(err)
		slices.Sort(links)
		var want []ref.Name
		for _, name := range someNames {
			if _, found := w.model.name(name).links[digest]; found {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		w.same(links, want)
	}
	var keys, want []string
	for n := range w.keys {
		key := fmt.Sprint("key-", n+1)
		keys = append(keys, key)
		_, queued := w.model.deletions[key]
		used := slices.ContainsFunc(someDigests(), func(d ref.Digest) bool {
			b, found := w.model.blobs[d]
			return found && b.Key == key
		})
		if !queued && !used {
			want = append(want, key)
		}
	}
	w.wantUnreferenced(keys, want...)
}

func someDigests() []ref.Digest {
	var digests []ref.Digest
	for n := range someContents {
		digests = append(digests, digestOf(fmt.Sprint("blob ", n)))
	}
	return digests
}
