// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const (
	private   = ref.Name("octocat/octo-app/monalisa")
	internal  = ref.Name("octocat/shared/monalisa")
	public    = ref.Name("octocat/open/monalisa")
	missing   = ref.Name("octocat/nothing/monalisa")
	nobody    = ""
	allScopes = "read:packages write:packages delete:packages"
)

// The rule of GitHub Packages: right = scope of the token and permission of the
// user. Verdicts stand for pull, push and delete, in this order.
func TestRightsAreScopeAndPermission(t *testing.T) {
	const (
		allow     = Allow
		denied    = Denied
		hide      = Hidden
		challenge = Challenge
	)
	tests := []struct {
		user   string
		scopes string
		name   ref.Name
		want   [3]Verdict
	}{
		// Permission, with every scope.
		{"octocat", allScopes, private, [3]Verdict{allow, allow, allow}}, // the owner
		{"mona-admin", allScopes, private, [3]Verdict{allow, allow, allow}},
		{"monalisa", allScopes, private, [3]Verdict{allow, allow, denied}},
		{"hubot", allScopes, private, [3]Verdict{allow, denied, denied}},
		{"stranger", allScopes, private, [3]Verdict{hide, hide, hide}},
		{nobody, "", private, [3]Verdict{challenge, challenge, challenge}},

		// Scope, with every permission.
		{"octocat", "read:packages", private, [3]Verdict{allow, denied, denied}},
		{"octocat", "write:packages", private, [3]Verdict{allow, allow, denied}}, // write includes read
		{"octocat", "delete:packages", private, [3]Verdict{denied, denied, allow}},
		{"octocat", "read:packages delete:packages", private, [3]Verdict{allow, denied, allow}},
		{"octocat", "", private, [3]Verdict{denied, denied, denied}},

		// Neither makes up for the other.
		{"hubot", "write:packages", private, [3]Verdict{allow, denied, denied}},
		{"monalisa", "delete:packages", private, [3]Verdict{denied, denied, denied}},
		{"stranger", "delete:packages", private, [3]Verdict{hide, hide, hide}},

		// Visibility.
		{"stranger", allScopes, internal, [3]Verdict{allow, denied, denied}},
		{"stranger", "delete:packages", internal, [3]Verdict{denied, denied, denied}},
		{"monalisa", allScopes, internal, [3]Verdict{allow, allow, denied}},
		{nobody, "", internal, [3]Verdict{challenge, challenge, challenge}},
		{"stranger", allScopes, public, [3]Verdict{allow, denied, denied}},
		{"octocat", allScopes, public, [3]Verdict{allow, allow, allow}},
		{nobody, "", public, [3]Verdict{challenge, challenge, challenge}},

		// What is not declared is like what may not be seen, to its owner, too.
		{"octocat", allScopes, missing, [3]Verdict{hide, hide, hide}},
		{"stranger", allScopes, missing, [3]Verdict{hide, hide, hide}},
		{nobody, "", missing, [3]Verdict{challenge, challenge, challenge}},
	}
	for _, test := range tests {
		t.Run(test.user+"/"+test.scopes+"/"+string(test.name), func(t *testing.T) {
			f := newFixture(t, func(p *policy.Policy) {
				if test.user != nobody {
					find(p, test.user).Scopes = scopes(test.scopes)
				}
			})
			actor := f.actor(t, test.user)
			for action, want := range test.want {
				d := Authorize(f.snapshot, actor, test.name, Action(action))
				if d.Verdict != want {
					t.Errorf("%s: %s (%s), want %s", Action(action), d.Verdict, d.Reason, want)
				}
				if (d.Reason == "") != (d.Verdict == Allow) {
					t.Errorf("%s: %s has the reason %q", Action(action), d.Verdict, d.Reason)
				}
			}
		})
	}
}

func scopes(list string) []policy.Scope {
	var parsed []policy.Scope
	for scope := range strings.FieldsSeq(list) {
		parsed = append(parsed, policy.Scope(scope))
	}
	return parsed
}

func TestAnonymousPull(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	for name, want := range map[ref.Name][3]Verdict{
		public:   {Allow, Challenge, Challenge},
		internal: {Challenge, Challenge, Challenge},
		private:  {Challenge, Challenge, Challenge},
		missing:  {Challenge, Challenge, Challenge},
	} {
		for action, want := range want {
			if d := Authorize(f.snapshot, Actor{}, name, Action(action)); d.Verdict != want {
				t.Errorf("%s %s: %s, want %s", Action(action), name, d.Verdict, want)
			}
		}
	}
}

