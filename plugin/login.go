// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/plugin/dockerconfig"
)

// chosen is an instance that a person names: NAME, or NAMESPACE/NAME if it is in
// another namespace than what refers to it.
type chosen struct{ namespace, name string }

func choose(text, namespace string) chosen {
	if at, name, found := strings.Cut(text, "/"); found {
		return chosen{at, name}
	}
	return chosen{namespace, text}
}

// instanceOf is the instance that a token is for.
func instanceOf(token *v1alpha1.PackagesToken) chosen {
	return chosen{cmp.Or(token.Spec.InstanceRef.Namespace, token.Namespace), token.Spec.InstanceRef.Name}
}

func newLogin(env *Environment, cluster *cluster) *cobra.Command {
	var instance, user string
	cmd := &cobra.Command{
		Use:   "login [TOKEN]",
		Short: "Log docker in with a PackagesToken",
		Long: `login reads the Secret of a PackagesToken and hands its value to docker, as docker
login does: to the credential helper that docker's configuration names for the
registry (credHelpers, credsStore), or else into the file config.json itself, which
only you can read then. Other entries of the file stay as they are.

Without TOKEN it takes the one token of the namespace that --instance and --username
leave. It needs the right to read that Secret.`,
		Example: `  kubectl packages login monalisa
  kubectl packages login --instance acme --username monalisa
  DOCKER_CONFIG=$(mktemp -d) kubectl packages login monalisa`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: firstArgument(names[v1alpha1.PackagesTokenList](cluster)),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := dockerStore(env)
			if err != nil {
				return err
			}
			if err := cluster.connect(); err != nil {
				return err
			}
			token, err := chooseToken(cmd.Context(), cluster, args, instance, user)
			if err != nil {
				return err
			}
			if err := usable(env, token); err != nil {
				return err
			}
			login, err := readLogin(cmd.Context(), cluster, token)
			if err != nil {
				return err
			}
			place, err := store.Login(cmd.Context(), login)
			if err != nil {
				return err
			}
			if place.Helper == "" {
				_, _ = fmt.Fprintf(env.Err, "Warning: the token is stored unencrypted in %s. Name a credential helper in credsStore to keep it elsewhere.\n", place.File)
			}
			_, err = fmt.Fprintf(env.Out, "Logged in to %s as %s (%s).\n", login.Registry, login.Username, placeName(place))
			return err
		},
	}
	cmd.Flags().StringVar(&instance, "instance", "", "The PackagesInstance to log in to: NAME, or NAMESPACE/NAME")
	cmd.Flags().StringVarP(&user, "username", "u", "", "The user whose token to take")
	_ = cmd.RegisterFlagCompletionFunc("instance", completions(names[v1alpha1.PackagesInstanceList](cluster)))
	return cmd
}

func newLogout(env *Environment, cluster *cluster) *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "logout [REGISTRY]",
		Short: "Have docker forget a login",
		Long: `logout takes the login for a registry from where docker keeps it. Without REGISTRY
it is the Docker host of --instance, or of the one instance of the namespace. The
token goes on working: delete the PackagesToken to end it.`,
		Example: `  kubectl packages logout
  kubectl packages logout --instance acme
  kubectl packages logout docker.packages.example.com`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := dockerStore(env)
			if err != nil {
				return err
			}
			var registry string
			if len(args) == 1 {
				if instance != "" {
					return errors.New("write REGISTRY or --instance, not both")
				}
				registry = args[0]
			} else {
				if err := cluster.connect(); err != nil {
					return err
				}
				one, err := chooseInstance(cmd.Context(), cluster, choose(instance, cluster.namespace))
				if err != nil {
					return err
				}
				if registry, err = dockerHost(one); err != nil {
					return err
				}
			}
			place, had, err := store.Logout(cmd.Context(), registry)
			if err != nil {
				return err
			}
			if !had {
				_, err = fmt.Fprintf(env.Out, "Docker was not logged in to %s.\n", registry)
				return err
			}
			_, err = fmt.Fprintf(env.Out, "Logged out of %s (%s).\n", registry, placeName(place))
			return err
		},
	}
	cmd.Flags().StringVar(&instance, "instance", "", "The PackagesInstance to log out of: NAME, or NAMESPACE/NAME")
	_ = cmd.RegisterFlagCompletionFunc("instance", completions(names[v1alpha1.PackagesInstanceList](cluster)))
	return cmd
}

func dockerStore(env *Environment) (*dockerconfig.Store, error) {
	path, err := dockerconfig.Path(env.Getenv, env.Home)
	if err != nil {
		return nil, err
	}
	return &dockerconfig.Store{Path: path, Helper: env.Helper}, nil
}

func placeName(place dockerconfig.Place) string {
	if place.Helper != "" {
		return "kept by " + place.Helper
	}
	return "kept in " + place.File
}

