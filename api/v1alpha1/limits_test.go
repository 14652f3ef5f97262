// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/test/badinput"
)

// longestAnswer is far more than any rule may cost the API server, on a busy machine.
const longestAnswer = 10 * time.Second

// Every field of every kind that people write is tried at its limits, beyond them,
// with other types and with strange values. The API server, with the strictness that
// kubectl asks for, refuses an object with the path of the field, or takes it; what
// the operator makes of what is taken, the tests of the controllers show.
func TestEveryFieldAtItsLimitsAndBeyond(t *testing.T) {
	schemas := map[string]*apiextensionsv1.JSONSchemaProps{}
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			t.Fatal(err)
		}
		schemas[definition.Spec.Names.Kind] = definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	objects, err := badinput.Good()
	if err != nil {
		t.Fatal(err)
	}
	covered, missing := map[string]bool{}, map[string][]string{}
	var cases []badinput.Case
	namespace := newNamespace(t)
	for _, object := range objects {
		kind := object.GetKind()
		object.SetNamespace(namespace)
		if err := api.Create(context.Background(), object.DeepCopy(), client.DryRunAll, client.FieldValidation("Strict")); err != nil {
			t.Fatalf("a good %s is refused: %v", kind, err)
		}
		found, without := badinput.Cases(schemas[kind], object, badinput.Opaque...)
		cases = append(cases, found...)
		missing[kind] = append(missing[kind], without...)
		for _, c := range found {
			covered[kind+" "+c.Path] = true
		}
	}
	for kind := range schemas {
		if len(missing[kind]) == 0 && kind != "PackagesPolicy" && !covered[kind+" spec"] {
			t.Errorf("no good %s is tried", kind)
		}
		for _, path := range missing[kind] {
			if !covered[kind+" "+path] {
				t.Errorf("no good %s has %s: add it to test/badinput/good.go", kind, path)
			}
		}
	}

	var mu sync.Mutex
	reached := map[string]bool{}
	counts := map[string]int{}
	var wait sync.WaitGroup
	next := make(chan badinput.Case)
	for range 8 {
		wait.Go(func() {
			for c := range next {
				began := time.Now()
				answer := c.Object.DeepCopy()
				err := api.Create(context.Background(), answer, client.DryRunAll, client.FieldValidation("Strict"))
				what := fmt.Sprintf("%s %s (%s)", c.Object.GetKind(), c.Path, c.What)
				if took := time.Since(began); took > longestAnswer {
					t.Errorf("%s took the API server %s", what, took)
				}
				mu.Lock()
				key := c.Object.GetKind() + " " + c.Path
				if c.Want == badinput.Reachable {
					reached[key] = reached[key] || err == nil
				}
				counts[map[bool]string{true: "accepted", false: "refused"}[err == nil]]++
				mu.Unlock()
				switch {
				case err == nil && c.Want == badinput.Refused:
					t.Errorf("%s is accepted", what)
				case err == nil:
					// One object that the manager cannot read would blind it for all.
					if err := readable(answer); err != nil {
						t.Errorf("%s is accepted, and cannot be read: %v", what, err)
					}
				default:
					if fault := refusalFault(err, c.Path); fault != "" {
						t.Errorf("%s: %s: %v", what, fault, shortened(err))
					}
				}
			}
		})
	}
	for _, c := range cases {
		next <- c
	}
	close(next)
	wait.Wait()
	for key, accepted := range reached {
		if !accepted {
			t.Errorf("%s: nothing at its limits is accepted", key)
		}
	}
	t.Logf("%d objects: %d accepted, %d refused", len(cases), counts["accepted"], counts["refused"])
}

// readable reads an object as the manager does.
func readable(object *unstructured.Unstructured) error {
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	typed, err := scheme.New(object.GroupVersionKind())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, typed)
}

// refusalFault says what is wrong with how an object was refused for a field.
func refusalFault(err error, path string) string {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return "no answer of the API server"
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	name, _, _ = strings.Cut(name, "[")
	switch status.ErrStatus.Reason {
	case metav1.StatusReasonBadRequest:
		// What kubectl's strictness finds while the object is read.
		if !strings.Contains(status.ErrStatus.Message, name) {
			return "the message does not name the field"
		}
		return ""
	case metav1.StatusReasonInvalid:
	default:
		return "refused as " + string(status.ErrStatus.Reason)
	}
	if !slices.ContainsFunc(status.ErrStatus.Details.Causes, func(cause metav1.StatusCause) bool {
		field := normalized(cause.Field)
		return field == normalized(path) || strings.HasPrefix(field, normalized(path)+".") ||
			// A rule over several fields stands at their parent, and names them.
			(strings.HasPrefix(normalized(path), field+".") || parent(field) == parent(normalized(path))) && strings.Contains(cause.Message, name)
	}) {
		return "no cause is about the field"
	}
	return ""
}

// normalized writes every step of a path behind a dot.
func normalized(path string) string {
	return strings.NewReplacer("[", ".", "]", "").Replace(path)
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

func shortened(err error) string {
	if text := err.Error(); len(text) > 600 {
		return text[:600] + "…"
	}
	return err.Error()
}