func TestNarrowedTokens(t *testing.T) {
	tests := map[string]struct {
		repositories []string
		want         map[ref.Name]Verdict // of a push by the owner
	}{
		"one repository": {[]string{"octocat/octo-app"},
			map[ref.Name]Verdict{private: Allow, internal: Hidden, public: Hidden, missing: Hidden}},
		"an owner's": {[]string{"octocat/*"},
			map[ref.Name]Verdict{private: Allow, internal: Allow, public: Allow, missing: Hidden}},
		"two": {[]string{"octocat/open", "octocat/shared"},
			map[ref.Name]Verdict{private: Hidden, internal: Allow, public: Allow}},
		"another owner's": {[]string{"octo/*", "cat/*", "octocat-2/*"},
			map[ref.Name]Verdict{private: Hidden, internal: Hidden, public: Hidden}},
		"a longer name": {[]string{"octocat/octo-app-2", "octocat/octo"},
			map[ref.Name]Verdict{private: Hidden}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(p *policy.Policy) { find(p, "octocat").Repositories = test.repositories })
			actor := f.actor(t, "octocat")
			for name, want := range test.want {
				if d := Authorize(f.snapshot, actor, name, Push); d.Verdict != want {
					t.Errorf("%s: %s (%s), want %s", name, d.Verdict, d.Reason, want)
				}
			}
		})
	}
}

func TestANarrowedTokenGainsNothing(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { find(p, "stranger").Repositories = []string{"octocat/*"} })
	if d := Authorize(f.snapshot, f.actor(t, "stranger"), private, Pull); d.Verdict != Hidden {
		t.Errorf("got %s", d.Verdict)
	}
}

func TestReasonsAreForThePersonWhoReadsThem(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) {
		find(p, "octocat").Scopes = scopes("read:packages")
		find(p, "mona-admin").Repositories = []string{"octocat/octo-app", "octocat/a", "octocat/b", "octocat/c", "octocat/d"}
	})
	tests := []struct {
		user   string
		name   ref.Name
		action Action
		want   string
	}{
		{"hubot", private, Push, "your role in octocat/octo-app is Read; pushing needs Write"},
		{"monalisa", private, Delete, "your role in octocat/octo-app is Write; deleting needs Admin"},
		{"stranger", internal, Push, "you have no role in octocat/shared; pushing needs Write"},
		{"octocat", private, Push, "this token lacks the scope write:packages"},
		{"octocat", private, Delete, "this token lacks the scope delete:packages"},
		{"mona-admin", internal, Pull, "this token is limited to octocat/a, octocat/b, octocat/c and 2 more"},
		{"stranger", private, Pull, "there is no repository octocat/octo-app that this token may see"},
		{nobody, private, Pull, "sign in with docker login"},
	}
	for _, test := range tests {
		if d := Authorize(f.snapshot, f.actor(t, test.user), test.name, test.action); d.Reason != test.want {
			t.Errorf("%s, %s %s: %q, want %q", test.user, test.action, test.name, d.Reason, test.want)
		}
	}
}

// Whoever may not see a repository must not learn from any answer that it exists.
func TestHiddenAndMissingAreAnsweredAlike(t *testing.T) {
	for name, narrowing := range map[string][]string{"not narrowed": nil, "narrowed to it": {"octocat/*"}, "narrowed elsewhere": {"stranger/x"}} {
		for _, mode := range []policy.Support{policy.SupportEnabled, policy.SupportReadOnly, policy.SupportDisabled} {
			// The same name, once declared and once not.
			declared := newFixture(t, func(p *policy.Policy) { p.Support = mode; find(p, "stranger").Repositories = narrowing })
			undeclared := newFixture(t, func(p *policy.Policy) {
				p.Support, p.Repositories = mode, nil
				find(p, "stranger").Repositories = narrowing
			})
			for _, user := range []string{nobody, "stranger"} {
				for _, action := range []Action{Pull, Push, Delete} {
					a := Authorize(declared.snapshot, declared.actor(t, user), private, action)
					b := Authorize(undeclared.snapshot, undeclared.actor(t, user), private, action)
					if a != b || a.Verdict == Allow {
						t.Errorf("%s, %s, %q, %s: %+v if it exists, %+v if not", name, mode, user, action, a, b)
					}
				}
			}
		}
	}
}

