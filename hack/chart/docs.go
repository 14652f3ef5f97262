// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// schema is a JSON schema. Maps are written with their keys in order.
type schema = map[string]any

// value is a documented value of the chart.
type value struct {
	path, description, fallback string
}

func docs() error {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return errors.New("values.yaml: not one mapping")
	}
	root, values, err := describe("", document.Content[0])
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Values of the chart packages-operator"
	// What a chart that has this one as a dependency hands to all of its charts.
	properties, ok := root["properties"].(schema)
	if !ok {
		return errors.New("values.yaml: no values")
	}
	properties["global"] = schema{"type": "object"}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(root); err != nil {
		return err
	}
	if err := write(filepath.Join(chartDir, "values.schema.json"), out.Bytes()); err != nil {
		return err
	}
	return readme(values)
}

// describe returns the schema of a mapping of values, and its values in order.
func describe(path string, mapping *yaml.Node) (schema, []value, error) {
	properties := schema{}
	var values []value
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		description, markers := comment(key)
		if description == "" {
			return nil, nil, fmt.Errorf("%s (line %d) has no comment that says what it is", at, key.Line)
		}
		property, further, err := property(at, node, markers)
		if err != nil {
			return nil, nil, fmt.Errorf("%s (line %d): %w", at, key.Line, err)
		}
		property["description"] = description
		properties[key.Value] = property
		v := value{path: at, description: description}
		if further == nil {
			if v.fallback, err = inline(node); err != nil {
				return nil, nil, err
			}
		}
		values = append(append(values, v), further...)
	}
	return schema{"type": "object", "additionalProperties": false, "properties": properties}, values, nil
}

// comment takes what stands above a key apart: what it is, and what is said about
// its schema. Of comments with blank lines between them the last belongs to the key.
func comment(key *yaml.Node) (description string, markers map[string]string) {
	paragraphs := strings.Split(key.HeadComment, "\n\n")
	markers = map[string]string{}
	var words []string
	for _, line := range strings.Split(paragraphs[len(paragraphs)-1], "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if marker, isMarker := strings.CutPrefix(line, "+"); isMarker {
			name, content, _ := strings.Cut(marker, "=")
			markers[name] = content
			continue
		}
		words = append(words, line)
	}
	return strings.TrimSpace(strings.Join(words, " ")), markers
}

// property is the schema of one value, from its default and its markers.
func property(path string, node *yaml.Node, markers map[string]string) (schema, []value, error) {
	used := map[string]bool{}
	take := func(name string) (string, bool) {
		content, found := markers[name]
		used[name] = found
		return content, found
	}
	result, values, err := func() (schema, []value, error) {
		if text, found := take("schema"); found {
			var whole schema
			if err := json.Unmarshal([]byte(text), &whole); err != nil {
				return nil, nil, fmt.Errorf("+schema: %w", err)
			}
			return whole, nil, nil
		}
		switch node.Kind {
		case yaml.MappingNode:
			if _, found := take("strings"); found {
				return schema{"type": "object", "additionalProperties": schema{"type": "string"}}, nil, nil
			}
			if _, found := take("free"); found {
				return schema{"type": "object"}, nil, nil
			}
			return describe(path, node)
		case yaml.SequenceNode:
			result := schema{"type": "array"}
			if _, found := take("instances"); found {
				items, err := instance()
				result["items"] = items
				return result, nil, err
			}
			text, found := take("items")
			if !found {
				return nil, nil, errors.New("a list needs +items={…}")
			}
			var items schema
			err := json.Unmarshal([]byte(text), &items)
			result["items"] = items
			return result, nil, err
		case yaml.ScalarNode:
			return scalar(node, take)
		}
		return nil, nil, fmt.Errorf("a node of kind %d", node.Kind)
	}()
	if err != nil {
		return nil, nil, err
	}
	for name := range markers {
		if !used[name] {
			return nil, nil, fmt.Errorf("+%s is not for a value like this", name)
		}
	}
	return result, values, nil
}

