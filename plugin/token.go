// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// lookInterval is how often a token is looked at while it becomes ready.
const lookInterval = 250 * time.Millisecond

// tokenOptions are the flags of token create.
type tokenOptions struct {
	instance     string
	user         string
	scopes       []string
	repositories []string
	expires      string
	rotate       time.Duration
	overlap      time.Duration
	secret       string
	secretType   string
	timeout      time.Duration
	show         bool
	dryRun       bool
	output       string
}

func newTokenCreate(env *Environment, cluster *cluster) *cobra.Command {
	var options tokenOptions
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a PackagesToken and wait until it works",
		Long: `create makes a PackagesToken, waits until the registry knows it, and says which
Secret holds its value. Whoever may do this can act as any user of the namespace's
instances.

With --show the value alone is printed to standard output, and all else to standard
error. With --dry-run the object is printed instead, for kubectl apply or for Git.`,
		Example: `  kubectl packages token create monalisa
  kubectl packages token create ci --username hubot --scopes write:packages \
    --repository octocat/octo-app --expires 720h
  kubectl packages token create pull --username monalisa --type DockerConfigJSON
  kubectl packages token create monalisa --show \
    | docker login docker.packages.example.com -u monalisa --password-stdin
  kubectl packages token create monalisa --instance acme --rotate 168h --overlap 24h --dry-run`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return options.run(cmd.Context(), env, cluster, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.instance, "instance", "", "The PackagesInstance that the token is for: NAME, or NAMESPACE/NAME (default: the one of the namespace)")
	flags.StringVarP(&options.user, "username", "u", "", "Whom the token acts as (default: NAME)")
	flags.StringSliceVar(&options.scopes, "scopes", []string{string(v1alpha1.ScopeReadPackages)}, "What the token may be used for: read:packages, write:packages, delete:packages")
	flags.StringSliceVar(&options.repositories, "repository", nil, "A repository, OWNER/REPOSITORY or OWNER/*, to narrow the token to; may be repeated")
	flags.StringVar(&options.expires, "expires", "", "When the token ends: an instant such as 2027-01-01T00:00:00Z, or a time from now such as 720h (default: never)")
	flags.DurationVar(&options.rotate, "rotate", 0, "Replace the value at this interval, such as 168h")
	flags.DurationVar(&options.overlap, "overlap", 0, "How long the value before goes on working, such as 24h; with --rotate")
	flags.StringVar(&options.secret, "secret", "", "The Secret that gets the value (default: NAME-token)")
	flags.StringVar(&options.secretType, "type", string(v1alpha1.TokenSecretOpaque), "The form of the Secret: Opaque, or DockerConfigJSON for imagePullSecrets")
	flags.DurationVar(&options.timeout, "timeout", time.Minute, "How long to wait until the token works; 0 does not wait")
	flags.BoolVar(&options.show, "show", false, "Print the value")
	flags.BoolVar(&options.dryRun, "dry-run", false, "Print the object as YAML and make nothing")
	addOutputFlag(cmd, &options.output)
	fixed := func(values ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = cmd.RegisterFlagCompletionFunc("instance", completions(names[v1alpha1.PackagesInstanceList](cluster)))
	_ = cmd.RegisterFlagCompletionFunc("scopes", fixed(string(v1alpha1.ScopeReadPackages), string(v1alpha1.ScopeWritePackages), string(v1alpha1.ScopeDeletePackages)))
	_ = cmd.RegisterFlagCompletionFunc("type", fixed(string(v1alpha1.TokenSecretOpaque), string(v1alpha1.TokenSecretDockerConfigJSON)))
	_ = cmd.RegisterFlagCompletionFunc("repository", completions(repositories(cluster)))
	return cmd
}

// repositories completes with OWNER/REPOSITORY.
func repositories(c *cluster) func(context.Context) []string {
	return func(ctx context.Context) []string {
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		var list v1alpha1.PackagesRepositoryList
		if c.connect() != nil || c.List(ctx, &list, client.InNamespace(c.namespace)) != nil {
			return nil
		}
		var found []string
		for i := range list.Items {
			found = append(found, list.Items[i].Spec.Owner+"/"+list.Items[i].Spec.Name)
		}
		return found
	}
}

func (o *tokenOptions) run(ctx context.Context, env *Environment, cluster *cluster, name string) error {
	token, err := o.token(name, env.Now())
	if err != nil {
		return err
	}
	if o.dryRun && o.instance != "" {
		return o.print(env.Out, token)
	}
	if err := cluster.connect(); err != nil {
		return err
	}
	if token.Spec.InstanceRef.Namespace == "" {
		// An instance of another namespace may be hidden from whoever may refer to it.
		instance, err := chooseInstance(ctx, cluster, choose(o.instance, cluster.namespace))
		if err != nil {
			return err
		}
		token.Spec.InstanceRef.Name = instance.Name
	}
	if o.dryRun {
		return o.print(env.Out, token)
	}
	token.Namespace = cluster.namespace
	if err := cluster.Create(ctx, token); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("there is a PackagesToken %s already in the namespace %s: log in with it, or choose another name", name, cluster.namespace)
		}
		return cluster.explain("making the PackagesToken "+name, err)
	}
	if o.timeout > 0 {
		if err := awaitReady(ctx, cluster, token, o.timeout); err != nil {
			return err
		}
	}
	return o.report(ctx, env, cluster, token)
}