func TestReadOnly(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { p.Support = policy.SupportReadOnly })
	for user, want := range map[string][3]Verdict{
		"octocat":  {Allow, ReadOnly, ReadOnly},
		"hubot":    {Allow, ReadOnly, ReadOnly},
		"stranger": {Hidden, Hidden, Hidden},
		nobody:     {Challenge, Challenge, Challenge},
	} {
		for action, want := range want {
			if d := Authorize(f.snapshot, f.actor(t, user), private, Action(action)); d.Verdict != want {
				t.Errorf("%q, %s: %s, want %s", user, Action(action), d.Verdict, want)
			}
		}
	}
	// A token issued in this mode pushes once the mode is over, and the answer is
	// ReadOnly until then, not a demand for another token.
	bearer := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:"+string(private)+":pull,push").Token)
	if d := Authorize(f.snapshot, bearer, private, Push); d.Verdict != ReadOnly {
		t.Errorf("bearer: %s, want read-only", d.Verdict)
	}
	f.setPolicy(t, nil)
	if d := Authorize(f.snapshot, bearer, private, Push); d.Verdict != Allow {
		t.Errorf("bearer, mode over: %s, want allow", d.Verdict)
	}
}

func TestDisabledHidesEverything(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) {
		p.Support, p.AnonymousPull = policy.SupportDisabled, policy.AnonymousPublic
	})
	for _, user := range []string{nobody, "octocat"} {
		actor := f.actor(t, user)
		for _, d := range []Decision{
			Authorize(f.snapshot, actor, public, Pull), AuthorizeVersion(f.snapshot, actor), AuthorizeCatalog(f.snapshot, actor),
		} {
			if d.Verdict != Hidden {
				t.Errorf("%q: %s, want hidden", user, d.Verdict)
			}
		}
		if Visible(f.snapshot, actor, "octocat/open") || MayMount(f.snapshot, actor, public) {
			t.Errorf("%q sees a repository", user)
		}
	}
}

func TestABearerTokenLimitsItsHolder(t *testing.T) {
	f := newFixture(t, nil)
	actor := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:"+string(private)+":pull").Token)
	tests := []struct {
		name   ref.Name
		action Action
		want   Verdict
	}{
		{private, Pull, Allow},
		{private, Push, InsufficientScope},
		{private + "/deeper", Pull, InsufficientScope},
		{"octocat/octo-app/other", Pull, InsufficientScope},
		{internal, Pull, InsufficientScope},
		{missing, Pull, Hidden},
	}
	for _, test := range tests {
		if d := Authorize(f.snapshot, actor, test.name, test.action); d.Verdict != test.want {
			t.Errorf("%s %s: %s, want %s", test.action, test.name, d.Verdict, test.want)
		}
	}
}

// A bearer token says what was asked for; the policy in force says what is right.
func TestABearerTokenNeverOutlivesItsRights(t *testing.T) {
	const everything = "repository:" + string(private) + ":pull,push,delete"
	tests := map[string]struct {
		change func(*policy.Policy)
		want   [3]Verdict
	}{
		"nothing changed": {nil, [3]Verdict{Allow, Allow, Allow}},
		"scopes were taken": {func(p *policy.Policy) { find(p, "mona-admin").Scopes = scopes("read:packages") },
			[3]Verdict{Allow, Denied, Denied}},
		"the role was lowered": {func(p *policy.Policy) { p.Repositories[0].Users[2].Role = policy.RoleRead },
			[3]Verdict{Allow, Denied, Denied}},
		"the role was taken": {func(p *policy.Policy) { p.Repositories[0].Users = nil },
			[3]Verdict{Hidden, Hidden, Hidden}},
		"the token was narrowed": {func(p *policy.Policy) { find(p, "mona-admin").Repositories = []string{"octocat/open"} },
			[3]Verdict{Hidden, Hidden, Hidden}},
		"the repository was removed": {func(p *policy.Policy) { p.Repositories = p.Repositories[1:] },
			[3]Verdict{Hidden, Hidden, Hidden}},
		"the token was revoked": {func(p *policy.Policy) { find(p, "mona-admin").ID = "0" },
			[3]Verdict{Challenge, Challenge, Challenge}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			header := "Bearer " + f.issue(t, "mona-admin", everything).Token
			before := f.identify(t, header)
			f.setPolicy(t, test.change)
			// Both an actor identified before the change, in a long request, and one
			// identified after it.
			actors := map[string]Actor{"identified before": before}
			if after, err := f.authority.Identify(f.snapshot, header); err == nil {
				actors["identified after"] = after
			} else if name != "the token was revoked" {
				t.Fatal(err)
			}
			for when, actor := range actors {
				for action, want := range test.want {
					if d := Authorize(f.snapshot, actor, private, Action(action)); d.Verdict != want {
						t.Errorf("%s, %s: %s, want %s", when, Action(action), d.Verdict, want)
					}
				}
			}
		})
	}
}

