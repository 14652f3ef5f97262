// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// certificates reads the certificates that users name for their Ingresses. As with
// userSecrets, only metadata is watched, and only the public part is kept. Safe for
// concurrent use.
type certificates struct {
	metadata client.Reader
	live     client.Reader

	mu    sync.Mutex
	known map[types.NamespacedName]rememberedCertificate
}

type rememberedCertificate struct {
	version     secretVersion
	secretType  corev1.SecretType
	certificate *certificate
}

// certificate is the public part of what a Secret of type kubernetes.io/tls has.
type certificate struct {
	leaf *x509.Certificate
	// paired says that the Secret's key belongs to it.
	paired bool
}

// of returns the server's certificate in a Secret. It is nil if the Secret is
// missing or holds none.
func (c *certificates) of(ctx context.Context, secret types.NamespacedName) (*certificate, error) {
	remembered, err := c.read(ctx, secret)
	return remembered.certificate, err
}

// typeOf returns the type of a Secret, empty if it is missing.
func (c *certificates) typeOf(ctx context.Context, secret types.NamespacedName) (corev1.SecretType, error) {
	remembered, err := c.read(ctx, secret)
	return remembered.secretType, err
}

func (c *certificates) read(ctx context.Context, secret types.NamespacedName) (rememberedCertificate, error) {
	version, err := versionOf(ctx, c.metadata, secret)
	if err != nil || version == (secretVersion{}) {
		return rememberedCertificate{}, err
	}
	c.mu.Lock()
	remembered, ok := c.known[secret]
	c.mu.Unlock()
	if ok && remembered.version == version {
		return remembered, nil
	}
	var object corev1.Secret
	if err := c.live.Get(ctx, secret, &object); apierrors.IsNotFound(err) {
		return rememberedCertificate{}, nil
	} else if err != nil {
		return rememberedCertificate{}, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
	}
	remembered = rememberedCertificate{
		version:     secretVersion{object.UID, object.ResourceVersion},
		secretType:  object.Type,
		certificate: parseCertificate(object.Data[corev1.TLSCertKey], object.Data[corev1.TLSPrivateKeyKey]),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCertificates {
		c.known = map[types.NamespacedName]rememberedCertificate{}
	}
	c.known[secret] = remembered
	return remembered, nil
}

// maxCertificates bounds the memory; beyond it, they are read again.
const maxCertificates = 1000

// parseCertificate returns the first certificate of a chain, nil if there is none.
func parseCertificate(chain, key []byte) *certificate {
	leaf := parseLeaf(chain)
	if leaf == nil {
		return nil
	}
	_, err := tls.X509KeyPair(chain, key)
	return &certificate{leaf: leaf, paired: err == nil}
}

func parseLeaf(chain []byte) *x509.Certificate {
	for {
		var block *pem.Block
		if block, chain = pem.Decode(chain); block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil
			}
			return leaf
		}
	}
}

// expiryNotice is how long before its end a certificate is reported: the time that
// a person has to find out why nobody renewed it. Of one that lives for days only,
// it is the last quarter, since it is renewed before that.
const expiryNotice = 14 * 24 * time.Hour

func noticeOf(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-min(expiryNotice, leaf.NotAfter.Sub(leaf.NotBefore)/4))
}

// certificateVerdict is what a certificate is worth.
type certificateVerdict struct {
	// condition is CertificateReady.
	condition acceptance
	// trouble is why clients cannot connect, nil if they can.
	trouble *finding
	// again is when time alone changes this; zero for never.
	again time.Time
}

// judge says what the certificate in a Secret is worth for the hosts at an
// instant. c is nil for a Secret that is missing or has none.
func judge(c *certificate, secret string, hosts []string, now time.Time) certificateVerdict {
	broken := func(f *finding) certificateVerdict {
		return certificateVerdict{condition: acceptance{false, f.reason, f.message}, trouble: f}
	}
	if c == nil {
		return broken(progressing(v1alpha1.ReasonCertificateNotFound, fmt.Sprintf(
			"there is no Secret %s with a certificate at key %s in this namespace: create one for %s",
			secret, corev1.TLSCertKey, strings.Join(hosts, " and "))))
	}
	if !c.paired {
		return broken(stalled(v1alpha1.ReasonCertificateKeyMismatch, fmt.Sprintf(
			"the key %s in the Secret %s does not belong to the certificate at %s: put the two there that were issued together",
			corev1.TLSPrivateKeyKey, secret, corev1.TLSCertKey)))
	}
	if bare := notCovered(c.leaf, hosts); len(bare) > 0 {
		return broken(stalled(v1alpha1.ReasonHostNotCovered, fmt.Sprintf(
			"the certificate in the Secret %s does not cover %s: put one there that does", secret, strings.Join(bare, " and "))))
	}
	notice := noticeOf(c.leaf)
	switch {
	case now.Before(c.leaf.NotBefore):
		v := broken(progressing(v1alpha1.ReasonCertificateNotYetValid, fmt.Sprintf(
			"the certificate in the Secret %s is not valid yet: wait, or check the clock of whoever issued it", secret)))
		v.again = c.leaf.NotBefore
		return v
	case now.After(c.leaf.NotAfter):
		return broken(stalled(v1alpha1.ReasonCertificateExpired, fmt.Sprintf(
			"the certificate in the Secret %s has expired: renew it", secret)))
	case !now.Before(notice):
		return certificateVerdict{condition: acceptance{false, v1alpha1.ReasonCertificateExpiresSoon, fmt.Sprintf(
			"the certificate in the Secret %s expires within two weeks: renew it, or find out why it was not renewed", secret)},
			again: c.leaf.NotAfter.Add(time.Second)}
	}
	return certificateVerdict{condition: acceptance{true, v1alpha1.ReasonCertificateValid, fmt.Sprintf(
		"the certificate in the Secret %s covers %s", secret, strings.Join(hosts, " and "))},
		again: notice}
}

// inspectCertificate asks for a certificate where the spec has an issuer for it, and
// finds out what clients of every host will be shown. What is wrong with it is told
// once all else is in place.
func (r *instanceReconciler) inspectCertificate(ctx context.Context, s *instanceScope) error {
	ingress := s.instance.Spec.Exposure.Ingress
	issued, err := r.issueCertificate(ctx, s)
	if err != nil {
		s.certificateFailure = err
		return nil
	}
	if ingress == nil || ingress.TLS == nil {
		s.conclusion.also[v1alpha1.ConditionCertificateReady] = nil
		return nil
	}
	name := desired.TLSSecretName(s.instance)
	c, err := r.certificates.of(ctx, types.NamespacedName{Namespace: s.instance.Namespace, Name: name})
	if err != nil {
		return err
	}
	s.certificate = judge(c, name, hostList(s.hosts), r.now())
	if issued != nil {
		s.certificate = judgeIssued(s.certificate, *issued)
	}
	s.conclusion.also[v1alpha1.ConditionCertificateReady] = &s.certificate.condition
	return nil
}

func (r *instanceReconciler) requireCertificate(_ context.Context, s *instanceScope) error {
	if s.certificateFailure != nil {
		return s.certificateFailure
	}
	if s.certificate.trouble != nil {
		return s.certificate.trouble
	}
	return nil
}

// notCovered are the hosts that a certificate is not for.
func notCovered(leaf *x509.Certificate, hosts []string) []string {
	var bare []string
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			bare = append(bare, host)
		}
	}
	return bare
}
