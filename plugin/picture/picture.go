// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// Objects are what the cluster has, in any order.
type Objects struct {
	Instances     []v1alpha1.PackagesInstance
	Organizations []v1alpha1.PackagesOrganization
	Repositories  []v1alpha1.PackagesRepository
	Tokens        []v1alpha1.PackagesToken

	// What was made for the instances, with the label that names its instance.
	Claims       []corev1.PersistentVolumeClaim
	StatefulSets []appsv1.StatefulSet
	Pods         []corev1.Pod
	Ingresses    []networkingv1.Ingress

	// Unseen are the resources that whoever asks may not list.
	Unseen []string
}

// Picture is what is there, and what is wrong with it.
type Picture struct {
	// Well is whether nothing is wrong.
	Well      bool       `json:"well"`
	Instances []Instance `json:"instances"`
	// Problems are what is wrong with anything in the picture, the instances first.
	Problems []Problem `json:"problems"`
	// Unseen are resources of which the picture shows nothing, because whoever asked
	// may not list them.
	Unseen []string `json:"unseen,omitempty"`
}

// Instance is a PackagesInstance with what belongs to it.
type Instance struct {
	Namespace string               `json:"namespace"`
	Name      string               `json:"name"`
	State     State                `json:"state"`
	Docker    *v1alpha1.Endpoint   `json:"docker,omitempty"`
	Support   v1alpha1.SupportMode `json:"support"`
	// PolicyRevision is the policy that the pods were last told.
	PolicyRevision string         `json:"policyRevision,omitempty"`
	Version        string         `json:"version,omitempty"`
	Certificate    *Certificate   `json:"certificate,omitempty"`
	Storage        []Volume       `json:"storage,omitempty"`
	Pods           *Pods          `json:"pods,omitempty"`
	Ingress        *Ingress       `json:"ingress,omitempty"`
	Organizations  []Organization `json:"organizations"`
	Repositories   []Repository   `json:"repositories"`
	Tokens         []Token        `json:"tokens"`
}

