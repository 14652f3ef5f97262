// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/workload"
)

// words are what strings of random objects are drawn from: names that meet, values
// of every enum, and what validation would not let in.
var words = []string{
	"acme", "octocat", "hubot", "monalisa", "octo-app", "tools", "registry", "True", "False", "Accepted", "packages.test", "docker.packages.test",
	"Enabled", "ReadOnly", "Disabled", "Deny", "PublicRepositories", "Private", "Internal", "Public", "Read", "Write", "Admin", "Retain", "Delete",
	"read:packages", "write:packages", "delete:packages", "octocat/octo-app", "octocat/*", "packages-operator.io/data",
	"", "Octocat", "octocat/octo/app", "*", "/", "..", "%2f", "ä", "octocat\x00", "a\"b\n", "\xff", "Maintain", "*/octo-app", "octocat/", "-",
	strings.Repeat("o", 300),
}

// dice fills values by bytes, until there are none; then with nothing.
type dice struct{ bytes []byte }

func (d *dice) roll(n int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % n
}

func (d *dice) fill(v reflect.Value) {
	switch into := v.Addr().Interface().(type) {
	case *metav1.Time:
		*into = metav1.NewTime(d.instant())
		return
	case *time.Time:
		*into = d.instant()
		return
	case *Credential:
		value := fmt.Sprint("value-", d.roll(6))
		*into = Credential{Hash: credential.Sum(value), ID: credential.ID(value)}
		d.fill(reflect.ValueOf(into).Elem().FieldByName("NotAfter"))
		return
	case *metav1.TypeMeta:
		return
	case *metav1.ObjectMeta:
		d.fill(reflect.ValueOf(&into.CreationTimestamp).Elem())
		d.fill(reflect.ValueOf(&into.DeletionTimestamp).Elem())
		d.fill(reflect.ValueOf(&into.Finalizers).Elem())
		return
	}
	switch v.Kind() {
	case reflect.String:
		// Every other word is one of few, so that objects meet.
		i := d.roll(2 * len(words))
		if i >= len(words) {
			i %= 5
		}
		v.SetString(words[i])
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(d.roll(256)) - 2)
	case reflect.Bool:
		v.SetBool(d.roll(2) == 1)
	case reflect.Pointer:
		if d.roll(3) == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			d.fill(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), d.roll(4), 4))
		for i := range v.Len() {
			d.fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				d.fill(v.Field(i))
			}
		}
	}
}

func (d *dice) instant() time.Time {
	zone := time.FixedZone("", 3600*(d.roll(25)-12))
	return epoch.Add(time.Duration(d.roll(5)-2) * time.Minute).In(zone)
}

// input draws an Input whose objects keep to what the API server guarantees
// whatever the schema: each has a name and a UID of its own, in some namespace.
// Half of the objects are of the instance.
func (d *dice) input() Input {
	in := Input{Instance: instance()}
	d.fill(reflect.ValueOf(&in.Instance.Spec).Elem())
	in.Instance.Spec.Hostname = "packages.test"
	in.Namespaces = map[string]map[string]string{"acme": {}, "octocat": {"acme": "hubot"}, "hubot": {"octocat": "monalisa", "tools": ""}}
	in.ServiceAccounts = map[types.NamespacedName]types.UID{
		{Namespace: "acme", Name: "octocat"}: "s1", {Namespace: "octocat", Name: "octocat"}: "s2", {Namespace: "hubot", Name: "acme"}: "s3",
		{Namespace: "acme", Name: "acme"}: "",
	}
	if in.IssuerFault = words[d.roll(len(words))]; d.roll(4) > 0 {
		in.Issuer, in.IssuerFault = issuer(), ""
	}
	lists := reflect.ValueOf(&in).Elem()
	for i := range lists.NumField() {
		list := lists.Field(i)
		if list.Kind() != reflect.Slice {
			continue
		}
		list.Set(reflect.MakeSlice(list.Type(), d.roll(6), 6))
		for j := range list.Len() {
			object := list.Index(j)
			if holder := object.FieldByName("Object"); holder.IsValid() { // a Token
				holder.Set(reflect.New(holder.Type().Elem()))
				d.fill(object.FieldByName("Credentials"))
				object = holder.Elem()
			}
			d.fill(object)
			meta := object.Addr().Interface().(metav1.Object)
			name := fmt.Sprintf("object-%d-%d", i, j)
			meta.SetName(name)
			meta.SetUID(types.UID(name))
			reference := object.FieldByName("Spec").FieldByName("InstanceRef")
			switch d.roll(4) {
			case 0:
				meta.SetNamespace(words[d.roll(4)])
				reference.FieldByName("Namespace").SetString(in.Instance.Namespace)
			case 1, 2:
				meta.SetNamespace(in.Instance.Namespace)
				reference.FieldByName("Namespace").SetString("")
			}
			if d.roll(4) > 0 {
				reference.FieldByName("Name").SetString(in.Instance.Name)
			}
		}
	}
	return in
}

// shuffle changes the order of every list of objects.
func shuffle(in *Input, random *rand.Rand) {
	lists := reflect.ValueOf(in).Elem()
	for i := range lists.NumField() {
		if list := lists.Field(i); list.Kind() == reflect.Slice {
			random.Shuffle(list.Len(), reflect.Swapper(list.Interface()))
		}
	}
}

// FuzzCompile: whatever the objects, and in whatever order they come, they give one
// policy, which a registry takes; what is wrong with one is said of that one, once.
func FuzzCompile(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 8))
	for length := range 60 {
		seed := make([]byte, length*length)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed, uint64(length))
	}
	f.Fuzz(func(t *testing.T, bytes []byte, order uint64) {
		in := (&dice{bytes}).input()
		result := Compile(in)
		if untouched := (&dice{bytes}).input(); !reflect.DeepEqual(untouched, in) {
			t.Errorf("Compile changed its input:\n%s", cmp.Diff(untouched, in))
		}
		s, err := policy.NewSnapshot(result.Policy)
		if err != nil {
			t.Fatalf("a registry refuses the policy: %v", err)
		}
		// Of other namespaces nothing has effect for an owner that they are not allowed.
		for _, token := range in.Tokens {
			for _, c := range token.Credentials {
				compiled, found := s.CredentialByID(c.ID)
				foreign := token.Object.Namespace != in.Instance.Namespace
				if found && foreign && compiled.Token == token.Object.Namespace+"/"+token.Object.Name && len(compiled.Repositories) == 0 {
					t.Errorf("the token %s of the namespace %s is not narrowed", token.Object.Name, token.Object.Namespace)
				}
			}
		}
		for _, account := range result.Policy.ServiceAccounts {
			if _, found := s.CredentialByID(workload.ID(account.User, account.UID)); !found || account.UID == "" {
				t.Errorf("the ServiceAccount %+v is no credential", account)
			}
		}
		told := map[string]bool{}
		for _, p := range result.Problems {
			// Names are unique in all of an input.
			if told[p.Name] || p.Kind == "" || p.Reason == "" || p.Message == "" || len(p.Message) > 2048 {
				t.Errorf("the problem %+v is not the only one of an object, or says nothing", p)
			}
			told[p.Name] = true
		}

		shuffle(&in, rand.New(rand.NewPCG(order, order)))
		again := Compile(in)
		if diff := cmp.Diff(result, again); diff != "" {
			t.Errorf("another order gives another result:\n%s", diff)
		}
		if second, err := policy.NewSnapshot(again.Policy); err != nil || second.Revision() != s.Revision() {
			t.Errorf("another order gives another revision, %v", err)
		}
	})
}
