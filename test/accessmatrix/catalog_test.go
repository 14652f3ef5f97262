// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix_test

import (
	"context"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/oci"
	"github.com/packages-operator/packages-operator/registry/ref"
)

var (
	content = []byte("content")
	digest  = ref.SHA256.FromBytes(content)
	// strayDigest is of a blob that hidden and missing names link alone.
	strayDigest = ref.SHA256.FromBytes([]byte("stray"))
)

// fullCatalog has everything that it is asked for, declared or not, so that only
// rights can refuse a request, and notes every call. It forgets what is put into
// it, so that no cell depends on another.
type fullCatalog struct {
	// Catalog is nil: a method that is not here must not be called.
	oci.Catalog
	calls []string
}

func (f *fullCatalog) note(call string, name ref.Name) {
	f.calls = append(f.calls, call+" "+string(name))
}

func (f *fullCatalog) Blob(_ context.Context, name ref.Name, d ref.Digest) (catalog.Blob, error) {
	f.note("Blob", name)
	return catalog.Blob{Digest: d, Size: int64(len(content)), Content: content}, nil
}

func (f *fullCatalog) Mount(_ context.Context, name ref.Name, _ ref.Digest, from ref.Name) error {
	f.note("Mount from "+string(from), name)
	if from == imageWithoutBlob {
		return catalog.ErrBlobUnknown
	}
	return nil
}

func (f *fullCatalog) Links(_ context.Context, d ref.Digest, _ int) ([]ref.Name, error) {
	f.note("Links", "")
	if d == strayDigest {
		return []ref.Name{imageHidden, imageMissing}, nil
	}
	return []ref.Name{imageHidden, imageMissing, imageWithoutBlob, imageOfMember}, nil
}

func (f *fullCatalog) DeleteBlob(_ context.Context, name ref.Name, _ ref.Digest) error {
	f.note("DeleteBlob", name)
	return nil
}

func (f *fullCatalog) StartUpload(_ context.Context, u catalog.Upload) error {
	f.note("StartUpload", u.Name)
	return nil
}

func (f *fullCatalog) Upload(_ context.Context, id string, name ref.Name, actor string) (catalog.Upload, error) {
	f.note("Upload", name)
	return catalog.Upload{ID: id, Name: name, Actor: actor, Progress: catalog.Progress{Algorithm: ref.SHA256}}, nil
}

func (f *fullCatalog) SaveUpload(context.Context, string, catalog.Progress, catalog.Progress) error {
	f.note("SaveUpload", "")
	return nil
}

func (f *fullCatalog) FinishUpload(context.Context, string, catalog.Progress, catalog.Blob) (string, error) {
	f.note("FinishUpload", "")
	return "", nil
}

func (f *fullCatalog) PutBlob(_ context.Context, name ref.Name, _ catalog.Blob) (string, error) {
	f.note("PutBlob", name)
	return "", nil
}

func (f *fullCatalog) ReplaceObject(context.Context, ref.Digest, string, string) (bool, error) {
	f.note("ReplaceObject", "")
	return false, nil
}

func (f *fullCatalog) SweepLater() { f.note("SweepLater", "") }

func (f *fullCatalog) CancelUpload(_ context.Context, _ string, name ref.Name, _ string) (string, error) {
	f.note("CancelUpload", name)
	return "", nil
}

func (f *fullCatalog) PutManifest(_ context.Context, name ref.Name, _ catalog.Manifest, _ []ref.Tag) error {
	f.note("PutManifest", name)
	return nil
}

func (f *fullCatalog) ResolveTag(_ context.Context, name ref.Name, _ ref.Tag) (catalog.Descriptor, error) {
	f.note("ResolveTag", name)
	return catalog.Descriptor{Digest: ref.SHA256.FromBytes(indexContent), MediaType: indexType, Size: int64(len(indexContent))}, nil
}

func (f *fullCatalog) Manifest(_ context.Context, name ref.Name, d ref.Digest) (catalog.Manifest, error) {
	f.note("Manifest", name)
	return catalog.Manifest{Digest: d, MediaType: indexType, Content: indexContent}, nil
}

func (f *fullCatalog) DeleteManifest(_ context.Context, name ref.Name, _ ref.Digest) error {
	f.note("DeleteManifest", name)
	return nil
}

func (f *fullCatalog) DeleteTag(_ context.Context, name ref.Name, _ ref.Tag) error {
	f.note("DeleteTag", name)
	return nil
}

func (f *fullCatalog) Tags(_ context.Context, name ref.Name, _ string, _ int) ([]ref.Tag, error) {
	f.note("Tags", name)
	return []ref.Tag{"1.0"}, nil
}

func (f *fullCatalog) Names(_ context.Context, last string, _ int) ([]ref.Name, error) {
	f.note("Names", "")
	var names []ref.Name
	for r := range repositoryPaths {
		if name := image(r); string(name) > last {
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *fullCatalog) Referrers(_ context.Context, name ref.Name, _ ref.Digest, _ string, _ ref.Digest, _ int) ([]catalog.Descriptor, error) {
	f.note("Referrers", name)
	return nil, nil
}
