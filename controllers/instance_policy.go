// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	apiac "github.com/packages-operator/packages-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

// accept decides whether the instance has its hosts. One that has not has no
// effect: nothing is made for it, and what was made before goes on as it was told,
// without anything that leads clients to it.
func (r *instanceReconciler) accept(ctx context.Context, s *instanceScope) error {
	s.hosts = compile.HostsOf(&s.instance.Spec)
	var all v1alpha1.PackagesInstanceList
	if err := r.cached.List(ctx, &all); err != nil {
		return fmt.Errorf("listing instances: %w", err)
	}
	contenders := make([]*v1alpha1.PackagesInstance, 0, len(all.Items))
	candidate := s.instance
	for i := range all.Items {
		contender := incumbency(&all.Items[i])
		if contender.UID == s.instance.UID {
			candidate = contender
		}
		contenders = append(contenders, contender)
	}
	holder, message := compile.HostConflict(candidate, contenders)
	if holder == nil {
		s.conclusion.accepted = &acceptance{true, v1alpha1.ReasonAccepted, noConflict(r.namespaces)}
		return nil
	}
	s.conclusion.accepted = &acceptance{false, v1alpha1.ReasonHostConflict, message}
	if err := r.withdraw(ctx, s); err != nil {
		return err
	}
	if err := r.publishUnaccepted(ctx, s); err != nil {
		return err
	}
	return stalled(v1alpha1.ReasonHostConflict, message)
}

// noConflict says how far an operator of some namespaces, or of all for none, can
// tell that hosts are nobody else's.
func noConflict(namespaces []string) string {
	switch len(namespaces) {
	case 0:
		return "no other instance has these hosts"
	case 1:
		return fmt.Sprintf("no other instance in the namespace %s has these hosts; the operator sees no other namespace", namespaces[0])
	}
	sorted := slices.Sorted(slices.Values(namespaces))
	last := len(sorted) - 1
	return fmt.Sprintf("no other instance in the namespaces %s and %s has these hosts; the operator sees no other namespace",
		strings.Join(sorted[:last], ", "), sorted[last])
}

// publishUnaccepted tells what belongs to the instance that it has no effect.
func (r *instanceReconciler) publishUnaccepted(ctx context.Context, s *instanceScope) error {
	input, err := r.load(ctx, s.instance)
	if err != nil {
		return err
	}
	pvc, err := find[corev1.PersistentVolumeClaim](ctx, r.writer, s.claim, "PersistentVolumeClaim",
		types.NamespacedName{Namespace: s.instance.Namespace, Name: desired.DataName(s.instance.Name)})
	if err != nil && !isForeign(err) {
		return err
	}
	r.verdicts.publish(client.ObjectKeyFromObject(s.instance), compiled{
		uid: s.instance.UID, generation: s.instance.Generation, dataless: pvc == nil,
		subjects: subjectsOf(input, nil),
	})
	return nil
}

// incumbency returns the instance without its Accepted condition if that speaks of
// other hosts than the spec does now: having had one host is no right to another.
func incumbency(instance *v1alpha1.PackagesInstance) *v1alpha1.PackagesInstance {
	accepted := meta.FindStatusCondition(instance.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted == nil || accepted.ObservedGeneration == instance.Generation {
		return instance
	}
	if docker := instance.Status.Endpoints.Docker; docker != nil && docker.Host == compile.HostsOf(&instance.Spec).Docker {
		return instance
	}
	instance = instance.DeepCopy()
	meta.RemoveStatusCondition(&instance.Status.Conditions, v1alpha1.ConditionAccepted)
	return instance
}

// identify finds the identity of the data: that of the instance which the volume
// was made for, even if this one is a later one of the same name.
func (r *instanceReconciler) identify(ctx context.Context, s *instanceScope) error {
	namespace, name := s.instance.Namespace, s.instance.Name
	pvc, err := find[corev1.PersistentVolumeClaim](ctx, r.writer, s.claim, "PersistentVolumeClaim",
		types.NamespacedName{Namespace: namespace, Name: desired.DataName(name)})
	if err != nil {
		return s.storageFinding(err)
	}
	s.volume = pvc
	var statefulSet appsv1.StatefulSet
	err = r.cached.Get(ctx, types.NamespacedName{Namespace: namespace, Name: desired.RegistryName(name)}, &statefulSet)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the StatefulSet: %w", err)
	}
	s.dataUID = s.instance.UID
	switch {
	case pvc != nil && pvc.Annotations[desired.AnnotationDataUID] != "":
		s.dataUID = types.UID(pvc.Annotations[desired.AnnotationDataUID])
	case s.claim.holds(&statefulSet) && statefulSet.Annotations[desired.AnnotationDataUID] != "":
		// Somebody took the annotation off the claim.
		s.dataUID = types.UID(statefulSet.Annotations[desired.AnnotationDataUID])
	}
	return nil
}

