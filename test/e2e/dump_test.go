// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// dump writes what helps to understand a failure: how the objects are, what
// happened to them, and the logs of the operator and the registries. What docker
// said is in the report already. It never fails a spec itself.
func dump(ctx context.Context) {
	show(ctx, "get", "pkgi,pkgorg,pkgrepo,pkgtoken", "--all-namespaces", "--output=wide")
	show(ctx, "get", "pods,pvc,ingress", "--all-namespaces", "--output=wide")
	namespaces := []string{operatorNamespace}
	var own corev1.NamespaceList
	if err := env.kube.List(ctx, &own, client.HasLabels{namespaceLabel}); err != nil {
		GinkgoWriter.Println("dump:", err)
	}
	for _, namespace := range own.Items {
		namespaces = append(namespaces, namespace.Name)
	}
	for _, namespace := range namespaces {
		show(ctx, "get", "pkgi,pkgorg,pkgrepo,pkgtoken", "--namespace", namespace, "--output",
			`jsonpath={range .items[*]}{.kind} {.metadata.name}:{range .status.conditions[*]} {.type}={.status} {.reason} ({.message});{end}{"\n"}{end}`)
		show(ctx, "get", "events", "--namespace", namespace, "--sort-by=.metadata.creationTimestamp")
		var pods corev1.PodList
		if err := env.kube.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			GinkgoWriter.Println("dump:", err)
		}
		for _, pod := range pods.Items {
			show(ctx, "logs", "--namespace", namespace, pod.Name, "--tail=150")
			for _, container := range pod.Status.ContainerStatuses {
				if container.RestartCount > 0 {
					show(ctx, "logs", "--namespace", namespace, pod.Name, "--tail=50", "--previous")
				}
			}
		}
	}
}

// show runs kubectl for the report.
func show(ctx context.Context, args ...string) {
	cmd, err := env.cluster.Kubectl(ctx, args...)
	if err != nil {
		GinkgoWriter.Println("dump:", err)
		return
	}
	out, err := cmd.CombinedOutput()
	GinkgoWriter.Printf("--- kubectl %s\n%s", strings.Join(args, " "), out)
	if err != nil {
		GinkgoWriter.Println(err)
	}
}
