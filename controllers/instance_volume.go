// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// applyStorage makes the volume claim, and has it grow with the spec. A claim that
// asks for more than the spec, as one that an earlier instance left may, keeps that.
func (r *instanceReconciler) applyStorage(ctx context.Context, s *instanceScope) error {
	filesystem := s.instance.Spec.Storage.Filesystem
	if filesystem == nil {
		return nil
	}
	if s.volume == nil {
		return s.storageFinding(r.putVolume(ctx, s, filesystem.Size))
	}
	if f := s.otherClass(); f != nil {
		return f
	}
	asked := s.volume.Spec.Resources.Requests[corev1.ResourceStorage]
	if asked.Cmp(filesystem.Size) >= 0 {
		return s.storageFinding(r.putVolume(ctx, s, asked))
	}
	var err error
	if s.volume.Status.Phase == corev1.ClaimBound {
		if err = r.putVolume(ctx, s, filesystem.Size); err == nil {
			return nil
		}
	}
	// Whatever keeps it from growing does not keep its labels from being right, nor the
	// registry from running.
	if err = s.growthFinding(err); !errors.As(err, &s.ungrown) {
		return err
	}
	return s.storageFinding(r.putVolume(ctx, s, asked))
}

func (r *instanceReconciler) putVolume(ctx context.Context, s *instanceScope, size resource.Quantity) error {
	class := s.instance.Spec.Storage.Filesystem.StorageClassName
	if class == nil && s.volume != nil {
		// A claim that was made with a class for an earlier instance must keep it.
		owned, err := corev1ac.ExtractPersistentVolumeClaim(s.volume, desired.FieldOwner)
		if err != nil {
			return fmt.Errorf("reading our fields of PersistentVolumeClaim %s: %w", s.volume.Name, err)
		}
		if owned.Spec != nil {
			class = owned.Spec.StorageClassName
		}
	}
	return put(ctx, r.writer, s.volume, desired.PersistentVolumeClaim(s.instance, s.dataUID, size, class), corev1ac.ExtractPersistentVolumeClaim)
}

// otherClass is a finding if the claim has another class than the spec names. That
// cannot change.
func (s *instanceScope) otherClass() *finding {
	wanted, has := s.instance.Spec.Storage.Filesystem.StorageClassName, s.volume.Spec.StorageClassName
	if wanted == nil || has == nil || *wanted == *has {
		return nil
	}
	return stalled(v1alpha1.ReasonStorageConflict, fmt.Sprintf(
		"the PersistentVolumeClaim %s, which was there before, has the StorageClass %q, and spec.storage.filesystem.storageClassName says %q: to keep its data, delete this PackagesInstance with deletionPolicy Retain and create it with %q; else delete the claim",
		s.volume.Name, *has, *wanted, *has))
}

// growthFinding says why a claim does not ask for more. err is what the API server
// said to that; nil for a claim that it cannot be asked of yet.
func (s *instanceScope) growthFinding(err error) error {
	wanted := s.instance.Spec.Storage.Filesystem.Size
	switch {
	case err == nil:
		return progressing(v1alpha1.ReasonVolumeResizing, fmt.Sprintf(
			"%s are asked for as soon as the PersistentVolumeClaim %s has its volume: only then can it grow", wanted.String(), s.volume.Name))
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "support resize"):
		class := "that it was made with"
		if name := s.volume.Spec.StorageClassName; name != nil && *name != "" {
			class = *name
		}
		f := stalled(v1alpha1.ReasonVolumeExpansionRefused, fmt.Sprintf(
			"the volume cannot grow to %s: the StorageClass %s of the PersistentVolumeClaim %s is not there or lacks allowVolumeExpansion: true. The registry goes on with the volume as it is. If the class's driver can expand volumes, have an administrator set that; else move the data to an instance with a larger volume",
			wanted.String(), class, s.volume.Name))
		f.again = stalledRetry
		return f
	}
	return s.storageFinding(err)
}

// requireVolume holds Ready back while the volume is not what the spec asks for.
func (r *instanceReconciler) requireVolume(_ context.Context, s *instanceScope) error {
	if s.ungrown != nil {
		return s.ungrown
	}
	if s.volume == nil || s.instance.Spec.Storage.Filesystem == nil {
		return nil
	}
	if f := volumeFinding(s.volume, s.instance.Spec.Storage.Filesystem.Size); f != nil {
		return f
	}
	return nil
}