// applyPolicy compiles what is declared for the instance and hands it to the pods.
func (r *instanceReconciler) applyPolicy(ctx context.Context, s *instanceScope) error {
	input, err := r.load(ctx, s.instance)
	if err != nil {
		return err
	}
	if s.issuerAfter, err = r.admitWorkloads(ctx, &input); err != nil {
		return err
	}
	input.Instance = s.instance.DeepCopy()
	input.Instance.UID = s.dataUID
	result := compile.Compile(input)
	shards, revision, err := policy.Split(result.Policy)
	if err != nil {
		return stalled(v1alpha1.ReasonPolicyNotServed, "the policy cannot be handed to the registry: "+err.Error())
	}
	if err := r.applyShards(ctx, s, shards); err != nil {
		return s.objectFinding(err)
	}
	s.revision = revision
	for _, purge := range result.Policy.Purges {
		s.purges = append(s.purges, purge.ID)
	}
	r.verdicts.publish(client.ObjectKeyFromObject(s.instance), compiled{
		uid: s.instance.UID, generation: s.instance.Generation, accepted: true, revision: revision,
		subjects: subjectsOf(input, result.Problems),
	})
	return nil
}

// applyShards writes the parts before the head that names them, so that a pod
// finds what the head speaks of, and removes parts that no head names anymore.
func (r *instanceReconciler) applyShards(ctx context.Context, s *instanceScope, shards []policy.Shard) error {
	for i := len(shards) - 1; i >= 0; i-- {
		want := desired.PackagesPolicy(s.instance, shards[i])
		if err := ensure[v1alpha1.PackagesPolicy](ctx, r.writer, s.claim, want, apiac.ExtractPackagesPolicy); err != nil {
			return err
		}
	}
	var existing v1alpha1.PackagesPolicyList
	if err := r.cached.List(ctx, &existing, client.InNamespace(s.instance.Namespace),
		client.MatchingLabels{v1alpha1.LabelInstance: s.instance.Name}); err != nil {
		return fmt.Errorf("listing policies: %w", err)
	}
	wanted := map[string]bool{}
	for _, shard := range shards {
		wanted[desired.PolicyName(s.instance.Name, shard.Index)] = true
	}
	for i := range existing.Items {
		if key := client.ObjectKeyFromObject(&existing.Items[i]); !wanted[key.Name] {
			if err := remove[v1alpha1.PackagesPolicy](ctx, r.writer, s.claim, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads what is declared for the instance, in its namespace and in those that it
// allows, and the values that stand for the tokens.
func (r *instanceReconciler) load(ctx context.Context, instance *v1alpha1.PackagesInstance) (compile.Input, error) {
	var organizations v1alpha1.PackagesOrganizationList
	var repositories v1alpha1.PackagesRepositoryList
	var tokens v1alpha1.PackagesTokenList
	for what, list := range map[string]client.ObjectList{"organizations": &organizations, "repositories": &repositories, "tokens": &tokens} {
		if err := r.cached.List(ctx, list, client.MatchingFields{indexInstance: client.ObjectKeyFromObject(instance).String()}); err != nil {
			return compile.Input{}, fmt.Errorf("listing %s: %w", what, err)
		}
	}
	namespaces := allowedNamespaces{instance: instance, labels: r.labels, known: map[string]map[string]string{}, allowed: map[string]bool{}}
	if err := errors.Join(
		retain(ctx, &namespaces, &organizations.Items),
		retain(ctx, &namespaces, &repositories.Items),
		retain(ctx, &namespaces, &tokens.Items),
	); err != nil {
		return compile.Input{}, err
	}
	inputs := make([]compile.Token, 0, len(tokens.Items))
	for i := range tokens.Items {
		token := &tokens.Items[i]
		input := compile.Token{Object: token}
		var err error
		input.Credentials, err = r.credentials(ctx, token)
		// The token's controller says why there is none; here it has no value.
		if f := (*finding)(nil); err != nil && !errors.As(err, &f) {
			return compile.Input{}, err
		}
		inputs = append(inputs, input)
	}
	return compile.Input{
		Instance: instance, Organizations: organizations.Items, Repositories: repositories.Items, Tokens: inputs,
		Namespaces: namespaces.known,
	}, nil
}

// allowedNamespaces finds out which namespaces may refer to an instance.
type allowedNamespaces struct {
	instance *v1alpha1.PackagesInstance
	labels   *namespaceLabels
	// known labels by namespace.
	known   map[string]map[string]string
	allowed map[string]bool
}

func (a *allowedNamespaces) allows(ctx context.Context, namespace string) (bool, error) {
	if allowed, known := a.allowed[namespace]; known {
		return allowed, nil
	}
	labels, err := a.labels.of(ctx, namespace)
	if err != nil {
		return false, err
	}
	a.allowed[namespace] = compile.AllowanceOf(a.instance, namespace, labels).Any()
	if a.allowed[namespace] && labels != nil {
		a.known[namespace] = labels
	}
	return a.allowed[namespace], nil
}

// retain keeps of a list the objects of namespaces that may refer to the instance.
// The others, of which there may be any number, cost nothing more; their controllers
// say why they have no effect.
func retain[T any, O interface {
	*T
	client.Object
}](ctx context.Context, namespaces *allowedNamespaces, objects *[]T) error {
	var failure error
	*objects = slices.DeleteFunc(*objects, func(object T) bool {
		allowed, err := namespaces.allows(ctx, O(&object).GetNamespace())
		failure = errors.Join(failure, err)
		return !allowed
	})
	return failure
}

// credentials are the values that stand for a token now.
func (r *instanceReconciler) credentials(ctx context.Context, token *v1alpha1.PackagesToken) ([]compile.Credential, error) {
	if token.Spec.Secret == nil {
		value, err := r.sources.value(ctx, token)
		if value == nil || err != nil {
			return nil, err
		}
		return []compile.Credential{{Hash: value.hash, ID: value.id}}, nil
	}
	// A Secret that lost its labels still holds the value until they are back, and is
	// not in the cache.
	secret, err := find[corev1.Secret](ctx, r.writer, tokenClaim(token), "Secret",
		types.NamespacedName{Namespace: token.Namespace, Name: token.Spec.Secret.Name})
	if isForeign(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	record, ok := recordOf(token, secret)
	if !ok {
		return nil, nil
	}
	return credentialsOf(record), nil
}

// subjectsOf pairs what went into a compile with what came out of it.
func subjectsOf(input compile.Input, problems []compile.Problem) map[kind][]subject {
	type name struct{ kind, namespace, name string }
	problemOf := make(map[name]*compile.Problem, len(problems))
	for i, problem := range problems {
		problemOf[name{problem.Kind, problem.Namespace, problem.Name}] = &problems[i]
	}
	subjects := map[kind][]subject{}
	for i := range input.Organizations {
		object := &input.Organizations[i]
		subjects[kindOrganization] = append(subjects[kindOrganization], subject{
			key: client.ObjectKeyFromObject(object), uid: object.UID, version: organizationVersion(object),
			problem: problemOf[name{compile.KindOrganization, object.Namespace, object.Name}],
		})
	}
	for i := range input.Repositories {
		object := &input.Repositories[i]
		subjects[kindRepository] = append(subjects[kindRepository], subject{
			key: client.ObjectKeyFromObject(object), uid: object.UID, version: repositoryVersion(object),
			problem: problemOf[name{compile.KindRepository, object.Namespace, object.Name}],
		})
	}
	for _, token := range input.Tokens {
		subjects[kindToken] = append(subjects[kindToken], subject{
			key: client.ObjectKeyFromObject(token.Object), uid: token.Object.UID, version: tokenVersion(token.Object, token.Credentials),
			problem: problemOf[name{compile.KindToken, token.Object.Namespace, token.Object.Name}],
		})
	}
	return subjects
}

// organizationVersion, repositoryVersion and tokenVersion change with whatever the
// policy takes from the object.
func organizationVersion(object *v1alpha1.PackagesOrganization) string {
	return strconv.FormatInt(object.Generation, 10)
}

func repositoryVersion(object *v1alpha1.PackagesRepository) string {
	return strconv.FormatInt(object.Generation, 10)
}

func tokenVersion(object *v1alpha1.PackagesToken, credentials []compile.Credential) string {
	version := strconv.FormatInt(object.Generation, 10)
	for _, c := range credentials {
		version += " " + c.ID
	}
	return version
}
