// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// mutant is one change of the code.
type mutant struct {
	id int
	// name is FILE FUNCTION: ORIGINAL -> CHANGED, with #N behind it where the
	// same change is possible in more than one place of the function. It does not
	// depend on line numbers.
	name string
}

// constants that stand for each other, by their type.
var constants = map[string][]string{
	"Verdict":              {"Challenge", "InsufficientScope", "Hidden", "Denied", "ReadOnly", "Allow"},
	"Action":               {"Pull", "Push", "Delete"},
	"access.Action":        {"access.Pull", "access.Push", "access.Delete"},
	"policy.Role":          {"policy.RoleRead", "policy.RoleWrite", "policy.RoleAdmin"},
	"policy.Scope":         {"policy.ScopeRead", "policy.ScopeWrite", "policy.ScopeDelete"},
	"policy.Visibility":    {"policy.Private", "policy.Internal", "policy.Public"},
	"policy.Support":       {"policy.SupportEnabled", "policy.SupportReadOnly", "policy.SupportDisabled"},
	"policy.AnonymousPull": {"policy.AnonymousDeny", "policy.AnonymousPublic"},
}

// operators and what each is exchanged for.
var operators = map[token.Token][]token.Token{
	token.EQL: {token.NEQ},
	token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ},
	token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ},
	token.GEQ: {token.GTR, token.LSS},
}

// mutate returns the source with all its mutants in it, each behind its id, and the
// name of its package. Ids begin with first.
func mutate(name string, source []byte, first int) (mutated, pkg string, mutants []mutant, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		return "", "", nil, err
	}
	m := &mutator{file: set.File(file.Pos()), source: source, name: name, next: first, seen: map[string]int{}}
	for _, declaration := range file.Decls {
		m.declaration(declaration)
	}
	return m.apply(), file.Name.Name, m.mutants, nil
}

type mutator struct {
	file     *token.File
	source   []byte
	name     string
	function string
	next     int
	seen     map[string]int
	mutants  []mutant
	edits    []edit
}

// edit wraps the expression between two offsets.
type edit struct {
	begin, end     int
	before, behind string
}

func (m *mutator) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		m.function = d.Name.Name
		if d.Body != nil {
			m.walk(d.Body, returnsBool(d.Type))
		}
	case *ast.GenDecl:
		if d.Tok != token.VAR {
			return
		}
		for _, spec := range d.Specs {
			values := spec.(*ast.ValueSpec)
			m.function = values.Names[0].Name
			for _, value := range values.Values {
				m.walk(value, false)
			}
		}
	}
}

func returnsBool(t *ast.FuncType) bool {
	if t.Results == nil || len(t.Results.List) != 1 {
		return false
	}
	result, ok := t.Results.List[0].Type.(*ast.Ident)
	return ok && result.Name == "bool"
}

// walk finds what can be changed below a node of a function.
func (m *mutator) walk(root ast.Node, returnsBool bool) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			m.walk(n.Body, returnsBoolLiteral(n))
			return false
		case *ast.IfStmt:
			m.condition(n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				m.change(n.Cond, "bool", "false")
			}
		case *ast.SwitchStmt:
			for _, clause := range n.Body.List {
				for _, c := range clause.(*ast.CaseClause).List {
					if n.Tag == nil {
						m.condition(c)
					}
				}
			}
		case *ast.ReturnStmt:
			if returnsBool && len(n.Results) == 1 && !literal(n.Results[0]) && !comparison(n.Results[0]) {
				m.change(n.Results[0], "bool", "!("+m.text(n.Results[0])+")")
			}
		case *ast.BranchStmt:
			if n.Label == nil && n.Tok == token.CONTINUE {
				m.drop(n)
			}
		case *ast.BinaryExpr:
			m.binary(n)
		case *ast.KeyValueExpr:
			// Keys of arrays must be constant.
			m.walk(n.Value, false)
			return false
		case *ast.GenDecl:
			return n.Tok == token.VAR
		case *ast.SelectorExpr:
			m.constant(n)
			// The name behind the dot is no identifier of this package.
			m.walk(n.X, false)
			return false
		case *ast.Ident:
			m.constant(n)
		}
		return true
	})
}

