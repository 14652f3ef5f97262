// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

// userKinds are the kinds that people write.
var userKinds = []string{"PackagesInstance", "PackagesOrganization", "PackagesRepository", "PackagesToken"}

// witness looks at every version of every object of the kinds that people write, in
// all specs, as Flux and Argo CD would: at each step of each life it judges the
// object by kstatus and by our health scripts, and checks that both agree with what
// the conditions say.
type witness struct {
	scripts map[string]*healthScript
	cancel  context.CancelFunc
	watches sync.WaitGroup

	mu     sync.Mutex
	faults []string
	// seen counts the versions, by kind and status.
	seen map[string]int
}

func startWitness(c client.WithWatch) *witness {
	GinkgoHelper()
	w := &witness{scripts: map[string]*healthScript{}, seen: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	for _, kind := range userKinds {
		w.scripts[kind] = loadHealthScript(kind)
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		events, err := c.Watch(ctx, list)
		Expect(err).NotTo(HaveOccurred())
		w.watches.Go(func() {
			for event := range events.ResultChan() {
				object, ok := event.Object.(*unstructured.Unstructured)
				if !ok || event.Type == watch.Bookmark {
					continue
				}
				w.see(object)
			}
		})
	}
	return w
}

// stop fails the suite if anything was wrong.
func (w *witness) stop() {
	GinkgoHelper()
	w.cancel()
	w.watches.Wait()
	Expect(w.faults).To(BeEmpty())
	Expect(metric("controller_runtime_reconcile_panics_total")).To(BeZero(), "a reconcile panicked")
	for _, kind := range userKinds {
		GinkgoWriter.Printf("%s: %d versions current, %d in progress, %d failed, %d terminating\n", kind,
			w.seen[kind+" "+string(status.CurrentStatus)], w.seen[kind+" "+string(status.InProgressStatus)],
			w.seen[kind+" "+string(status.FailedStatus)], w.seen[kind+" "+string(status.TerminatingStatus)])
	}
}

func (w *witness) see(object *unstructured.Unstructured) {
	faults := w.judge(object)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range faults {
		if len(w.faults) < 50 {
			w.faults = append(w.faults, fmt.Sprintf("%s %s/%s: %s: %v", object.GetKind(), object.GetNamespace(), object.GetName(), fault, object.Object["status"]))
		}
	}
}

// unsteady is what would differ from one try to the next, and what is secret.
var unsteady = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d|pkgt_\w{8}|%!`)

// judge returns what is wrong with an object.
func (w *witness) judge(object *unstructured.Unstructured) (faults []string) {
	conditions, written, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if err != nil {
		return []string{err.Error()}
	}
	holds, reasons := map[string]bool{}, map[string]string{}
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		name, reason, message := fmt.Sprint(condition["type"]), fmt.Sprint(condition["reason"]), fmt.Sprint(condition["message"])
		holds[name] = condition["status"] == string(metav1.ConditionTrue)
		reasons[name] = reason
		if generation, _ := condition["observedGeneration"].(int64); generation < 1 || generation > object.GetGeneration() {
			faults = append(faults, name+" speaks of no generation that there was")
		}
		if message == "" || len(message) > 1500 || unsteady.MatchString(message) {
			faults = append(faults, name+" has no message, or one that may not be")
		}
	}
	if written {
		if _, found := reasons[v1alpha1.ConditionReady]; !found {
			faults = append(faults, "there is no Ready")
		}
	}
	observed, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")

	result, err := status.Compute(object)
	if err != nil {
		return append(faults, "kstatus: "+err.Error())
	}
	w.mu.Lock()
	w.seen[object.GetKind()+" "+string(result.Status)]++
	w.mu.Unlock()
	want := status.InProgressStatus
	switch {
	case object.GetDeletionTimestamp() != nil:
		want = status.TerminatingStatus
	case !written || observed != object.GetGeneration():
	case holds[v1alpha1.ConditionStalled]:
		want = status.FailedStatus
	case holds[v1alpha1.ConditionReady] && !holds[v1alpha1.ConditionReconciling]:
		want = status.CurrentStatus
	case !holds[v1alpha1.ConditionReconciling]:
		faults = append(faults, "it is neither Ready nor Reconciling nor Stalled")
	}
	if result.Status != want {
		faults = append(faults, fmt.Sprintf("kstatus says %s (%s), want %s", result.Status, result.Message, want))
	}

	health, message, err := w.scripts[object.GetKind()].run(object)
	wantHealth := map[status.Status]string{
		status.TerminatingStatus: "Progressing", status.InProgressStatus: "Progressing",
		status.FailedStatus: "Degraded", status.CurrentStatus: "Healthy",
	}[want]
	if suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend"); suspended && want == status.CurrentStatus {
		wantHealth = "Suspended"
	}
	// What mostly somebody has to mend.
	switch reason := reasons[v1alpha1.ConditionReconciling]; {
	case want != status.InProgressStatus, observed != object.GetGeneration():
	case reason == v1alpha1.ReasonImagePullFailed, reason == v1alpha1.ReasonPodCrashing,
		reason == v1alpha1.ReasonDatabaseUnavailable, reason == v1alpha1.ReasonStorageUnavailable:
		wantHealth = "Degraded"
	}
	if err != nil || health != wantHealth || message == "" {
		faults = append(faults, fmt.Sprintf("Argo CD would call it %s (%s, %v), want %s", health, message, err, wantHealth))
	}
	return faults
}

// haveStatus matches an object that Flux would call so, and Argo CD so, once both do.
func haveStatus(ctx context.Context, object client.Object) AsyncAssertion {
	GinkgoHelper()
	kinds, _, err := scheme.ObjectKinds(object)
	Expect(err).NotTo(HaveOccurred())
	return Eventually(func() (string, error) {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(kinds[0])
		if err := admin.Get(ctx, client.ObjectKeyFromObject(object), u); err != nil {
			return "", err
		}
		result, err := status.Compute(u)
		if err != nil {
			return "", err
		}
		health, _, err := observer.scripts[kinds[0].Kind].run(u)
		return strings.Join([]string{string(result.Status), health}, " "), err
	})
}
