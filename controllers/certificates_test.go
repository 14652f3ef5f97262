// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("The certificate of an Ingress", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance = newInstance(namespace)
		instance.Spec.Exposure.Ingress.TLS.SecretName = "mine"
	})

	It("may come later than the instance", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonCertificateNotFound))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("mine"), ContainSubstring("docker."+instance.Spec.Hostname),
		))
		create(ctx, newCertificate(namespace, "mine", instance.Spec.Hostname, "*."+instance.Spec.Hostname))
		conditions(ctx, instance).Should(beReady())
	})

	It("must cover every host", func(ctx SpecContext) {
		secret := newCertificate(namespace, "mine", instance.Spec.Hostname)
		create(ctx, secret, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonHostNotCovered))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("does not cover docker." + instance.Spec.Hostname + ":"))

		better := newCertificate(namespace, "mine", instance.Spec.Hostname, "docker."+instance.Spec.Hostname)
		change(ctx, secret, func(s *corev1.Secret) { s.Data = better.Data })
		conditions(ctx, instance).Should(beReady())
	})

	It("must have its own key", func(ctx SpecContext) {
		secret := newCertificate(namespace, "mine", instance.Spec.Hostname, "*."+instance.Spec.Hostname)
		good := secret.Data[corev1.TLSPrivateKeyKey]
		secret.Data[corev1.TLSPrivateKeyKey] = newCertificate(namespace, "other", "other.example.com").Data[corev1.TLSPrivateKeyKey]
		create(ctx, secret, instance)
		conditions(ctx, instance).Should(And(
			beStalled(v1alpha1.ReasonCertificateKeyMismatch),
			condition(v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertificateKeyMismatch),
		))
		change(ctx, secret, func(s *corev1.Secret) { s.Data[corev1.TLSPrivateKeyKey] = good })
		conditions(ctx, instance).Should(And(beReady(),
			condition(v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
	})

	It("has no condition when there is none", func(ctx SpecContext) {
		create(ctx, newCertificate(namespace, "mine", instance.Spec.Hostname, "*."+instance.Spec.Hostname), instance)
		conditions(ctx, instance).Should(condition(v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateValid))
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.TLS = nil })
		conditions(ctx, instance).Should(And(beReady(), Not(ContainElement(HaveField("Type", v1alpha1.ConditionCertificateReady)))))
	})

	It("is told two weeks before it expires, and nobody is needed once it was renewed", Serial, func(ctx SpecContext) {
		DeferCleanup(func() { clock.ahead.Store(0) })
		secret := newCertificate(namespace, "mine", instance.Spec.Hostname, "*."+instance.Spec.Hostname)
		create(ctx, secret, instance)
		conditions(ctx, instance).Should(beReady())
		touch := func() {
			change(ctx, secret, func(s *corev1.Secret) {
				s.Labels = map[string]string{"example.com/at": strconv.FormatInt(clock.ahead.Load(), 10)}
			})
		}
		clock.forward(certificateLifetime - 13*24*time.Hour)
		touch()
		conditions(ctx, instance).Should(And(beReady(),
			condition(v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertificateExpiresSoon)))
		clock.forward(13 * 24 * time.Hour)
		touch()
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonCertificateExpired))

		renewed := newCertificate(namespace, "mine", instance.Spec.Hostname, "*."+instance.Spec.Hostname)
		change(ctx, secret, func(s *corev1.Secret) { s.Data = renewed.Data })
		conditions(ctx, instance).Should(And(beReady(),
			condition(v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
	})

	It("must be one", func(ctx SpecContext) {
		secret := newCertificate(namespace, "mine", instance.Spec.Hostname)
		secret.Data[corev1.TLSCertKey] = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		create(ctx, secret, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonCertificateNotFound))
	})
})

const certificateLifetime = 90 * 24 * time.Hour

// newCertificate is a Secret with a certificate for the names.
func newCertificate(namespace, name string, hosts ...string) *corev1.Secret {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: hosts,
		NotBefore: clock.now().Add(-time.Hour), NotAfter: clock.now().Add(certificateLifetime),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	Expect(err).NotTo(HaveOccurred())
	private, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
}

// newNamespace makes a namespace for one spec, with the certificate for newInstance.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(admin.Create(ctx, namespace)).To(Succeed())
	host := namespace.Name + ".example.com"
	Expect(admin.Create(ctx, newCertificate(namespace.Name, "acme-tls", host, "*."+host))).To(Succeed())
	return namespace.Name
}
