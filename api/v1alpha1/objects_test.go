// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// The smallest good object of every kind. Tables say how theirs differ.
const (
	instance = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata: {name: acme}
spec:
  hostname: packages.example.com
  storage: {filesystem: {size: 1Gi}}
`
	organization = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesOrganization
metadata: {name: octo-org}
spec:
  instanceRef: {name: acme}
  name: octo-org
  owners: [monalisa]
`
	repository = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesRepository
metadata: {name: octo-app}
spec:
  instanceRef: {name: acme}
  owner: octocat
  name: octo-app
`
	token = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata: {name: monalisa}
spec:
  instanceRef: {name: acme}
  user: monalisa
  scopes: [read:packages]
  secret: {name: monalisa-token}
`
	sourcedToken = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata: {name: hubot}
spec:
  instanceRef: {name: acme}
  user: hubot
  scopes: [read:packages]
  source: {secretRef: {name: hubot-value, key: token}}
`
	policy = `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesPolicy
metadata: {name: acme-0}
spec:
  instanceRef: {name: acme}
  formatVersion: 1
  index: 0
  revision: r1
  parts: ["sha256:` + sixtyFourHex + `"]
  document: "{}"
`
	sixtyFourHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// object reads base, merges patch into it (RFC 7386: null removes) and puts the
// result in namespace.
func object(t *testing.T, namespace, base, patch string) *unstructured.Unstructured {
	t.Helper()
	merged := mustJSON(t, base)
	if patch != "" {
		var err error
		if merged, err = jsonpatch.MergePatch(merged, mustJSON(t, patch)); err != nil {
			t.Fatalf("merge %q: %v", patch, err)
		}
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(merged, u); err != nil {
		t.Fatalf("read %s: %v", merged, err)
	}
	u.SetNamespace(namespace)
	return u
}

func mustJSON(t *testing.T, text string) []byte {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
	return data
}

// notChecked is what the API server adds when an object is so bad that it does
// not try every rule.
const notChecked = "some validation rules were not checked because the object was invalid"

// causes are the reasons of an API server's refusal, each "FIELD: MESSAGE",
// sorted. The FIELD of the whole object is empty.
func causes(err error) ([]string, error) {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Reason != metav1.StatusReasonInvalid {
		return nil, fmt.Errorf("want the object refused as invalid, got: %w", err)
	}
	var found []string
	for _, cause := range status.ErrStatus.Details.Causes {
		if !strings.Contains(cause.Message, notChecked) {
			found = append(found, strings.TrimPrefix(cause.Field, "<nil>")+": "+cause.Message)
		}
	}
	slices.Sort(found)
	return found, nil
}

// checkRefusal fails unless the API server refused an object for exactly the
// reasons wanted. Each is "FIELD: END OF MESSAGE".
func checkRefusal(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("the object was accepted, want it refused: %s", strings.Join(want, "; "))
	}
	got, err := causes(err)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	matches := func(got, want string) bool {
		field, message, _ := strings.Cut(want, ": ")
		return strings.HasPrefix(got, field+": ") && strings.HasSuffix(got, message)
	}
	if !slices.EqualFunc(got, want, matches) {
		t.Errorf("refused with\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
