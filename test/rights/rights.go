// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rights compares what roles grant with what the API server's audit log says
// was done with it.
package rights

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Right is one verb on one kind of resource, or on a path of the API server.
type Right struct{ Group, Resource, Verb string }

// Seldom is the one right of the manager that goes unused in many a run: an event is
// patched if it happens again to the same version of an object.
const Seldom = "patch events.events.k8s.io"

func (r Right) String() string {
	return r.Verb + " " + strings.TrimSuffix(r.Resource+"."+r.Group, ".")
}

// Of lists the rights in rules.
func Of(rules []rbacv1.PolicyRule) []Right {
	var rights []Right
	for _, rule := range rules {
		for _, path := range rule.NonResourceURLs {
			for _, verb := range rule.Verbs {
				rights = append(rights, Right{"", path, verb})
			}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, Right{group, resource, verb})
				}
			}
		}
	}
	return rights
}

// Log is what some users did.
type Log struct {
	used    map[Right]bool
	refused map[string]bool
}

// Read takes the requests of users out of an audit log with a JSON object a line.
func Read(audit io.Reader, user func(name string) bool) (*Log, error) {
	log := &Log{used: map[Right]bool{}, refused: map[string]bool{}}
	for reader := bufio.NewReader(audit); ; {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return log, nil // an unfinished line is still being written
		}
		if err != nil {
			return nil, err
		}
		if err := log.add(line, user); err != nil {
			return nil, err
		}
	}
}

func (l *Log) add(line []byte, user func(string) bool) error {
	var event struct {
		Verb        string
		RequestURI  string
		User        struct{ Username string }
		ObjectRef   *struct{ APIGroup, Resource, Subresource, Namespace string }
		Annotations map[string]string
		// ResponseStatus has the HTTP status.
		ResponseStatus struct{ Code int }
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("a line of the audit log: %w", err)
	}
	if !user(event.User.Username) {
		return nil
	}
	path, _, _ := strings.Cut(event.RequestURI, "?")
	asked, namespace := Right{"", path, event.Verb}, ""
	if ref := event.ObjectRef; ref != nil {
		asked, namespace = Right{ref.APIGroup, ref.Resource, event.Verb}, ref.Namespace
		if ref.Subresource != "" {
			asked.Resource += "/" + ref.Subresource
		}
	}
	switch event.Annotations["authorization.k8s.io/decision"] {
	case "allow":
		l.used[asked] = true
		// Two rights are asked for without a request of their own: a patch that applies
		// what is not there creates it, and a watch that begins with what is there is a
		// list. Where the API server has no such watches, it is one.
		switch {
		case asked.Verb == "patch" && event.ResponseStatus.Code == http.StatusCreated:
			asked.Verb = "create"
		case asked.Verb == "watch" && strings.Contains(event.RequestURI, "sendInitialEvents=true"):
			asked.Verb = "list"
		}
		l.used[asked] = true
	case "forbid":
		l.refused[fmt.Sprintf("%s may not %s in %q", event.User.Username, asked, namespace)] = true
	}
	return nil
}

// Unused are the rights that nobody used.
func (l *Log) Unused(rights []Right) []string {
	var unused []string
	for _, right := range rights {
		if !l.used[right] {
			unused = append(unused, right.String())
		}
	}
	return unused
}

// Refused says what the authorizer did not let pass.
func (l *Log) Refused() []string { return slices.Sorted(maps.Keys(l.refused)) }
