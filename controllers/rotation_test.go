// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
)

// The manager's clock is everybody's, so these run alone.
var _ = Describe("A PackagesToken that rotates", Serial, func() {
	const interval, overlap = 24 * time.Hour, time.Hour
	var namespace string
	var token *v1alpha1.PackagesToken

	BeforeEach(func(ctx SpecContext) {
		namespace, token = newNamespace(ctx), newToken("", "monalisa")
		token.Namespace = namespace
		token.Spec.Rotation = &v1alpha1.TokenRotation{Interval: metav1.Duration{Duration: interval}, Overlap: metav1.Duration{Duration: overlap}}
		DeferCleanup(func() { clock.ahead.Store(0) })
	})

	// start makes the token and returns its first value.
	start := func(ctx SpecContext) string {
		GinkgoHelper()
		create(ctx, newInstance(namespace), token)
		conditions(ctx, token).Should(beReady())
		return string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])
	}
	// pass lets time go by. A timer of the manager knows nothing of it, so the
	// Secret is touched.
	touches := 0
	pass := func(ctx SpecContext, by time.Duration) {
		GinkgoHelper()
		clock.forward(by)
		touches++
		change(ctx, get[corev1.Secret](ctx, namespace, "monalisa-token"), func(s *corev1.Secret) {
			s.Labels["example.com/touched"] = strconv.Itoa(touches)
		})
	}
	// next waits for another value than the last one.
	next := func(ctx SpecContext, last string) string {
		GinkgoHelper()
		var value string
		Eventually(func(g Gomega) {
			var secret corev1.Secret
			g.Expect(admin.Get(ctx, keyOf(namespace, "monalisa-token"), &secret)).To(Succeed())
			value = string(secret.Data["password"])
			g.Expect(value).NotTo(Equal(last))
		}).Should(Succeed())
		Expect(credential.Check(value)).To(Succeed())
		return value
	}
	ids := func(values ...string) []any {
		var matchers []any
		for _, value := range values {
			matchers = append(matchers, HaveField("ID", credential.ID(value)))
		}
		return matchers
	}
	credentials := func(ctx SpecContext) func() []v1alpha1.TokenCredential {
		return func() []v1alpha1.TokenCredential {
			if conditionsOf(ctx, token) == nil {
				return nil
			}
			return token.Status.Credentials
		}
	}

	It("keeps its value until the interval has passed", func(ctx SpecContext) {
		first := start(ctx)
		pass(ctx, interval-time.Minute)
		settled(namespace)
		Expect(string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])).To(Equal(first))
	})

	It("then has another, which the registry knew before it was written, and the one before for the overlap", func(ctx SpecContext) {
		first := start(ctx)
		node.makeDeaf(namespace, true)
		pass(ctx, interval)
		var announced string
		Eventually(func() string {
			announced = get[corev1.Secret](ctx, namespace, "monalisa-token").Annotations[v1alpha1.AnnotationNextCredentialID]
			return announced
		}).ShouldNot(BeEmpty())
		settled(namespace)
		Expect(string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])).To(Equal(first),
			"nobody reads a value that the pods do not accept yet")
		Expect(conditionsOf(ctx, token)).To(beReady())

		node.makeDeaf(namespace, false)
		second := next(ctx, first)
		Expect(credential.ID(second)).To(Equal(announced))
		Expect(accepts(ctx, namespace, second)()).To(BeTrue())
		Expect(accepts(ctx, namespace, first)()).To(BeTrue())
		Eventually(credentials(ctx)).Should(HaveExactElements(ids(second, first)...))
		Expect(token.Status.Credentials[0].NotAfter).To(BeNil())
		Expect(token.Status.Credentials[1].NotAfter.Time).To(BeTemporally("~", clock.now().Add(overlap), time.Minute))
		Expect(conditionsOf(ctx, token)).To(beReady())
		found, _ := policyOf(ctx, namespace).CredentialByValue(first)
		Expect(found.NotAfter).To(HaveValue(BeTemporally("==", token.Status.Credentials[1].NotAfter.Time)), "the registry ends it by its own clock")
		Eventually(eventsAbout(ctx, token)).Should(ContainElement(HaveField("Reason", "Rotated")))

		pass(ctx, overlap)
		Eventually(accepts(ctx, namespace, first)).Should(BeFalse())
		Eventually(credentials(ctx)).Should(HaveExactElements(ids(second)...))
		Expect(accepts(ctx, namespace, second)()).To(BeTrue())
	})

	It("is ready all the time", func(ctx SpecContext) {
		value := start(ctx)
		ready := metav1.Time{}
		for _, c := range token.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				ready = c.LastTransitionTime
			}
		}
		for range 3 {
			pass(ctx, interval)
			value = next(ctx, value)
			pass(ctx, overlap)
			Eventually(credentials(ctx)).Should(HaveExactElements(ids(value)...))
		}
		Expect(conditionsOf(ctx, token)).To(And(beReady(),
			ContainElement(And(HaveField("Type", v1alpha1.ConditionReady), HaveField("LastTransitionTime", ready)))))
	})

	It("loses neither value with its status", func(ctx SpecContext) {
		first := start(ctx)
		pass(ctx, interval)
		second := next(ctx, first)
		Eventually(credentials(ctx)).Should(HaveExactElements(ids(second, first)...))
		status := token.Status.Credentials
		token.Status = v1alpha1.PackagesTokenStatus{}
		Expect(admin.Status().Update(ctx, token)).To(Succeed())
		conditions(ctx, token).Should(beReady())
		Expect(token.Status.Credentials).To(Equal(status))
		Expect(accepts(ctx, namespace, first)()).To(BeTrue())
		Expect(accepts(ctx, namespace, second)()).To(BeTrue())
	})

	It("stops both values when the newest is altered", func(ctx SpecContext) {
		first := start(ctx)
		pass(ctx, interval)
		second := next(ctx, first)
		change(ctx, get[corev1.Secret](ctx, namespace, "monalisa-token"), func(s *corev1.Secret) { s.Data["password"] = []byte("altered") })
		Eventually(accepts(ctx, namespace, first)).Should(BeFalse())
		Eventually(accepts(ctx, namespace, second)).Should(BeFalse())
		third := next(ctx, "altered")
		Eventually(accepts(ctx, namespace, third)).Should(BeTrue())
		Expect(accepts(ctx, namespace, first)()).To(BeFalse())
		conditions(ctx, token).Should(beReady())
	})

	It("works with a Secret from a backup, and replaces its value, which is overdue", func(ctx SpecContext) {
		first := start(ctx)
		backup := get[corev1.Secret](ctx, namespace, "monalisa-token")
		pass(ctx, interval)
		second := next(ctx, first)
		pass(ctx, overlap)
		Eventually(accepts(ctx, namespace, first)).Should(BeFalse())

		// As a restore does: without what the cluster had set.
		Expect(admin.Delete(ctx, get[corev1.Secret](ctx, namespace, "monalisa-token"))).To(Succeed())
		restored := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: backup.Name, Labels: backup.Labels, Annotations: backup.Annotations, OwnerReferences: backup.OwnerReferences},
			Type:       backup.Type, Data: backup.Data,
		}
		Eventually(func() error {
			// The operator may have made another Secret already.
			_ = admin.Delete(ctx, restored.DeepCopy())
			return admin.Create(ctx, restored.DeepCopy())
		}).Should(Succeed())
		third := next(ctx, first)
		Expect(third).NotTo(Equal(second))
		Eventually(accepts(ctx, namespace, third)).Should(BeTrue())
		Expect(accepts(ctx, namespace, second)()).To(BeFalse(), "the record does not know it")
		conditions(ctx, token).Should(beReady())
	})

	It("starts anew when it is created again", func(ctx SpecContext) {
		first := start(ctx)
		pass(ctx, interval)
		second := next(ctx, first)
		Expect(admin.Delete(ctx, token)).To(Succeed())
		Eventually(accepts(ctx, namespace, second)).Should(BeFalse())
		Expect(accepts(ctx, namespace, first)()).To(BeFalse())
		// No garbage collector runs here.
		Expect(admin.Delete(ctx, get[corev1.Secret](ctx, namespace, "monalisa-token"))).To(Succeed())
		token.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "monalisa"}
		token.Status = v1alpha1.PackagesTokenStatus{}
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		Expect(token.Status.Credentials).To(HaveLen(1))
	})

	It("replaces once when the manager slept through two intervals", func(ctx SpecContext) {
		first := start(ctx)
		stopManager()
		clock.forward(2*interval + time.Minute)
		stopManager = startManager()
		second := next(ctx, first)
		Eventually(credentials(ctx)).Should(HaveExactElements(ids(second, first)...))
		Expect(accepts(ctx, namespace, first)()).To(BeTrue(), "whoever read the Secret has an overlap to read it again")
		settled(namespace)
		Expect(string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])).To(Equal(second))
	})

	It("announces another value after a restart in between", func(ctx SpecContext) {
		first := start(ctx)
		node.makeDeaf(namespace, true)
		pass(ctx, interval)
		annotation := func() string {
			return get[corev1.Secret](ctx, namespace, "monalisa-token").Annotations[v1alpha1.AnnotationNextCredentialID]
		}
		Eventually(annotation).ShouldNot(BeEmpty())
		announced := annotation()
		stopManager()
		node.makeDeaf(namespace, false)
		stopManager = startManager()
		second := next(ctx, first)
		Expect(credential.ID(second)).NotTo(Equal(announced))
		Expect(accepts(ctx, namespace, second)()).To(BeTrue())
		Expect(annotation()).To(BeEmpty())
	})

	It("rotates no more once it has expired", func(ctx SpecContext) {
		end := metav1.NewTime(time.Now().Add(interval - time.Hour).Truncate(time.Second))
		token.Spec.ExpiresAt = &end
		first := start(ctx)
		pass(ctx, interval)
		conditions(ctx, token).Should(beStalled(v1alpha1.ReasonExpired))
		settled(namespace)
		Expect(string(get[corev1.Secret](ctx, namespace, "monalisa-token").Data["password"])).To(Equal(first))
	})

	It("writes nothing between rotations", func(ctx SpecContext) {
		first := start(ctx)
		pass(ctx, interval)
		next(ctx, first)
		since := settled(namespace)
		stopManager()
		stopManager = startManager()
		conditions(ctx, token).Should(beReady())
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(BeEmpty())
	})
})
