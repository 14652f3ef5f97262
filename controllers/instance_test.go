// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

var _ = Describe("A PackagesInstance", func() {
	var namespace string
	var instance *v1alpha1.PackagesInstance

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		instance = newInstance(namespace)
	})

	It("becomes a running registry", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())

		Expect(instance.Status.Endpoints.Docker).To(HaveValue(Equal(v1alpha1.Endpoint{
			Host: "docker." + instance.Spec.Hostname, URL: "https://docker." + instance.Spec.Hostname,
		})))
		Expect(instance.Status.PolicyRevision).To(Equal(policyOf(ctx, namespace).Revision()))
		Expect(instance.Status.Version).To(Equal("test"))
		for _, object := range madeObjects(namespace) {
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			Expect(object.GetLabels()).To(HaveKeyWithValue(v1alpha1.LabelInstance, "acme"))
			if _, claim := object.(*corev1.PersistentVolumeClaim); claim {
				Expect(object.GetOwnerReferences()).To(BeEmpty(), "the volume must outlive the instance")
			} else {
				Expect(metav1.IsControlledBy(object, instance)).To(BeTrue())
			}
		}
		Eventually(eventsAbout(ctx, instance)).Should(ContainElement(HaveField("Reason", v1alpha1.ReasonSucceeded)))
	})

	It("is ready for the first time only when its pods serve its policy", func(ctx SpecContext) {
		node.makeDeaf(namespace, true)
		create(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPolicyNotServed))

		node.makeDeaf(namespace, false)
		conditions(ctx, instance).Should(beReady())
	})

	It("is ready for a new generation only when its pods serve that", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		node.makeDeaf(namespace, true)
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Docker.Support = v1alpha1.SupportReadOnly })
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPolicyNotServed))

		node.makeDeaf(namespace, false)
		conditions(ctx, instance).Should(beReady())
		Expect(policyOf(ctx, namespace).Policy().Support).To(Equal(policy.SupportReadOnly))
	})

	It("says that its pods are not ready", func(ctx SpecContext) {
		node.keepPodsAway(namespace, true)
		create(ctx, instance)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonPodsNotReady))
	})

	It("stays ready when a pod restarts", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		pod := get[corev1.Pod](ctx, namespace, "acme-packages-0")
		Expect(admin.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		node.keepPodsAway(namespace, true)
		Eventually(func() int32 {
			return get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Status.ReadyReplicas
		}).Should(BeZero())
		Consistently(func() []metav1.Condition { return conditionsOf(ctx, instance) }, time.Second).Should(beReady())
	})

	It("moves with subdomain isolation and keeps its data", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		hosts := func() []string {
			var hosts []string
			for _, rule := range get[networkingv1.Ingress](ctx, namespace, "acme-packages").Spec.Rules {
				hosts = append(hosts, rule.Host)
			}
			return hosts
		}
		Expect(hosts()).To(ConsistOf("docker."+instance.Spec.Hostname, instance.Spec.Hostname))
		volume := get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data").UID
		template := get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Generation

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = v1alpha1.SubdomainIsolationDisabled })
		Eventually(hosts).Should(ConsistOf(instance.Spec.Hostname))
		conditions(ctx, instance).Should(beReady())
		Expect(instance.Status.Endpoints.Docker.Host).To(Equal(instance.Spec.Hostname))
		Expect(get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data").UID).To(Equal(volume))
		Expect(get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Generation).To(Equal(template), "the pods must not restart")
	})

	It("loses its Ingress when it is no longer exposed", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Exposure.Ingress = nil })
		gone(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "acme-packages"}})
		conditions(ctx, instance).Should(beReady())
	})

	It("names no endpoint while the Docker registry is disabled", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Docker.Support = v1alpha1.SupportDisabled })
		conditions(ctx, instance).Should(beReady())
		Expect(instance.Status.Endpoints.Docker).To(BeNil())
	})

	It("runs nothing while it is suspended", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Suspend = true })
		conditions(ctx, instance).Should(And(
			condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended),
			Not(ContainElement(HaveField("Type", v1alpha1.ConditionReconciling))),
			Not(ContainElement(HaveField("Type", v1alpha1.ConditionStalled))),
		))
		Expect(admin.Get(ctx, keyOf(namespace, "acme-packages-0"), &corev1.Pod{})).To(Satisfy(isNotFound), "suspended means that nothing runs")
		Expect(get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Spec.Replicas).To(HaveValue(BeZero()))

		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Suspend = false })
		conditions(ctx, instance).Should(beReady())
	})

	It("keeps the keys that it has, and replaces keys that cannot work", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		keys := get[corev1.Secret](ctx, namespace, "acme-packages-keys")
		before := keys.Data
		change(ctx, keys, func(s *corev1.Secret) { s.Labels = nil })
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(keys), keys)).To(Succeed())
			g.Expect(keys.Labels).To(HaveKey(v1alpha1.LabelInstance))
		}).Should(Succeed())
		Expect(keys.Data).To(Equal(before))

		change(ctx, keys, func(s *corev1.Secret) {
			for id := range s.Data {
				s.Data[id] = []byte("short")
			}
		})
		Eventually(func(g Gomega) {
			again := &corev1.Secret{}
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(keys), again)).To(Succeed())
			g.Expect(again.Data).To(And(HaveLen(1), Not(Equal(before)), HaveEach(HaveLen(32))))
		}).Should(Succeed())
	})

	It("writes its status again when somebody wipes it", func(ctx SpecContext) {
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		instance.Status = v1alpha1.PackagesInstanceStatus{}
		Expect(admin.Status().Update(ctx, instance)).To(Succeed())
		conditions(ctx, instance).Should(beReady())
	})

	DescribeTable("undoes a change of", func(ctx SpecContext, object client.Object, spoil func(client.Object)) {
		object = object.DeepCopyObject().(client.Object)
		object.SetNamespace(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		key := client.ObjectKeyFromObject(object)
		Expect(admin.Get(ctx, key, object)).To(Succeed())
		wanted := object.DeepCopyObject().(client.Object)
		change(ctx, object, spoil)
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, key, object)).To(Succeed())
			ignoreBookkeeping(wanted, object)
			g.Expect(object).To(Equal(wanted))
		}).Should(Succeed())
	},
		Entry("the StatefulSet", &appsv1.StatefulSet{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			set := o.(*appsv1.StatefulSet)
			three := int32(3)
			set.Spec.Replicas = &three
			set.Spec.Template.Spec.Containers[0].Image = "example.com/other"
			set.Spec.Template.Spec.SecurityContext.RunAsNonRoot = nil
			set.Spec.Template.Spec.Containers[0].Args = []string{"registry"}
		}),
		Entry("the Service", &corev1.Service{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			o.(*corev1.Service).Spec.Selector = map[string]string{"app": "other"}
		}),
		Entry("the ServiceAccount", &corev1.ServiceAccount{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			o.SetOwnerReferences(nil)
		}),
		Entry("the Role", &rbacv1.Role{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			role := o.(*rbacv1.Role)
			role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}})
		}),
		Entry("the RoleBinding", &rbacv1.RoleBinding{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			binding := o.(*rbacv1.RoleBinding)
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mallory"})
		}),
		Entry("the Ingress", &networkingv1.Ingress{ObjectMeta: named("acme-packages")}, func(o client.Object) {
			ingress := o.(*networkingv1.Ingress)
			ingress.Spec.Rules = ingress.Spec.Rules[:1]
			ingress.Spec.TLS = nil
			ingress.Annotations = nil
		}),
		Entry("the volume claim", &corev1.PersistentVolumeClaim{ObjectMeta: named("acme-packages-data")}, func(o client.Object) {
			o.SetAnnotations(nil)
			o.SetLabels(map[string]string{v1alpha1.LabelInstance: "acme"})
		}),
		Entry("the policy", &v1alpha1.PackagesPolicy{ObjectMeta: named("acme-0")}, func(o client.Object) {
			o.(*v1alpha1.PackagesPolicy).Spec.Document = "{}"
		}),
	)

	DescribeTable("makes again what somebody deletes:", func(ctx SpecContext, object client.Object) {
		object = object.DeepCopyObject().(client.Object)
		object.SetNamespace(namespace)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		key := client.ObjectKeyFromObject(object)
		Expect(admin.Get(ctx, key, object)).To(Succeed())
		before := object.GetUID()
		Expect(admin.Delete(ctx, object)).To(Succeed())
		Eventually(func() (types.UID, error) {
			err := admin.Get(ctx, key, object)
			return object.GetUID(), err
		}).ShouldNot(Equal(before))
	},
		Entry("the StatefulSet", &appsv1.StatefulSet{ObjectMeta: named("acme-packages")}),
		Entry("the Service", &corev1.Service{ObjectMeta: named("acme-packages")}),
		Entry("the ServiceAccount", &corev1.ServiceAccount{ObjectMeta: named("acme-packages")}),
		Entry("the Role", &rbacv1.Role{ObjectMeta: named("acme-packages")}),
		Entry("the RoleBinding", &rbacv1.RoleBinding{ObjectMeta: named("acme-packages")}),
		Entry("the Ingress", &networkingv1.Ingress{ObjectMeta: named("acme-packages")}),
		Entry("the keys", &corev1.Secret{ObjectMeta: named("acme-packages-keys")}),
		Entry("the policy", &v1alpha1.PackagesPolicy{ObjectMeta: named("acme-0")}),
	)

	DescribeTable("leaves alone what belongs to somebody else:", func(ctx SpecContext, object client.Object, reason string) {
		foreign := object.DeepCopyObject().(client.Object)
		foreign.SetNamespace(namespace)
		create(ctx, foreign)
		version := foreign.GetResourceVersion()
		create(ctx, instance)
		conditions(ctx, instance).Should(beStalled(reason))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring(foreign.GetName()))
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(foreign), foreign)).To(Succeed())
		Expect(foreign.GetResourceVersion()).To(Equal(version))

		// The claim has a finalizer that nothing here would take off.
		foreign.SetFinalizers(nil)
		Expect(admin.Update(ctx, foreign)).To(Succeed())
		Expect(admin.Delete(ctx, foreign)).To(Succeed())
		conditions(ctx, instance).Should(beReady())
	},
		Entry("a Service", &corev1.Service{
			ObjectMeta: named("acme-packages"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}, v1alpha1.ReasonObjectConflict),
		Entry("a ServiceAccount that another object controls", &corev1.ServiceAccount{
			ObjectMeta: controlledBySomebody("acme-packages"),
		}, v1alpha1.ReasonObjectConflict),
		Entry("a Secret", &corev1.Secret{ObjectMeta: named("acme-packages-keys")}, v1alpha1.ReasonObjectConflict),
		Entry("a policy", &v1alpha1.PackagesPolicy{ObjectMeta: named("acme-0"), Spec: v1alpha1.PackagesPolicySpec{
			InstanceRef: v1alpha1.LocalInstanceReference{Name: "other"}, FormatVersion: 1, Index: 1, Document: "{}",
		}}, v1alpha1.ReasonObjectConflict),
		Entry("a volume claim", &corev1.PersistentVolumeClaim{ObjectMeta: named("acme-packages-data"), Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}, v1alpha1.ReasonStorageConflict),
	)

	It("takes over an object that is labeled for it and has no other controller", func(ctx SpecContext) {
		role := &rbacv1.Role{ObjectMeta: named("acme-packages")}
		role.Namespace, role.Labels = namespace, map[string]string{v1alpha1.LabelInstance: "acme"}
		create(ctx, role, instance)
		conditions(ctx, instance).Should(beReady())
		Expect(metav1.IsControlledBy(get[rbacv1.Role](ctx, namespace, "acme-packages"), instance)).To(BeTrue())
	})

	It("does not loop over a volume that the cluster refuses", func(ctx SpecContext) {
		quota := &corev1.ResourceQuota{ObjectMeta: named("none"), Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: resource.MustParse("0")},
		}}
		quota.Namespace = namespace
		create(ctx, quota)
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: resource.MustParse("0")}}
		Expect(admin.Status().Update(ctx, quota)).To(Succeed())
		create(ctx, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonStorageConflict))
		Expect(messageOf(instance.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("exceeded quota"))
		settled(namespace)
	})
})

