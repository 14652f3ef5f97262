// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// PersistentVolumeClaim is the volume of an instance whose storage is a
// filesystem. It has no owner reference, so that it outlives the instance unless
// the deletion policy says otherwise at that time.
//
// dataUID is the identity of the data on the volume, size and class what is asked
// for, which is not always what the spec says: a claim never shrinks, not every claim
// can grow, and the class cannot change. A nil class leaves it to the cluster.
func PersistentVolumeClaim(instance *v1alpha1.PackagesInstance, dataUID types.UID, size resource.Quantity, class *string) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	if instance.Spec.Storage.Filesystem == nil {
		return nil
	}
	spec := corev1ac.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithResources(corev1ac.VolumeResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceStorage: size}))
	if class != nil {
		spec.WithStorageClassName(*class)
	}
	return corev1ac.PersistentVolumeClaim(DataName(instance.Name), instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithAnnotations(map[string]string{AnnotationDataUID: string(dataUID)}).
		WithSpec(spec)
}
