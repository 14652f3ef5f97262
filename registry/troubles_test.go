// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/ref"
)

// answering is a catalog whose changes end with err.
type answering struct {
	catalog.Store
	err error
}

func (a *answering) Mount(context.Context, ref.Name, ref.Digest, ref.Name) error { return a.err }
func (a *answering) StartUpload(context.Context, catalog.Upload) error           { return a.err }
func (a *answering) SaveUpload(context.Context, string, catalog.Progress, catalog.Progress) error {
	return a.err
}

func (a *answering) FinishUpload(context.Context, string, catalog.Progress, catalog.Blob) (string, error) {
	return "", a.err
}

func (a *answering) PutBlob(context.Context, ref.Name, catalog.Blob) (string, error) {
	return "", a.err
}

func (a *answering) PutManifest(context.Context, ref.Name, catalog.Manifest, []ref.Tag) error {
	return a.err
}

func TestADatabaseIsFullFromARefusedChangeToTheNextThatIsNot(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]func(*roomWatch) error{
		"Mount":       func(w *roomWatch) error { return w.Mount(ctx, "", "", "") },
		"StartUpload": func(w *roomWatch) error { return w.StartUpload(ctx, catalog.Upload{}) },
		"SaveUpload":  func(w *roomWatch) error { return w.SaveUpload(ctx, "", catalog.Progress{}, catalog.Progress{}) },
		"FinishUpload": func(w *roomWatch) error {
			_, err := w.FinishUpload(ctx, "", catalog.Progress{}, catalog.Blob{})
			return err
		},
		"PutBlob":     func(w *roomWatch) error { _, err := w.PutBlob(ctx, "", catalog.Blob{}); return err },
		"PutManifest": func(w *roomWatch) error { return w.PutManifest(ctx, "", catalog.Manifest{}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &answering{}
			w := &roomWatch{Store: store}
			for _, step := range []struct {
				err  error
				want bool
			}{
				{nil, false},
				{fmt.Errorf("insert: %w", catalog.ErrNoSpace), true},
				{catalog.ErrBlobUnknown, true}, // which says nothing about room
				{nil, false},
				{catalog.ErrNoSpace, true},
			} {
				store.err = step.err
				if err := change(w); !errors.Is(err, step.err) {
					t.Errorf("returned %v, want %v", err, step.err)
				}
				if got := w.full(time.Now()); got != step.want {
					t.Errorf("after %v it is full: %v, want %v", step.err, got, step.want)
				}
			}
			if w.full(time.Now().Add(roomMemory)) {
				t.Error("it is full without another try")
			}
		})
	}
}