// chooseToken is the token that was named, or the only one that fits.
func chooseToken(ctx context.Context, cluster *cluster, args []string, instance, user string) (*v1alpha1.PackagesToken, error) {
	if len(args) == 1 {
		token := &v1alpha1.PackagesToken{}
		err := cluster.Get(ctx, client.ObjectKey{Namespace: cluster.namespace, Name: args[0]}, token)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("there is no PackagesToken %s in the namespace %s: make it with kubectl packages token create %s", args[0], cluster.namespace, args[0])
		case err != nil:
			return nil, cluster.explain("reading the PackagesToken "+args[0], err)
		case instance != "" && instanceOf(token) != choose(instance, cluster.namespace):
			return nil, fmt.Errorf("the PackagesToken %s is for the instance %s, not for %s", token.Name, token.Spec.InstanceRef.Name, instance)
		case user != "" && token.Spec.User != user:
			return nil, fmt.Errorf("the PackagesToken %s is %s's, not %s's", token.Name, token.Spec.User, user)
		}
		return token, nil
	}
	var list v1alpha1.PackagesTokenList
	if err := cluster.List(ctx, &list, client.InNamespace(cluster.namespace)); err != nil {
		return nil, cluster.explain("listing PackagesTokens", err)
	}
	fitting := slices.DeleteFunc(list.Items, func(t v1alpha1.PackagesToken) bool {
		return instance != "" && instanceOf(&t) != choose(instance, cluster.namespace) || user != "" && t.Spec.User != user
	})
	wanted := "PackagesToken"
	if user != "" {
		wanted += " of " + user
	}
	if instance != "" {
		wanted += " for the instance " + instance
	}
	switch len(fitting) {
	case 0:
		return nil, fmt.Errorf("there is no %s in the namespace %s: make one with kubectl packages token create, or choose another with --namespace", wanted, cluster.namespace)
	case 1:
		return &fitting[0], nil
	}
	found := make([]string, 0, len(fitting))
	for i := range fitting {
		found = append(found, fitting[i].Name)
	}
	return nil, fmt.Errorf("there is more than one %s in the namespace %s: name one of %s", wanted, cluster.namespace, strings.Join(found, ", "))
}

// chooseInstance is the instance that was named, or the only one.
func chooseInstance(ctx context.Context, cluster *cluster, which chosen) (*v1alpha1.PackagesInstance, error) {
	if which.name != "" {
		instance := &v1alpha1.PackagesInstance{}
		err := cluster.Get(ctx, client.ObjectKey{Namespace: which.namespace, Name: which.name}, instance)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("there is no PackagesInstance %s in the namespace %s", which.name, which.namespace)
		case err != nil:
			return nil, cluster.explain("reading the PackagesInstance "+which.name, err)
		}
		return instance, nil
	}
	var list v1alpha1.PackagesInstanceList
	if err := cluster.List(ctx, &list, client.InNamespace(which.namespace)); err != nil {
		return nil, cluster.explain("listing PackagesInstances", err)
	}
	switch len(list.Items) {
	case 0:
		return nil, fmt.Errorf("there is no PackagesInstance in the namespace %s: choose another with --namespace", which.namespace)
	case 1:
		return &list.Items[0], nil
	}
	found := make([]string, 0, len(list.Items))
	for i := range list.Items {
		found = append(found, list.Items[i].Name)
	}
	return nil, fmt.Errorf("there is more than one PackagesInstance in the namespace %s: choose one of %s with --instance", which.namespace, strings.Join(found, ", "))
}

func dockerHost(instance *v1alpha1.PackagesInstance) (string, error) {
	if instance.Status.Endpoints.Docker == nil {
		return "", fmt.Errorf("the PackagesInstance %s has no Docker endpoint at present: see kubectl packages status %s", instance.Name, instance.Name)
	}
	return instance.Status.Endpoints.Docker.Host, nil
}

// usable refuses a token that only a person's change can make work, and warns of one
// that does not work yet.
func usable(env *Environment, token *v1alpha1.PackagesToken) error {
	conditions := token.Status.Conditions
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || token.Status.ObservedGeneration != token.Generation:
		return fmt.Errorf("the operator has not looked at the PackagesToken %s yet: wait, or see whether the operator runs", token.Name)
	case ready.Status == metav1.ConditionTrue:
		return nil
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled):
		return fmt.Errorf("the PackagesToken %s does not work: %s: %s", token.Name, ready.Reason, ready.Message)
	}
	_, _ = fmt.Fprintf(env.Err, "Warning: the PackagesToken %s does not work yet: %s: %s\n", token.Name, ready.Reason, ready.Message)
	return nil
}

// readLogin reads what docker login takes from a token's Secret.
func readLogin(ctx context.Context, cluster *cluster, token *v1alpha1.PackagesToken) (dockerconfig.Login, error) {
	name, key := secretOf(token)
	secret := &corev1.Secret{}
	err := cluster.Get(ctx, client.ObjectKey{Namespace: token.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return dockerconfig.Login{}, fmt.Errorf("the Secret %s of the PackagesToken %s is not there", name, token.Name)
	case err != nil:
		return dockerconfig.Login{}, cluster.explain("reading the Secret "+name, err)
	}
	value := func(key string) (string, error) {
		if len(secret.Data[key]) == 0 {
			return "", fmt.Errorf("the Secret %s of the PackagesToken %s has no key %s", name, token.Name, key)
		}
		return string(secret.Data[key]), nil
	}
	login := dockerconfig.Login{Username: token.Spec.User}
	if login.Password, err = value(key); err != nil {
		return dockerconfig.Login{}, err
	}
	if token.Spec.Secret != nil {
		login.Registry, err = value(v1alpha1.TokenKeyRegistry)
		return login, err
	}
	// Somebody's own Secret does not say where the instance is.
	instance, err := chooseInstance(ctx, cluster, instanceOf(token))
	if err != nil {
		return dockerconfig.Login{}, err
	}
	login.Registry, err = dockerHost(instance)
	return login, err
}

// secretOf is the Secret that holds a token's value, and its key.
func secretOf(token *v1alpha1.PackagesToken) (name, key string) {
	if token.Spec.Secret != nil {
		return token.Spec.Secret.Name, v1alpha1.TokenKeyPassword
	}
	return token.Spec.Source.SecretRef.Name, token.Spec.Source.SecretRef.Key
}
