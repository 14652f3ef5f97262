// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// asJSON is what encoding/json makes of an entry.
func asJSON(t *testing.T, e Entry) string {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// Every field on its own, and beside the others, with every kind of text.
func TestALineIsTheEntryAsJSON(t *testing.T) {
	texts := []string{"plain", "", `"quoted" \back`, "two\nlines\r\t\b\f\x00\x1f", "<a href='&'>", "äöü 世界 \U0001f433", "\u2028\u2029", "\xff torn \xc3", "\x7f"}
	numbers := []int64{0, 1, -1, 1<<63 - 1}
	var all Entry
	check := func(e Entry) {
		t.Helper()
		if got, want := string(e.appendLine(nil)), asJSON(t, e); got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	for i := range reflect.TypeFor[Entry]().NumField() {
		for _, set := range settings(reflect.TypeFor[Entry]().Field(i).Type, texts, numbers) {
			var alone Entry
			set(reflect.ValueOf(&alone).Elem().Field(i))
			set(reflect.ValueOf(&all).Elem().Field(i))
			check(alone)
			check(all)
		}
	}
	if line := string(all.appendLine([]byte("before\n"))); !strings.HasPrefix(line, "before\n{") {
		t.Errorf("the line is not appended: %s", line)
	}
}

// settings set a field of a type to every value that is to be tried.
func settings(field reflect.Type, texts []string, numbers []int64) (list []func(reflect.Value)) {
	add := func(value any) {
		list = append(list, func(v reflect.Value) { v.Set(reflect.ValueOf(value).Convert(field)) })
	}
	switch {
	case field == reflect.TypeFor[time.Time]():
		add(time.Time{})
		add(time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC))
		add(time.Date(2026, 11, 28, 1, 2, 3, 456700000, time.FixedZone("", 3600)))
	case field.Kind() == reflect.String:
		for _, text := range texts {
			add(text)
		}
	case field.Kind() == reflect.Slice:
		add([]string(nil))
		add([]string{})
		add(texts[:1])
		add(texts)
	default:
		for _, number := range numbers {
			add(number)
		}
	}
	return list
}

func BenchmarkALine(b *testing.B) {
	e := Entry{
		Time: time.Date(2026, 11, 28, 1, 2, 3, 456700000, time.UTC), RequestID: "0123456789abcdef", Action: Pull, Outcome: Allowed, Route: "manifest-get", Status: 200,
		User: "octocat", TokenID: "token-1", Token: "octocat", Name: "octocat/octo-app/app", Reference: "latest",
		Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Bytes: 1234, Address: "192.0.2.1", UserAgent: "docker/20.10.24",
	}
	b.ReportAllocs()
	line := e.appendLine(nil)
	for b.Loop() {
		line = e.appendLine(line[:0])
	}
}
