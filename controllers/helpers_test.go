// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

// newInstance is an instance acme whose host is its namespace's alone.
func newInstance(namespace string) *v1alpha1.PackagesInstance {
	return &v1alpha1.PackagesInstance{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "acme"},
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname: namespace + ".example.com",
			Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("1Gi")}},
			Exposure: v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressExposure{
				ClassName:   "web",
				Annotations: map[string]string{"web.example.com/body-size": "0"},
				TLS:         &v1alpha1.IngressTLS{SecretName: "acme-tls"},
			}},
		},
	}
}

// newOrganization is octo-org: octocat owns it, hubot and builder belong to it, and
// hubot is in its team platform.
func newOrganization(namespace, name string) *v1alpha1.PackagesOrganization {
	return &v1alpha1.PackagesOrganization{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PackagesOrganizationSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, Name: "octo-org",
			Owners: []string{"octocat"}, Members: []string{"hubot", "builder"},
			Teams: []v1alpha1.OrganizationTeam{{Name: "platform", Members: []string{"hubot"}}},
		},
	}
}

func newRepository(namespace, name string) *v1alpha1.PackagesRepository {
	return &v1alpha1.PackagesRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PackagesRepositorySpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, Owner: "octocat", Name: "octo-app",
			Access: v1alpha1.RepositoryAccess{Users: []v1alpha1.UserAccess{{Name: "monalisa", Role: v1alpha1.RoleWrite}}},
		},
	}
}

func newToken(namespace, name string) *v1alpha1.PackagesToken {
	return &v1alpha1.PackagesToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, User: "monalisa",
			Scopes: []v1alpha1.Scope{v1alpha1.ScopeReadPackages, v1alpha1.ScopeWritePackages},
			Secret: &v1alpha1.TokenSecret{Name: name + "-token", Type: v1alpha1.TokenSecretOpaque},
		},
	}
}

// newBroughtToken is a token whose value is in the key "value" of a Secret.
func newBroughtToken(namespace, name, secret string) *v1alpha1.PackagesToken {
	token := newToken(namespace, name)
	token.Spec.Secret = nil
	token.Spec.Source = &v1alpha1.TokenSource{SecretRef: v1alpha1.SecretKeyReference{Name: secret, Key: "value"}}
	return token
}

func create(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(admin.Create(ctx, object)).To(Succeed())
	}
}

// change reads an object anew, changes it, and tries again on a conflict.
func change[T client.Object](ctx context.Context, object T, mutate func(T)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		mutate(object)
		return admin.Update(ctx, object)
	}).Should(Succeed())
}

// get reads an object of the namespace.
func get[T any, PT interface {
	*T
	client.Object
}](ctx context.Context, namespace, name string) PT {
	GinkgoHelper()
	object := PT(new(T))
	Expect(admin.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object)).To(Succeed())
	return object
}

// conditionsOf reads an object's conditions, once they speak of its generation.
func conditionsOf(ctx context.Context, object client.Object) []metav1.Condition {
	if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return nil
	}
	var conditions []metav1.Condition
	var observed int64
	switch object := object.(type) {
	case *v1alpha1.PackagesInstance:
		conditions, observed = object.Status.Conditions, object.Status.ObservedGeneration
	case *v1alpha1.PackagesOrganization:
		conditions, observed = object.Status.Conditions, object.Status.ObservedGeneration
	case *v1alpha1.PackagesRepository:
		conditions, observed = object.Status.Conditions, object.Status.ObservedGeneration
	case *v1alpha1.PackagesToken:
		conditions, observed = object.Status.Conditions, object.Status.ObservedGeneration
	}
	if observed != object.GetGeneration() {
		return nil
	}
	return conditions
}

// conditions asserts on the conditions of an object, as they become.
func conditions(ctx context.Context, object client.Object) AsyncAssertion {
	GinkgoHelper()
	return Eventually(func() []metav1.Condition { return conditionsOf(ctx, object) })
}

// condition matches conditions that have one of a type, status and reason.
func condition(conditionType string, status metav1.ConditionStatus, reason string) gomegatypes.GomegaMatcher {
	return ContainElement(And(
		HaveField("Type", conditionType), HaveField("Status", status), HaveField("Reason", reason),
	))
}

// beReady matches the conditions of an object that is ready, by kstatus's rules.
func beReady() gomegatypes.GomegaMatcher {
	return And(
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded),
		condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
		Not(ContainElement(HaveField("Type", v1alpha1.ConditionReconciling))),
		Not(ContainElement(HaveField("Type", v1alpha1.ConditionStalled))),
	)
}

// beStalled matches those of one that waits for a person.
func beStalled(reason string) gomegatypes.GomegaMatcher {
	return And(
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason),
		condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason),
		Not(ContainElement(HaveField("Type", v1alpha1.ConditionReconciling))),
	)
}

// beProgressing matches those of one that is being worked on.
func beProgressing(reason string) gomegatypes.GomegaMatcher {
	return And(
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason),
		condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason),
		Not(ContainElement(HaveField("Type", v1alpha1.ConditionStalled))),
	)
}

func messageOf(conditions []metav1.Condition, conditionType string) string {
	if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
		return c.Message
	}
	return ""
}

// policyOf is the policy of the namespace's instance acme, as a registry reads it:
// not while it is half written.
func policyOf(ctx context.Context, namespace string) *policy.Snapshot {
	GinkgoHelper()
	var snapshot *policy.Snapshot
	Eventually(func() error {
		var objects v1alpha1.PackagesPolicyList
		if err := admin.List(ctx, &objects, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelInstance: "acme"}); err != nil {
			return err
		}
		joined, _, err := joinPolicy(objects.Items)
		if err != nil {
			return err
		}
		snapshot, err = policy.NewSnapshot(joined)
		return err
	}).Should(Succeed())
	return snapshot
}

// accepts says whether the registry of the namespace takes a value as a password.
func accepts(ctx context.Context, namespace, value string) func() bool {
	return func() bool {
		_, ok := policyOf(ctx, namespace).CredentialByValue(value)
		return ok
	}
}

// gone succeeds once an object is.
func gone(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Eventually(func() bool {
		return client.IgnoreNotFound(admin.Get(ctx, client.ObjectKeyFromObject(object), object)) == nil &&
			admin.Get(ctx, client.ObjectKeyFromObject(object), object) != nil
	}).Should(BeTrue(), "%T %s is still there", object, object.GetName())
}

// settled waits until the manager has not tried to write in the namespace for two
// seconds, and returns the end of the audit log.
func settled(namespace string) int64 {
	GinkgoHelper()
	var since int64
	Eventually(func() []string {
		since = audit.end()
		time.Sleep(2 * time.Second)
		return audit.writes(since, namespace)
	}).Should(BeEmpty(), "the manager goes on writing")
	return since
}

// eventsAbout are the events that regard an object.
func eventsAbout(ctx context.Context, object client.Object) func() []eventsv1.Event {
	return func() []eventsv1.Event {
		var events eventsv1.EventList
		if err := admin.List(ctx, &events, client.InNamespace(object.GetNamespace())); err != nil {
			return nil
		}
		return slices.DeleteFunc(events.Items, func(e eventsv1.Event) bool { return e.Regarding.UID != object.GetUID() })
	}
}

func keyOf(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// metric is the sum of a metric of the manager over all its labels.
func metric(name string) float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// logBuffer keeps what the manager logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
