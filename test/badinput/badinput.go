// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package badinput derives objects from the schema of a custom resource and one good
// object: each differs from that in one field, which is at one of its limits, beyond
// one, of another type, missing, or strange.
package badinput

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Want is what should become of an object.
type Want int

const (
	// Either is that it is refused with the field's path, or accepted.
	Either Want = iota
	// Refused is that it is refused with the field's path.
	Refused
	// Reachable is that of all objects with the same Path and Want one is accepted, or the
	// limit is none.
	Reachable
)

// Case is an object that differs from a good one in one field.
type Case struct {
	// Path of the field, such as spec.access.users[0].name.
	Path string
	// What was done to it.
	What   string
	Want   Want
	Object *unstructured.Unstructured
}

// Cases derives them from every field that the good object has below spec. missing
// are the fields of the schema that it has not. Of the fields in opaque only the type
// is changed: their insides are not ours.
func Cases(schema *apiextensionsv1.JSONSchemaProps, good *unstructured.Unstructured, opaque ...string) (cases []Case, missing []string) {
	w := &walk{good: good, opaque: opaque}
	spec, found := good.Object["spec"]
	if !found {
		return nil, []string{"spec"}
	}
	w.visit([]any{"spec"}, schema.Properties["spec"], spec, true)
	return w.cases, w.missing
}

type walk struct {
	good    *unstructured.Unstructured
	opaque  []string
	cases   []Case
	missing []string
}

// pathOf writes a path as the API server does.
func pathOf(steps []any) string {
	var text strings.Builder
	for i, step := range steps {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&text, "[%d]", step)
		case string:
			if i > 0 {
				text.WriteByte('.')
			}
			text.WriteString(step)
		}
	}
	return text.String()
}

// removed as a value takes a field away.
type removed struct{}

func (w *walk) add(steps []any, want Want, what string, value any) {
	object := w.good.DeepCopy()
	set(object.Object, steps, value)
	w.cases = append(w.cases, Case{Path: pathOf(steps), What: what, Want: want, Object: object})
}

// set changes a value in place.
func set(root any, steps []any, value any) {
	for ; len(steps) > 1; steps = steps[1:] {
		switch step := steps[0].(type) {
		case string:
			root = root.(map[string]any)[step]
		case int:
			root = root.([]any)[step]
		}
	}
	_, remove := value.(removed)
	switch step := steps[0].(type) {
	case string:
		if remove {
			delete(root.(map[string]any), step)
		} else {
			root.(map[string]any)[step] = value
		}
	case int:
		root.([]any)[step] = value
	}
}

func (w *walk) visit(steps []any, schema apiextensionsv1.JSONSchemaProps, value any, required bool) {
	steps = slices.Clip(steps)
	w.types(steps, schema, required)
	if slices.Contains(w.opaque, pathOf(steps)) {
		return
	}
	switch {
	case schema.XIntOrString:
		w.quantities(steps)
	case schema.Type == "string":
		w.strings(steps, schema)
	case schema.Type == "integer":
		w.integers(steps, schema)
	case schema.Type == "array":
		w.array(steps, schema, value)
	case schema.Type == "object" && schema.AdditionalProperties != nil:
		w.dictionary(steps, schema, value)
	case schema.Type == "object":
		w.object(steps, schema, value)
	}
}

// types gives the field every type but its own.
func (w *walk) types(steps []any, schema apiextensionsv1.JSONSchemaProps, required bool) {
	for name, value := range map[string]any{
		"string": "text", "integer": int64(7), "number": 1.5, "boolean": true, "array": []any{"text"}, "object": map[string]any{"key": "text"},
	} {
		same := name == schema.Type || schema.XIntOrString && (name == "string" || name == "integer")
		if !same {
			w.add(steps, Refused, "of type "+name, value)
		}
	}
	// A null is as good as nothing, but for items.
	want := Either
	if _, item := steps[len(steps)-1].(int); item || required {
		want = Refused
	}
	w.add(steps, want, "null", nil)
	if _, field := steps[len(steps)-1].(string); field && len(steps) > 1 {
		want = Either
		if required {
			want = Refused
		}
		w.add(steps, want, "missing", removed{})
	}
}

