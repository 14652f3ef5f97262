// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
)

var _ = Describe("A PackagesToken", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var token *v1alpha1.PackagesToken

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance, token = newInstance(namespace), newToken(namespace, "monalisa")
		create(ctx, instance)
	})

	secret := func(ctx SpecContext) *corev1.Secret {
		return get[corev1.Secret](ctx, namespace, "monalisa-token")
	}
	password := func(ctx SpecContext) string { return string(secret(ctx).Data["password"]) }

	It("mints a value that the registry accepts", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		s := secret(ctx)
		Expect(s.Type).To(Equal(corev1.SecretTypeOpaque))
		Expect(s.Data).To(And(HaveLen(3),
			HaveKeyWithValue("username", []byte("monalisa")),
			HaveKeyWithValue("registry", []byte("docker."+instance.Spec.Hostname)),
		))
		Expect(metav1.IsControlledBy(s, token)).To(BeTrue())
		Expect(s.Labels).To(HaveKeyWithValue(v1alpha1.LabelToken, "monalisa"))
		value := password(ctx)
		Expect(credential.Check(value)).To(Succeed())
		Expect(value).To(HavePrefix(credential.Prefix))
		found, ok := policyOf(ctx, namespace).CredentialByValue(value)
		Expect(ok).To(BeTrue())
		Expect(found.User).To(Equal("monalisa"))
		Expect(token.Status.Credentials).To(ConsistOf(HaveField("ID", credential.ID(value))))
		Expect(s.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationCredentialID, credential.ID(value)))
	})

	It("writes a Secret that pods can pull with", func(ctx SpecContext) {
		token.Spec.Secret.Type = v1alpha1.TokenSecretDockerConfigJSON
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		s := secret(ctx)
		Expect(s.Type).To(Equal(corev1.SecretTypeDockerConfigJson))
		var config struct {
			Auths map[string]struct{ Username, Password string }
		}
		Expect(json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &config)).To(Succeed())
		Expect(config.Auths).To(HaveLen(1))
		auth := config.Auths["docker."+instance.Spec.Hostname]
		Expect(auth.Username).To(Equal("monalisa"))
		Expect(auth.Password).To(Equal(password(ctx)))
	})

	It("waits for its instance", func(ctx SpecContext) {
		token.Spec.InstanceRef.Name = "other"
		create(ctx, token)
		conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonInstanceNotFound))
		Expect(admin.Get(ctx, keyOf(namespace, "monalisa-token"), &corev1.Secret{})).To(Satisfy(isNotFound))
	})

	It("stops working when it is deleted", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		value := password(ctx)
		Expect(admin.Delete(ctx, token)).To(Succeed())
		Eventually(accepts(ctx, namespace, value)).Should(BeFalse())
	})

	DescribeTable("makes another value, and refuses the old one, when its Secret is", func(ctx SpecContext, spoil func(SpecContext, *corev1.Secret)) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		value := password(ctx)
		spoil(ctx, secret(ctx))
		Eventually(accepts(ctx, namespace, value)).Should(BeFalse())
		Eventually(func(g Gomega) {
			var s corev1.Secret
			g.Expect(admin.Get(ctx, keyOf(namespace, "monalisa-token"), &s)).To(Succeed())
			now := string(s.Data["password"])
			g.Expect(now).NotTo(Equal(value))
			g.Expect(credential.Check(now)).To(Succeed())
			g.Expect(accepts(ctx, namespace, now)()).To(BeTrue())
		}).Should(Succeed())
		conditions(ctx, token).Should(beReady())
	},
		Entry("deleted", func(ctx SpecContext, s *corev1.Secret) { Expect(admin.Delete(ctx, s)).To(Succeed()) }),
		Entry("given another value", func(ctx SpecContext, s *corev1.Secret) {
			change(ctx, s, func(s *corev1.Secret) { s.Data["password"] = []byte("my-own-" + strings.Repeat("x", 40)) })
		}),
		Entry("given a value that another token could have", func(ctx SpecContext, s *corev1.Secret) {
			foreign, err := credential.Generate(zeros{})
			Expect(err).NotTo(HaveOccurred())
			change(ctx, s, func(s *corev1.Secret) { s.Data["password"] = []byte(foreign) })
		}),
		Entry("emptied", func(ctx SpecContext, s *corev1.Secret) {
			change(ctx, s, func(s *corev1.Secret) { s.Data = nil })
		}),
	)

	DescribeTable("keeps its value, and puts right", func(ctx SpecContext, spoil func(*corev1.Secret)) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		before := secret(ctx)
		change(ctx, secret(ctx), spoil)
		Eventually(func(g Gomega) {
			var s corev1.Secret
			g.Expect(admin.Get(ctx, keyOf(namespace, "monalisa-token"), &s)).To(Succeed())
			g.Expect(s.Data).To(Equal(before.Data))
			g.Expect(s.Labels).To(Equal(before.Labels))
			g.Expect(s.Annotations).To(Equal(before.Annotations))
			g.Expect(s.OwnerReferences).To(Equal(before.OwnerReferences))
		}).Should(Succeed())
		Expect(accepts(ctx, namespace, string(before.Data["password"]))()).To(BeTrue())
	},
		Entry("the other keys", func(s *corev1.Secret) { s.Data["username"], s.Data["registry"] = []byte("x"), []byte("y") }),
		Entry("the annotations", func(s *corev1.Secret) { s.Annotations = nil }),
		Entry("the labels", func(s *corev1.Secret) { s.Labels = nil }),
		Entry("the owner", func(s *corev1.Secret) { s.OwnerReferences = nil }),
	)

	It("loses no value with its status", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		value, status := password(ctx), token.Status.Credentials
		token.Status = v1alpha1.PackagesTokenStatus{}
		Expect(admin.Status().Update(ctx, token)).To(Succeed())
		conditions(ctx, token).Should(beReady())
		Expect(token.Status.Credentials).To(Equal(status))
		Expect(password(ctx)).To(Equal(value))
	})

	It("names the host where the instance moves, with the same value", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		value := password(ctx)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled })
		Eventually(func() string { return string(secret(ctx).Data["registry"]) }).Should(Equal(instance.Spec.Hostname))
		Expect(password(ctx)).To(Equal(value))
	})

	It("leaves somebody else's Secret alone, until it goes", func(ctx SpecContext) {
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "monalisa-token"}, Data: map[string][]byte{"a": []byte("b")}}
		create(ctx, foreign, token)
		conditions(ctx, token).Should(And(
			beStalled(v1alpha1.ReasonSecretConflict),
			condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict),
		))
		Expect(messageOf(token.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("monalisa-token"))
		Expect(secret(ctx).ResourceVersion).To(Equal(foreign.ResourceVersion))
		Expect(admin.Delete(ctx, foreign)).To(Succeed())
		conditions(ctx, token).Should(beReady())
	})

	It("shares no Secret with another token", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		second := newToken(namespace, "second")
		second.Spec.Secret.Name = "monalisa-token"
		create(ctx, second)
		conditions(ctx, second).Should(beStalled(v1alpha1.ReasonSecretConflict))
		Expect(conditionsOf(ctx, token)).To(beReady())
	})

	It("is refused from the instant that it expires", func(ctx SpecContext) {
		end := metav1.NewTime(time.Now().Add(4 * time.Second).Truncate(time.Second))
		token.Spec.ExpiresAt = &end
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		Expect(token.Status.Credentials).To(ConsistOf(HaveField("NotAfter.Time", BeTemporally("==", end.Time))))
		found, _ := policyOf(ctx, namespace).CredentialByValue(password(ctx))
		Expect(found.NotAfter).To(HaveValue(BeTemporally("==", end.Time)), "the registry decides by its own clock")
		conditions(ctx, token).Should(beStalled(v1alpha1.ReasonExpired))
		Expect(token.Status.Credentials).To(BeEmpty())
	})

	It("tells its value to nobody", func(ctx SpecContext) {
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		value := password(ctx)
		text, err := json.Marshal(get[v1alpha1.PackagesToken](ctx, namespace, "monalisa"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).NotTo(ContainSubstring(value))
		policies := get[v1alpha1.PackagesPolicy](ctx, namespace, "acme-0")
		Expect(policies.Spec.Document).NotTo(ContainSubstring(value))
		Eventually(eventsAbout(ctx, token)).Should(ContainElement(HaveField("Reason", "Minted")))
		Expect(eventsAbout(ctx, token)()).To(HaveEach(HaveField("Note", Not(ContainSubstring(value)))))
		Expect(logs.String()).NotTo(ContainSubstring(value))
	})

	Describe("whose value is brought", func() {
		value := strings.Repeat("a-good-value", 4)
		var brought *corev1.Secret

		BeforeEach(func() {
			token = newBroughtToken(namespace, "monalisa", "mine")
			brought = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}, Data: map[string][]byte{"value": []byte(value)}}
		})

		It("takes it from the Secret that it names, and never writes that", func(ctx SpecContext) {
			create(ctx, brought, token)
			conditions(ctx, token).Should(beReady())
			Expect(accepts(ctx, namespace, value)()).To(BeTrue())
			Expect(get[corev1.Secret](ctx, namespace, "mine").ResourceVersion).To(Equal(brought.ResourceVersion))
		})

		It("follows it", func(ctx SpecContext) {
			create(ctx, brought, token)
			conditions(ctx, token).Should(beReady())
			other := strings.Repeat("another-value", 4)
			change(ctx, brought, func(s *corev1.Secret) { s.Data["value"] = []byte(other) })
			Eventually(accepts(ctx, namespace, other)).Should(BeTrue())
			Expect(accepts(ctx, namespace, value)()).To(BeFalse())
			Expect(admin.Delete(ctx, brought)).To(Succeed())
			conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonSecretNotFound))
			Eventually(accepts(ctx, namespace, other)).Should(BeFalse())
		})

		It("waits for a Secret that is not there yet", func(ctx SpecContext) {
			create(ctx, token)
			conditions(ctx, token).Should(beProgressing(v1alpha1.ReasonSecretNotFound))
			Expect(messageOf(token.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("mine"))
			create(ctx, brought)
			conditions(ctx, token).Should(beReady())
		})

		It("says that the Secret lacks the key", func(ctx SpecContext) {
			brought.Data = map[string][]byte{"other": []byte(value)}
			create(ctx, brought, token)
			conditions(ctx, token).Should(beStalled(v1alpha1.ReasonSecretKeyMissing))
			Expect(messageOf(token.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("value"))
		})

		DescribeTable("refuses a value that is", func(ctx SpecContext, bad string) {
			brought.Data["value"] = []byte(bad)
			create(ctx, brought, token)
			conditions(ctx, token).Should(beStalled(v1alpha1.ReasonSecretValueInvalid))
			Expect(messageOf(token.Status.Conditions, v1alpha1.ConditionReady)).NotTo(ContainSubstring(bad))
			Expect(accepts(ctx, namespace, bad)()).To(BeFalse())
		},
			Entry("too short", "hunter2-hunter2"),
			Entry("not printable", strings.Repeat("\x01", 50)),
			Entry("two lines", value+"\n"),
		)

		It("refuses a value that two tokens have, both, until one goes", func(ctx SpecContext) {
			second := newBroughtToken(namespace, "second", "mine")
			create(ctx, brought, token)
			conditions(ctx, token).Should(beReady())
			create(ctx, second)
			for _, t := range []*v1alpha1.PackagesToken{token, second} {
				conditions(ctx, t).Should(And(
					beStalled(v1alpha1.ReasonDuplicateValue),
					condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonDuplicateValue),
				))
			}
			Expect(accepts(ctx, namespace, value)()).To(BeFalse())
			Expect(admin.Delete(ctx, second)).To(Succeed())
			conditions(ctx, token).Should(beReady())
			Expect(accepts(ctx, namespace, value)()).To(BeTrue())
		})
	})
})

// zeros is a source of no randomness.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
