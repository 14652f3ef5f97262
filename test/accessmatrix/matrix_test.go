// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package accessmatrix_test

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/packages-operator/packages-operator/test/accessmatrix"
)

// maxFailures ends the test: more of them tell nothing new.
const maxFailures = 20

func TestEveryCellIsAnsweredByTheRules(t *testing.T) {
	issuers := map[accessmatrix.Ownership]*issuer{}
	for _, ownership := range []accessmatrix.Ownership{accessmatrix.ByUser, accessmatrix.ByOrganization} {
		issuers[ownership] = &issuer{registry: newRegistry(t, ownership), issued: map[accessmatrix.Cell]string{}}
	}
	var cells, failures atomic.Int64
	t.Cleanup(func() { t.Logf("%d cells, %d rows", cells.Load(), len(accessmatrix.Rows)) })
	for _, world := range accessmatrix.Worlds() {
		t.Run(strings.Join([]string{world.Support.String(), world.AnonymousPull.String(), world.Ownership.String()}, "/"), func(t *testing.T) {
			t.Parallel()
			w := &worldTest{
				tokens:   issuers[world.Ownership],
				registry: newRegistry(t, world.Ownership, during(world)),
				missing:  newRegistry(t, world.Ownership, bare(world)),
			}
			for c := range accessmatrix.Cells(world) {
				if failures.Load() >= maxFailures {
					return
				}
				cells.Add(1)
				if err := w.check(t, c); err != nil {
					failures.Add(1)
					t.Errorf("%s: %v", c, err)
				}
			}
		})
	}
}

// worldTest is a world's registry, and one where nothing is declared.
type worldTest struct {
	tokens            *issuer
	registry, missing *registry
}

func (w *worldTest) check(t *testing.T, c accessmatrix.Cell) error {
	t.Helper()
	row := accessmatrix.Rule(c)
	if row == nil {
		return fmt.Errorf("no rule speaks of it")
	}
	authorization := w.tokens.authorization(t, c)
	got := w.registry.send(t, c, authorization)
	if err := compare(c, row.Answer, got); err != nil {
		return fmt.Errorf("%w, because %s", err, row.Rule)
	}
	if row.Allowed() {
		switch c.Request {
		case accessmatrix.Token:
			return checkGrants(c, got)
		case accessmatrix.Catalog:
			return checkNames(c, got)
		}
		return nil
	}
	if c.Moment == accessmatrix.WhileBodyArrives {
		if i := slices.IndexFunc(got.calls, stores); i >= 0 {
			return fmt.Errorf("it is refused, but the catalog has taken it: %s", got.calls[i])
		}
		return nil
	}
	if len(got.calls) != 0 {
		return fmt.Errorf("it is refused, but the catalog was asked: %q", got.calls)
	}
	// What the actor may not see, and everything for nobody, is as if it were
	// missing: to the byte.
	if row.Code == "NAME_UNKNOWN" || c.Actor == accessmatrix.Nobody && row.Error == "" {
		if absent := w.missing.send(t, c, authorization); !absent.same(got) {
			return fmt.Errorf("it can be told from a missing one:\n%v\n%v", got, absent)
		}
	}
	return nil
}

// stores says of a call to the catalog that it keeps what was pushed.
func stores(call string) bool {
	name, _, _ := strings.Cut(call, " ")
	return slices.Contains([]string{"PutBlob", "SaveUpload", "FinishUpload", "PutManifest"}, name)
}

// compare says how an answer differs from the rule's.
func compare(c accessmatrix.Cell, want accessmatrix.Answer, got *response) error {
	if got.status != want.Status {
		return fmt.Errorf("status %d, want %d: %s", got.status, want.Status, got.body.String())
	}
	if challenge := got.header.Get("Www-Authenticate"); challenge != challengeOf(c, want) {
		return fmt.Errorf("challenge %s, want %s", challenge, challengeOf(c, want))
	}
	if want.Allowed() {
		return nil
	}
	if forms[c.Request].method == "HEAD" {
		if got.body.Len() != 0 {
			return fmt.Errorf("HEAD has a body: %s", got.body.String())
		}
		return nil
	}
	document := `{"errors":[{"code":"` + want.Code + `","message":"` + reasonOf(c, want) + `"}]}`
	if got.body.String() != document {
		return fmt.Errorf("%s, want %s", got.body.String(), document)
	}
	return nil
}

func challengeOf(c accessmatrix.Cell, want accessmatrix.Answer) string {
	switch want.Scheme {
	case "Basic":
		return `Basic realm="docker.packages.test"`
	case "Bearer":
		challenge := `Bearer realm="https://docker.packages.test/token",service="docker.packages.test"`
		if scope := challengeScope(c); scope != "" {
			challenge += `,scope="` + scope + `"`
		}
		if want.Error != "" {
			challenge += `,error="` + want.Error + `"`
		}
		return challenge
	}
	return ""
}

