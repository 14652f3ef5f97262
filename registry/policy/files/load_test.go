// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
)

const value = "a-value-that-nobody-guesses-0123456789abcdef"

const rotatingYAML = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata:
  name: rotating
spec:
  instanceRef: {name: local}
  user: monalisa
  rotation: {interval: 168h, overlap: 24h}
  scopes: [read:packages]
  secret: {name: rotating-token}
---
apiVersion: v1
kind: Secret
metadata:
  name: rotating-token
stringData:
  password: a-value-of-the-rotating-token-0000000000000000
`

const instanceYAML = `# The registry.
apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata:
  name: local
spec:
  hostname: packages.test
  storage:
    filesystem:
      size: 1Gi
`

const repositoryYAML = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesRepository
metadata:
  name: octo-app
spec:
  instanceRef:
    name: local
  owner: octocat
  name: octo-app
  access:
    users:
      - name: monalisa
        role: Write
`

const organizationYAML = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesOrganization
metadata:
  name: octo-org
spec:
  instanceRef:
    name: local
  name: octo-org
  owners:
    - founder
  members:
    - hubot
  teams:
    - name: platform
      members:
        - hubot
`

const tokenYAML = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata:
  name: monalisa
spec:
  instanceRef:
    name: local
  user: monalisa
  scopes:
    - read:packages
    - write:packages
  source:
    secretRef:
      name: monalisa-value
      key: token
`

const secretYAML = `apiVersion: v1
kind: Secret
metadata:
  name: monalisa-value
stringData:
  token: ` + value + `
`

// directory writes files into a new directory. Names are paths in it.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func good() map[string]string {
	return map[string]string{
		"instance.yaml":     instanceYAML,
		"repositories.yaml": repositoryYAML,
		"tokens.yml":        tokenYAML + "---\n" + secretYAML,
	}
}

func TestLoadCompilesWhatTheFilesDeclare(t *testing.T) {
	files := good()
	// None of these is read.
	files["notes.txt"] = "not YAML: ["
	files[".hidden.yaml"] = "not YAML: ["
	files["empty.yaml"] = "# nothing\n---\n\n---\n# here\n"
	dir := directory(t, files)
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir, "http://127.0.0.1:5000")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Policy()
	if p.Instance != (policy.Instance{Namespace: "default", Name: "local", UID: "standalone-local"}) {
		t.Errorf("instance is %+v", p.Instance)
	}
	// The definitions' defaults apply.
	if p.Hosts != (policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "http://127.0.0.1:5000"}) {
		t.Errorf("hosts are %+v", p.Hosts)
	}
	if p.Support != policy.SupportEnabled || p.AnonymousPull != policy.AnonymousDeny {
		t.Errorf("settings are %s and %s", p.Support, p.AnonymousPull)
	}
	r, found := s.Repository("octocat/octo-app")
	if !found || r.Visibility != policy.Private {
		t.Fatalf("repository is %+v", r)
	}
	if role, _ := s.Role("monalisa", r); role != policy.RoleWrite {
		t.Errorf("monalisa's role is %q", role)
	}
	c, found := s.CredentialByValue(value)
	if !found || c.User != "monalisa" || c.Token != "monalisa" {
		t.Errorf("credential is %+v", c)
	}
}

func TestOrganizationsGiveRolesAloneToo(t *testing.T) {
	files := good()
	files["organizations.yaml"] = organizationYAML + "---\n" + strings.Replace(strings.ReplaceAll(repositoryYAML, "octo-app", "shared"), `owner: octocat
  name: shared
  access:
    users:
      - name: monalisa
        role: Write`, `owner: octo-org
  name: shared
  access:
    teams:
      - organization: octo-org
        name: platform
        role: Read`, 1)
	s, err := Load(directory(t, files), "")
	if err != nil {
		t.Fatal(err)
	}
	r, found := s.Repository("octo-org/shared")
	if !found {
		t.Fatal("octo-org/shared is not declared")
	}
	for user, want := range map[string]policy.Role{"founder": policy.RoleAdmin, "hubot": policy.RoleRead, "monalisa": ""} {
		if role, _ := s.Role(user, r); role != want {
			t.Errorf("%s has role %q, want %q", user, role, want)
		}
	}
}