func returnsBoolLiteral(f *ast.FuncLit) bool { return returnsBool(f.Type) }

func literal(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && (id.Name == "true" || id.Name == "false")
}

func comparison(e ast.Expr) bool {
	b, ok := e.(*ast.BinaryExpr)
	return ok && operators[b.Op] != nil
}

// condition takes the branch always, never, and when it should not.
func (m *mutator) condition(e ast.Expr) {
	changes := []string{"true", "false"}
	if !comparison(e) {
		changes = append(changes, "!("+m.text(e)+")")
	}
	m.change(e, "bool", changes...)
}

func (m *mutator) binary(b *ast.BinaryExpr) {
	x, y := m.text(b.X), m.text(b.Y)
	switch b.Op {
	case token.LAND:
		m.change(b, "bool", x+" || "+y, x, y)
	case token.LOR:
		m.change(b, "bool", x+" && "+y, x, y)
	default:
		var changes []string
		for _, operator := range operators[b.Op] {
			changes = append(changes, x+" "+operator.String()+" "+y)
		}
		m.change(b, "bool", changes...)
	}
}

// constant replaces a constant by the others of its type.
func (m *mutator) constant(e ast.Expr) {
	text := m.text(e)
	switch text {
	case "true":
		m.change(e, "bool", "false")
		return
	case "false":
		m.change(e, "bool", "true")
		return
	case "allowed":
		for _, verdict := range constants["Verdict"] {
			if verdict != "Allow" {
				m.change(e, "Decision", "Decision{Verdict: "+verdict+"}")
			}
		}
		return
	}
	for kind, names := range constants {
		if slices.Contains(names, text) {
			m.change(e, kind, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == text })...)
		}
	}
}

// change adds mutants that have other expressions of the type in e's place.
func (m *mutator) change(e ast.Expr, kind string, changes ...string) {
	if len(changes) == 0 {
		return
	}
	var cases strings.Builder
	for _, changed := range changes {
		fmt.Fprintf(&cases, "case %q: return %s\n", m.add(m.text(e), changed), changed)
	}
	m.wrap(e, "func() "+kind+" { switch mutantChosen {\n"+cases.String()+"}\nreturn ", "\n}()")
}

// drop adds a mutant without a statement.
func (m *mutator) drop(s ast.Stmt) {
	m.wrap(s, fmt.Sprintf("if mutantChosen != %q { ", m.add(m.text(s), "nothing")), " }")
}

// add registers a mutant and returns its id.
func (m *mutator) add(original, changed string) string {
	name := fmt.Sprintf("%s %s: %s -> %s", m.name, m.function, oneLine(original), oneLine(changed))
	m.seen[name]++
	if n := m.seen[name]; n > 1 {
		name += " #" + strconv.Itoa(n)
	}
	m.mutants = append(m.mutants, mutant{id: m.next, name: name})
	m.next++
	return strconv.Itoa(m.next - 1)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (m *mutator) text(n ast.Node) string {
	return string(m.source[m.file.Offset(n.Pos()):m.file.Offset(n.End())])
}

func (m *mutator) wrap(n ast.Node, before, behind string) {
	m.edits = append(m.edits, edit{m.file.Offset(n.Pos()), m.file.Offset(n.End()), before, behind})
}

// apply writes the source with all edits. Edits nest: what was found first is
// around what was found later in it.
func (m *mutator) apply() string {
	var b strings.Builder
	for offset := 0; offset <= len(m.source); offset++ {
		for _, e := range slices.Backward(m.edits) {
			if e.end == offset {
				b.WriteString(e.behind)
			}
		}
		for _, e := range m.edits {
			if e.begin == offset {
				b.WriteString(e.before)
			}
		}
		if offset < len(m.source) {
			b.WriteByte(m.source[offset])
		}
	}
	return b.String()
}
