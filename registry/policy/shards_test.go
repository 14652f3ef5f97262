// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/packages-operator/packages-operator/registry/workload"
)

func mustSplit(t testing.TB, p Policy) []Shard {
	t.Helper()
	shards, _, err := Split(p)
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// randomPolicy draws a policy with up to n repositories and n credentials.
func randomPolicy(random *rand.Rand, n int) Policy {
	p := example()
	p.Support = []Support{SupportEnabled, SupportReadOnly, SupportDisabled}[random.IntN(3)]
	p.Repositories, p.Credentials, p.Purges, p.Teams, p.ServiceAccounts = nil, nil, nil, nil, nil
	if random.IntN(3) == 0 {
		p.Issuer = workload.Issuer{}
	}
	for i := range random.IntN(n + 1) {
		account := ServiceAccount{User: workload.User("ci", fmt.Sprint(random.Uint32())), UID: fmt.Sprint(i)}
		for j := range random.IntN(5) {
			account.Repositories = append(account.Repositories, fmt.Sprintf("o%d/*", 7-j))
		}
		p.ServiceAccounts = append(p.ServiceAccounts, account)
	}
	for i := range random.IntN(n + 1) {
		team := Team{Name: fmt.Sprintf("org%d/t%d", i%5, i)}
		for j := range 1 + random.IntN(40) {
			team.Users = append(team.Users, fmt.Sprintf("%s%d", strings.Repeat("u", random.IntN(30)), j))
		}
		p.Teams = append(p.Teams, team)
	}
	for i := range random.IntN(n + 1) {
		r := Repository{Owner: fmt.Sprintf("o%d", i%7), Name: fmt.Sprintf("r%d", i), Visibility: Internal}
		for j := range random.IntN(40) {
			r.Users = append(r.Users, Member{Name: fmt.Sprintf("%s%d", strings.Repeat("u", random.IntN(30)), j), Role: RoleRead})
		}
		for j := range min(random.IntN(5), len(p.Teams)) {
			r.Teams = append(r.Teams, Member{Name: p.Teams[j].Name, Role: RoleWrite})
		}
		p.Repositories = append(p.Repositories, r)
	}
	for i := range random.IntN(n + 1) {
		c := credentialOf(fmt.Sprint(i, random.Uint64()), fmt.Sprintf("user<&>%d", i), ScopeRead, ScopeDelete)
		if random.IntN(2) == 0 {
			c.NotAfter = new(time.Unix(random.Int64N(1e10), random.Int64N(1e9)))
		}
		p.Credentials = append(p.Credentials, c)
	}
	for i := range random.IntN(20) {
		p.Purges = append(p.Purges, Purge{ID: fmt.Sprint(i), Owner: "o", Name: "r"})
	}
	return p
}

func TestJoinGivesBackWhatWasSplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		p := randomPolicy(random, 700)
		shards, revision, err := Split(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range shards {
			if len(s.Document) > MaxDocument {
				t.Fatalf("shard %d has %d bytes", i, len(s.Document))
			}
			if s.Index != i || s.FormatVersion != FormatVersion || !json.Valid([]byte(s.Document)) {
				t.Fatalf("shard %d is malformed", i)
			}
			if i > 0 && (s.Revision != "" || s.Parts != nil) {
				t.Fatalf("shard %d has what only the head has", i)
			}
		}
		random.Shuffle(len(shards), func(i, j int) { shards[i], shards[j] = shards[j], shards[i] })
		joined, joinedRevision, err := Join(shards)
		if err != nil {
			t.Fatal(err)
		}
		if joinedRevision != revision {
			t.Errorf("revision is %s after Join, %s after Split", joinedRevision, revision)
		}
		if want := sorted(p); !reflect.DeepEqual(want, joined) {
			t.Fatalf("Join gave another policy (-want +got):\n%.2000s", cmp.Diff(want, joined))
		}
		snapshot, err := NewSnapshot(p)
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.Revision() != revision {
			t.Errorf("the snapshot's revision is %s, the shards' is %s", snapshot.Revision(), revision)
		}
	}
}

func TestSplitDoesNotDependOnOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	p := randomPolicy(random, 1000)
	want := mustSplit(t, p)
	for range 3 {
		random.Shuffle(len(p.Repositories), func(i, j int) {
			p.Repositories[i], p.Repositories[j] = p.Repositories[j], p.Repositories[i]
		})
		random.Shuffle(len(p.Credentials), func(i, j int) {
			p.Credentials[i], p.Credentials[j] = p.Credentials[j], p.Credentials[i]
		})
		random.Shuffle(len(p.Teams), func(i, j int) { p.Teams[i], p.Teams[j] = p.Teams[j], p.Teams[i] })
		if !reflect.DeepEqual(want, mustSplit(t, p)) {
			t.Fatal("another order gives other shards")
		}
	}
}

func TestOneChangedTokenRewritesItsShardAndTheHead(t *testing.T) {
	p := big(5_000)
	before := mustSplit(t, p)
	if len(before) < 9 {
		t.Fatalf("5,000 repositories and credentials are in %d shards: too few to show anything", len(before))
	}
	for _, i := range []int{0, 17, 4_999} {
		changed := p
		changed.Credentials = slices.Clone(p.Credentials)
		changed.Credentials[i].Scopes = []Scope{ScopeRead}
		after := mustSplit(t, changed)
		if len(after) != len(before) {
			t.Fatalf("there are %d shards, %d before", len(after), len(before))
		}
		rewritten := 0
		for j := 1; j < len(after); j++ {
			if before[j].Document != after[j].Document {
				rewritten++
			}
		}
		if rewritten != 1 {
			t.Errorf("%d shards were rewritten, want 1", rewritten)
		}
		if before[0].Document != after[0].Document {
			t.Error("the settings were rewritten")
		}
		if before[0].Revision == after[0].Revision {
			t.Error("the revision stayed")
		}
	}
}

func TestOneChangedTeamRewritesItsShardHoweverManyRepositoriesNameIt(t *testing.T) {
	p := big(5_000)
	p.Teams = []Team{{Name: "octo-org/platform", Users: []string{"hubot", "monalisa"}}}
	for i := range p.Repositories {
		p.Repositories[i].Teams = []Member{{Name: "octo-org/platform", Role: RoleWrite}}
	}
	before := mustSplit(t, p)
	p.Teams = []Team{{Name: "octo-org/platform", Users: []string{"monalisa"}}}
	after := mustSplit(t, p)
	rewritten := 0
	for i := 1; i < len(before); i++ {
		if before[i].Document != after[i].Document {
			rewritten++
		}
	}
	if rewritten != 1 || len(before) != len(after) {
		t.Errorf("%d of %d shards were rewritten, want 1", rewritten, len(before))
	}
}

func TestSplitRefusesWhatNoShardCanHold(t *testing.T) {
	p := example()
	p.Credentials[0].Repositories = []string{"octocat/" + strings.Repeat("x", MaxDocument)}
	if _, _, err := Split(p); err == nil || !strings.Contains(err.Error(), "shorten its lists") {
		t.Errorf("got %v for a credential that is too long", err)
	}
	p = example()
	p.Hosts.URL = strings.Repeat("x", MaxDocument)
	if _, _, err := Split(p); err == nil || !strings.Contains(err.Error(), "settings take") {
		t.Errorf("got %v for settings that are too long", err)
	}
}

