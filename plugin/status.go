// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/plugin/picture"
)

func newStatus(env *Environment, cluster *cluster) *cobra.Command {
	var output string
	var everywhere bool
	cmd := &cobra.Command{
		Use:   "status [INSTANCE]",
		Short: "Show instances with all that belongs to them, and what is wrong",
		Long: `status shows the instances of the namespace, or one of them: where docker finds
it, its certificate, storage and pods, its organizations, repositories and tokens,
and below that what is wrong with any of these and what to do.

The exit status is 0 if nothing is wrong, 1 if something is, and 2 if it could not
be found out.`,
		Example: `  kubectl packages status
  kubectl packages status acme --namespace team
  kubectl packages status --all-namespaces -o json | jq '.problems'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: firstArgument(names[v1alpha1.PackagesInstanceList](cluster)),
		RunE: func(cmd *cobra.Command, args []string) error {
			instance := ""
			if len(args) == 1 {
				instance = args[0]
			}
			if err := checkOutput(output); err != nil {
				return &statusError{ExitUnknown, err}
			}
			seen, err := look(cmd.Context(), cluster, instance, everywhere)
			if err != nil {
				return &statusError{ExitUnknown, err}
			}
			if err := show(env.Out, output, seen, seen.WriteText); err != nil {
				return &statusError{ExitUnknown, err}
			}
			if !seen.Well {
				return &statusError{code: ExitFailed}
			}
			return nil
		},
	}
	addOutputFlag(cmd, &output)
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Show the instances of all namespaces")
	return cmd
}

func addOutputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "Output format: json, or nothing for people")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp))
}

func checkOutput(output string) error {
	if output != "" && output != "json" {
		return fmt.Errorf("--output is %q: write json, or leave it out", output)
	}
	return nil
}

// show writes a value as JSON or for people.
func show(w io.Writer, output string, value any, text func(io.Writer) error) error {
	if output != "json" {
		return text(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// look asks the cluster for all that makes the picture.
func look(ctx context.Context, cluster *cluster, instance string, everywhere bool) (picture.Picture, error) {
	if err := cluster.connect(); err != nil {
		return picture.Picture{}, err
	}
	where := client.InNamespace(cluster.namespace)
	place := "in the namespace " + cluster.namespace
	if everywhere {
		where, place = "", "in any namespace"
	}

	var instances v1alpha1.PackagesInstanceList
	if err := cluster.List(ctx, &instances, where); err != nil {
		return picture.Picture{}, cluster.explain("listing PackagesInstances", err)
	}
	var organizations v1alpha1.PackagesOrganizationList
	if err := cluster.List(ctx, &organizations, where); err != nil {
		return picture.Picture{}, cluster.explain("listing PackagesOrganizations", err)
	}
	var repositories v1alpha1.PackagesRepositoryList
	if err := cluster.List(ctx, &repositories, where); err != nil {
		return picture.Picture{}, cluster.explain("listing PackagesRepositories", err)
	}
	var tokens v1alpha1.PackagesTokenList
	if err := cluster.List(ctx, &tokens, where); err != nil {
		return picture.Picture{}, cluster.explain("listing PackagesTokens", err)
	}
	objects := picture.Objects{
		Instances: instances.Items, Organizations: organizations.Items, Repositories: repositories.Items, Tokens: tokens.Items,
	}

	if !everywhere {
		if err := lookElsewhere(ctx, cluster, &objects, instance); err != nil {
			return picture.Picture{}, err
		}
	}

	// What the operator made is seen by those who may; the picture stands without.
	ours := client.HasLabels{v1alpha1.LabelInstance}
	var claims corev1.PersistentVolumeClaimList
	var sets appsv1.StatefulSetList
	var pods corev1.PodList
	var ingresses networkingv1.IngressList
	for _, made := range []struct {
		resource string
		list     client.ObjectList
	}{
		{"persistentvolumeclaims", &claims}, {"statefulsets", &sets}, {"pods", &pods}, {"ingresses", &ingresses},
	} {
		err := cluster.List(ctx, made.list, where, ours)
		switch {
		case apierrors.IsForbidden(err):
			objects.Unseen = append(objects.Unseen, made.resource)
		case err != nil:
			return picture.Picture{}, cluster.explain("listing "+made.resource, err)
		}
	}
	objects.Claims, objects.StatefulSets, objects.Pods, objects.Ingresses = claims.Items, sets.Items, pods.Items, ingresses.Items

	seen := picture.Of(objects, instance)
	if len(seen.Instances) == 0 {
		switch {
		case instance != "":
			return seen, fmt.Errorf("there is no PackagesInstance %s %s", instance, place)
		case len(seen.Problems) == 0:
			return seen, fmt.Errorf("there is no PackagesInstance %s: choose another with --namespace, or look everywhere with --all-namespaces", place)
		}
	}
	return seen, nil
}

// lookElsewhere adds the instances of other namespaces that objects refer to, and what
// other namespaces declare for the instances that allow it. Whoever may not see them
// gets a picture without.
func lookElsewhere(ctx context.Context, cluster *cluster, objects *picture.Objects, only string) error {
	missing := map[chosen]bool{}
	refer := func(namespace string, ref v1alpha1.InstanceReference) {
		if ref.Namespace != "" && ref.Namespace != namespace {
			missing[chosen{ref.Namespace, ref.Name}] = true
		}
	}
	for i := range objects.Organizations {
		refer(objects.Organizations[i].Namespace, objects.Organizations[i].Spec.InstanceRef)
	}
	for i := range objects.Repositories {
		refer(objects.Repositories[i].Namespace, objects.Repositories[i].Spec.InstanceRef)
	}
	for i := range objects.Tokens {
		refer(objects.Tokens[i].Namespace, objects.Tokens[i].Spec.InstanceRef)
	}
	allowing := slices.DeleteFunc(slices.Clone(objects.Instances), func(i v1alpha1.PackagesInstance) bool {
		return len(i.Spec.AllowedNamespaces) == 0 || only != "" && i.Name != only
	})
	for which := range missing {
		var instance v1alpha1.PackagesInstance
		err := cluster.Get(ctx, client.ObjectKey{Namespace: which.namespace, Name: which.name}, &instance)
		switch {
		case apierrors.IsForbidden(err):
			objects.Unseen = append(objects.Unseen, "the instance "+which.namespace+"/"+which.name)
		case err == nil:
			objects.Instances = append(objects.Instances, instance)
		case !apierrors.IsNotFound(err):
			return cluster.explain("reading the PackagesInstance "+which.name, err)
		}
	}
	slices.Sort(objects.Unseen)
	for i := range allowing {
		if err := lookForReferences(ctx, cluster, objects, &allowing[i]); err != nil {
			return err
		}
	}
	return nil
}

// lookForReferences adds what other namespaces declare for an instance.
func lookForReferences(ctx context.Context, cluster *cluster, objects *picture.Objects, instance *v1alpha1.PackagesInstance) error {
	byName := client.MatchingFields{"spec.instanceRef.name": instance.Name}
	foreign := func(namespace string, ref v1alpha1.InstanceReference) bool {
		return namespace != instance.Namespace && ref.Namespace == instance.Namespace
	}
	var organizations v1alpha1.PackagesOrganizationList
	var repositories v1alpha1.PackagesRepositoryList
	var tokens v1alpha1.PackagesTokenList
	for _, list := range []client.ObjectList{&organizations, &repositories, &tokens} {
		err := cluster.List(ctx, list, byName)
		switch {
		case apierrors.IsForbidden(err):
			objects.Unseen = append(objects.Unseen, "what other namespaces declare for "+instance.Name)
			return nil
		case err != nil:
			return cluster.explain("listing what other namespaces declare", err)
		}
	}
	for i := range organizations.Items {
		if o := organizations.Items[i]; foreign(o.Namespace, o.Spec.InstanceRef) {
			objects.Organizations = append(objects.Organizations, o)
		}
	}
	for i := range repositories.Items {
		if o := repositories.Items[i]; foreign(o.Namespace, o.Spec.InstanceRef) {
			objects.Repositories = append(objects.Repositories, o)
		}
	}
	for i := range tokens.Items {
		if o := tokens.Items[i]; foreign(o.Namespace, o.Spec.InstanceRef) {
			objects.Tokens = append(objects.Tokens, o)
		}
	}
	return nil
}
