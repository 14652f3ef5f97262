// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// setFinalizer adds or removes our finalizer if need be, and says whether it wrote.
// Finalizers are a list that several parties share, so the patch insists on the
// version that was read.
func (w *writer) setFinalizer(ctx context.Context, object client.Object, wanted bool) (bool, error) {
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return false, fmt.Errorf("%T is no object", object)
	}
	changed := false
	if wanted {
		changed = controllerutil.AddFinalizer(object, v1alpha1.FinalizerData)
	} else {
		changed = controllerutil.RemoveFinalizer(object, v1alpha1.FinalizerData)
	}
	if !changed {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := w.cached.Patch(ctx, object, patch); err != nil {
		return false, fmt.Errorf("writing the finalizers: %w", err)
	}
	return true, nil
}
