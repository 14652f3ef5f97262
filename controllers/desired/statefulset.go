// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

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

	dataDir = "/data"
	keysDir = "/etc/packages-operator/keys"
)

// defaultRequests are what a registry of a small team uses, and defaultLimits what
// bounds one under attack, page cache included. There is no limit of CPU: it would
// only slow down what nobody else wants to use.
var (
	defaultRequests = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("50m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	defaultLimits = corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("512Mi"),
	}
)

// StatefulSet runs the registry of an instance on its volume: one pod, or none
// while the instance is suspended. The template holds storage, ports, resources
// and the image, and nothing that may change while the registry runs.
//
// dataUID is the identity of the data on the volume; trustedProxies are believed when
// they say which client they speak for.
func StatefulSet(instance *v1alpha1.PackagesInstance, image string, dataUID types.UID, trustedProxies []netip.Prefix) *appsv1ac.StatefulSetApplyConfiguration {
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
				WithLabels(podTemplateLabels(instance)).
				WithAnnotations(instance.Spec.PodTemplate.Annotations).
				WithSpec(podPlacement(&instance.Spec.PodTemplate).
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
					WithContainers(registryContainer(instance, image, dataUID, trustedProxies)).
					WithVolumes(
						corev1ac.Volume().WithName("data").
							WithPersistentVolumeClaim(corev1ac.PersistentVolumeClaimVolumeSource().WithClaimName(DataName(instance.Name))),
						corev1ac.Volume().WithName("keys").
							WithSecret(corev1ac.SecretVolumeSource().WithSecretName(KeysName(instance.Name)).WithDefaultMode(0o440)),
					))))
}

// podPlacement is where the pods run, as the instance says.
func podPlacement(template *v1alpha1.PodTemplate) *corev1ac.PodSpecApplyConfiguration {
	spec := corev1ac.PodSpec().WithNodeSelector(template.NodeSelector)
	if template.PriorityClassName != "" {
		spec.WithPriorityClassName(template.PriorityClassName)
	}
	if template.Affinity != nil {
		spec.WithAffinity(applied[corev1ac.AffinityApplyConfiguration](template.Affinity))
	}
	for i := range template.Tolerations {
		spec.WithTolerations(applied[corev1ac.TolerationApplyConfiguration](&template.Tolerations[i]))
	}
	for i := range template.TopologySpreadConstraints {
		spec.WithTopologySpreadConstraints(applied[corev1ac.TopologySpreadConstraintApplyConfiguration](&template.TopologySpreadConstraints[i]))
	}
	return spec
}

// applied turns an API type into its apply configuration: both are written alike,
// and writing one and reading the other cannot fail.
func applied[A, T any](object *T) *A {
	configuration := new(A)
	text, _ := json.Marshal(object)
	_ = json.Unmarshal(text, configuration)
	return configuration
}

// resourcesOf are the instance's wishes over the defaults. A request is at most
// the limit, which the API server would insist on.
func resourcesOf(wanted v1alpha1.PodResources) (requests, limits corev1.ResourceList) {
	requests, limits = defaultRequests.DeepCopy(), defaultLimits.DeepCopy()
	maps.Copy(limits, wanted.Limits)
	for name, limit := range limits {
		if request, found := requests[name]; found && request.Cmp(limit) > 0 {
			requests[name] = limit
		}
	}
	maps.Copy(requests, wanted.Requests)
	return requests, limits
}

func registryContainer(instance *v1alpha1.PackagesInstance, image string, dataUID types.UID, trustedProxies []netip.Prefix) *corev1ac.ContainerApplyConfiguration {
	requests, limits := resourcesOf(instance.Spec.PodTemplate.Resources)
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
		WithArgs(trustedProxiesFlag(trustedProxies)...).
		// The garbage collector works harder before the kernel would kill the
		// process: at nine tenths of the limit.
		WithEnv(corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(fmt.Sprintf("%dMiB", limits.Memory().Value()>>20*9/10))).
		WithPorts(
			corev1ac.ContainerPort().WithName("http").WithContainerPort(RegistryPort).WithProtocol(corev1.ProtocolTCP),
			corev1ac.ContainerPort().WithName("admin").WithContainerPort(AdminPort).WithProtocol(corev1.ProtocolTCP),
		).
		WithResources(corev1ac.ResourceRequirements().
			WithRequests(requests).
			WithLimits(limits)).
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

// trustedProxiesFlag is the same in any order, so that no pod is replaced for that.
func trustedProxiesFlag(trusted []netip.Prefix) []string {
	if len(trusted) == 0 {
		return nil
	}
	values := make([]string, len(trusted))
	for i, prefix := range trusted {
		values[i] = prefix.String()
	}
	slices.Sort(values)
	return []string{"--trusted-proxies", strings.Join(slices.Compact(values), ",")}
}

func adminProbe(path string) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString("admin")))
}