// State is how an object is.
type State struct {
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Certificate is what clients are shown.
type Certificate struct {
	Secret string `json:"secret"`
	State
}

// Volume is a claim for storage.
type Volume struct {
	Claim        string `json:"claim"`
	StorageClass string `json:"storageClass,omitempty"`
	Phase        string `json:"phase"`
	// Capacity is what the volume has, or what is asked of it while there is none.
	Capacity string `json:"capacity"`
}

// Pods are how many there are.
type Pods struct {
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`
	// Waiting are the reasons of containers that do not run, such as ImagePullBackOff.
	Waiting []string `json:"waiting,omitempty"`
}

// Ingress is where clients come in.
type Ingress struct {
	Class     string   `json:"class,omitempty"`
	Hosts     []string `json:"hosts"`
	Addresses []string `json:"addresses,omitempty"`
}

// Organization is a PackagesOrganization.
type Organization struct {
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	Name      string `json:"name"`
	Owners    int    `json:"owners"`
	Members   int    `json:"members"`
	Teams     int    `json:"teams"`
	State     State  `json:"state"`
}

// Repository is a PackagesRepository.
type Repository struct {
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	// Name is OWNER/REPOSITORY.
	Name       string              `json:"name"`
	Visibility v1alpha1.Visibility `json:"visibility"`
	State      State               `json:"state"`
}

// Token is a PackagesToken, without its value.
type Token struct {
	Namespace    string           `json:"namespace"`
	Object       string           `json:"object"`
	User         string           `json:"user"`
	Scopes       []v1alpha1.Scope `json:"scopes"`
	Repositories []string         `json:"repositories,omitempty"`
	Secret       string           `json:"secret"`
	ExpiresAt    *metav1.Time     `json:"expiresAt,omitempty"`
	State        State            `json:"state"`
}

// Problem is something that is wrong, in words that say what to do.
type Problem struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

// Of is the picture of all objects, or of one instance with what refers to it.
func Of(objects Objects, instance string) Picture {
	p := Picture{Instances: []Instance{}, Problems: []Problem{}, Unseen: objects.Unseen}
	known := map[objectKey]int{}
	for i := range objects.Instances {
		o := &objects.Instances[i]
		if instance != "" && o.Name != instance {
			continue
		}
		p.Instances = append(p.Instances, instanceOf(o, &objects))
	}
	slices.SortFunc(p.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i, one := range p.Instances {
		known[objectKey{one.Namespace, one.Name}] = i
	}
	// Without an instance to look for, what refers to none that is there counts too.
	wanted := func(ref objectKey) bool {
		_, ok := known[ref]
		return ok || instance == ""
	}
	for _, one := range p.Instances {
		for i := range objects.Instances {
			if o := &objects.Instances[i]; o.Namespace == one.Namespace && o.Name == one.Name {
				p.judge("PackagesInstance", o, o.Status.ObservedGeneration, o.Status.Conditions)
			}
		}
	}
	sortObjects(objects.Organizations)
	for i := range objects.Organizations {
		o := &objects.Organizations[i]
		ref := refOf(o, o.Spec.InstanceRef)
		if !wanted(ref) {
			continue
		}
		p.judge("PackagesOrganization", o, o.Status.ObservedGeneration, o.Status.Conditions)
		if at, ok := known[ref]; ok {
			p.Instances[at].Organizations = append(p.Instances[at].Organizations, Organization{
				Namespace: o.Namespace, Object: o.Name, Name: o.Spec.Name,
				Owners: len(o.Spec.Owners), Members: len(o.Spec.Members), Teams: len(o.Spec.Teams),
				State: stateOf(o, o.Status.ObservedGeneration, o.Status.Conditions),
			})
		}
	}
	sortObjects(objects.Repositories)
	for i := range objects.Repositories {
		o := &objects.Repositories[i]
		ref := refOf(o, o.Spec.InstanceRef)
		if !wanted(ref) {
			continue
		}
		p.judge("PackagesRepository", o, o.Status.ObservedGeneration, o.Status.Conditions)
		if at, ok := known[ref]; ok {
			p.Instances[at].Repositories = append(p.Instances[at].Repositories, Repository{
				Namespace: o.Namespace, Object: o.Name, Name: o.Spec.Owner + "/" + o.Spec.Name, Visibility: o.Spec.Visibility,
				State: stateOf(o, o.Status.ObservedGeneration, o.Status.Conditions),
			})
		}
	}
	sortObjects(objects.Tokens)
	for i := range objects.Tokens {
		o := &objects.Tokens[i]
		ref := refOf(o, o.Spec.InstanceRef)
		if !wanted(ref) {
			continue
		}
		p.judge("PackagesToken", o, o.Status.ObservedGeneration, o.Status.Conditions)
		if at, ok := known[ref]; ok {
			p.Instances[at].Tokens = append(p.Instances[at].Tokens, Token{
				Namespace: o.Namespace, Object: o.Name, User: o.Spec.User, Scopes: o.Spec.Scopes, Repositories: o.Spec.Repositories,
				Secret: secretOf(o), ExpiresAt: o.Spec.ExpiresAt,
				State: stateOf(o, o.Status.ObservedGeneration, o.Status.Conditions),
			})
		}
	}
	p.Well = len(p.Problems) == 0
	return p
}

type objectKey struct{ namespace, name string }

// refOf is the instance that an object refers to.
func refOf(object metav1.Object, ref v1alpha1.InstanceReference) objectKey {
	return objectKey{cmp.Or(ref.Namespace, object.GetNamespace()), ref.Name}
}

func sortObjects[T any, PT interface {
	*T
	metav1.Object
}](objects []T) {
	slices.SortFunc(objects, func(a, b T) int {
		return cmp.Or(cmp.Compare(PT(&a).GetNamespace(), PT(&b).GetNamespace()), cmp.Compare(PT(&a).GetName(), PT(&b).GetName()))
	})
}

func secretOf(token *v1alpha1.PackagesToken) string {
	switch {
	case token.Spec.Secret != nil:
		return token.Spec.Secret.Name
	case token.Spec.Source != nil:
		return token.Spec.Source.SecretRef.Name
	}
	return ""
}

func instanceOf(o *v1alpha1.PackagesInstance, objects *Objects) Instance {
	made := func(object metav1.Object) bool {
		return object.GetNamespace() == o.Namespace && object.GetLabels()[v1alpha1.LabelInstance] == o.Name
	}
	one := Instance{
		Namespace: o.Namespace, Name: o.Name,
		State:   stateOf(o, o.Status.ObservedGeneration, o.Status.Conditions),
		Docker:  o.Status.Endpoints.Docker,
		Support: o.Spec.Docker.Support, PolicyRevision: o.Status.PolicyRevision, Version: o.Status.Version,
		Organizations: []Organization{}, Repositories: []Repository{}, Tokens: []Token{},
	}
	if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionCertificateReady); c != nil {
		one.Certificate = &Certificate{State: State{c.Status == metav1.ConditionTrue, c.Reason, c.Message}}
		if i := o.Spec.Exposure.Ingress; i != nil && i.TLS != nil {
			one.Certificate.Secret = i.TLS.SecretName
		}
	}
	for i := range objects.Claims {
		if claim := &objects.Claims[i]; made(claim) {
			one.Storage = append(one.Storage, volumeOf(claim))
		}
	}
	for i := range objects.StatefulSets {
		if set := &objects.StatefulSets[i]; made(set) {
			one.Pods = &Pods{Ready: set.Status.ReadyReplicas, Wanted: 1}
			if set.Spec.Replicas != nil {
				one.Pods.Wanted = *set.Spec.Replicas
			}
		}
	}
	for i := range objects.Pods {
		pod := &objects.Pods[i]
		if one.Pods == nil || !made(pod) {
			continue
		}
		for _, container := range pod.Status.ContainerStatuses {
			if w := container.State.Waiting; w != nil && w.Reason != "" {
				one.Pods.Waiting = append(one.Pods.Waiting, w.Reason)
			}
		}
	}
	for i := range objects.Ingresses {
		if ingress := &objects.Ingresses[i]; made(ingress) {
			one.Ingress = ingressOf(ingress)
		}
	}
	return one
}

func volumeOf(claim *corev1.PersistentVolumeClaim) Volume {
	capacity, ok := claim.Status.Capacity[corev1.ResourceStorage]
	if !ok {
		capacity = claim.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	v := Volume{Claim: claim.Name, Phase: string(claim.Status.Phase), Capacity: capacity.String()}
	if claim.Spec.StorageClassName != nil {
		v.StorageClass = *claim.Spec.StorageClassName
	}
	return v
}

func ingressOf(ingress *networkingv1.Ingress) *Ingress {
	one := &Ingress{Hosts: []string{}}
	if ingress.Spec.IngressClassName != nil {
		one.Class = *ingress.Spec.IngressClassName
	}
	for _, rule := range ingress.Spec.Rules {
		one.Hosts = append(one.Hosts, rule.Host)
	}
	for _, at := range ingress.Status.LoadBalancer.Ingress {
		one.Addresses = append(one.Addresses, cmp.Or(at.Hostname, at.IP))
	}
	return one
}

// unobserved is the state of an object whose present form the operator has not seen.
func unobserved() State {
	return State{Reason: "NotObserved", Message: "the operator has not looked at it: wait, or see whether the operator runs and serves this namespace"}
}

func stateOf(object metav1.Object, observed int64, conditions []metav1.Condition) State {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || observed != object.GetGeneration() {
		return unobserved()
	}
	return State{ready.Status == metav1.ConditionTrue, ready.Reason, ready.Message}
}

// judge adds what is wrong with an object: why it is not ready, and every other
// condition that is False.
func (p *Picture) judge(kind string, object metav1.Object, observed int64, conditions []metav1.Condition) {
	var found []State
	state := stateOf(object, observed, conditions)
	if !state.Ready {
		found = append(found, state)
	}
	if state != unobserved() {
		for _, c := range conditions {
			if c.Status == metav1.ConditionFalse && c.Type != v1alpha1.ConditionReady &&
				!slices.ContainsFunc(found, func(s State) bool { return s.Reason == c.Reason }) {
				found = append(found, State{Reason: c.Reason, Message: c.Message})
			}
		}
	}
	for _, s := range found {
		p.Problems = append(p.Problems, Problem{
			Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Reason: s.Reason, Message: s.Message,
		})
	}
}
