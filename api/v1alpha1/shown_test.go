// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

const readyStatus = `
status:
  observedGeneration: 1
  conditions:
  - {type: Ready, status: "False", reason: HostConflict, message: change spec.hostname, lastTransitionTime: "2026-11-22T00:00:00Z"}
`

// kubectl get asks the API server for a table. Age is the one cell that differs
// between runs.
func TestColumns(t *testing.T) {
	ctx := context.Background()
	namespace := newNamespace(t)
	for _, row := range []struct {
		resource, object, patch string
		want, wide              []string
	}{
		{
			"packagesinstances", instance,
			readyStatus + "  endpoints: {docker: {host: docker.packages.example.com, url: 'https://docker.packages.example.com'}}\n  policyRevision: r1\n  version: v0.1.0",
			[]string{"Name=acme", "Docker=docker.packages.example.com", "Support=Enabled", "Ready=False", "Status=HostConflict", "Age"},
			[]string{"Isolation=Enabled", "Revision=r1", "Version=v0.1.0", "Message=change spec.hostname"},
		},
		{
			"packagesorganizations", organization, readyStatus + spec("owners: [monalisa, octocat], members: [hubot]"),
			[]string{"Name=octo-org", "Organization=octo-org", `Owners=["monalisa","octocat"]`, "Instance=acme", "Ready=False", "Status=HostConflict", "Age"},
			[]string{`Members=["hubot"]`, "Message=change spec.hostname"},
		},
		{
			"packagesrepositories", repository, readyStatus,
			[]string{"Name=octo-app", "Owner=octocat", "Repository=octo-app", "Visibility=Private", "Instance=acme", "Ready=False", "Status=HostConflict", "Age"},
			[]string{"Message=change spec.hostname"},
		},
		{
			"packagestokens", token, readyStatus + spec("expiresAt: '2027-01-01T00:00:00Z'"),
			[]string{"Name=monalisa", "User=monalisa", "Instance=acme", "Secret=monalisa-token", "Expires=2027-01-01T00:00:00Z", "Ready=False", "Status=HostConflict", "Age"},
			[]string{`Scopes=["read:packages"]`, "Message=change spec.hostname"},
		},
		{
			"packagespolicies", policy, "",
			[]string{"Name=acme-0", "Instance=acme", "Part=0", "Revision=r1", "Age"},
			[]string{"Format=1"},
		},
	} {
		t.Run(row.resource, func(t *testing.T) {
			u := object(t, namespace, row.object, row.patch)
			status, hasStatus := u.Object["status"]
			if err := api.Create(ctx, u); err != nil {
				t.Fatal(err)
			}
			if hasStatus {
				u.Object["status"] = status
				if err := api.Status().Update(ctx, u); err != nil {
					t.Fatal(err)
				}
			}
			normal, wide := table(t, namespace, row.resource)
			if diff := cmp.Diff(row.want, normal); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.wide, wide); diff != "" {
				t.Errorf("wide columns (-want +got):\n%s", diff)
			}
		})
	}
}

// table is the one row of a resource as kubectl get shows it, and what -o wide
// adds: cells as NAME=VALUE, and the Age by its name alone.
func table(t *testing.T, namespace, resource string) (normal, wide []string) {
	t.Helper()
	clients, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	data, err := clients.RESTClient().Get().
		AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "namespaces", namespace, resource).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		DoRaw(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got metav1.Table
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 1 {
		t.Fatalf("%d rows of %s, want 1", len(got.Rows), resource)
	}
	for i, column := range got.ColumnDefinitions {
		cell := column.Name
		if column.Name != "Age" {
			cell += fmt.Sprintf("=%v", got.Rows[0].Cells[i])
		}
		if column.Priority == 0 {
			normal = append(normal, cell)
		} else {
			wide = append(wide, cell)
		}
	}
	return normal, wide
}

func TestFieldSelectors(t *testing.T) {
	ctx := context.Background()
	namespace := newNamespace(t)
	for _, u := range []*unstructured.Unstructured{
		object(t, namespace, organization, "metadata: {name: o1}"),
		object(t, namespace, organization, "metadata: {name: o2}\nspec: {name: other-org}"),
		object(t, namespace, organization, "metadata: {name: o3}\nspec: {instanceRef: {name: other}}"),
		object(t, namespace, repository, "metadata: {name: r1}"),
		object(t, namespace, repository, "metadata: {name: r2}\nspec: {owner: hubot}"),
		object(t, namespace, repository, "metadata: {name: r3}\nspec: {instanceRef: {name: other}}"),
		object(t, namespace, token, "metadata: {name: t1}"),
		object(t, namespace, token, "metadata: {name: t2}\nspec: {user: hubot}"),
		object(t, namespace, token, "metadata: {name: t3}\nspec: {instanceRef: {name: other}}"),
		object(t, namespace, policy, "metadata: {name: p1}"),
		object(t, namespace, policy, "metadata: {name: p2}\nspec: {instanceRef: {name: other}}"),
	} {
		if err := api.Create(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		kind, field, value string
		want               []string
	}{
		{"PackagesOrganization", "spec.instanceRef.name", "acme", []string{"o1", "o2"}},
		{"PackagesOrganization", "spec.name", "octo-org", []string{"o1", "o3"}},
		{"PackagesRepository", "spec.instanceRef.name", "acme", []string{"r1", "r2"}},
		{"PackagesRepository", "spec.owner", "octocat", []string{"r1", "r3"}},
		{"PackagesToken", "spec.instanceRef.name", "acme", []string{"t1", "t2"}},
		{"PackagesToken", "spec.user", "monalisa", []string{"t1", "t3"}},
		{"PackagesPolicy", "spec.instanceRef.name", "acme", []string{"p1"}},
	} {
		t.Run(row.kind+" by "+row.field, func(t *testing.T) {
			found := &unstructured.UnstructuredList{}
			found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(row.kind + "List"))
			if err := api.List(ctx, found, client.InNamespace(namespace), client.MatchingFields{row.field: row.value}); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, item := range found.Items {
				names = append(names, item.GetName())
			}
			slices.Sort(names)
			if !slices.Equal(names, row.want) {
				t.Errorf("found %s, want %s", strings.Join(names, ", "), strings.Join(row.want, ", "))
			}
		})
	}
}

// kubectl get packages shows what a user declares, by the short names as well.
func TestNames(t *testing.T) {
	clients, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := clients.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, resource := range resources.APIResources {
		if !strings.Contains(resource.Name, "/") {
			got[resource.Kind] = fmt.Sprintf("%s %v %v namespaced=%t", resource.Name, resource.ShortNames, resource.Categories, resource.Namespaced)
		}
	}
	want := map[string]string{
		"PackagesInstance":     "packagesinstances [pkgi] [packages] namespaced=true",
		"PackagesOrganization": "packagesorganizations [pkgorg] [packages] namespaced=true",
		"PackagesRepository":   "packagesrepositories [pkgrepo] [packages] namespaced=true",
		"PackagesToken":        "packagestokens [pkgtoken] [packages] namespaced=true",
		"PackagesPolicy":       "packagespolicies [pkgpolicy] [packages] namespaced=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
