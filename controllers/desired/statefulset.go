// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

const (
	// nonRoot is the user and group that the registry runs as.
	nonRoot = 65532
	// drainSeconds covers the registry's 30 seconds of draining, and a margin to
	// close its database.
	drainSeconds = 45
	// memoryLimitMiB bounds a registry pod, page cache included.
	memoryLimitMiB = 512

	dataDir = "/data"
	keysDir = "/etc/packages-operator/keys"
)

// StatefulSet runs the registry of an instance on its volume: one pod, or none
// while the instance is suspended. The template holds storage, ports, resources
// and the image, and nothing that may change while the registry runs.
//
// dataUID is the identity of the data on the volume.
func StatefulSet(instance *v1alpha1.PackagesInstance, image string, dataUID types.UID) *appsv1ac.StatefulSetApplyConfiguration {
	name := RegistryName(instance.Name)
	replicas := int32(1)
	if instance.Spec.Suspend {
		replicas = 0
	}
	return appsv1ac.StatefulSet(name, instance.Namespace).
		WithLabels(instanceLabels(instance.Name)).
		WithAnnotations(map[string]string{AnnotationDataUID: string(dataUID)}).
		WithOwnerReferences(instanceOwner(instance)).
		WithSpec(appsv1ac.StatefulSetSpec().
			WithReplicas(replicas).
			WithServiceName(name).
			// With one pod there is no order to keep, and OrderedReady would not
			// replace a pod that never became ready.
			WithPodManagementPolicy(appsv1.ParallelPodManagement).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(PodLabels(instance.Name))).
			WithTemplate(corev1ac.PodTemplateSpec().
				WithLabels(podTemplateLabels(instance.Name)).
				WithSpec(corev1ac.PodSpec().
					WithServiceAccountName(name).
					WithTerminationGracePeriodSeconds(drainSeconds).
					// Service variables would only leak other Services' names.
					WithEnableServiceLinks(false).
					WithSecurityContext(corev1ac.PodSecurityContext().
						WithRunAsNonRoot(true).
						WithRunAsUser(nonRoot).
						WithRunAsGroup(nonRoot).
						WithFSGroup(nonRoot).
						// Walking a large volume at each start would take minutes.
						WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch).
						WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
					WithContainers(registryContainer(instance, image, dataUID)).
					WithVolumes(
						corev1ac.Volume().WithName("data").
							WithPersistentVolumeClaim(corev1ac.PersistentVolumeClaimVolumeSource().WithClaimName(DataName(instance.Name))),
						corev1ac.Volume().WithName("keys").
							WithSecret(corev1ac.SecretVolumeSource().WithSecretName(KeysName(instance.Name)).WithDefaultMode(0o440)),
					))))
}

func registryContainer(instance *v1alpha1.PackagesInstance, image string, dataUID types.UID) *corev1ac.ContainerApplyConfiguration {
	return corev1ac.Container().
		WithName("registry").
		WithImage(image).
		WithImagePullPolicy(corev1.PullIfNotPresent).
		WithArgs(
			"registry",
			"--namespace", instance.Namespace,
			"--instance", instance.Name,
			"--instance-uid", string(dataUID),
			"--data-dir", dataDir,
			"--listen", fmt.Sprintf(":%d", RegistryPort),
			"--admin-listen", fmt.Sprintf(":%d", AdminPort),
			"--keys-dir", keysDir,
		).
		// The garbage collector works harder before the kernel would kill the
		// process: at nine tenths of the limit.
		WithEnv(corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(fmt.Sprintf("%dMiB", memoryLimitMiB*9/10))).
		WithPorts(
			corev1ac.ContainerPort().WithName("http").WithContainerPort(RegistryPort).WithProtocol(corev1.ProtocolTCP),
			corev1ac.ContainerPort().WithName("admin").WithContainerPort(AdminPort).WithProtocol(corev1.ProtocolTCP),
		).
		WithResources(corev1ac.ResourceRequirements().
			WithRequests(corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("50m"),
				corev1.ResourceMemory: resource.MustParse("64Mi"),
			}).
			WithLimits(corev1.ResourceList{
				corev1.ResourceMemory: *resource.NewQuantity(memoryLimitMiB<<20, resource.BinarySI),
			})).
		// A database that was not closed is replayed before the first answer.
		WithStartupProbe(adminProbe("/healthz").WithPeriodSeconds(1).WithFailureThreshold(300)).
		WithLivenessProbe(adminProbe("/healthz").WithPeriodSeconds(10).WithTimeoutSeconds(5).WithFailureThreshold(6)).
		WithReadinessProbe(adminProbe("/readyz").WithPeriodSeconds(2).WithTimeoutSeconds(2).WithFailureThreshold(3)).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithSecurityContext(corev1ac.SecurityContext().
			WithRunAsNonRoot(true).
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL")).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithVolumeMounts(
			corev1ac.VolumeMount().WithName("data").WithMountPath(dataDir),
			corev1ac.VolumeMount().WithName("keys").WithMountPath(keysDir).WithReadOnly(true),
		)
}

func adminProbe(path string) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString("admin")))
}