func TestVersionCheck(t *testing.T) {
	for _, pull := range []policy.AnonymousPull{policy.AnonymousDeny, policy.AnonymousPublic} {
		f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = pull })
		if d := AuthorizeVersion(f.snapshot, Actor{}); d.Verdict != Challenge {
			t.Errorf("%s: nobody gets %s: docker login would take any password", pull, d.Verdict)
		}
		if d := AuthorizeVersion(f.snapshot, f.actor(t, "stranger")); d.Verdict != Allow {
			t.Errorf("%s: a user gets %s", pull, d.Verdict)
		}
		if d := AuthorizeVersion(f.snapshot, f.identify(t, "Bearer "+f.issue(t, "stranger").Token)); d.Verdict != Allow {
			t.Errorf("%s: a bearer token gets %s", pull, d.Verdict)
		}
	}
	f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	if d := AuthorizeVersion(f.snapshot, f.identify(t, "Bearer "+f.issue(t, nobody).Token)); d.Verdict != Allow {
		t.Errorf("a bearer token for nobody gets %s: anonymous clients could not go on", d.Verdict)
	}
}

func TestCatalog(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) {
		find(p, "hubot").Scopes = scopes("delete:packages")
		find(p, "mona-admin").Repositories = []string{"octocat/shared"}
	})
	visible := func(actor Actor) string {
		var list []string
		for _, r := range []string{"octocat/octo-app", "octocat/shared", "octocat/open", "octocat/nothing"} {
			if Visible(f.snapshot, actor, r) {
				list = append(list, strings.TrimPrefix(r, "octocat/"))
			}
		}
		return strings.Join(list, " ")
	}
	for user, want := range map[string]struct {
		verdict Verdict
		visible string
	}{
		"octocat":    {Allow, "octo-app shared open"},
		"monalisa":   {Allow, "octo-app shared open"},
		"stranger":   {Allow, "shared open"},
		"mona-admin": {Allow, "shared"},
		"hubot":      {Denied, ""},
		nobody:       {Challenge, ""},
	} {
		actor := f.actor(t, user)
		if d := AuthorizeCatalog(f.snapshot, actor); d.Verdict != want.verdict {
			t.Errorf("%q: %s, want %s", user, d.Verdict, want.verdict)
		}
		if got := visible(actor); got != want.visible {
			t.Errorf("%q sees %q, want %q", user, got, want.visible)
		}
	}
	asked := f.identify(t, "Bearer "+f.issue(t, "octocat", CatalogScope).Token)
	if d := AuthorizeCatalog(f.snapshot, asked); d.Verdict != Allow || visible(asked) != "octo-app shared open" {
		t.Errorf("with the scope: %s and %q", d.Verdict, visible(asked))
	}
	other := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:"+string(private)+":*").Token)
	if d := AuthorizeCatalog(f.snapshot, other); d.Verdict != InsufficientScope {
		t.Errorf("without the scope: %s", d.Verdict)
	}
	f.setPolicy(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	if d := AuthorizeCatalog(f.snapshot, Actor{}); d.Verdict != Allow || visible(Actor{}) != "open" {
		t.Errorf("nobody, with anonymous pulls: %s and %q", d.Verdict, visible(Actor{}))
	}
}

func TestAMountsSourceIsJudgedByThePolicyAlone(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) {
		find(p, "hubot").Scopes = scopes("delete:packages")
		find(p, "mona-admin").Repositories = []string{"octocat/shared"}
	})
	bearer := f.identify(t, "Bearer "+f.issue(t, "octocat", "repository:"+string(internal)+":pull,push").Token)
	tests := map[string]struct {
		actor Actor
		from  ref.Name
		want  bool
	}{
		"a bearer token for another name":      {bearer, private, true},
		"a missing source":                     {bearer, missing, false},
		"a private source of somebody else":    {f.actor(t, "stranger"), private, false},
		"an internal source":                   {f.actor(t, "stranger"), internal, true},
		"a source the token is not limited to": {f.actor(t, "mona-admin"), private, false},
		"no scope to read":                     {f.actor(t, "hubot"), private, false},
		"nobody":                               {Actor{}, public, false},
	}
	for name, test := range tests {
		if got := MayMount(f.snapshot, test.actor, test.from); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// A user named like nobody, or like a pattern, gains nothing.
func TestOddUsers(t *testing.T) {
	for _, user := range []string{"*", "octocat/", "OCTOCAT", " octocat"} {
		f := newFixture(t, func(p *policy.Policy) {
			c := newCredential(user, scopes(allScopes)...)
			c.ID, c.Hash = credential.ID(valueOf(user)), credential.Sum(valueOf(user))
			p.Credentials = append(p.Credentials, c)
		})
		if d := Authorize(f.snapshot, f.actor(t, user), private, Pull); d.Verdict != Hidden {
			t.Errorf("%q: %s", user, d.Verdict)
		}
	}
}

func TestTheZeroDecisionDoesNotAllow(t *testing.T) {
	if (Decision{}).Verdict == Allow {
		t.Error("a forgotten decision lets everybody in")
	}
}