// volumeFinding judges a claim by what Kubernetes says of it. One that waits for its
// first volume is judged by the pod that waits for it.
func volumeFinding(volume *corev1.PersistentVolumeClaim, wanted resource.Quantity) *finding {
	describe := fmt.Sprintf("kubectl describe pvc -n %s %s says more", volume.Namespace, volume.Name)
	if volume.Status.Phase == corev1.ClaimLost {
		return stalled(v1alpha1.ReasonVolumeLost, fmt.Sprintf(
			"the PersistentVolume of the PersistentVolumeClaim %s is gone, and the packages with it: restore it from a backup; %s", volume.Name, describe))
	}
	capacity, known := volume.Status.Capacity[corev1.ResourceStorage]
	if volume.Status.Phase != corev1.ClaimBound || !known || capacity.Cmp(wanted) >= 0 {
		return nil
	}
	size := wanted.String()
	switch volume.Status.AllocatedResourceStatuses[corev1.ResourceStorage] {
	case corev1.PersistentVolumeClaimControllerResizeInfeasible, corev1.PersistentVolumeClaimNodeResizeInfeasible:
		return stalled(v1alpha1.ReasonVolumeExpansionRefused, fmt.Sprintf(
			"the volume cannot grow to %s, says its driver; the registry goes on with it as it is; %s", size, describe))
	}
	for _, condition := range volume.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type {
		case corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError:
			return progressing(v1alpha1.ReasonVolumeResizing, fmt.Sprintf(
				"the volume could not grow to %s yet, and it is tried again; %s", size, describe))
		case corev1.PersistentVolumeClaimFileSystemResizePending:
			return progressing(v1alpha1.ReasonVolumeResizing, fmt.Sprintf(
				"the volume has grown to %[1]s, and its file system follows on the node; if it does not within minutes, its driver waits for a new pod: kubectl delete pod -n %[2]s -l %[3]s=%[4]s,%[5]s=%[6]s",
				size, volume.Namespace, v1alpha1.LabelInstance, volume.Labels[v1alpha1.LabelInstance], desired.LabelComponent, desired.ComponentRegistry))
		}
	}
	return progressing(v1alpha1.ReasonVolumeResizing, fmt.Sprintf("waiting for the volume to grow to %s; %s", size, describe))
}

// volumePending says what a claim without a volume waits for.
func volumePending(volume *corev1.PersistentVolumeClaim) *finding {
	class := "it has no StorageClass, and the cluster no default one"
	if name := volume.Spec.StorageClassName; name != nil && *name != "" {
		class = "its StorageClass is " + *name
	} else if name != nil {
		class = "it takes a PersistentVolume without a class, as spec.storage.filesystem.storageClassName says"
	}
	return progressing(v1alpha1.ReasonVolumePending, fmt.Sprintf(
		"the PersistentVolumeClaim %[2]s waits for a volume: %[3]s; kubectl describe pvc -n %[1]s %[2]s says why", volume.Namespace, volume.Name, class))
}

// storageFinding says what a person can do about a volume claim that cannot be made
// or written.
func (s *instanceScope) storageFinding(err error) error {
	var conflict *conflictError
	name := desired.DataName(s.instance.Name)
	switch {
	case errors.As(err, &conflict) && conflict.controller != "":
		f := stalled(v1alpha1.ReasonStorageConflict, fmt.Sprintf(
			"the PersistentVolumeClaim %s belongs to the %s, so it is left alone: delete it, or give the PackagesInstance another name",
			name, conflict.controller))
		f.again = stalledRetry
		return f
	case errors.As(err, &conflict):
		f := stalled(v1alpha1.ReasonStorageConflict, fmt.Sprintf(
			"the PersistentVolumeClaim %[2]s was not made for this instance, so it is left alone: delete it, or, if this instance is to have it, run: kubectl label pvc -n %[1]s %[2]s --overwrite %[3]s=%[4]s",
			s.instance.Namespace, name, v1alpha1.LabelInstance, s.instance.Name))
		f.again = stalledRetry
		return f
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		f := stalled(v1alpha1.ReasonStorageConflict, fmt.Sprintf(
			"the PersistentVolumeClaim %s cannot become what spec.storage says: %s", name, statusMessage(err)))
		f.again = stalledRetry
		return f
	}
	return s.objectFinding(err)
}
