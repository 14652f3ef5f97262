// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/test/badinput"
)

// dice are other ones in each run; the seed that ginkgo prints brings them back.
func dice() *rand.Rand { return rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 0)) }

var _ = Describe("Whatever people apply, change and delete", Serial, func() {
	It("is told on the object, without a panic, and then there is quiet", func(ctx SpecContext) {
		random, namespace := dice(), newNamespace(ctx)
		cases := fieldCases()
		create(ctx, newInstance(namespace))
		const operations, names = 250, 12
		counts := map[string]int{}
		for range operations {
			object := cases[random.IntN(len(cases))].Object.DeepCopy()
			object.SetNamespace(namespace)
			object.SetName(fmt.Sprintf("%s-%d", strings.ToLower(strings.TrimPrefix(object.GetKind(), "Packages")), random.IntN(names)))
			// Hosts that clash are told as such; here something should run as well.
			if host, _, _ := unstructured.NestedString(object.Object, "spec", "hostname"); host == "packages.example.com" {
				Expect(unstructured.SetNestedField(object.Object, object.GetName()+"."+namespace+".example.com", "spec", "hostname")).To(Succeed())
			}
			// Most of what refers to an instance should find one.
			if random.IntN(8) > 0 {
				unstructured.RemoveNestedField(object.Object, "spec", "instanceRef", "namespace")
			}
			outcome := "deleted"
			var err error
			if random.IntN(6) == 0 {
				err = admin.Delete(ctx, object)
			} else {
				outcome = "applied"
				err = applyAnyhow(ctx, object)
			}
			switch {
			case err == nil:
				counts[outcome]++
			case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsNotFound(err), apierrors.IsConflict(err):
				counts["refused"]++
			default:
				Fail(fmt.Sprintf("%s %s: %v", object.GetKind(), object.GetName(), err))
			}
		}
		AddReportEntry("operations", fmt.Sprint(counts))
		Expect(counts["applied"]).To(BeNumerically(">", operations/10))

		left := everything(ctx, namespace)
		for _, object := range left {
			Eventually(func() (string, error) { return lookedAt(ctx, object) }).Should(Equal("looked at"), "%s %s", object.GetKind(), object.GetName())
		}
		settled(namespace)
		// What only waits is looked at every ten seconds.
		before := metric("controller_runtime_reconcile_total")
		time.Sleep(3 * time.Second)
		Expect(metric("controller_runtime_reconcile_total")-before).To(BeNumerically("<=", len(left)), "a hot loop")

		for _, object := range left {
			Expect(client.IgnoreNotFound(admin.Delete(ctx, object))).To(Succeed())
		}
		Eventually(func() []*unstructured.Unstructured { return everything(ctx, namespace) }).Should(BeEmpty())
	})
})

// fieldCases are objects of all kinds, each with one field at a limit, beyond one or
// strange.
func fieldCases() []badinput.Case {
	GinkgoHelper()
	objects, err := badinput.Good()
	Expect(err).NotTo(HaveOccurred())
	var cases []badinput.Case
	for _, object := range objects {
		plural := map[string]string{
			"PackagesInstance": "packagesinstances", "PackagesOrganization": "packagesorganizations",
			"PackagesRepository": "packagesrepositories", "PackagesToken": "packagestokens",
		}[object.GetKind()]
		text, err := os.ReadFile(filepath.Join("..", "config", "crd", "bases", "packages-operator.io_"+plural+".yaml"))
		Expect(err).NotTo(HaveOccurred())
		var definition apiextensionsv1.CustomResourceDefinition
		Expect(yaml.UnmarshalStrict(text, &definition)).To(Succeed())
		found, _ := badinput.Cases(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, object, badinput.Opaque...)
		// What is always refused never gets to the manager.
		cases = append(cases, slices.DeleteFunc(found, func(c badinput.Case) bool { return c.Want == badinput.Refused })...)
	}
	return cases
}

// applyAnyhow creates an object, or gives the one of its name its spec.
func applyAnyhow(ctx context.Context, object *unstructured.Unstructured) error {
	err := admin.Create(ctx, object.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	current := &unstructured.Unstructured{}
	current.SetGroupVersionKind(object.GroupVersionKind())
	if err := admin.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
		return err
	}
	current.Object["spec"] = object.Object["spec"]
	return admin.Update(ctx, current)
}

