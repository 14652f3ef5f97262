// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/policy/compile"
)

const (
	kindInstance     = "PackagesInstance"
	kindOrganization = compile.KindOrganization
	kindRepository   = compile.KindRepository
	kindToken        = compile.KindToken
	kindSecret       = "Secret"

	// maxFileSize bounds one file, in bytes.
	maxFileSize = 32 << 20
	// maxErrors bounds how many faults are told at once.
	maxErrors = 20
)

// defaultNamespace is where objects without a namespace are, if none has one.
const defaultNamespace = "default"

// Load reads every *.yaml and *.yml file of a directory and compiles what they
// declare. url is compile.Input's URL. The error joins an *Error for each fault;
// each says where it is and what to write.
func Load(dir, url string) (*policy.Snapshot, error) {
	files, err := readFiles(dir)
	if err != nil {
		return nil, err
	}
	return compileFiles(dir, url, files)
}

// compileFiles is Load behind the reading.
func compileFiles(dir, url string, files []file) (*policy.Snapshot, error) {
	documents, err := parse(files)
	if err != nil {
		return nil, err
	}
	kinds, err := loadSchemas()
	if err != nil {
		return nil, err
	}
	set := &objectSet{dir: dir, kinds: kinds, places: map[objectKey]*document{}, secrets: map[string]*secret{}}
	set.settleNamespace(documents)
	for _, d := range documents {
		set.add(d)
	}
	p := set.compile(url)
	if err := set.err(); err != nil {
		return nil, err
	}
	snapshot, err := policy.NewSnapshot(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return snapshot, nil
}

// file is one that was read.
type file struct {
	path    string
	content []byte
}

// readFiles returns all files of a directory, in the order of their names.
func readFiles(dir string) ([]file, error) {
	names, err := yamlFiles(dir)
	if err != nil {
		return nil, err
	}
	files := make([]file, len(names))
	for i, name := range names {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxFileSize {
			return nil, &Error{File: path, Reason: fmt.Sprintf("the file has %d bytes, at most %d are read", info.Size(), maxFileSize)}
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files[i] = file{path, content}
	}
	return files, nil
}

// parse returns the documents of files, in their order.
func parse(files []file) ([]*document, error) {
	var documents []*document
	for _, f := range files {
		documents = append(documents, splitDocuments(f.path, f.content)...)
	}
	var faults []error
	for _, d := range documents {
		if err := d.parse(); err != nil {
			faults = append(faults, err)
		}
	}
	return documents, joinFaults(faults)
}

// yamlFiles are the names to read, sorted. Hidden names are editors' and
// Kubernetes' own.
func yamlFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		if extension := filepath.Ext(name); extension != ".yaml" && extension != ".yml" || strings.HasPrefix(name, ".") {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

func joinFaults(faults []error) error {
	if more := len(faults) - maxErrors; more > 0 {
		faults = append(slices.Clone(faults[:maxErrors]), fmt.Errorf("and %d more faults", more))
	}
	return errors.Join(faults...)
}

type objectKey struct{ kind, name string }

// objectSet collects what the documents declare.
type objectSet struct {
	dir       string
	kinds     *schemas
	namespace string

	instance      *v1alpha1.PackagesInstance
	organizations []v1alpha1.PackagesOrganization
	repositories  []v1alpha1.PackagesRepository
	tokens        []*v1alpha1.PackagesToken
	secrets       map[string]*secret
	places        map[objectKey]*document
	faults        []error
}

func (s *objectSet) fail(err error) { s.faults = append(s.faults, err) }

func (s *objectSet) err() error { return joinFaults(s.faults) }

// settleNamespace takes the namespace that objects name, if any does: references
// are within one namespace, and alone there is one instance.
func (s *objectSet) settleNamespace(documents []*document) {
	var first *document
	for _, d := range documents {
		namespace, _, _ := unstructured.NestedString(d.content, "metadata", "namespace")
		switch {
		case namespace == "" || namespace == s.namespace:
		case s.namespace == "":
			s.namespace, first = namespace, d
		default:
			s.fail(d.errorAt("metadata.namespace", "namespace %q: all objects here are of one namespace, and %s:%d says %q",
				namespace, first.file, first.lineOf("metadata.namespace"), s.namespace))
		}
	}
	if s.namespace == "" {
		s.namespace = defaultNamespace
	}
}

// add takes one document into the set.
func (s *objectSet) add(d *document) {
	apiVersion, _, _ := unstructured.NestedString(d.content, "apiVersion")
	kind, _, _ := unstructured.NestedString(d.content, "kind")
	name, _, _ := unstructured.NestedString(d.content, "metadata", "name")
	key := objectKey{kind, name}
	switch {
	case !s.reads(apiVersion, kind):
		s.fail(d.errorAt("kind", "kind %q of apiVersion %q is not read here: write %s, %s, %s or %s of %s, or %s of v1",
			kind, apiVersion, kindInstance, kindOrganization, kindRepository, kindToken, v1alpha1.GroupVersion, kindSecret))
		return
	case name == "":
		s.fail(d.errorAt("metadata.name", "metadata.name is missing: give the %s a name", kind))
		return
	case s.places[key] != nil:
		s.fail(d.errorAt("metadata.name", "the %s %s is already at %s", kind, name, s.place(key)))
		return
	}
	s.places[key] = d
	if kind == kindSecret {
		parsed, err := parseSecret(d)
		if err != nil {
			s.fail(err)
		}
		// Also after a fault, so that it is not reported as missing as well.
		s.secrets[name] = parsed
		return
	}
	s.addObject(d, kind)
}

func (s *objectSet) reads(apiVersion, kind string) bool {
	switch kind {
	case kindSecret:
		return apiVersion == "v1"
	case kindInstance, kindOrganization, kindRepository, kindToken:
		return apiVersion == v1alpha1.GroupVersion.String()
	}
	return false
}

func (s *objectSet) place(key objectKey) string {
	d := s.places[key]
	return fmt.Sprintf("%s:%d", d.file, d.lineOf("metadata.name"))
}

func (s *objectSet) addObject(d *document, kind string) {
	if metadata, ok := d.content["metadata"].(map[string]any); ok {
		metadata["namespace"] = s.namespace
	}
	if errs := (*s.kinds)[kind].admit(d.content); len(errs) > 0 {
		for _, e := range errs {
			s.fail(d.errorAt(e.Field, "%s", e.Error()))
		}
		return
	}
	switch kind {
	case kindInstance:
		s.addInstance(d)
	case kindOrganization:
		var object v1alpha1.PackagesOrganization
		if s.convert(d, &object) {
			s.organizations = append(s.organizations, object)
		}
	case kindRepository:
		var object v1alpha1.PackagesRepository
		if s.convert(d, &object) {
			s.repositories = append(s.repositories, object)
		}
	case kindToken:
		object := new(v1alpha1.PackagesToken)
		if s.convert(d, object) {
			s.tokens = append(s.tokens, object)
		}
	}
}

func (s *objectSet) addInstance(d *document) {
	object := new(v1alpha1.PackagesInstance)
	if !s.convert(d, object) {
		return
	}
	if s.instance != nil {
		s.fail(d.errorAt("metadata.name", "a second %s: a registry alone serves one, and %s is at %s",
			kindInstance, s.instance.Name, s.place(objectKey{kindInstance, s.instance.Name})))
		return
	}
	// The UID ties data and bearer tokens to the instance, through restarts.
	if object.UID == "" {
		object.UID = types.UID("standalone-" + object.Name)
	}
	s.instance = object
}

func (s *objectSet) convert(d *document, into any) bool {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.content, into); err != nil {
		s.fail(d.errorAt("", "%v", err))
		return false
	}
	return true
}

// compile returns the policy, and records what stands in its way: alone, nothing
// that has no effect is accepted.
func (s *objectSet) compile(url string) policy.Policy {
	if s.instance == nil {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(s.places)), func(k objectKey) bool { return k.kind == kindInstance }) {
			s.fail(&Error{File: s.dir, Reason: fmt.Sprintf("no *.yaml or *.yml file here declares a %s: add one", kindInstance)})
		}
		return policy.Policy{}
	}
	for i := range s.organizations {
		s.checkInstance(kindOrganization, s.organizations[i].Name, s.organizations[i].Spec.InstanceRef)
	}
	for i := range s.repositories {
		s.checkInstance(kindRepository, s.repositories[i].Name, s.repositories[i].Spec.InstanceRef)
		s.checkAccounts(&s.repositories[i])
	}
	in := compile.Input{Instance: s.instance, URL: url, Organizations: s.organizations, Repositories: s.repositories}
	for _, token := range s.tokens {
		s.checkInstance(kindToken, token.Name, token.Spec.InstanceRef)
		if token.Spec.Rotation != nil {
			s.fail(s.places[objectKey{kindToken, token.Name}].errorAt("spec.rotation",
				"a registry alone makes no values, so none rotates: leave rotation out; to replace the value, change it in its Secret"))
		}
		value, err := s.valueOf(token)
		if err != nil {
			s.fail(err)
			continue
		}
		in.Tokens = append(in.Tokens, compile.Token{Object: token, Credentials: []compile.Credential{
			{Hash: credential.Sum(value), ID: credential.ID(value)},
		}})
	}
	result := compile.Compile(in)
	for _, problem := range result.Problems {
		s.fail(s.places[objectKey{problem.Kind, problem.Name}].errorAt(cmp.Or(problem.Field, "metadata.name"),
			"%s %s: %s", problem.Kind, problem.Name, problem.Message))
	}
	return result.Policy
}

// checkAccounts refuses what only a cluster can vouch for.
func (s *objectSet) checkAccounts(r *v1alpha1.PackagesRepository) {
	if len(r.Spec.Access.ServiceAccounts) > 0 {
		s.fail(s.places[objectKey{kindRepository, r.Name}].errorAt("spec.access.serviceAccounts",
			"a registry alone belongs to no cluster, and so there are no ServiceAccounts: leave serviceAccounts out, and let programs sign in with a %s", kindToken))
		r.Spec.Access.ServiceAccounts = nil // so that it is told once
	}
}

func (s *objectSet) checkInstance(kind, name string, ref v1alpha1.InstanceReference) {
	if ref.Name != s.instance.Name {
		s.fail(s.places[objectKey{kind, name}].errorAt("spec.instanceRef.name",
			"there is no %s %s here: write %s", kindInstance, ref.Name, s.instance.Name))
	}
	if ref.Namespace != "" && ref.Namespace != s.namespace {
		s.fail(s.places[objectKey{kind, name}].errorAt("spec.instanceRef.namespace",
			"namespace %q: all objects here are of one namespace, %s: leave namespace out", ref.Namespace, s.namespace))
	}
}
