// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dockerconfig

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	host  = "docker.packages.test"
	value = "pkgt_0123456789012345678901234567890123456789"
)

var monalisa = Login{Registry: host, Username: "monalisa", Password: value}

// keeperVariable makes the test's own program the credential helper keeper, which
// keeps its logins in the file that the variable names.
const keeperVariable = "KEEPER_FILE"

func TestMain(m *testing.M) {
	if file := os.Getenv(keeperVariable); file != "" {
		os.Exit(keep(file, os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

// keep is a credential helper: docker-credential-keeper.
func keep(file, action string) int {
	type login struct{ ServerURL, Username, Secret string }
	kept := map[string]login{}
	if text, err := os.ReadFile(file); err == nil {
		if json.Unmarshal(text, &kept) != nil {
			return 3
		}
	}
	server := func() string {
		var text [1024]byte
		n, _ := os.Stdin.Read(text[:])
		return strings.TrimSpace(string(text[:n]))
	}
	switch action {
	case "store":
		var one login
		if err := json.NewDecoder(os.Stdin).Decode(&one); err != nil {
			return 3
		}
		if one.Username == "nobody" {
			_, _ = os.Stdout.WriteString("the keyring is locked; it will not keep " + one.Secret + "\n")
			return 1
		}
		kept[one.ServerURL] = one
	case "get":
		one, ok := kept[server()]
		if !ok {
			_, _ = os.Stdout.WriteString("credentials not found in native keychain\n")
			return 1
		}
		text, _ := json.Marshal(one)
		_, _ = os.Stdout.Write(text)
		return 0
	case "erase":
		delete(kept, server())
	default:
		return 3
	}
	text, _ := json.Marshal(kept)
	if os.WriteFile(file, text, 0o600) != nil {
		return 3
	}
	return 0
}

// installKeeper puts docker-credential-keeper on PATH, and returns what it keeps.
func installKeeper(t *testing.T) (kept func() string) {
	t.Helper()
	folder := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "kept.json")
	script := "#!/bin/sh\n" + keeperVariable + "='" + file + "' exec '" + program + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-keeper"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			return ""
		}
		return string(text)
	}
}

// newStore is a store whose file has that text; no file for "".
func newStore(t *testing.T, text string) *Store {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "docker")
	path, err := Path(func(string) string { return folder }, os.UserHomeDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", folder)
	if text != "" {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Store{Path: path, Helper: Programs{}}
}

// entries are the parts of a configuration file.
func entries(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]any
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return found
}

// dockerReads is the login that docker's own code finds for the host: its
// library, which go-containerregistry uses.
func dockerReads(t *testing.T) (user, password string) {
	t.Helper()
	registry, err := authn.DefaultKeychain.Resolve(resource(host))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := registry.Authorization()
	if err != nil {
		t.Fatal(err)
	}
	return auth.Username, auth.Password
}

type resource string

func (r resource) String() string      { return string(r) }
func (r resource) RegistryStr() string { return string(r) }

func TestALoginIsWhereDockerLooksForIt(t *testing.T) {
	for _, test := range []struct {
		name, before string
		helper       bool
		want         map[string]any
	}{
		{
			name: "no file yet",
			want: map[string]any{"auths": map[string]any{host: map[string]any{"auth": "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"}}},
		},
		{
			name:   "a helper for everything",
			before: `{"credsStore":"keeper"}`,
			helper: true,
			want:   map[string]any{"credsStore": "keeper", "auths": map[string]any{host: map[string]any{}}},
		},
		{
			name:   "a helper for this registry",
			before: `{"credHelpers":{"` + host + `":"keeper","other.example.com":"absent"}}`,
			helper: true,
			want: map[string]any{
				"credHelpers": map[string]any{host: "keeper", "other.example.com": "absent"},
				"auths":       map[string]any{host: map[string]any{}},
			},
		},
		{
			name:   "this registry's helper before that for everything",
			before: `{"credsStore":"absent","credHelpers":{"` + host + `":"keeper"}}`,
			helper: true,
			want: map[string]any{
				"credsStore": "absent", "credHelpers": map[string]any{host: "keeper"},
				"auths": map[string]any{host: map[string]any{}},
			},
		},
		{
			name:   "a helper of another registry",
			before: `{"credHelpers":{"other.example.com":"absent"}}`,
			want: map[string]any{
				"credHelpers": map[string]any{"other.example.com": "absent"},
				"auths":       map[string]any{host: map[string]any{"auth": "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"}},
			},
		},
		{
			name:   "a login in the file that goes to the helper",
			before: `{"credsStore":"keeper","auths":{"` + host + `":{"auth":"b2xkOm9sZA=="}}}`,
			helper: true,
			want:   map[string]any{"credsStore": "keeper", "auths": map[string]any{host: map[string]any{}}},
		},
		{
			name: "entries of all sorts, known to docker or not",
			before: `{"auths":{"other.example.com":{"auth":"b3RoZXI6b3RoZXI=","new":[1,2.50]},"` + host + `":{"auth":"b2xkOm9sZA=="}},
				"HttpHeaders":{"X-Team":"<a&b>"},"plugins":{"x":{"hooks":"y"}},"unheardOf":{"deep":[{"a":null}]},"number":12345678901234567890}`,
			want: map[string]any{
				"auths": map[string]any{
					"other.example.com": map[string]any{"auth": "b3RoZXI6b3RoZXI=", "new": []any{1.0, 2.5}},
					host:                map[string]any{"auth": "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"},
				},
				"HttpHeaders": map[string]any{"X-Team": "<a&b>"}, "plugins": map[string]any{"x": map[string]any{"hooks": "y"}},
				"unheardOf": map[string]any{"deep": []any{map[string]any{"a": nil}}}, "number": 12345678901234567890.0,
			},
		},
		{name: "an empty file", before: "\n", want: map[string]any{"auths": map[string]any{host: map[string]any{"auth": "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"}}}},
		{name: "auths that are null", before: `{"auths":null}`, want: map[string]any{"auths": map[string]any{host: map[string]any{"auth": "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept := installKeeper(t)
			store := newStore(t, test.before)
			place, err := store.Login(t.Context(), monalisa)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Place{File: store.Path}); test.helper {
				want.Helper = "docker-credential-keeper"
				if place != want {
					t.Errorf("kept in %+v, not in %+v", place, want)
				}
			} else if place != want {
				t.Errorf("kept in %+v, not in %+v", place, want)
			}
			if diff := cmp.Diff(test.want, entries(t, store.Path)); diff != "" {
				t.Errorf("the file (-want +got):\n%s", diff)
			}
			if has := strings.Contains(kept(), value); has != test.helper {
				t.Errorf("the helper has the value: %v", has)
			}
			if user, password := dockerReads(t); user != "monalisa" || password != value {
				t.Errorf("docker reads %q, %q", user, password)
			}
			text, err := os.ReadFile(store.Path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(test.before, "12345678901234567890") && !strings.Contains(string(text), "12345678901234567890") {
				t.Error("a large number lost digits")
			}

			_, had, err := store.Logout(t.Context(), host)
			if err != nil || !had {
				t.Errorf("logging out: %v, %v", had, err)
			}
			if user, password := dockerReads(t); user != "" || password != "" {
				t.Errorf("after logging out docker reads %q, %q", user, password)
			}
			if strings.Contains(kept(), value) {
				t.Error("the helper still has the value")
			}
			if _, had, err = store.Logout(t.Context(), host); err != nil || had {
				t.Errorf("logging out again: %v, %v", had, err)
			}
		})
	}
}

func TestAFileThatHoldsATokenIsItsOwnersAlone(t *testing.T) {
	for before, want := range map[string]fs.FileMode{
		"":                        0o600,
		`{}`:                      0o600,
		`{"credsStore":"keeper"}`: 0o644, // nothing secret in it
	} {
		installKeeper(t)
		store := newStore(t, before)
		if _, err := store.Login(t.Context(), monalisa); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(store.Path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%q: mode %v, not %v", before, info.Mode(), want)
		}
		folder, err := os.ReadDir(filepath.Dir(store.Path))
		if err != nil || len(folder) != 1 {
			t.Errorf("%q: left behind: %v, %v", before, folder, err)
		}
	}
}

func TestALinkStaysALink(t *testing.T) {
	for _, there := range []bool{true, false} {
		store := newStore(t, "{}")
		target := filepath.Join(t.TempDir(), "dotfiles.json")
		if there {
			if err := os.WriteFile(target, []byte(`{"a":1}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Remove(store.Path), os.Symlink(target, store.Path)); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Login(t.Context(), monalisa); err != nil {
			t.Fatal(err)
		}
		if leads, err := os.Readlink(store.Path); err != nil || leads != target {
			t.Errorf("the link leads to %q, %v", leads, err)
		}
		if entries(t, target)["auths"] == nil {
			t.Error("the file behind the link has no login")
		}
	}
}

func TestWhatIsBrokenStaysAsItIs(t *testing.T) {
	for _, test := range []struct{ before, say string }{
		{`{"auths":{`, "mend it or move it away"},
		{`[]`, "mend it or move it away"},
		{`{} trailing`, "mend it or move it away"},
		{`{"auths":[]}`, "because auths cannot be read"},
		{`{"credsStore":{}}`, "because credsStore cannot be read"},
		{`{"credHelpers":"keeper"}`, "because credHelpers cannot be read"},
		{`{"credsStore":"absent"}`, "names the credential helper docker-credential-absent, which is not on PATH"},
	} {
		store := newStore(t, test.before)
		if _, err := store.Login(t.Context(), monalisa); err == nil || !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: %v", test.before, err)
		}
		if _, _, err := store.Logout(t.Context(), host); err == nil || !strings.Contains(err.Error(), test.say) {
			t.Errorf("logging out of %s: %v", test.before, err)
		}
		if text, err := os.ReadFile(store.Path); err != nil || string(text) != test.before {
			t.Errorf("%s became %s, %v", test.before, text, err)
		}
	}
}

func TestAHelperThatFailsIsHeardWithoutTheSecret(t *testing.T) {
	installKeeper(t)
	before := `{"credsStore":"keeper"}`
	store := newStore(t, before)
	_, err := store.Login(t.Context(), Login{Registry: host, Username: "nobody", Password: value})
	if err == nil || !strings.Contains(err.Error(), "docker-credential-keeper failed to store: the keyring is locked") {
		t.Fatal(err)
	}
	if strings.Contains(err.Error(), value) {
		t.Error("the error has the value")
	}
	if text, err := os.ReadFile(store.Path); err != nil || string(text) != before {
		t.Errorf("the file became %s, %v", text, err)
	}
}

// intruder changes the file while a helper is asked.
type intruder struct {
	Programs
	path string
	done bool
}

func (i *intruder) Store(context.Context, string, Login) error {
	if !i.done {
		i.done = true
		return os.WriteFile(i.path, []byte(`{"credsStore":"keeper","auths":{"late.example.com":{"auth":"bGF0ZTpsYXRl"}}}`), 0o600)
	}
	return nil
}

func TestWhatSomebodyElseWritesMeanwhileIsKept(t *testing.T) {
	store := newStore(t, `{"credsStore":"keeper"}`)
	store.Helper = &intruder{path: store.Path}
	if _, err := store.Login(t.Context(), monalisa); err != nil {
		t.Fatal(err)
	}
	auths, _ := entries(t, store.Path)["auths"].(map[string]any)
	if auths["late.example.com"] == nil || auths[host] == nil {
		t.Errorf("the file has %v", auths)
	}
}

func TestDockersFolder(t *testing.T) {
	home := func() (string, error) { return "/home/monalisa", nil }
	nowhere := func() (string, error) { return "", errors.New("HOME is not set") }
	for _, test := range []struct {
		variable string
		home     func() (string, error)
		want     string
	}{
		{"", home, "/home/monalisa/.docker/config.json"},
		{"/etc/docker", home, "/etc/docker/config.json"},
		{"/etc/docker", nowhere, "/etc/docker/config.json"},
		{"", nowhere, ""},
	} {
		got, err := Path(func(string) string { return test.variable }, test.home)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("DOCKER_CONFIG=%q: %q, %v", test.variable, got, err)
		}
	}
}