// everything are the objects that people made in a namespace.
func everything(ctx context.Context, namespace string) []*unstructured.Unstructured {
	GinkgoHelper()
	var all []*unstructured.Unstructured
	for _, kind := range userKinds {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		Expect(admin.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
	}
	return all
}

// lookedAt says whether an object's conditions speak of what it is now.
func lookedAt(ctx context.Context, object *unstructured.Unstructured) (string, error) {
	if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		if apierrors.IsNotFound(err) {
			return "looked at", nil // it was on its way out
		}
		return "", err
	}
	observed, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	if object.GetDeletionTimestamp() == nil && (observed != object.GetGeneration() || len(conditions) == 0) {
		return fmt.Sprintf("generation %d has %d conditions of %d", object.GetGeneration(), len(conditions), observed), nil
	}
	return "looked at", nil
}

var _ = Describe("In whatever order objects arrive", Serial, func() {
	// Where objects contend for a name the one that has it keeps it, and the oldest gets
	// it first: so the contenders are of different ages, and everything else of none.
	// Three ages, which the API server tells apart by the second.
	population := func(namespace string, random *rand.Rand) [][]client.Object {
		organization := func(name, spec string, owners ...string) client.Object {
			o := newOrganization(namespace, name)
			o.Spec.Name, o.Spec.Owners = spec, owners
			return o
		}
		repository := func(name, owner, spec string, mutate ...func(*v1alpha1.PackagesRepository)) client.Object {
			r := newRepository(namespace, name)
			r.Spec.Owner, r.Spec.Name = owner, spec
			for _, m := range mutate {
				m(r)
			}
			return r
		}
		token := func(name, user string, mutate ...func(*v1alpha1.PackagesToken)) client.Object {
			t := newToken(namespace, name)
			t.Spec.User = user
			for _, m := range mutate {
				m(t)
			}
			return t
		}
		team := func(organization, name string) func(*v1alpha1.PackagesRepository) {
			return func(r *v1alpha1.PackagesRepository) {
				r.Spec.Access.Teams = []v1alpha1.TeamAccess{{Organization: organization, Name: name, Role: v1alpha1.RoleWrite}}
			}
		}
		value := func(name, text string) client.Object {
			return &corev1.Secret{ObjectMeta: namedIn(namespace, name), Data: map[string][]byte{"value": []byte(text)}}
		}
		ages := [][]client.Object{
			{
				organization("first", "octo-org", "octocat"), repository("one", "octocat", "tools"),
				token("early", "hubot", func(t *v1alpha1.PackagesToken) { t.Spec.Secret.Name = "shared" }),
				&corev1.Secret{ObjectMeta: namedIn(namespace, "somebodys-token"), Data: map[string][]byte{"a": []byte("b")}},
			},
			{
				organization("second", "octo-org", "hubot"), repository("two", "octocat", "tools"), repository("two-b", "octo-org", "app", team("octo-org", "platform")),
				token("late", "monalisa", func(t *v1alpha1.PackagesToken) { t.Spec.Secret.Name = "shared" }),
			},
			{
				newInstance(namespace),
				organization("third", "octo-org", "monalisa"), organization("lonely", "robots", "hubot", "octo-org"),
				repository("three", "octocat", "tools"), repository("teamless", "hubot", "x", team("octo-org", "nobody")),
				repository("usual", "monalisa", "usual", func(r *v1alpha1.PackagesRepository) { r.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete }),
				token("organization", "octo-org"), token("pull", "hubot", func(t *v1alpha1.PackagesToken) { t.Spec.Secret.Type = v1alpha1.TokenSecretDockerConfigJSON }),
				value("mine", strings.Repeat("same-value", 5)), value("yours", strings.Repeat("same-value", 5)), value("short", "short"),
				newBroughtToken(namespace, "mine", "mine"), newBroughtToken(namespace, "yours", "yours"),
				newBroughtToken(namespace, "short", "short"), newBroughtToken(namespace, "absent", "absent"),
				token("somebodys", "hubot"),
				token("other-instance", "hubot", func(t *v1alpha1.PackagesToken) { t.Spec.InstanceRef.Name = "other" }),
			},
		}
		for _, objects := range ages {
			random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		}
		return ages
	}

	// endState is what is there in the end, without what is random: identities, values,
	// the namespace.
	endState := func(ctx context.Context, namespace string) map[string]string {
		state := map[string]string{}
		var replacements []string
		for _, object := range everything(ctx, namespace) {
			replacements = append(replacements, string(object.GetUID()), "UID-OF-"+object.GetName())
		}
		normal := strings.NewReplacer(append(replacements, namespace, "NAMESPACE")...)
		for _, object := range everything(ctx, namespace) {
			conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
			var lines []string
			for _, c := range conditions {
				condition, _ := c.(map[string]any)
				lines = append(lines, fmt.Sprintf("%v=%v %v: %v", condition["type"], condition["status"], condition["reason"], condition["message"]))
			}
			slices.Sort(lines)
			state[object.GetKind()+" "+object.GetName()] = normal.Replace(strings.Join(lines, "\n"))
		}
		var secrets corev1.SecretList
		Expect(admin.List(ctx, &secrets, client.InNamespace(namespace))).To(Succeed())
		for i := range secrets.Items {
			secret := &secrets.Items[i]
			keys := slices.Sorted(maps.Keys(secret.Data))
			if len(keys) == 1 && len(keys[0]) == 16 {
				keys = []string{"a signing key"}
			}
			state["Secret "+secret.Name] = fmt.Sprint(secret.Type, keys, secret.Labels, string(secret.Data["username"]))
		}
		p := policyOf(ctx, namespace).Policy()
		for i := range p.Credentials {
			p.Credentials[i].ID, p.Credentials[i].Hash = "", credential.Hash{}
		}
		slices.SortFunc(p.Credentials, func(a, b policy.Credential) int { return strings.Compare(a.Token, b.Token) })
		text, err := json.MarshalIndent(p, "", " ")
		Expect(err).NotTo(HaveOccurred())
		state["policy"] = normal.Replace(string(text))
		return state
	}

	atRest := func(ctx context.Context, namespace string) map[string]string {
		GinkgoHelper()
		for _, object := range everything(ctx, namespace) {
			Eventually(func() (string, error) { return lookedAt(ctx, object) }).Should(Equal("looked at"), "%s %s", object.GetKind(), object.GetName())
		}
		var state map[string]string
		Eventually(func() bool {
			before := state
			time.Sleep(1500 * time.Millisecond)
			state = endState(ctx, namespace)
			return maps.Equal(before, state)
		}).WithTimeout(2*soon).Should(BeTrue(), "it does not come to rest")
		return state
	}

	It("the end is the same, and after deletions in any order as well", func(ctx SpecContext) {
		random := dice()
		var want, wantAfter map[string]string
		for _, how := range []string{"one by one", "before the manager", "with a manager that restarts"} {
			By(how)
			namespace := newNamespace(ctx)
			if how == "before the manager" {
				stopManager()
			}
			for age, objects := range population(namespace, random) {
				if age > 0 {
					time.Sleep(1100 * time.Millisecond)
				}
				if age == 2 && how == "with a manager that restarts" {
					stopManager()
					stopManager = startManager()
				}
				create(ctx, objects...)
			}
			if how == "before the manager" {
				stopManager = startManager()
			}
			got := atRest(ctx, namespace)
			if want == nil {
				want = got
			}
			Expect(cmp.Diff(want, got)).To(BeEmpty(), how)

			// Those that have the names go, and others get them.
			doomed := []client.Object{
				newOrganization(namespace, "first"), newRepository(namespace, "one"), newToken(namespace, "early"), newRepository(namespace, "usual"),
				newToken(namespace, "mine"), newOrganization(namespace, "second"),
				// The garbage collector is not here to do so.
				&corev1.Secret{ObjectMeta: namedIn(namespace, "shared")},
			}
			random.Shuffle(len(doomed)-1, func(i, j int) { doomed[i], doomed[j] = doomed[j], doomed[i] })
			for _, object := range doomed {
				Expect(client.IgnoreNotFound(admin.Delete(ctx, object))).To(Succeed())
			}
			got = atRest(ctx, namespace)
			if wantAfter == nil {
				wantAfter = got
			}
			Expect(cmp.Diff(wantAfter, got)).To(BeEmpty(), how+", after the deletions")
		}
	})
})

func namedIn(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}
