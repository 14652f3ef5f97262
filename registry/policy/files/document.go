// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Error is a fault at a place in a file. It never holds a Secret's value.
type Error struct {
	File string
	// Line counts from 1; 0 means the whole file.
	Line   int
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// document is one YAML document of a file.
type document struct {
	file string
	// offset is how many lines of the file come before the text.
	offset int
	// lines are how many the text has.
	lines int
	text  []byte
	// root is the parsed text, for line numbers alone; nil if it does not parse.
	root *yamlnode.Node
	// content is what the document says, as the API server would read it.
	content map[string]any
}

// splitDocuments cuts a file at its "---" lines and drops documents without
// content.
func splitDocuments(file string, data []byte) []*document {
	var documents []*document
	current := &document{file: file}
	add := func() {
		if hasContent(current.text) {
			documents = append(documents, current)
		}
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if rest, separator := bytes.CutPrefix(text, []byte("---")); separator && !hasContent(rest) {
			add()
			current = &document{file: file, offset: line}
			continue
		}
		current.text = append(current.text, text...)
		current.lines++
	}
	add()
	return documents
}

// hasContent says whether there is more than blank lines and comments.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}

// parse fills content as the API server's strict decoding would, and root.
func (d *document) parse() error {
	var root yamlnode.Node
	if err := yamlnode.Unmarshal(d.text, &root); err == nil && len(root.Content) == 1 {
		d.root = root.Content[0]
	}
	encoded, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return d.syntaxError(err)
	}
	if err := json.Unmarshal(encoded, &d.content); err != nil || d.content == nil {
		return d.errorAt("", "the document is not a Kubernetes object: begin it with apiVersion and kind")
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxError moves the parser's line to where it is in the file. Messages that
// quote the document may quote a secret, and are not passed on.
func (d *document) syntaxError(err error) error {
	reason := err.Error()
	line := d.offset + 1
	if match := yamlLine.FindStringSubmatchIndex(reason); match != nil {
		if n, err := strconv.Atoi(reason[match[2]:match[3]]); err == nil {
			line = d.offset + n
		}
		reason = reason[match[1]:]
	}
	if i := strings.LastIndex(reason, "yaml: "); i >= 0 {
		reason = reason[i+len("yaml: "):]
	}
	if strings.ContainsAny(reason, "`\n") || strings.Contains(reason, "anchor") || strings.Contains(reason, "cannot") {
		reason = "a value must be put into quotes, or is of a wrong type"
	}
	return &Error{File: d.file, Line: min(line, d.lastLine()), Reason: "not valid YAML: " + reason}
}

// errorAt is an Error at a field, such as spec.access.users[0].name, or at the
// nearest field above that is written in the file.
func (d *document) errorAt(path, format string, args ...any) *Error {
	return &Error{File: d.file, Line: d.lineOf(path), Reason: fmt.Sprintf(format, args...)}
}

func (d *document) lineOf(path string) int {
	if d.root == nil {
		return d.offset + 1
	}
	node, line := d.root, d.root.Line
	for _, name := range pathNames(path) {
		for node.Kind == yamlnode.AliasNode {
			node = node.Alias
		}
		child, at := childOf(node, name)
		if child == nil {
			break
		}
		node, line = child, at
	}
	return min(d.offset+line, d.lastLine())
}

// lastLine is the document's last in its file: the parser may name the line behind,
// and takes other characters for line breaks than editors do.
func (d *document) lastLine() int { return d.offset + d.lines }

// childOf finds a field or an item, and the line that it begins on.
func childOf(node *yamlnode.Node, name string) (*yamlnode.Node, int) {
	switch node.Kind {
	case yamlnode.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == name {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yamlnode.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	}
	return nil, 0
}

// pathNames cuts a path as k8s.io/apimachinery's field.Path writes it: names
// behind dots, keys and indexes in brackets.
func pathNames(path string) []string {
	var names []string
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return names
			}
			names = append(names, path[1:end])
			path = path[end+1:]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			names = append(names, path[:end])
			path = path[end:]
		}
	}
	return names
}
