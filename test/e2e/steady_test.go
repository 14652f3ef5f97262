// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("what the operator made", func() {
	It("is made again, or put right, within seconds of somebody else's hand", func(ctx SpecContext) {
		at := shared()
		name := at.instance + "-packages"
		named := func(name string) metav1.ObjectMeta {
			return metav1.ObjectMeta{Namespace: at.namespace, Name: name}
		}
		By("changing it")
		undone(ctx, "Service", &corev1.Service{ObjectMeta: named(name)},
			func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "somebody-else"} },
			func(s *corev1.Service) any { return s.Spec.Selector })
		undone(ctx, "Ingress", &networkingv1.Ingress{ObjectMeta: named(name)},
			func(i *networkingv1.Ingress) {
				i.Spec.Rules = i.Spec.Rules[:1]
				i.Spec.Rules[0].Host = "elsewhere.test"
			},
			func(i *networkingv1.Ingress) any { return i.Spec.Rules })
		undone(ctx, "Role", &rbacv1.Role{ObjectMeta: named(name)},
			func(r *rbacv1.Role) { r.Rules = nil },
			func(r *rbacv1.Role) any { return r.Rules })
		undone(ctx, "StatefulSet", &appsv1.StatefulSet{ObjectMeta: named(name)},
			func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Args[0] = "manager" },
			func(s *appsv1.StatefulSet) any { return s.Spec.Template.Spec.Containers[0].Args })
		undone(ctx, "PackagesPolicy", &v1alpha1.PackagesPolicy{ObjectMeta: named(at.instance + "-0")},
			func(p *v1alpha1.PackagesPolicy) { p.Spec.Document = "{}" },
			func(p *v1alpha1.PackagesPolicy) any { return p.Spec.Document })

		By("deleting it")
		for _, object := range []client.Object{
			&corev1.Service{ObjectMeta: named(name)},
			&networkingv1.Ingress{ObjectMeta: named(name)},
			&rbacv1.RoleBinding{ObjectMeta: named(name)},
			&rbacv1.Role{ObjectMeta: named(name)},
			&corev1.ServiceAccount{ObjectMeta: named(name)},
			&v1alpha1.PackagesPolicy{ObjectMeta: named(at.instance + "-0")},
			&corev1.Secret{ObjectMeta: named(at.instance + "-packages-keys")},
			&appsv1.StatefulSet{ObjectMeta: named(name)},
		} {
			Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			old := object.GetUID()
			Expect(env.kube.Delete(ctx, object)).To(Succeed())
			Eventually(ctx, func(g Gomega) {
				g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
				g.Expect(object.GetUID()).NotTo(Equal(old))
			}).WithTimeout(shortly).Should(Succeed(), "%T deleted", object)
		}

		By("serving as before")
		eventuallyReady(ctx, at.instanceObject())
		Eventually(ctx, func(g Gomega) {
			pod := &corev1.Pod{}
			g.Expect(env.kube.Get(ctx, at.key(name+"-0"), pod)).To(Succeed())
			g.Expect(pod.DeletionTimestamp).To(BeNil())
			g.Expect(podIsReady(pod)).To(BeTrue())
		}).WithTimeout(patience).Should(Succeed())
		eventuallyReachable(ctx, at.dockerHost())
		_, c := at.issueToken(ctx, "drift", toRead, nil)
		loggedIn(ctx, at.dockerHost(), c)
	}, SpecTimeout(specTimeout))

	It("is not written in steady state, neither when it is looked at again nor by an operator that starts", func(ctx SpecContext) {
		at := shared()
		eventuallyRolledOut(ctx)
		eventuallyReady(ctx, at.instanceObject())
		eventuallyQuiet(ctx)
		log := openAuditLog()

		// An annotation of somebody else's makes the operator look again.
		poke := func(object client.Object) {
			change(ctx, object, func(o client.Object) {
				annotations := maps.Clone(o.GetAnnotations())
				annotations["example.com/poked"] = "yes" // kubectl apply left one, so there is a map
				o.SetAnnotations(annotations)
			})
		}
		poke(at.instanceObject())
		poke(&v1alpha1.PackagesRepository{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "octo-app"}})
		poke(&v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: at.namespace, Name: "monalisa"}})
		for _, pod := range operatorPods(ctx) {
			Expect(env.kube.Delete(ctx, &pod)).To(Succeed())
		}
		select {
		case <-time.After(30 * time.Second):
		case <-ctx.Done():
		}
		eventuallyRolledOut(ctx)

		var seen int
		for _, e := range log.events() {
			if !ours(e.User.Username) {
				continue
			}
			if slices.Contains(reads, e.Verb) {
				seen++
				continue
			}
			Expect(e.aboutLease()).To(BeTrue(), "in steady state %s did: %s %s %s/%s", e.User.Username, e.Verb, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name)
		}
		Expect(seen).NotTo(BeZero(), "requests of a manager that starts")
	}, SpecTimeout(specTimeout))
})