// token is the object that the flags describe.
func (o *tokenOptions) token(name string, now time.Time) (*v1alpha1.PackagesToken, error) {
	if err := checkOutput(o.output); err != nil {
		return nil, err
	}
	if o.show && (o.output != "" || o.dryRun || o.timeout <= 0) {
		return nil, errors.New("--show prints the value alone once it is there: leave out --output, --dry-run and --timeout 0")
	}
	if o.dryRun && o.output != "" {
		return nil, errors.New("--dry-run prints YAML: leave out --output")
	}
	token := &v1alpha1.PackagesToken{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef:  instanceReference(o.instance),
			User:         o.user,
			Repositories: o.repositories,
			Secret:       &v1alpha1.TokenSecret{Name: o.secret, Type: v1alpha1.TokenSecretType(o.secretType)},
		},
	}
	if o.user == "" {
		token.Spec.User = name
	}
	if o.secret == "" {
		token.Spec.Secret.Name = name + "-token"
	}
	for _, scope := range o.scopes {
		token.Spec.Scopes = append(token.Spec.Scopes, v1alpha1.Scope(scope))
	}
	if o.expires != "" {
		instant, err := time.Parse(time.RFC3339, o.expires)
		if err != nil {
			after, durationErr := time.ParseDuration(o.expires)
			if durationErr != nil {
				return nil, fmt.Errorf("--expires is %q: write an instant such as 2027-01-01T00:00:00Z, or a time from now such as 720h", o.expires)
			}
			instant = now.Add(after)
		}
		if !instant.After(now) {
			return nil, fmt.Errorf("--expires is %q, which is not in the future", o.expires)
		}
		token.Spec.ExpiresAt = &metav1.Time{Time: instant.UTC().Truncate(time.Second)}
	}
	switch {
	case o.rotate != 0:
		token.Spec.Rotation = &v1alpha1.TokenRotation{Interval: metav1.Duration{Duration: o.rotate}, Overlap: metav1.Duration{Duration: o.overlap}}
	case o.overlap != 0:
		return nil, errors.New("--overlap is of no use without --rotate")
	}
	return token, nil
}

// instanceReference is to an instance that a person names.
func instanceReference(text string) v1alpha1.InstanceReference {
	which := choose(text, "")
	return v1alpha1.InstanceReference{Namespace: which.namespace, Name: which.name}
}

// print writes what a person would keep in Git: no status, and no namespace that
// was not asked for.
func (o *tokenOptions) print(w io.Writer, token *v1alpha1.PackagesToken) error {
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "PackagesToken",
		"metadata": map[string]any{"name": token.Name},
		"spec":     token.Spec,
	})
	if err != nil {
		return fmt.Errorf("writing the object: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// awaitReady waits until the registry knows a token.
func awaitReady(parent context.Context, cluster *cluster, token *v1alpha1.PackagesToken, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	last := "the operator has not looked at it: see whether it runs and serves this namespace"
	for {
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(token), token); err != nil {
			if ctx.Err() == nil {
				return cluster.explain("waiting for the PackagesToken "+token.Name, err)
			}
		} else if ready := meta.FindStatusCondition(token.Status.Conditions, v1alpha1.ConditionReady); ready != nil && token.Status.ObservedGeneration == token.Generation {
			if ready.Status == metav1.ConditionTrue {
				return nil
			}
			last = ready.Reason + ": " + ready.Message
			if meta.IsStatusConditionTrue(token.Status.Conditions, v1alpha1.ConditionStalled) {
				return fmt.Errorf("the PackagesToken %s was made, and does not work: %s", token.Name, last)
			}
		}
		select {
		case <-ctx.Done():
			if parent.Err() != nil {
				return fmt.Errorf("the PackagesToken %s was made, and was not waited for: %w", token.Name, parent.Err())
			}
			return fmt.Errorf("the PackagesToken %s was made, and does not work after %s: %s", token.Name, timeout, last)
		case <-time.After(lookInterval):
		}
	}
}

// made is what token create tells a program.
type made struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	User      string `json:"user"`
	Secret    string `json:"secret"`
}

func (o *tokenOptions) report(ctx context.Context, env *Environment, cluster *cluster, token *v1alpha1.PackagesToken) error {
	result := made{token.Namespace, token.Name, token.Spec.User, token.Spec.Secret.Name}
	text := func(w io.Writer) error {
		state := "works"
		if o.timeout <= 0 {
			state = "is made"
		}
		_, err := fmt.Fprintf(w, "The PackagesToken %s %s: its value is the key %s of the Secret %s in the namespace %s.\nLog docker in with it: kubectl packages login %s --namespace %s\n",
			result.Name, state, v1alpha1.TokenKeyPassword, result.Secret, result.Namespace, result.Name, result.Namespace)
		return err
	}
	if !o.show {
		return show(env.Out, o.output, result, text)
	}
	login, err := readLogin(ctx, cluster, token)
	if err != nil {
		return err
	}
	if err := text(env.Err); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Out, login.Password)
	return err
}
