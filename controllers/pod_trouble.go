// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// trouble is what keeps a pod from running.
type trouble struct {
	*finding
	// lasts is false for what may be over the next moment, as when a container is
	// started again.
	lasts bool
}

// podFinding says why the pods are not ready, as far as they tell. It leaves out
// what differs from one try to the next. The StatefulSet may be nil.
func podFinding(statefulSet *appsv1.StatefulSet, pods []corev1.Pod, volume *corev1.PersistentVolumeClaim) *finding {
	for i := range pods {
		if trouble := podTrouble(&pods[i], volume); trouble != nil {
			return trouble.finding
		}
	}
	switch {
	case len(pods) > 0:
		return progressing(v1alpha1.ReasonPodsNotReady, fmt.Sprintf(
			"waiting for pod %[2]s to become ready; if it does not, kubectl describe pod -n %[1]s %[2]s says why", pods[0].Namespace, pods[0].Name))
	case statefulSet != nil && statefulSet.Name != "":
		return progressing(v1alpha1.ReasonPodsNotReady, fmt.Sprintf(
			"waiting for a pod; if none comes, kubectl describe statefulset -n %s %s says why", statefulSet.Namespace, statefulSet.Name))
	}
	return progressing(v1alpha1.ReasonPodsNotReady, "there is no pod; kubectl describe statefulset says why, in the namespace of this object")
}

// podTrouble is what keeps a pod from running, nil if nothing is known to.
func podTrouble(pod *corev1.Pod, volume *corev1.PersistentVolumeClaim) *trouble {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			if volume != nil && volume.Status.Phase == corev1.ClaimPending {
				return &trouble{volumePending(volume), true}
			}
			return &trouble{progressing(v1alpha1.ReasonPodUnschedulable, fmt.Sprintf(
				"pod %[2]s finds no node: kubectl describe pod -n %[1]s %[2]s says what is short; spec.podTemplate says what it asks for and where it may run",
				pod.Namespace, pod.Name)), true}
		}
	}
	for i := range pod.Status.ContainerStatuses {
		if trouble := containerTrouble(pod, &pod.Status.ContainerStatuses[i]); trouble != nil {
			return trouble
		}
	}
	return nil
}

func containerTrouble(pod *corev1.Pod, container *corev1.ContainerStatus) *trouble {
	again := false
	if waiting := container.State.Waiting; waiting != nil {
		switch waiting.Reason {
		// These two take turns.
		case "ErrImagePull", "ImagePullBackOff":
			return &trouble{progressing(v1alpha1.ReasonImagePullFailed, fmt.Sprintf(
				"pod %[2]s cannot pull the image %[3]s: check that it exists and that the node can reach it; kubectl describe pod -n %[1]s %[2]s says more",
				pod.Namespace, pod.Name, container.Image)), true}
		case "InvalidImageName", "ErrImageNeverPull":
			return &trouble{progressing(v1alpha1.ReasonImagePullFailed, fmt.Sprintf(
				"pod %s cannot have the image %s (%s): the operator runs its registries from its own image", pod.Name, container.Image, waiting.Reason)), true}
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return &trouble{progressing(v1alpha1.ReasonPodsNotReady, fmt.Sprintf(
				"pod %[2]s cannot start (%[3]s): kubectl describe pod -n %[1]s %[2]s says more", pod.Namespace, pod.Name, waiting.Reason)), true}
		case "CrashLoopBackOff":
			again = true
		}
	}
	for _, terminated := range []*corev1.ContainerStateTerminated{container.State.Terminated, container.LastTerminationState.Terminated} {
		if terminated != nil && terminated.ExitCode != 0 && !container.Ready {
			return &trouble{ended(pod, terminated), again}
		}
	}
	return nil
}

// otherInstance finds the UID that data was made for in what a registry says when
// it is given data of another instance.
var otherInstance = regexp.MustCompile(`data belongs to another instance: it is of instance "([0-9A-Za-z-]{1,64})"`)

