// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/base64"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
)

// TokenValue is what a token's Secret records.
type TokenValue struct {
	// Value is the secret itself.
	Value string
	// ID is the value's public id.
	ID string
	// IssuedAt is when the value was made.
	IssuedAt time.Time
	// Previous is the value before while it works beside Value, or nil.
	Previous *PastValue
	// Next is the value that comes next while the registry gets to know it, or nil.
	Next *ValueHash
}

// ValueHash stands for a value that the Secret does not hold.
type ValueHash struct {
	ID   string
	Hash credential.Hash
}

// PastValue is a value that ends.
type PastValue struct {
	ValueHash
	// IssuedAt is when the value was made.
	IssuedAt time.Time
	// NotAfter is the instant from which the value is refused.
	NotAfter time.Time
}

// TokenSecret holds a token's value and everything that docker login needs. The
// Secret is the record of the token: its annotations say which value the operator
// made, so that it can tell a value that somebody altered. It is nil for a token
// whose value is brought.
func TokenSecret(token *v1alpha1.PackagesToken, value TokenValue, registry string) *corev1ac.SecretApplyConfiguration {
	if token.Spec.Secret == nil {
		return nil
	}
	data := map[string][]byte{
		v1alpha1.TokenKeyUsername: []byte(token.Spec.User),
		v1alpha1.TokenKeyPassword: []byte(value.Value),
		v1alpha1.TokenKeyRegistry: []byte(registry),
	}
	if token.Spec.Secret.Type == v1alpha1.TokenSecretDockerConfigJSON {
		data[corev1.DockerConfigJsonKey] = dockerConfigJSON(token.Spec.User, value.Value, registry)
	}
	labels := instanceLabels(token.Spec.InstanceRef.Name)
	labels[v1alpha1.LabelToken] = token.Name
	annotations := map[string]string{
		v1alpha1.AnnotationCredentialID: value.ID,
		v1alpha1.AnnotationIssuedAt:     value.IssuedAt.UTC().Format(time.RFC3339),
	}
	if previous := value.Previous; previous != nil {
		annotations[v1alpha1.AnnotationPreviousCredentialID] = previous.ID
		annotations[v1alpha1.AnnotationPreviousHash] = previous.Hash.String()
		annotations[v1alpha1.AnnotationPreviousIssuedAt] = previous.IssuedAt.UTC().Format(time.RFC3339)
		annotations[v1alpha1.AnnotationPreviousNotAfter] = previous.NotAfter.UTC().Format(time.RFC3339)
	}
	if next := value.Next; next != nil {
		annotations[v1alpha1.AnnotationNextCredentialID] = next.ID
		annotations[v1alpha1.AnnotationNextHash] = next.Hash.String()
	}
	return corev1ac.Secret(token.Spec.Secret.Name, token.Namespace).
		WithLabels(labels).
		WithAnnotations(annotations).
		WithOwnerReferences(tokenOwner(token)).
		WithType(TokenSecretType(token)).
		WithData(data)
}

// TokenSecretType is the type of a token's Secret.
func TokenSecretType(token *v1alpha1.PackagesToken) corev1.SecretType {
	if token.Spec.Secret.Type == v1alpha1.TokenSecretDockerConfigJSON {
		return corev1.SecretTypeDockerConfigJson
	}
	return corev1.SecretTypeOpaque
}

// dockerConfigJSON is a docker configuration file for one registry. Encoding
// strings cannot fail.
func dockerConfigJSON(user, value, registry string) []byte {
	type auth struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	//nolint:gosec // the Secret is where the password belongs
	config, _ := json.Marshal(map[string]map[string]auth{"auths": {registry: {
		Username: user,
		Password: value,
		Auth:     base64.StdEncoding.EncodeToString([]byte(user + ":" + value)),
	}}})
	return config
}