// strange are strings that programs stumble over.
var strange = []string{
	"", " ", "-", ".", "..", "a..b", "/", "../../etc/passwd", "a/b", "*", "%2f", "\x00", "a\nb", "ä", "\u202e", "A", "true", "null", "{}",
	"<script>", "$(id)", "' OR 1=1 --", "1e999999999", "-1", "https://user:hunter2@example.com/", "a:b@c", "2026-02-30", strings.Repeat("a.", 200),
}

func (w *walk) strings(steps []any, schema apiextensionsv1.JSONSchemaProps) {
	for i, text := range strange {
		want := Either
		if len(schema.Enum) > 0 {
			want = Refused
		}
		w.add(steps, want, fmt.Sprintf("strange string %d", i), text)
	}
	for i, value := range schema.Enum {
		var text string
		if json.Unmarshal(value.Raw, &text) == nil {
			w.add(steps, Reachable, fmt.Sprintf("value %d", i), text)
			w.add(steps, Refused, fmt.Sprintf("value %d in lower case, with a space", i), strings.ToLower(text)+" ")
		}
	}
	if schema.Format == "date-time" {
		for i, text := range []string{"yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "1767225600"} {
			w.add(steps, Refused, fmt.Sprintf("no instant %d", i), text)
		}
		w.add(steps, Either, "the first instant", "0001-01-01T00:00:00Z")
		w.add(steps, Reachable, "the last instant", "9999-12-31T23:59:59Z")
	}
	if schema.MinLength != nil && *schema.MinLength > 0 {
		w.add(steps, Refused, "too short", strings.Repeat("a", int(*schema.MinLength)-1))
	}
	if schema.MaxLength == nil {
		return
	}
	most := int(*schema.MaxLength)
	for i, text := range longest(most) {
		w.add(steps, Reachable, fmt.Sprintf("longest %d", i), text)
	}
	for i, text := range longest(most + 1) {
		w.add(steps, Refused, fmt.Sprintf("too long %d", i), text)
	}
	w.add(steps, Refused, "much too long", strings.Repeat("a", 2*most+100_000))
}

// longest are strings of a length in the forms that our fields have.
func longest(n int) []string {
	labels := strings.Repeat(strings.Repeat("a", 61)+".", n/62+1)[:n]
	labels = strings.TrimSuffix(labels, ".") + strings.Repeat("a", n-len(strings.TrimSuffix(labels, ".")))
	found := []string{strings.Repeat("a", n), labels}
	if n > 42 {
		found = append(found, strings.Repeat("a", 39)+"/"+strings.Repeat("b", n-40))
	}
	if n > 65 {
		// A label's name.
		found = append(found, strings.TrimSuffix(labels[:n-65], ".")+strings.Repeat("a", n-64-len(strings.TrimSuffix(labels[:n-65], ".")))+"/"+strings.Repeat("b", 63))
	}
	if n == len("999999h999999m999999s") {
		found = append(found, "999999h999999m999999s", "000001h000001m000001s")
	}
	if n == len("sha256:")+64 {
		found = append(found, "sha256:"+strings.Repeat("0", 64))
	}
	return found
}

func (w *walk) quantities(steps []any) {
	for i, value := range []any{
		"", " ", "lots", "-1", "-1Gi", "0", int64(0), int64(-1), "1e999999999", "1E999999999", "1.5e-99999999", "9223372036854775807", "9223372036854775808",
		"8Ei", "16Ei", "1Zi", "1Gi ", "1 Gi", "1gi", "0.1", "100m", "1e3", "0x10", "١", strings.Repeat("9", 100_000), int64(math.MaxInt64), "NaN", "Inf",
	} {
		w.add(steps, Either, fmt.Sprintf("amount %d", i), value)
	}
}