// madeObjects are what an instance acme consists of.
func madeObjects(namespace string) []client.Object {
	objects := []client.Object{
		&appsv1.StatefulSet{ObjectMeta: named("acme-packages")},
		&corev1.Service{ObjectMeta: named("acme-packages")},
		&corev1.ServiceAccount{ObjectMeta: named("acme-packages")},
		&rbacv1.Role{ObjectMeta: named("acme-packages")},
		&rbacv1.RoleBinding{ObjectMeta: named("acme-packages")},
		&networkingv1.Ingress{ObjectMeta: named("acme-packages")},
		&corev1.Secret{ObjectMeta: named("acme-packages-keys")},
		&corev1.PersistentVolumeClaim{ObjectMeta: named("acme-packages-data")},
		&v1alpha1.PackagesPolicy{ObjectMeta: named("acme-0")},
	}
	for _, object := range objects {
		object.SetNamespace(namespace)
	}
	return objects
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func controlledBySomebody(name string) metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "ConfigMap", Name: "somebody", UID: "0e8400e2-9b29-41d4-a716-446655440000", Controller: &yes,
	}}}
}

// ignoreBookkeeping makes two versions of an object comparable.
func ignoreBookkeeping(wanted, object client.Object) {
	for _, o := range []client.Object{wanted, object} {
		o.SetResourceVersion("")
		o.SetManagedFields(nil)
		o.SetGeneration(0)
		if set, ok := o.(*appsv1.StatefulSet); ok {
			set.Status = appsv1.StatefulSetStatus{}
		}
	}
}

// isNotFound is for assertions about absence.
func isNotFound(err error) bool { return apierrors.IsNotFound(err) }