func scalar(node *yaml.Node, take func(string) (string, bool)) (schema, []value, error) {
	result := schema{}
	switch node.Tag {
	case "!!bool":
		result["type"] = "boolean"
	case "!!int":
		result["type"] = "integer"
		if text, found := take("minimum"); found {
			minimum, err := strconv.Atoi(text)
			if err != nil {
				return nil, nil, fmt.Errorf("+minimum: %w", err)
			}
			result["minimum"] = minimum
		}
	case "!!str":
		result["type"] = "string"
		if text, found := take("pattern"); found {
			result["pattern"] = text
		}
		if text, found := take("minLength"); found {
			least, err := strconv.Atoi(text)
			if err != nil {
				return nil, nil, fmt.Errorf("+minLength: %w", err)
			}
			result["minLength"] = least
		}
		if text, found := take("enum"); found {
			result["enum"] = strings.Split(text, ",")
		}
	default:
		return nil, nil, fmt.Errorf("a default of type %s", node.Tag)
	}
	return result, nil, nil
}

// inline is a default on one line.
func inline(node *yaml.Node) (string, error) {
	var content any
	if err := node.Decode(&content); err != nil {
		return "", err
	}
	text, err := json.Marshal(content)
	return string(text), err
}

// instance is the schema of a PackagesInstance in values: its spec is what the
// CustomResourceDefinition says, so far as a JSON schema can say it.
func instance() (schema, error) {
	text, err := os.ReadFile(filepath.Join(basesDir, "packages-operator.io_packagesinstances.yaml"))
	if err != nil {
		return nil, err
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties struct {
							Spec schema `json:"spec"`
						} `json:"properties"`
					} `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := sigsyaml.Unmarshal(text, &definition); err != nil {
		return nil, err
	}
	if len(definition.Spec.Versions) != 1 {
		return nil, errors.New("PackagesInstance has several versions: which one do values have?")
	}
	spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Spec
	plain(spec)
	texts := schema{"type": "object", "additionalProperties": schema{"type": "string"}}
	return schema{
		"type": "object", "additionalProperties": false,
		"required": []string{"name", "spec"},
		"properties": schema{
			"name":        schema{"type": "string", "minLength": 1},
			"namespace":   schema{"type": "string", "minLength": 1},
			"labels":      texts,
			"annotations": texts,
			"spec":        spec,
		},
	}, nil
}

// plain leaves of a structural schema what a JSON schema has, and refuses what the
// API server would prune.
func plain(s schema) {
	for key := range s {
		if strings.HasPrefix(key, "x-kubernetes-") || slices.Contains([]string{"description", "default", "format"}, key) {
			delete(s, key)
		}
	}
	properties, isObject := s["properties"].(schema)
	if _, open := s["additionalProperties"]; isObject && !open {
		s["additionalProperties"] = false
	}
	for _, property := range properties {
		if child, ok := property.(schema); ok {
			plain(child)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if child, ok := s[key].(schema); ok {
			plain(child)
		}
	}
}

// readme writes the chart's README: a text of its own, and the table of values.
func readme(values []value) error {
	text, err := os.ReadFile("hack/chart/README.tmpl.md")
	if err != nil {
		return err
	}
	const mark = "<!-- values -->\n"
	if bytes.Count(text, []byte(mark)) != 1 {
		return errors.New("hack/chart/README.tmpl.md needs one line <!-- values -->")
	}
	var table bytes.Buffer
	table.WriteString("| value | default | |\n|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;")
	for _, v := range values {
		fallback := ""
		if v.fallback != "" {
			fallback = "`" + v.fallback + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", v.path, escape.Replace(fallback), escape.Replace(v.description))
	}
	out := append([]byte("<!-- Generated by make generate from values.yaml and hack/chart/README.tmpl.md. -->\n"), bytes.Replace(text, []byte(mark), table.Bytes(), 1)...)
	return write(filepath.Join(chartDir, "README.md"), out)
}
