// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package table runs the commands that people use with registries, client by
// client, verb by verb and content by content, against the registry as a process
// of its own. What it finds is docs/clients.md.
//
//	make clients
package table

import (
	"cmp"
	"slices"
	"testing"
)

// client is a program that talks to registries.
type client struct {
	name string
	// group of hack/tools.sh and module are what it is built from, if that is done here.
	group, module string
	// about says how it was set up, and without a module where it comes from.
	about string
	// lacks names what the client has no command for.
	lacks []string
	// start makes the client ready; what it starts ends with the test.
	start func(*testing.T, *bench)
	verbs []verb
	// refusals has what the client prints when the registry refuses it.
	refusals *refusals
}

// verb is one of a client's commands, tried with every content.
type verb struct {
	name string
	run  func(*job) error
	// on has the names of the contents that the verb is about; nil means all, and
	// an empty list a verb about repositories and not about contents.
	on []string
	// except has the contents that the client cannot take.
	except []exception
}

// exception is what a client cannot do. It is tried all the same, so that the
// table tells when the client has learned it.
type exception struct {
	contents []string
	// says is part of what the client prints then.
	says string
	// note explains it in the table.
	note string
}

// aboutRepositories marks a verb that is about no content.
var aboutRepositories = []string{}

func (v verb) concerns(content string) bool { return v.on == nil || slices.Contains(v.on, content) }

// exceptionFor is the exception for a content, or nil.
func (v verb) exceptionFor(content string) *exception {
	for i := range v.except {
		if slices.Contains(v.except[i].contents, content) {
			return &v.except[i]
		}
	}
	return nil
}

// refusals are what a client prints on the unhappy paths.
type refusals struct {
	// attempt logs in to a registry, with the client's own command if it has one,
	// and pushes something to an image there.
	attempt func(j *job, r *registry, as user, image string) error
	// instead has, by path, what the client prints in place of the registry's
	// sentence.
	instead map[string]string
}

// refusal is an unhappy path.
type refusal struct {
	name string
	// sentence is what the registry says, and a person should read.
	sentence string
}

var unhappy = []refusal{
	{"wrong token", "the token is wrong, expired or revoked; passwords of accounts are not accepted, only tokens"},
	{"no right", "your role in octocat/octo-app is Read; pushing needs Write"},
	{"no such repository", "there is no repository octocat/no-such-repository"},
	{"read-only", "the Docker registry of this instance is read-only: pulling works, pushing and deleting do not"},
	{"over the limit", "the layer is larger than the 1Mi that this instance's docker.limits.maxLayerSize allows"},
}

// expected is what the client must print on an unhappy path.
func (r *refusals) expected(path refusal) string { return cmp.Or(r.instead[path.name], path.sentence) }