// undone changes an object and waits for the operator to change it back. part is
// what is changed.
func undone[T client.Object](ctx context.Context, what string, object T, harm func(T), part func(T) any) {
	GinkgoHelper()
	Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	want := part(object.DeepCopyObject().(T))
	began := time.Now()
	change(ctx, object, harm)
	Eventually(ctx, func(g Gomega) {
		g.Expect(env.kube.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		g.Expect(part(object)).To(Equal(want))
	}).WithTimeout(shortly/3).Should(Succeed(), what)
	GinkgoWriter.Printf("%s put right after %d ms\n", what, time.Since(began).Milliseconds())
}

// auditEvent is what matters here of a line of the API server's audit log.
type auditEvent struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
}

// aboutLease says whether the request concerns leader election: a Lease, or an event
// about it.
func (e auditEvent) aboutLease() bool {
	return e.ObjectRef.Resource == "leases" || e.ObjectRef.Resource == "events" && e.ObjectRef.Namespace == operatorNamespace
}

// ours says whether a user is the operator or one of its registries.
func ours(user string) bool {
	return strings.HasPrefix(user, "system:serviceaccount:"+operatorNamespace+":") ||
		strings.HasPrefix(user, "system:serviceaccount:"+sharedNamespace)
}

// auditLog reads what is appended to the API server's audit log.
type auditLog struct{ offset int64 }

func openAuditLog() *auditLog {
	GinkgoHelper()
	info, err := os.Stat(env.cluster.AuditLog())
	Expect(err).NotTo(HaveOccurred())
	return &auditLog{info.Size()}
}

// events returns those since the last call.
func (l *auditLog) events() []auditEvent {
	GinkgoHelper()
	file, err := os.Open(env.cluster.AuditLog())
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	_, err = file.Seek(l.offset, io.SeekStart)
	Expect(err).NotTo(HaveOccurred())
	var events []auditEvent
	for reader := bufio.NewReader(file); ; {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return events // an unfinished line is for the next call
		}
		Expect(err).NotTo(HaveOccurred())
		l.offset += int64(len(line))
		var event auditEvent
		Expect(json.Unmarshal(line, &event)).To(Succeed())
		events = append(events, event)
	}
}

// eventuallyQuiet waits until what earlier specs began has settled: until the
// operator has written nothing for a while.
func eventuallyQuiet(ctx context.Context) {
	GinkgoHelper()
	log := openAuditLog()
	Eventually(ctx, func() []auditEvent {
		time.Sleep(3 * time.Second)
		return slices.DeleteFunc(log.events(), func(e auditEvent) bool {
			return !ours(e.User.Username) || e.aboutLease() || slices.Contains(reads, e.Verb)
		})
	}).WithTimeout(patience).Should(BeEmpty())
}

var reads = []string{"get", "list", "watch"}