func (w *walk) integers(steps []any, schema apiextensionsv1.JSONSchemaProps) {
	if schema.Minimum != nil {
		w.add(steps, Reachable, "least", int64(*schema.Minimum))
		w.add(steps, Refused, "too little", int64(*schema.Minimum)-1)
	}
	if schema.Maximum != nil {
		w.add(steps, Reachable, "most", int64(*schema.Maximum))
		w.add(steps, Refused, "too much", int64(*schema.Maximum)+1)
	}
	for i, value := range []any{int64(math.MaxInt64), int64(math.MinInt64), 1e300, int64(math.MaxInt32) + 1} {
		w.add(steps, Refused, fmt.Sprintf("far out %d", i), value)
	}
}

func (w *walk) array(steps []any, schema apiextensionsv1.JSONSchemaProps, value any) {
	items, ok := value.([]any)
	if !ok || len(items) == 0 {
		w.missing = append(w.missing, pathOf(steps)+"[0]")
		return
	}
	kind := ""
	if schema.XListType != nil {
		kind = *schema.XListType
	}
	if kind == "set" || kind == "map" {
		w.add(steps, Refused, "an item twice", append(slices.Clip(items), items[0]))
	}
	if schema.MinItems != nil && *schema.MinItems > 0 {
		w.add(steps, Refused, "too few items", []any{})
	} else {
		w.add(steps, Either, "no item", []any{})
	}
	if schema.MaxItems != nil {
		w.add(steps, Either, "the most items", many(items[0], schema, int(*schema.MaxItems)))
		w.add(steps, Refused, "too many items", many(items[0], schema, int(*schema.MaxItems)+1))
	}
	w.visit(append(steps, 0), *schema.Items.Schema, items[0], true)
}

// many are copies of an item, each with keys of its own if the list wants that.
func many(item any, schema apiextensionsv1.JSONSchemaProps, n int) []any {
	items := make([]any, n)
	for i := range items {
		suffix := fmt.Sprintf("%d", i)
		switch item := item.(type) {
		case string:
			items[i] = item + suffix
		case map[string]any:
			clone := maps.Clone(item)
			for _, key := range schema.XListMapKeys {
				if text, ok := clone[key].(string); ok {
					clone[key] = text + suffix
				}
			}
			items[i] = clone
		default:
			items[i] = item
		}
	}
	return items
}

func (w *walk) dictionary(steps []any, schema apiextensionsv1.JSONSchemaProps, value any) {
	entries, ok := value.(map[string]any)
	if !ok || len(entries) == 0 {
		w.missing = append(w.missing, pathOf(steps)+".*")
		return
	}
	key := slices.Sorted(maps.Keys(entries))[0]
	for i, name := range append(strange, "packages-operator.io/x", strings.Repeat("a", 64), strings.Repeat("a", 400)) {
		changed := maps.Clone(entries)
		changed[name] = entries[key]
		w.add(steps, Either, fmt.Sprintf("strange key %d", i), changed)
	}
	if schema.MaxProperties != nil {
		most := map[string]any{}
		for i := range int(*schema.MaxProperties) {
			most[fmt.Sprintf("key%d", i)] = entries[key]
		}
		w.add(steps, Either, "the most entries", most)
		more := maps.Clone(most)
		more["another"] = entries[key]
		w.add(steps, Refused, "too many entries", more)
	}
	if schema.AdditionalProperties.Schema != nil {
		w.visit(append(steps, key), *schema.AdditionalProperties.Schema, entries[key], false)
	}
}

func (w *walk) object(steps []any, schema apiextensionsv1.JSONSchemaProps, value any) {
	fields, ok := value.(map[string]any)
	if !ok {
		w.missing = append(w.missing, pathOf(steps))
		return
	}
	if len(steps) > 1 {
		w.add(steps, Either, "empty", map[string]any{})
	}
	w.add(append(steps, "surelyNoField"), Refused, "of a name that no field has", "text")
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		field, found := fields[name]
		if !found {
			w.missing = append(w.missing, pathOf(append(steps, name)))
			continue
		}
		w.visit(append(steps, name), schema.Properties[name], field, slices.Contains(schema.Required, name))
	}
}
