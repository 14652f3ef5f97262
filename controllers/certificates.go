// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
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
	version secretVersion
	// leaf is nil for a Secret without a certificate.
	leaf *x509.Certificate
}

// leaf returns the server's certificate in a Secret. It is nil if the Secret is
// missing or holds none.
func (c *certificates) leaf(ctx context.Context, secret types.NamespacedName) (*x509.Certificate, error) {
	version, err := versionOf(ctx, c.metadata, secret)
	if err != nil || version == (secretVersion{}) {
		return nil, err
	}
	c.mu.Lock()
	remembered, ok := c.known[secret]
	c.mu.Unlock()
	if ok && remembered.version == version {
		return remembered.leaf, nil
	}
	var object corev1.Secret
	if err := c.live.Get(ctx, secret, &object); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
	}
	remembered = rememberedCertificate{
		version: secretVersion{object.UID, object.ResourceVersion},
		leaf:    parseLeaf(object.Data[corev1.TLSCertKey]),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCertificates {
		c.known = map[types.NamespacedName]rememberedCertificate{}
	}
	c.known[secret] = remembered
	return remembered.leaf, nil
}

// maxCertificates bounds the memory; beyond it, they are read again.
const maxCertificates = 1000

// parseLeaf returns the first certificate of a chain, nil if there is none.
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

// checkCertificate makes sure that clients of every host will find a certificate
// for it.
func (r *instanceReconciler) checkCertificate(ctx context.Context, s *instanceScope) error {
	ingress := s.instance.Spec.Exposure.Ingress
	if ingress == nil || ingress.TLS == nil {
		return nil
	}
	name := ingress.TLS.SecretName
	leaf, err := r.certificates.leaf(ctx, types.NamespacedName{Namespace: s.instance.Namespace, Name: name})
	if err != nil {
		return err
	}
	if leaf == nil {
		return progressing(v1alpha1.ReasonCertificateNotFound, fmt.Sprintf(
			"there is no Secret %s with a certificate at key %s in this namespace: create one for %s",
			name, corev1.TLSCertKey, strings.Join(hostList(s.hosts), " and ")))
	}
	if bare := notCovered(leaf, hostList(s.hosts)); len(bare) > 0 {
		return stalled(v1alpha1.ReasonHostNotCovered, fmt.Sprintf(
			"the certificate in the Secret %s does not cover %s: put one there that does", name, strings.Join(bare, " and ")))
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
