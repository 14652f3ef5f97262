// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The namespace admits only pods that give up every privilege, as the
// operator's do.
const namespaceObject = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
  labels: {pod-security.kubernetes.io/enforce: restricted}
`

const podObject = `apiVersion: v1
kind: Pod
metadata: {name: ` + podName + `, namespace: ` + namespace + `}
spec:
  restartPolicy: Never
  imagePullSecrets: [{name: ` + pullSecret + `}]
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: ` + podName + `
    image: ` + image + `
    imagePullPolicy: Always
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`

func tlsObject(cert, key []byte) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: %s, namespace: %s}
data: {tls.crt: %s, tls.key: %s}
`, tlsSecret, namespace, base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(key))
}

// operatorOverlay changes the image of config/default to reference, and the
// image that the manager gives to the registries with it.
func operatorOverlay(reference string) string {
	field, newName, version := splitReference(reference)
	return fmt.Sprintf(`images:
- {name: packages-operator, newName: %q, %s: %q}
replacements:
- source: {kind: Deployment, name: packages-operator-manager, fieldPath: "spec.template.spec.containers.[name=manager].image"}
  targets:
  - select: {kind: Deployment, name: packages-operator-manager}
    fieldPaths: ["spec.template.spec.containers.[name=manager].env.[name=REGISTRY_IMAGE].value"]
`, newName, field, version)
}

// splitReference cuts NAME:TAG or NAME@DIGEST into kustomize's fields.
func splitReference(reference string) (field, newName, version string) {
	if before, digest, found := strings.Cut(reference, "@"); found {
		return "digest", before, digest
	}
	if i := strings.LastIndex(reference, ":"); i > strings.LastIndex(reference, "/") {
		return "newTag", reference[:i], reference[i+1:]
	}
	return "newTag", reference, "latest"
}

// samplesOverlay changes the ingress class of the sample instance.
func samplesOverlay(class string) string {
	return fmt.Sprintf(`patches:
- target: {kind: PackagesInstance, name: %s}
  patch: |
    - {op: replace, path: /spec/exposure/ingress/className, value: %q}
`, instance, class)
}

// kustomize renders a folder of this repository with something on top.
func (d *demo) kustomize(ctx context.Context, folder, overlay string) (string, error) {
	dir := filepath.Join(d.dir, "kustomize")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	base, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	// A base must be given by a relative path, and kustomize resolves links.
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if base, err = filepath.EvalSymlinks(base); err != nil {
		return "", err
	}
	relative, err := filepath.Rel(resolved, base)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [%q]\n%s", relative, overlay)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		return "", err
	}
	return d.kube.run(ctx, "kustomize", dir)
}

// signedBy says whether the certificate is good for host under the authority.
func signedBy(certPEM, caPEM []byte, host string) bool {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	return err == nil
}