func TestASecretGivesAValueInEveryWay(t *testing.T) {
	const other = "another-value-of-forty-characters-or-more-12345"
	encoded := "YS12YWx1ZS10aGF0LW5vYm9keS1ndWVzc2VzLTAxMjM0NTY3ODlhYmNkZWY="
	minted := strings.Replace(tokenYAML, "source:\n    secretRef:\n      name: monalisa-value\n      key: token\n", "secret:\n    name: monalisa-value\n", 1)
	tests := map[string]struct{ token, secret string }{
		"stringData":       {tokenYAML, secretYAML},
		"data":             {tokenYAML, strings.Replace(secretYAML, "stringData:\n  token: "+value, "data:\n  token: "+encoded, 1)},
		"stringData wins":  {tokenYAML, secretYAML + "data:\n  token: " + "YW5vdGhlcg==\n"},
		"secret, password": {minted, strings.Replace(secretYAML, "token: ", "token: "+other+"\n  password: ", 1)},
		"a dotted key":     {strings.Replace(tokenYAML, "key: token", "key: token.txt", 1), strings.Replace(secretYAML, "token:", "token.txt:", 1)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := directory(t, map[string]string{"a.yaml": instanceYAML + "---\n" + test.token + "---\n" + test.secret})
			s, err := Load(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, found := s.CredentialByValue(value); !found || len(s.Policy().Credentials) != 1 {
				t.Errorf("credentials are %+v", s.Policy().Credentials)
			}
		})
	}
}

func TestAnExportedObjectIsRead(t *testing.T) {
	exported := strings.Replace(instanceYAML, "metadata:\n", `metadata:
  namespace: registry
  uid: 6a3b
  resourceVersion: "12"
  generation: 3
  creationTimestamp: "2026-11-22T12:00:00Z"
  managedFields: []
`, 1) + "status:\n  observedGeneration: 3\n"
	s, err := Load(directory(t, map[string]string{"a.yaml": exported, "b.yaml": repositoryYAML}), "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Policy().Instance != (policy.Instance{Namespace: "registry", Name: "local", UID: "6a3b"}) {
		t.Errorf("instance is %+v", s.Policy().Instance)
	}
}

