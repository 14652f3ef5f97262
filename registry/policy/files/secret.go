// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/base64"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
	strictjson "sigs.k8s.io/json"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
)

// passwordKey is the key of a token's Secret that holds the value, as the operator
// writes it.
const passwordKey = "password"

// secretObject is corev1.Secret with its data undecoded, so that faults can be
// told by key.
type secretObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Immutable  *bool             `json:"immutable,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	StringData map[string]string `json:"stringData,omitempty"`
	Type       string            `json:"type,omitempty"`
}

// secret is the decoded content of a Secret.
type secret struct {
	document *document
	values   map[string]string
	// broken says that a fault was already reported.
	broken bool
}

// parseSecret never fails without a secret to return.
func parseSecret(d *document) (*secret, error) {
	parsed := &secret{document: d, values: map[string]string{}, broken: true}
	encoded, err := json.Marshal(d.content)
	if err != nil {
		return parsed, d.errorAt("", "%v", err)
	}
	var object secretObject
	strict, err := strictjson.UnmarshalStrict(encoded, &object)
	if err != nil {
		return parsed, d.errorAt("data", "data and stringData hold text alone: put numbers and such into quotes")
	}
	if len(strict) > 0 {
		return parsed, d.errorAt("", "%v", strict[0])
	}
	for key, value := range object.Data {
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return parsed, d.errorAt("data["+key+"]", "data.%s is not base64: write it so, or use stringData", key)
		}
		parsed.values[key] = string(decoded)
	}
	for key, value := range object.StringData {
		parsed.values[key] = value
	}
	parsed.broken = false
	return parsed, nil
}

// valueOf finds a token's value: nothing is minted here.
func (s *objectSet) valueOf(token *v1alpha1.PackagesToken) (string, error) {
	d := s.places[objectKey{kindToken, token.Name}]
	var name, key, field string
	if source := token.Spec.Source; source != nil {
		name, key, field = source.SecretRef.Name, source.SecretRef.Key, "spec.source.secretRef"
	} else {
		name, key, field = token.Spec.Secret.Name, passwordKey, "spec.secret"
	}
	held, found := s.secrets[name]
	switch {
	case !found && field == "spec.secret":
		return "", d.errorAt(field+".name",
			"there is no Secret %s here, and a registry alone makes none: add it with the key %s, or write source instead of secret", name, key)
	case !found:
		return "", d.errorAt(field+".name", "there is no Secret %s here: add it with the key %s", name, key)
	case held.broken:
		return "", d.errorAt(field+".name", "the Secret %s has a fault", name)
	}
	value, found := held.values[key]
	if !found {
		return "", d.errorAt(field+".name", "the Secret %s at %s has no key %s: add it",
			name, s.place(objectKey{kindSecret, name}), key)
	}
	if err := credential.ValidateSupplied(value); err != nil {
		place := held.document.errorAt(held.fieldOf(key), "")
		return "", &Error{File: place.File, Line: place.Line,
			Reason: fmt.Sprintf("the value of the PackagesToken %s, key %s of the Secret %s, is not usable: %v", token.Name, key, name, err)}
	}
	return value, nil
}

// fieldOf is where a key is written; stringData wins, as in the cluster. A key may
// have dots, so that it stands in brackets.
func (s *secret) fieldOf(key string) string {
	if data, ok := s.document.content["stringData"].(map[string]any); ok {
		if _, found := data[key]; found {
			return "stringData[" + key + "]"
		}
	}
	return "data[" + key + "]"
}
