// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("A manager of some namespaces", Serial, func() {
	It("serves these and no other", func(ctx SpecContext) {
		first, second, other := newNamespace(ctx), newNamespace(ctx), newNamespace(ctx)
		stopManager()
		DeferCleanup(func() {
			stopManager()
			stopManager = startManager()
		})
		stopManager = startManager(first, second)
		since := audit.end()
		for _, namespace := range []string{other, first, second} {
			create(ctx, newInstance(namespace), newToken(namespace, "monalisa"))
		}
		for _, namespace := range []string{first, second} {
			conditions(ctx, newInstance(namespace)).Should(beReady())
			conditions(ctx, newToken(namespace, "monalisa")).Should(beReady())
		}
		settled(first)
		Expect(audit.writes(since, other)).To(BeEmpty())
		// What it cannot see is told.
		both := []string{first, second}
		slices.Sort(both)
		Expect(messageOf(conditionsOf(ctx, newInstance(first)), v1alpha1.ConditionAccepted)).To(Equal(
			"no other instance in the namespaces " + strings.Join(both, " and ") + " has these hosts; the operator sees no other namespace"))
	})
})

var _ = Describe("In steady state", Serial, func() {
	var namespace string
	var objects []client.Object

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		pull := newToken(namespace, "pull")
		pull.Spec.Secret.Type = v1alpha1.TokenSecretDockerConfigJSON
		repository := newRepository(namespace, "octo-app")
		repository.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
		objects = []client.Object{
			newInstance(namespace), newOrganization(namespace, "octo-org"), repository, newToken(namespace, "monalisa"), pull,
			newBroughtToken(namespace, "brought", "mine"),
		}
		create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"},
			Data:       map[string][]byte{"value": []byte(strings.Repeat("a-good-value", 4))},
		})
		create(ctx, objects...)
		for _, object := range objects {
			conditions(ctx, object).Should(beReady())
		}
		// Objects that are not ready are steady, too.
		duplicate := newRepository(namespace, "duplicate")
		create(ctx, duplicate)
		conditions(ctx, duplicate).Should(beStalled(v1alpha1.ReasonDuplicateRepository))
		teamless := newRepository(namespace, "teamless")
		teamless.Spec.Name = "teamless"
		teamless.Spec.Access.Teams = []v1alpha1.TeamAccess{{Organization: "octo-org", Name: "nobody", Role: v1alpha1.RoleRead}}
		create(ctx, teamless)
		conditions(ctx, teamless).Should(beProgressing(v1alpha1.ReasonTeamNotFound))
		objects = append(objects, duplicate, teamless)
	})

	It("writes nothing when everything is reconciled again", func(ctx SpecContext) {
		since := settled(namespace)
		for round := range 3 {
			for _, object := range append(objects, madeObjects(namespace)...) {
				Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
				before := object.DeepCopyObject().(client.Object)
				object.SetAnnotations(map[string]string{"example.com/round": string(rune('a' + round))})
				for key, value := range before.GetAnnotations() {
					if key != "example.com/round" {
						annotations := object.GetAnnotations()
						annotations[key] = value
						object.SetAnnotations(annotations)
					}
				}
				Expect(admin.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
			}
			time.Sleep(500 * time.Millisecond)
		}
		Expect(settled(namespace)).To(BeNumerically(">", since))
		Expect(audit.writes(since, namespace)).To(BeEmpty())
	})

	It("writes nothing when the manager restarts", func() {
		settled(namespace)
		stopManager()
		since, reconciles := audit.end(), metric("controller_runtime_reconcile_total")
		stopManager = startManager()
		// Everything is reconciled after a start, and then there is quiet.
		Eventually(func() float64 {
			return metric("controller_runtime_reconcile_total") - reconciles
		}).Should(BeNumerically(">=", len(objects)))
		Eventually(func() float64 {
			before := metric("controller_runtime_reconcile_total")
			time.Sleep(time.Second)
			return metric("controller_runtime_reconcile_total") - before
		}).Should(BeZero())
		settled(namespace)
		Expect(audit.writes(since, namespace)).To(BeEmpty())
	})
})