func TestJoinRefusesShardsThatDoNotBelongTogether(t *testing.T) {
	p := big(4_000)
	good := mustSplit(t, p)
	p.Credentials[0].User = "somebody-else"
	p.Support = SupportReadOnly
	next := mustSplit(t, p)
	if len(good) < 4 || len(good) != len(next) {
		t.Fatalf("%d and %d shards show too little", len(good), len(next))
	}
	rewritten := slices.IndexFunc(next[1:], func(s Shard) bool { return s.Document != good[s.Index].Document }) + 1

	tests := map[string]struct {
		change func([]Shard) []Shard
		want   error
	}{
		"none":                            {func([]Shard) []Shard { return nil }, ErrIncomplete},
		"no head":                         {func(s []Shard) []Shard { return s[1:] }, ErrIncomplete},
		"last part missing":               {func(s []Shard) []Shard { return s[:len(s)-1] }, ErrIncomplete},
		"middle part missing":             {func(s []Shard) []Shard { return slices.Delete(s, 1, 2) }, ErrIncomplete},
		"part twice":                      {func(s []Shard) []Shard { return append(s, s[1]) }, ErrIncomplete},
		"head twice":                      {func(s []Shard) []Shard { return append(s, s[0]) }, ErrIncomplete},
		"head of the next revision only":  {func(s []Shard) []Shard { s[0] = next[0]; return s }, ErrIncomplete},
		"part of the next revision only":  {func(s []Shard) []Shard { s[rewritten] = next[rewritten]; return s }, ErrIncomplete},
		"parts exchanged":                 {func(s []Shard) []Shard { s[1].Index, s[2].Index = 2, 1; return s }, ErrIncomplete},
		"document changed":                {func(s []Shard) []Shard { s[1].Document += " "; return s }, ErrIncomplete},
		"revision changed":                {func(s []Shard) []Shard { s[0].Revision = next[0].Revision; return s }, ErrIncomplete},
		"no parts named":                  {func(s []Shard) []Shard { s[0].Parts = nil; return s }, ErrIncomplete},
		"fewer parts named":               {func(s []Shard) []Shard { s[0].Parts = s[0].Parts[:2]; return s }, ErrIncomplete},
		"more parts named than allowed":   {func(s []Shard) []Shard { s[0].Parts = make([]string, MaxShards+1); return s }, ErrIncomplete},
		"head of another format version":  {func(s []Shard) []Shard { s[0].FormatVersion++; return s }, ErrFormat},
		"part of another format version":  {func(s []Shard) []Shard { s[1].FormatVersion++; return s }, ErrFormat},
		"unknown field in the settings":   {func(s []Shard) []Shard { return reseal(s, 0, `{"quota":1,`) }, ErrFormat},
		"unknown field in a part":         {func(s []Shard) []Shard { return reseal(s, 1, `{"quotas":[],`) }, ErrFormat},
		"a part that is no JSON":          {func(s []Shard) []Shard { return reseal(s, 1, `{{`) }, ErrFormat},
		"something behind the document":   {func(s []Shard) []Shard { s[1].Document += "{}"; return reseal(s, 1, "{") }, ErrFormat},
		"settings that are not an object": {func(s []Shard) []Shard { s[0].Document = "[]"; return reseal(s, 0, "[") }, ErrFormat},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			shards := slices.Clone(good)
			shards[0].Parts = slices.Clone(shards[0].Parts)
			if _, _, err := Join(test.change(shards)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// reseal replaces the first byte of a document and names its new digest, as a
// later release would write it.
func reseal(shards []Shard, index int, start string) []Shard {
	shards[index].Document = start + shards[index].Document[1:]
	shards[0].Parts[index] = documentDigest(shards[index].Document)
	shards[0].Revision = revisionOf(shards[0].Parts)
	return shards
}

func TestJoinIgnoresLeftOversOfALongerPolicy(t *testing.T) {
	long, short := mustSplit(t, big(4_000)), mustSplit(t, example())
	mixed := append(slices.Clone(short), long[len(short):]...)
	_, revision, err := Join(mixed)
	if err != nil || revision != short[0].Revision {
		t.Errorf("got revision %q and %v, want %q", revision, err, short[0].Revision)
	}
}

func TestAReaderDecodesOnlyWhatChanged(t *testing.T) {
	var reader Reader
	p := big(4_000)
	first, err := reader.Open(mustSplit(t, p))
	if err != nil {
		t.Fatal(err)
	}
	p.Repositories[0].Visibility = Public
	shards := mustSplit(t, p)
	if _, err := reader.Open(shards[1:]); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("got %v without a head", err)
	}
	second, err := reader.Open(shards)
	if err != nil {
		t.Fatal(err)
	}
	if want := sorted(p); !reflect.DeepEqual(&want, second.Policy()) {
		t.Error("the Reader gives another policy than was split")
	}
	if first.Policy().Repositories[0].Visibility != Private {
		t.Error("the earlier snapshot changed")
	}
	shared := 0
	for i := range second.Policy().Repositories {
		if &first.Policy().Repositories[i].Users[0] == &second.Policy().Repositories[i].Users[0] {
			shared++
		}
	}
	if shared == 0 || shared == len(p.Repositories) {
		t.Errorf("%d of %d repositories were not decoded again", shared, len(p.Repositories))
	}
}

// A release that does not know a setting refuses the policy that has it, and so
// goes on reading those of instances that do not use it.
func TestSettingsAtTheirDefaultsAreNotWritten(t *testing.T) {
	before := []string{"instance", "hosts", "support", "anonymousPull"}
	fields := func(p Policy) []string {
		var head map[string]json.RawMessage
		if err := json.Unmarshal([]byte(mustSplit(t, p)[0].Document), &head); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(head))
	}
	p := example()
	issuer := p.Issuer
	p.ForeignLayers, p.MissingReferences, p.Limits, p.Issuer = Reject, Reject, Limits{}, workload.Issuer{}
	slices.Sort(before)
	if diff := cmp.Diff(before, fields(p)); diff != "" {
		t.Errorf("settings by default (-want +got):\n%s", diff)
	}
	p.MissingReferences, p.Limits.WarnImageSize, p.Issuer = Allow, 1, issuer
	if diff := cmp.Diff(append([]string{"issuer", "limits", "missingReferences"}, before...), fields(p), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("settings in use (-want +got):\n%s", diff)
	}
}

func TestLimitsHaveDefaults(t *testing.T) {
	if l := (Limits{}); l.LayerSize() != 5<<30 || l.ImageSize() != 10<<30 {
		t.Errorf("the defaults are %d and %d", l.LayerSize(), l.ImageSize())
	}
	if l := (Limits{MaxLayerSize: 1, WarnImageSize: 2}); l.LayerSize() != 1 || l.ImageSize() != 2 {
		t.Errorf("limits of 1 and 2 are %d and %d", l.LayerSize(), l.ImageSize())
	}
}

func TestOpenRefusesAnUnknownEnumValue(t *testing.T) {
	shards := mustSplit(t, example())
	shards[1].Document = strings.Replace(shards[1].Document, `"Write"`, `"Maintain"`, 1)
	shards = reseal(shards, 1, "{")
	if _, err := Open(shards); err == nil || !strings.Contains(err.Error(), `role "Maintain" is unknown`) {
		t.Errorf("got %v", err)
	}
}

func TestLastGoodPolicySurvives(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadLastGood(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v for an empty directory", err)
	}
	// A crash may have left this behind.
	if err := os.WriteFile(filepath.Join(dir, "."+lastGoodFile+".tmp"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Policy{example(), big(1_000), example()} {
		want := mustSplit(t, p)
		if err := SaveLastGood(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := LoadLastGood(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatal("other shards were loaded than saved")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d files are left, want one", len(entries))
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode().Perm())
	}
}

func TestSaveLastGoodSaysWhyItFailed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if err := SaveLastGood(missing, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "keep policy") {
		t.Errorf("got %v", err)
	}
}

func TestLoadLastGoodReportsDamage(t *testing.T) {
	for name, content := range map[string]string{
		"empty":         "",
		"cut off":       `[{"index":0,"formatVersion":1,"document":"{}`,
		"unknown field": `[{"index":0,"formatVersion":1,"document":"{}","signature":"x"}]`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, lastGoodFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadLastGood(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func BenchmarkSplit10000(b *testing.B) {
	p := big(10_000)
	b.ReportAllocs()
	for b.Loop() {
		mustSplit(b, p)
	}
}