func TestLoadSaysWhereAFaultIsAndWhatToWrite(t *testing.T) {
	replaced := func(name, before, after string) func(map[string]string) {
		return func(files map[string]string) {
			if !strings.Contains(files[name], before) {
				panic("nothing to replace in " + name)
			}
			files[name] = strings.Replace(files[name], before, after, 1)
		}
	}
	tests := map[string]struct {
		change func(map[string]string)
		// want are parts of the error; each begins with FILE:LINE.
		want []string
	}{
		"no files": {func(files map[string]string) { clear(files) },
			[]string{": no *.yaml or *.yml file here declares a PackagesInstance"}},
		"no instance": {func(files map[string]string) { delete(files, "instance.yaml") },
			[]string{": no *.yaml or *.yml file here declares a PackagesInstance: add one"}},
		"two instances": {func(files map[string]string) {
			files["z.yaml"] = "---\n" + strings.Replace(instanceYAML, "name: local", "name: another", 1)
		}, []string{"z.yaml:6: a second PackagesInstance: a registry alone serves one, and local is at ", "instance.yaml:5"}},
		"instanceRef of a repository": {replaced("repositories.yaml", "name: local", "name: elsewhere"),
			[]string{"repositories.yaml:7: there is no PackagesInstance elsewhere here: write local"}},
		"instanceRef of a token": {replaced("tokens.yml", "name: local", "name: elsewhere"),
			[]string{"tokens.yml:7: there is no PackagesInstance elsewhere here: write local"}},
		"instanceRef to another namespace": {replaced("tokens.yml", "name: local\n", "name: local\n    namespace: elsewhere\n"),
			[]string{"tokens.yml:8: namespace \"elsewhere\": all objects here are of one namespace, default: leave namespace out"}},
		"ServiceAccounts": {replaced("repositories.yaml", "  access:\n", "  access:\n    serviceAccounts:\n      - {namespace: ci, name: builder, role: Write}\n"),
			[]string{"repositories.yaml:11: a registry alone belongs to no cluster, and so there are no ServiceAccounts: leave serviceAccounts out, and let programs sign in with a PackagesToken"}},
		"missing Secret": {replaced("tokens.yml", "name: monalisa-value\n      key", "name: nowhere\n      key"),
			[]string{"tokens.yml:14: there is no Secret nowhere here: add it with the key token"}},
		"missing Secret to mint": {replaced("tokens.yml", "source:\n    secretRef:\n      name: monalisa-value\n      key: token", "secret:\n    name: monalisa-token"),
			[]string{"tokens.yml:13: there is no Secret monalisa-token here, and a registry alone makes none: add it with the key password, or write source"}},
		"missing key": {replaced("tokens.yml", "key: token", "key: other"),
			[]string{"tokens.yml:14: the Secret monalisa-value at ", "tokens.yml:20 has no key other: add it"}},
		"value too short": {replaced("tokens.yml", "token: "+value, "token: tooshort"),
			[]string{"tokens.yml:22: the value of the PackagesToken monalisa, key token of the Secret monalisa-value, is not usable: the value has 8 characters: use at least 40"}},
		"value not printable": {replaced("tokens.yml", "token: "+value, `token: "`+value+`\t"`),
			[]string{"tokens.yml:22: the value of", "not printable ASCII"}},
		"value with a line break": {replaced("tokens.yml", "token: "+value, "token: |\n    "+value),
			[]string{"tokens.yml:22: the value of", "ends with a line break"}},
		"rotation": {func(files map[string]string) {
			files["rotating.yaml"] = rotatingYAML
		}, []string{"rotating.yaml:8: a registry alone makes no values, so none rotates: leave rotation out; to replace the value, change it in its Secret"}},
		"unknown field in metadata": {replaced("repositories.yaml", "  name: octo-app\nspec", "  name: octo-app\n  label: x\nspec"),
			[]string{"repositories.yaml:5: metadata.label: Forbidden: there is no such field"}},
		"unknown field in a list": {replaced("repositories.yaml", "role: Write", "role: Write\n        team: a"),
			[]string{"repositories.yaml:14: spec.access.users[0].team: Forbidden"}},
		"unknown role": {replaced("repositories.yaml", "role: Write", "role: Maintain"),
			[]string{`repositories.yaml:13: spec.access.users[0].role: Unsupported value: "Maintain": supported values: "Read", "Write", "Admin"`}},
		"a rule of the cluster": {replaced("instance.yaml", "hostname: packages.test", "hostname: Packages.Test"),
			[]string{"instance.yaml:7: spec.hostname: Invalid value", "write it in lower case: packages.test"}},
		"a reserved owner": {replaced("repositories.yaml", "owner: octocat", "owner: v2"),
			[]string{"repositories.yaml:8: spec.owner: Invalid value", "the name v2 is reserved: write another"}},
		"secret and source together": {replaced("tokens.yml", "  source:", "  secret: {name: x}\n  source:"),
			[]string{"tokens.yml:5: spec: Invalid value", "write secret or source, not both"}},
		"required field": {replaced("repositories.yaml", "  owner: octocat\n", ""),
			[]string{"repositories.yaml:5: spec.owner: Required value"}},
		"wrong type": {replaced("repositories.yaml", "owner: octocat", "owner: [octocat]"),
			[]string{"repositories.yaml:8: spec.owner: Invalid value", "must be of type string"}},
		"user twice in one list": {replaced("repositories.yaml", "role: Write", "role: Write\n      - name: monalisa\n        role: Read"),
			[]string{"repositories.yaml:14: spec.access.users[1]: Duplicate value"}},
		"bad name": {replaced("repositories.yaml", "name: octo-app\nspec", "name: Octo_App\nspec"),
			[]string{"repositories.yaml:4: metadata.name: Invalid value"}},
		"no name": {replaced("repositories.yaml", "  name: octo-app\nspec", "  labels: {}\nspec"),
			[]string{"repositories.yaml:3: metadata.name is missing"}},
		"generateName": {replaced("repositories.yaml", "  name: octo-app\nspec", "  generateName: octo-\nspec"),
			[]string{"repositories.yaml:3: metadata.name is missing"}},
		"one object twice": {func(files map[string]string) { files["z.yaml"] = repositoryYAML },
			[]string{"z.yaml:4: the PackagesRepository octo-app is already at ", "repositories.yaml:4"}},
		"one owner and name twice": {func(files map[string]string) {
			files["z.yaml"] = strings.Replace(repositoryYAML, "  name: octo-app\nspec", "  name: again\nspec", 1)
		}, []string{"repositories.yaml:4: PackagesRepository octo-app: octocat/octo-app is already declared by the PackagesRepository again: delete one of the two"}},
		"a user that is an organization, in access": {func(files map[string]string) {
			files["z.yaml"] = strings.ReplaceAll(organizationYAML, "octo-org", "monalisa")
		}, []string{
			"repositories.yaml:12: PackagesRepository octo-app: spec.access.users[0]: monalisa is an organization and not a user",
			"tokens.yml:8: PackagesToken monalisa: monalisa is an organization, by the PackagesOrganization monalisa, and only users have tokens",
		}},
		"a team that is not there": {replaced("repositories.yaml", "    users:\n      - name: monalisa", "    teams:\n      - organization: octo-org\n        name: platform"),
			[]string{"repositories.yaml:12: PackagesRepository octo-app: spec.access.teams[0]: there is no organization octo-org"}},
		"somebody in a team who does not belong to the organization": {func(files map[string]string) {
			files["z.yaml"] = strings.Replace(organizationYAML, "    - hubot\n  teams", "    - builder\n  teams", 1)
		}, []string{"z.yaml:16: PackagesOrganization octo-org: spec.teams[0].members[0]: hubot is neither in spec.owners nor in spec.members"}},
		"one organization twice": {func(files map[string]string) {
			files["y.yaml"] = organizationYAML
			files["z.yaml"] = strings.Replace(organizationYAML, "name: octo-org\nspec", "name: again\nspec", 1)
		}, []string{"y.yaml:4: PackagesOrganization octo-org: the organization octo-org is already declared by the PackagesOrganization again: delete one of the two"}},
		"instanceRef of an organization": {func(files map[string]string) {
			files["z.yaml"] = strings.Replace(organizationYAML, "name: local", "name: elsewhere", 1)
		}, []string{"z.yaml:7: there is no PackagesInstance elsewhere here: write local"}},
		"one value twice": {func(files map[string]string) {
			files["z.yaml"] = strings.Replace(tokenYAML, "name: monalisa\nspec", "name: again\nspec", 1)
		}, []string{
			"tokens.yml:4: PackagesToken monalisa: the value is also that of the PackagesToken again",
			"z.yaml:4: PackagesToken again: the value is also that of the PackagesToken monalisa",
		}},
		"unknown kind": {replaced("repositories.yaml", "kind: PackagesRepository", "kind: Repository"),
			[]string{`repositories.yaml:2: kind "Repository" of apiVersion "packages-operator.io/v1alpha1" is not read here: write PackagesInstance, PackagesOrganization, PackagesRepository or PackagesToken of packages-operator.io/v1alpha1, or Secret of v1`}},
		"the internal kind": {replaced("repositories.yaml", "kind: PackagesRepository", "kind: PackagesPolicy"),
			[]string{`repositories.yaml:2: kind "PackagesPolicy"`}},
		"unknown version": {replaced("repositories.yaml", "v1alpha1", "v1"),
			[]string{`apiVersion "packages-operator.io/v1" is not read here`}},
		"no kind": {replaced("repositories.yaml", "kind: PackagesRepository\n", ""),
			[]string{`repositories.yaml:1: kind "" of`}},
		"two namespaces": {func(files map[string]string) {
			files["instance.yaml"] = strings.Replace(instanceYAML, "  name: local", "  namespace: a\n  name: local", 1)
			files["repositories.yaml"] = strings.Replace(repositoryYAML, "  name: octo-app\nspec", "  name: octo-app\n  namespace: b\nspec", 1)
		}, []string{`repositories.yaml:5: namespace "b": all objects here are of one namespace, and `, `instance.yaml:5 says "a"`}},
		"syntax": {replaced("repositories.yaml", "  owner: octocat", "  owner: octocat: x"),
			[]string{"repositories.yaml:8: not valid YAML: "}},
		"syntax in a later document": {replaced("tokens.yml", "  name: monalisa-value\nstringData", "\tname: monalisa-value\nstringData"),
			[]string{"tokens.yml:20: not valid YAML: "}},
		"key twice": {replaced("repositories.yaml", "  owner: octocat", "  owner: octocat\n  owner: hubot"),
			[]string{`repositories.yaml:9: not valid YAML: key "owner" already set in map`}},
		"no object": {func(files map[string]string) { files["z.yaml"] = "# list\n- a\n- b\n" },
			[]string{"z.yaml:2: the document is not a Kubernetes object"}},
		"a number in a Secret": {replaced("tokens.yml", "token: "+value, "token: "+value+"\n  pin: 1234"),
			[]string{"tokens.yml:17: data and stringData hold text alone", "tokens.yml:14: the Secret monalisa-value has a fault"}},
		"no base64 in a Secret": {replaced("tokens.yml", "stringData:\n  token: ", "data:\n  other: eA==\n  token: "),
			[]string{"tokens.yml:23: data.token is not base64: write it so, or use stringData"}},
		"unknown field in a Secret": {replaced("tokens.yml", "stringData:", "stringdata:\n  x: y\nstringData:"),
			[]string{`unknown field "stringdata"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := good()
			test.change(files)
			dir := directory(t, files)
			_, err := Load(dir, "")
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%v\nwant it to contain\n%s", err, want)
				}
			}
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error shows a secret value: %v", err)
			}
			var place *Error
			if !errors.As(err, &place) || !strings.HasPrefix(place.File, dir) {
				t.Errorf("the error has no place: %#v", err)
			}
		})
	}
}

func TestTheSamplesLoad(t *testing.T) {
	s, err := Load(filepath.FromSlash("../../../config/samples/standalone"), "")
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Policy(); len(p.Repositories) == 0 || len(p.Credentials) == 0 {
		t.Errorf("the samples give %d repositories and %d credentials", len(p.Repositories), len(p.Credentials))
	}
}

// A YAML parser may quote what it does not like; in a Secret that is a value.
func TestSyntaxErrorsDoNotShowValues(t *testing.T) {
	for _, written := range []string{"*" + value, "!!int " + value, "!!binary " + value, "&a *" + value, "{" + value, "%" + value, "`" + value, "@" + value, "'" + value, `"\q` + value + `"`, "? " + value, "- " + value} {
		files := good()
		files["tokens.yml"] = strings.Replace(files["tokens.yml"], "token: "+value, "token: "+written, 1)
		_, err := Load(directory(t, files), "")
		if err != nil && strings.Contains(err.Error(), value) {
			t.Errorf("the error for %q shows the value: %v", written, err)
		}
	}
}

func TestEveryFaultIsToldUpToABound(t *testing.T) {
	files := good()
	for i := range 3 {
		files["repositories.yaml"] += "---\n" + strings.Replace(repositoryYAML, "name: octo-app\nspec", "name: Bad"+string(rune('0'+i))+"\nspec", 1)
	}
	_, err := Load(directory(t, files), "")
	if err == nil || strings.Count(err.Error(), "metadata.name: Invalid value") != 3 {
		t.Errorf("got %v, want three faults", err)
	}
	files["repositories.yaml"] += strings.Repeat("---\nkind: X\n", 50)
	_, err = Load(directory(t, files), "")
	if err == nil || !strings.Contains(err.Error(), "and 33 more faults") {
		t.Errorf("got %v, want it to count the rest", err)
	}
}

func TestLoadOfNoDirectory(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "missing"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLoadOfAHugeFile(t *testing.T) {
	dir := directory(t, good())
	if err := os.Truncate(filepath.Join(dir, "instance.yaml"), maxFileSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, ""); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
}