// ended says why a registry ended.
func ended(pod *corev1.Pod, terminated *corev1.ContainerStateTerminated) *finding {
	sentence := lastWords(pod, terminated)
	if match := otherInstance.FindStringSubmatch(sentence); match != nil {
		claim := desired.DataName(pod.Labels[v1alpha1.LabelInstance])
		return stalled(v1alpha1.ReasonDataOfAnotherInstance, fmt.Sprintf(
			"the volume of the PersistentVolumeClaim %[2]s has the data of an instance with the UID %[4]s; to serve that, run: kubectl annotate pvc -n %[1]s %[2]s --overwrite %[3]s=%[4]s",
			pod.Namespace, claim, desired.AnnotationDataUID, match[1]))
	}
	return progressing(v1alpha1.ReasonPodCrashing, fmt.Sprintf("pod %s ended: %s", pod.Name, sentence))
}

// lastWords is the sentence that the registry exits with, which is the last of its
// lines; those before are logs, with timestamps.
func lastWords(pod *corev1.Pod, terminated *corev1.ContainerStateTerminated) string {
	if terminated.Reason == "OOMKilled" {
		return "it ran out of memory: raise spec.podTemplate.resources.limits"
	}
	for line := range strings.SplitSeq(terminated.Message, "\n") {
		if sentence, found := strings.CutPrefix(line, "packages-operator: "); found {
			return redacted(sentence)
		}
	}
	return fmt.Sprintf("kubectl logs -n %s %s --previous says more", pod.Namespace, pod.Name)
}

// maxLastWords bounds what is told of a registry's end, in bytes.
const maxLastWords = 512

// What a sentence may not bring into a condition: credentials, and what differs from
// one end to the next.
var redactions = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`://[^\s/@]*@`), "://…@"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[^\s,;]+`), "$1 …"},
	{regexp.MustCompile(`(?i)\b((?:password|passwd|secret|token|key|authorization)["']?[=:]\s*)[^\s,;]+`), "${1}…"},
	{regexp.MustCompile(`\bpkgt_\w+`), "…"},
	{regexp.MustCompile(`[A-Za-z0-9+/=_-]*[A-Za-z0-9+_=]{32,}[A-Za-z0-9+/=_-]*`), "…"},
	{regexp.MustCompile(`\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[-+]\d\d:?\d\d)?`), "…"},
	{regexp.MustCompile(`\b0x[0-9a-fA-F]+`), "…"},
	{regexp.MustCompile(`(\b\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{4,5}->`), "…->"},
}

// redacted is a registry's sentence as it may stand in a condition.
func redacted(sentence string) string {
	sentence = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(sentence, ""))
	for _, redaction := range redactions {
		sentence = redaction.pattern.ReplaceAllString(sentence, redaction.with)
	}
	if len(sentence) > maxLastWords {
		sentence = strings.ToValidUTF8(sentence[:maxLastWords-len("…")], "") + "…"
	}
	return sentence
}

// knownTrouble is one that registries have a name for.
var knownTrouble = regexp.MustCompile(`^[A-Z][A-Za-z]{0,62}$`)

// troubleFinding says what a registry reports, and what can be done about it.
func troubleFinding(instance types.NamespacedName, name string) *finding {
	logs := fmt.Sprintf("kubectl logs -n %s statefulset/%s says more", instance.Namespace, desired.RegistryName(instance.Name))
	switch name {
	case v1alpha1.ReasonStorageFull:
		return stalled(name, "the volume is full, so pushes are refused, while pulls go on: raise spec.storage.filesystem.size, or delete images, whose room is free a day or two later")
	case v1alpha1.ReasonDatabaseFull:
		return stalled(name, "the registry's database has no room, so pushes are refused, while pulls go on: raise spec.storage.filesystem.size")
	case v1alpha1.ReasonDatabaseUnavailable:
		return progressing(name, "the registry's database does not answer, so nothing is served: "+logs)
	case v1alpha1.ReasonStorageUnavailable:
		return progressing(name, "the registry's storage does not answer, so no layer is served: "+logs)
	}
	if !knownTrouble.MatchString(name) {
		name = "Unknown"
	}
	return progressing(v1alpha1.ReasonPodsNotReady, "the registry reports "+name+": "+logs)
}
