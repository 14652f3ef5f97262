// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// interval is how often an object is looked at that is not ready.
const interval = time.Second

// Target is an instance and a token of it, in a cluster.
type Target struct {
	Namespace, Instance, Token string
	// Repository is OWNER/REPOSITORY; if it is empty, the first that the token is
	// narrowed to.
	Repository string
	// ViaService goes to the instance's Service rather than to its URL.
	ViaService bool
	// Password of the token; if it is empty, the token's Secret is read.
	Password string
}

// Find waits until the instance and the token are ready, and returns the registry.
// If ctx ends before that, the error says what they wait for.
func (t Target) Find(ctx context.Context, cluster client.Reader, report func(string)) (*Registry, error) {
	instance := &v1alpha1.PackagesInstance{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Instance}}
	token := &v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Token}}
	for _, wanted := range []struct {
		kind       string
		object     client.Object
		conditions *[]metav1.Condition
	}{
		{"PackagesInstance", instance, &instance.Status.Conditions},
		{"PackagesToken", token, &token.Status.Conditions},
	} {
		if err := waitReady(ctx, cluster, wanted.kind, wanted.object, wanted.conditions); err != nil {
			return nil, err
		}
		report("the " + wanted.kind + " " + wanted.object.GetName() + " is ready")
	}
	if instance.Status.Endpoints.Docker == nil {
		return nil, fmt.Errorf("the PackagesInstance %s serves no docker: spec.docker.support is %s", t.Instance, instance.Spec.Docker.Support)
	}
	if ref := token.Spec.InstanceRef; ref.Name != t.Instance || ref.Namespace != "" && ref.Namespace != t.Namespace {
		return nil, fmt.Errorf("the PackagesToken %s is of the instance %s, and not of %s", t.Token, token.Spec.InstanceRef.Name, t.Instance)
	}
	registry := &Registry{URL: instance.Status.Endpoints.Docker.URL, User: token.Spec.User, Password: t.Password, Repository: t.Repository, Report: report}
	if registry.Repository == "" {
		for _, pattern := range token.Spec.Repositories {
			if !strings.HasSuffix(pattern, "/*") {
				registry.Repository = pattern
				break
			}
		}
		if registry.Repository == "" {
			return nil, fmt.Errorf("the PackagesToken %s is not narrowed to a repository: name one with --repository OWNER/REPOSITORY", t.Token)
		}
	}
	if registry.Password == "" {
		var err error
		if registry.Password, err = passwordOf(ctx, cluster, token); err != nil {
			return nil, err
		}
	}
	if t.ViaService {
		var service corev1.Service
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: desired.RegistryName(t.Instance)}, &service); err != nil {
			return nil, fmt.Errorf("finding the instance's Service: %w", err)
		}
		registry.Address = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(desired.ServicePort))
	}
	return registry, nil
}

// dialTimeout is short, since a connection that is begun before a node leads a Service
// anywhere may stay without an answer for good.
const dialTimeout = 2 * time.Second

// Reach waits until something listens at Address. Nodes learn of a Service's pods a
// moment after the instance is ready.
func (r *Registry) Reach(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	dialer := &net.Dialer{Timeout: dialTimeout}
	for {
		connection, err := dialer.DialContext(ctx, "tcp", r.Address)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the instance's Service cannot be reached: %w", err)
		case <-ticker.C:
		}
	}
}

// waitReady fills object, and conditions with it, as soon as it is ready.
func waitReady(ctx context.Context, cluster client.Reader, kind string, object client.Object, conditions *[]metav1.Condition) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := cluster.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err == nil {
			ready := meta.FindStatusCondition(*conditions, v1alpha1.ConditionReady)
			switch {
			case ready == nil || ready.ObservedGeneration != object.GetGeneration():
				err = errors.New("the operator has not looked at it: is it running, and does it serve this namespace?")
			case ready.Status == metav1.ConditionTrue:
				return nil
			default:
				err = fmt.Errorf("%s: %s", ready.Reason, ready.Message)
			}
		} else if apierrors.IsForbidden(err) {
			return fmt.Errorf("the %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the %s %s/%s is not ready: %w", kind, object.GetNamespace(), object.GetName(), err)
		case <-ticker.C:
		}
	}
}

// passwordOf reads the value of a token from the Secret that has it.
func passwordOf(ctx context.Context, cluster client.Reader, token *v1alpha1.PackagesToken) (string, error) {
	var name, key string
	switch {
	case token.Spec.Secret != nil:
		name, key = token.Spec.Secret.Name, "password"
	case token.Spec.Source != nil:
		name, key = token.Spec.Source.SecretRef.Name, token.Spec.Source.SecretRef.Key
	}
	var secret corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: token.Namespace, Name: name}, &secret); err != nil {
		return "", fmt.Errorf("reading the token's value: %w", err)
	}
	value := secret.Data[key]
	if len(value) == 0 {
		return "", fmt.Errorf("the Secret %s has no %s", name, key)
	}
	return string(value), nil
}