func reasonOf(c accessmatrix.Cell, want accessmatrix.Answer) string {
	if !strings.Contains(want.Reason, "{") {
		return want.Reason
	}
	role := "none"
	switch c.Actor {
	case accessmatrix.Reader:
		role = "Read"
	case accessmatrix.Writer:
		role = "Write"
	}
	return strings.NewReplacer(
		"{repository}", repositoryPaths[c.Repository],
		"{image}", string(image(c.Repository)),
		"{role}", role,
		"{others}", strings.Join(others(c), ", "),
		"{allowed}", elsewhere+"/*",
	).Replace(want.Reason)
}

// allowedNow says whether a cell's actor may do something else with a token that is
// signed in with directly, whatever the support mode.
func allowedNow(c accessmatrix.Cell, request accessmatrix.Request) bool {
	c.Request, c.Mount, c.Support = request, accessmatrix.NoMount, accessmatrix.Enabled
	c.SignIn = accessmatrix.Basic
	if c.Actor == accessmatrix.Nobody {
		c.SignIn = accessmatrix.None
	}
	return accessmatrix.Rule(c).Allowed()
}

// checkGrants compares what a new bearer token is for with what the actor may do.
func checkGrants(c accessmatrix.Cell, got *response) error {
	want := []string{}
	if allowedNow(c, accessmatrix.Catalog) {
		want = append(want, "registry:catalog:*")
	}
	for _, request := range []accessmatrix.Request{accessmatrix.ManifestDelete, accessmatrix.ManifestGet, accessmatrix.ManifestPut} {
		if allowedNow(c, request) {
			want = append(want, "repository:"+string(image(c.Repository))+":"+forms[request].action)
		}
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(got.body.Bytes(), &answer); err != nil {
		return err
	}
	list, err := granted(answer.Token)
	if err != nil {
		return err
	}
	if !slices.Equal(list, want) {
		return fmt.Errorf("the bearer token is for %q, want %q", list, want)
	}
	return nil
}

// checkNames compares the names that are listed with those that the actor may pull.
func checkNames(c accessmatrix.Cell, got *response) error {
	want := []string{}
	for i := range repositoryPaths {
		other := c
		other.Repository = accessmatrix.Repository(i)
		if other.Repository != c.Repository && !slices.Contains([]accessmatrix.Narrowing{accessmatrix.Unnarrowed, accessmatrix.AllOfOwner, accessmatrix.NamespaceOfOwner}, c.Narrowing) {
			continue
		}
		if allowedNow(other, accessmatrix.ManifestGet) {
			want = append(want, string(image(i)))
		}
	}
	var answer struct{ Repositories []string }
	if err := json.Unmarshal(got.body.Bytes(), &answer); err != nil {
		return err
	}
	if !slices.Equal(answer.Repositories, want) {
		return fmt.Errorf("the list is %q, want %q", answer.Repositories, want)
	}
	return nil
}

// A mount from a repository that is hidden, one that is missing and one without the
// blob, named or searched for, has one answer.
func TestAMountTellsNothingAboutItsSource(t *testing.T) {
	world := accessmatrix.World{}
	registry := newRegistry(t, world.Ownership, during(world))
	c := accessmatrix.Cell{
		World: world, Request: accessmatrix.UploadStart, Actor: accessmatrix.Writer, Repository: accessmatrix.Private,
		Scopes: accessmatrix.Read | accessmatrix.Write, SignIn: accessmatrix.Basic,
	}
	plain := registry.send(t, c, basic(valueOf(c)))
	answers := map[accessmatrix.Mount]*response{}
	for _, c.Mount = range []accessmatrix.Mount{accessmatrix.FromHidden, accessmatrix.FromMissing, accessmatrix.FromWithoutBlob, accessmatrix.FromAnywhereHidden} {
		answers[c.Mount] = registry.send(t, c, basic(valueOf(c)))
	}
	// Not even the catalog can tell a hidden source from a missing one, or from no
	// mount at all.
	for _, mount := range []accessmatrix.Mount{accessmatrix.FromHidden, accessmatrix.FromMissing} {
		if !answers[mount].same(plain) {
			t.Errorf("%s: %v, want %v", mount, answers[mount], plain)
		}
	}
	for mount, answer := range answers {
		answer.calls = plain.calls
		if !answer.same(plain) {
			t.Errorf("%s: %v, want %v", mount, answer, plain)
		}
	}
}

func TestEveryRuleDecidesSomeCell(t *testing.T) {
	if len(accessmatrix.Rows) > 100 {
		t.Errorf("%d rows are more than a person can check", len(accessmatrix.Rows))
	}
	decided := map[*accessmatrix.Row]int{}
	for _, world := range accessmatrix.Worlds() {
		for c := range accessmatrix.Cells(world) {
			decided[accessmatrix.Rule(c)]++
		}
	}
	for i := range accessmatrix.Rows {
		if decided[&accessmatrix.Rows[i]] == 0 {
			t.Errorf("rule %d (%s) decides nothing", i, accessmatrix.Rows[i].Rule)
		}
	}
}

// The rules would prove little if they were the code that they are compared with.
func TestTheRulesKnowNothingOfTheRegistry(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			switch {
			case strings.HasSuffix(path, "/registry/access"):
				t.Errorf("%s imports %s", name, path)
			case !strings.HasSuffix(name, "_test.go") && strings.Contains(path, "."):
				t.Errorf("%s imports %s: rules and cells use the standard library alone", name, path)
			}
		}
	}
}
