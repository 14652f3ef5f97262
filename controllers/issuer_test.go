// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	certmanagerv1 "github.com/packages-operator/packages-operator/controllers/certmanager/v1"
)

// signer stands in for cert-manager's controllers: it signs what Certificates of a
// namespace ask for, and says so in their status.
type signer struct {
	namespace string

	mu sync.Mutex
	// refuses is why nothing is signed; empty if it is.
	refuses string
	signed  int
}

func (s *signer) refuse(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = why
}

func (s *signer) run(ctx context.Context) {
	defer GinkgoRecover()
	for ctx.Err() == nil {
		var all certmanagerv1.CertificateList
		if err := admin.List(ctx, &all, client.InNamespace(s.namespace)); err == nil {
			for i := range all.Items {
				if err := s.look(ctx, &all.Items[i]); err != nil && ctx.Err() == nil {
					GinkgoLogr.Info("The signer tries again", "reason", err.Error())
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *signer) look(ctx context.Context, c *certmanagerv1.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := c.DeepCopy()
	say := func(status metav1.ConditionStatus, reason, message string) error {
		now := metav1.Now()
		c.Status.Conditions = []certmanagerv1.CertificateCondition{{
			Type: certmanagerv1.ConditionReady, Status: status, Reason: reason, Message: message,
			ObservedGeneration: c.Generation, LastTransitionTime: &now,
		}}
		if len(before.Status.Conditions) == 1 {
			was := before.Status.Conditions[0]
			was.LastTransitionTime = &now
			if was == c.Status.Conditions[0] {
				return nil
			}
		}
		return admin.Status().Patch(ctx, c, client.MergeFrom(before))
	}
	secret := &corev1.Secret{}
	err := admin.Get(ctx, keyOf(c.Namespace, c.Spec.SecretName), secret)
	switch {
	case err == nil && secret.Annotations["example.com/for"] == string(c.UID) && secret.Annotations["example.com/generation"] == time.Duration(c.Generation).String():
		return say(metav1.ConditionTrue, "Ready", "Certificate is up to date and has not expired")
	case s.refuses != "":
		return say(metav1.ConditionFalse, "DoesNotExist", s.refuses)
	}
	fresh := newCertificate(c.Namespace, c.Spec.SecretName, c.Spec.DNSNames...)
	fresh.Annotations = map[string]string{
		certmanagerv1.AnnotationCertificateName: c.Name,
		"example.com/for":                       string(c.UID),
		"example.com/generation":                time.Duration(c.Generation).String(),
	}
	s.signed++
	if apierrors.IsNotFound(err) {
		return admin.Create(ctx, fresh)
	}
	secret.Annotations, secret.Data = fresh.Annotations, fresh.Data
	return admin.Update(ctx, secret)
}

var _ = Describe("A PackagesInstance with an issuer", Ordered, Serial, func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance
	var signs *signer

	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance = newInstance(namespace)
		instance.Spec.Exposure.Ingress.TLS = &v1alpha1.IngressTLS{IssuerRef: &v1alpha1.IssuerReference{Name: "letsencrypt"}}
		create(ctx, instance)
		DeferCleanup(certManagerCRDs.uninstall)

		signs = &signer{namespace: namespace, refuses: "Issuing certificate as Secret does not exist"}
		signing, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			signs.run(signing)
		}()
		DeferCleanup(func() {
			cancel()
			<-done
		})
	})
	certificateReady := func(status metav1.ConditionStatus, reason string) OmegaMatcher {
		return condition(v1alpha1.ConditionCertificateReady, status, reason)
	}
	certificate := func(ctx context.Context) *certmanagerv1.Certificate {
		GinkgoHelper()
		return get[certmanagerv1.Certificate](ctx, namespace, "acme-packages")
	}

	It("says that the cluster has no cert-manager", func(ctx SpecContext) {
		conditions(ctx, instance).Should(And(
			beProgressing(v1alpha1.ReasonCertManagerNotInstalled),
			certificateReady(metav1.ConditionFalse, v1alpha1.ReasonCertManagerNotInstalled),
		))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("install cert-manager"))
	})

	It("notices that it was installed, and passes on what it says", func(ctx SpecContext) {
		certManagerCRDs.install()
		conditions(ctx, instance).Should(And(
			beProgressing(v1alpha1.ReasonCertificateNotIssued),
			certificateReady(metav1.ConditionFalse, v1alpha1.ReasonCertificateNotIssued),
			ContainElement(HaveField("Message", ContainSubstring("Issuing certificate as Secret does not exist"))),
		))
		c := certificate(ctx)
		Expect(c.Spec).To(Equal(certmanagerv1.CertificateSpec{
			DNSNames:   []string{"docker." + instance.Spec.Hostname, instance.Spec.Hostname},
			SecretName: "acme-packages-tls",
			IssuerRef:  certmanagerv1.IssuerReference{Name: "letsencrypt", Kind: "Issuer", Group: "cert-manager.io"},
		}))
		Expect(metav1.IsControlledBy(c, instance)).To(BeTrue())
	})

	It("is ready once the certificate is there", func(ctx SpecContext) {
		signs.refuse("")
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
	})

	It("needs nobody when the certificate is renewed", func(ctx SpecContext) {
		DeferCleanup(func() { clock.ahead.Store(0) })
		clock.forward(certificateLifetime - 13*24*time.Hour)
		secret := get[corev1.Secret](ctx, namespace, "acme-packages-tls")
		change(ctx, secret, func(s *corev1.Secret) { s.Labels = map[string]string{"example.com/touched": "yes"} })
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionFalse, v1alpha1.ReasonCertificateExpiresSoon)))
		since := audit.end()
		renewed := newCertificate(namespace, "renewed", "docker."+instance.Spec.Hostname, instance.Spec.Hostname)
		change(ctx, secret, func(s *corev1.Secret) { s.Data = renewed.Data })
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(HaveEach(ContainSubstring("packagesinstances/status")), "only the status changes")

		clock.ahead.Store(0)
		today := newCertificate(namespace, "today", "docker."+instance.Spec.Hostname, instance.Spec.Hostname)
		change(ctx, secret, func(s *corev1.Secret) { s.Data = today.Data })
		conditions(ctx, instance).Should(beReady())
	})

	It("stays ready with a certificate that works while another cannot be had", func(ctx SpecContext) {
		signs.refuse("the order is in error")
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.TLS.IssuerRef.Name = "other" })
		conditions(ctx, instance).Should(And(
			beReady(), certificateReady(metav1.ConditionFalse, v1alpha1.ReasonCertificateNotIssued),
			ContainElement(HaveField("Message", ContainSubstring("the order is in error"))),
		))
		signs.refuse("")
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
	})

	It("asks for exactly the hosts in use", func(ctx SpecContext) {
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Hostname = "else." + i.Spec.Hostname })
		Eventually(func() []string { return certificate(ctx).Spec.DNSNames }).Should(Equal([]string{"docker." + instance.Spec.Hostname, instance.Spec.Hostname}))
		conditions(ctx, instance).Should(beReady())
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled })
		Eventually(func() []string { return certificate(ctx).Spec.DNSNames }).Should(Equal([]string{instance.Spec.Hostname}))
		conditions(ctx, instance).Should(beReady())
	})

	It("writes nothing in steady state, nor after a restart of the manager", func(ctx SpecContext) {
		since := settled(namespace)
		change(ctx, certificate(ctx), func(c *certmanagerv1.Certificate) {
			c.Annotations = map[string]string{"example.com/touched": "yes"}
		})
		settled(namespace)
		stopManager()
		stopManager = startManager()
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(BeEmpty())
	})

	It("does not let a certificate take the place of another Secret", func(ctx SpecContext) {
		create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "password"}, Data: map[string][]byte{"password": []byte("secret")},
		})
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.TLS.SecretName = "password" })
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonCertificateConflict))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("password is of the type Opaque"))
		Expect(certificate(ctx).Spec.SecretName).To(Equal("acme-packages-tls"))

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress.TLS.SecretName = "chosen" })
		conditions(ctx, instance).Should(beReady())
		get[corev1.Secret](ctx, namespace, "chosen")
	})

	It("leaves a Certificate alone that belongs to somebody else", func(ctx SpecContext) {
		other := newInstance(newNamespace(ctx))
		other.Spec.Exposure.Ingress.TLS = instance.Spec.Exposure.Ingress.TLS
		foreign := &certmanagerv1.Certificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: other.Namespace, Name: "acme-packages"},
			Spec:       certmanagerv1.CertificateSpec{SecretName: "theirs", DNSNames: []string{"theirs.example.com"}, IssuerRef: certmanagerv1.IssuerReference{Name: "theirs"}},
		}
		create(ctx, foreign, other)
		conditions(ctx, other).Should(beStalled(v1alpha1.ReasonCertificateConflict))
		Expect(get[certmanagerv1.Certificate](ctx, other.Namespace, "acme-packages").Spec.SecretName).To(Equal("theirs"))
		Expect(admin.Delete(ctx, other)).To(Succeed())
	})

	It("loses the Certificate with the issuer", func(ctx SpecContext) {
		before := certificate(ctx)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure.Ingress.TLS = &v1alpha1.IngressTLS{SecretName: "chosen"}
		})
		gone(ctx, before)
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
	})

	It("keeps its certificate when cert-manager goes, and says that nobody renews it", func(ctx SpecContext) {
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) {
			i.Spec.Exposure.Ingress.TLS.IssuerRef = &v1alpha1.IssuerReference{Name: "letsencrypt", Kind: "ClusterIssuer"}
		})
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionTrue, v1alpha1.ReasonCertificateValid)))
		certManagerCRDs.uninstall()
		conditions(ctx, instance).Should(And(beReady(), certificateReady(metav1.ConditionFalse, v1alpha1.ReasonCertManagerNotInstalled)))
	})
})
