// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

var _ = Describe("The volume of a PackagesInstance", func() {
	var namespace, class string
	var instance *v1alpha1.PackagesInstance

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		class = "class-of-" + namespace
		instance = newInstance(namespace)
		instance.Spec.Storage.Filesystem.StorageClassName = &class
	})

	grow := func(ctx SpecContext, size string) {
		change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.Storage.Filesystem.Size = resource.MustParse(size) })
	}
	message := func() string { return messageOf(instance.Status.Conditions, v1alpha1.ConditionReady) }

	It("grows with the spec, and Ready waits for it", func(ctx SpecContext) {
		newClass(ctx, class, true)
		create(ctx, instance)
		bind(ctx, namespace, "1Gi")
		conditions(ctx, instance).Should(beReady())

		grow(ctx, "2Gi")
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonVolumeResizing))
		Expect(message()).To(ContainSubstring("waiting for the volume to grow to 2Gi"))
		Expect(requested(ctx, namespace)).To(Equal("2Gi"))
		haveStatus(ctx, instance).Should(Equal("InProgress Progressing"))
		// What comes meanwhile is served.
		token := newToken(namespace, "monalisa")
		create(ctx, token)
		conditions(ctx, token).Should(beReady())

		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
			s.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimControllerResizeError, Status: corev1.ConditionTrue}}
		})
		Eventually(func() string { conditionsOf(ctx, instance); return message() }).Should(ContainSubstring("could not grow to 2Gi yet, and it is tried again"))
		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
			s.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue}}
		})
		Eventually(func() string { conditionsOf(ctx, instance); return message() }).Should(ContainSubstring(
			"kubectl delete pod -n " + namespace + " -l packages-operator.io/instance=acme,app.kubernetes.io/component=registry"))
		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
			s.Conditions = nil
			s.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{
				corev1.ResourceStorage: corev1.PersistentVolumeClaimNodeResizeInfeasible,
			}
		})
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonVolumeExpansionRefused))
		settled(namespace)

		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
			s.AllocatedResourceStatuses = nil
			s.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
		})
		conditions(ctx, instance).Should(beReady())
		haveStatus(ctx, instance).Should(Equal("Current Healthy"))
	})

	DescribeTable("does not grow if its class is", func(ctx SpecContext, prepare func(context.Context, string)) {
		prepare(ctx, class)
		create(ctx, instance)
		bind(ctx, namespace, "1Gi")
		conditions(ctx, instance).Should(beReady())
		grow(ctx, "2Gi")
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonVolumeExpansionRefused))
		Expect(message()).To(And(ContainSubstring(class), ContainSubstring("allowVolumeExpansion")))
		Expect(requested(ctx, namespace)).To(Equal("1Gi"))
		// The registry goes on meanwhile, and does what else the spec says.
		token := newToken(namespace, "monalisa")
		create(ctx, token)
		conditions(ctx, token).Should(beReady())
		claim := get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data")
		change(ctx, claim, func(c *corev1.PersistentVolumeClaim) { c.Annotations = nil })
		Eventually(func() map[string]string {
			return get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data").Annotations
		}).Should(HaveKey(desired.AnnotationDataUID))

		newClass(ctx, class, true)
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonVolumeResizing))
		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
			s.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
		})
		conditions(ctx, instance).Should(beReady())
	},
		Entry("not there", func(context.Context, string) {}),
		Entry("not able to expand volumes", func(ctx context.Context, class string) { newClass(ctx, class, false) }),
	)

	It("grows only once there is one", func(ctx SpecContext) {
		newClass(ctx, class, true)
		create(ctx, instance)
		conditions(ctx, instance).Should(beReady())
		grow(ctx, "2Gi")
		conditions(ctx, instance).Should(beProgressing(v1alpha1.ReasonVolumeResizing))
		Expect(message()).To(ContainSubstring("as soon as the PersistentVolumeClaim acme-packages-data has its volume"))
		bind(ctx, namespace, "1Gi")
		Eventually(func() string { return requested(ctx, namespace) }).Should(Equal("2Gi"))
		bind(ctx, namespace, "2Gi")
		conditions(ctx, instance).Should(beReady())
	})

	It("may be lost", func(ctx SpecContext) {
		create(ctx, instance)
		bind(ctx, namespace, "1Gi")
		conditions(ctx, instance).Should(beReady())
		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) { s.Phase = corev1.ClaimLost })
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonVolumeLost))
		claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) { s.Phase = corev1.ClaimBound })
		conditions(ctx, instance).Should(beReady())
	})

	// remove deletes an instance, and what the garbage collector would.
	remove := func(ctx SpecContext, instance *v1alpha1.PackagesInstance) {
		Expect(admin.Delete(ctx, instance)).To(Succeed())
		gone(ctx, instance)
		for _, object := range madeObjects(namespace) {
			if _, claim := object.(*corev1.PersistentVolumeClaim); !claim {
				Expect(client.IgnoreNotFound(admin.Delete(ctx, object))).To(Succeed())
			}
		}
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PackagesPolicy{}, client.InNamespace(namespace))).To(Succeed())
	}

	keep := func(ctx SpecContext) {
		create(ctx, instance)
		bind(ctx, namespace, "1Gi")
		conditions(ctx, instance).Should(beReady())
		remove(ctx, instance)
	}

	It("that an earlier instance left is kept as large as it is", func(ctx SpecContext) {
		newClass(ctx, class, true)
		keep(ctx)
		again := newInstance(namespace)
		again.Spec.Storage.Filesystem.Size = resource.MustParse("512Mi")
		create(ctx, again)
		conditions(ctx, again).Should(beReady())
		Expect(requested(ctx, namespace)).To(Equal("1Gi"))
	})

	It("that an earlier instance left may have another class than a later one names", func(ctx SpecContext) {
		newClass(ctx, class, true)
		keep(ctx)
		again, other := newInstance(namespace), "other"
		again.Spec.Storage.Filesystem.StorageClassName = &other
		create(ctx, again)
		conditions(ctx, again).Should(beStalled(v1alpha1.ReasonStorageConflict))
		Expect(messageOf(again.Status.Conditions, v1alpha1.ConditionReady)).To(And(ContainSubstring(`"`+class+`"`), ContainSubstring(`"other"`)))

		remove(ctx, again)
		third := newInstance(namespace)
		third.Spec.Storage.Filesystem.StorageClassName = &class
		create(ctx, third)
		conditions(ctx, third).Should(beReady())
		Expect(registryArguments(ctx, namespace)).To(ContainElements("--instance-uid", string(instance.UID)), "the data keeps its identity")
	})

	It("of somebody else is handed over with the commands that the message has", func(ctx SpecContext) {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: named("acme-packages-data"), Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		}}
		claim.Namespace = namespace
		create(ctx, claim, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonStorageConflict))
		Expect(message()).To(ContainSubstring("kubectl label pvc -n " + namespace + " acme-packages-data --overwrite packages-operator.io/instance=acme"))
		kubectl(ctx, "label", "pvc", "-n", namespace, "acme-packages-data", "--overwrite", "packages-operator.io/instance=acme")
		conditions(ctx, instance).Should(beReady())
		Expect(requested(ctx, namespace)).To(Equal("5Gi"))
	})

	It("that another object controls is told to be that one's", func(ctx SpecContext) {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: controlledBySomebody("acme-packages-data"), Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		}}
		claim.Namespace = namespace
		create(ctx, claim, instance)
		conditions(ctx, instance).Should(beStalled(v1alpha1.ReasonStorageConflict))
		Expect(message()).To(And(ContainSubstring("belongs to the ConfigMap somebody"), Not(ContainSubstring("kubectl label"))))
	})
})

// newClass makes or changes a StorageClass.
func newClass(ctx context.Context, name string, expands bool) {
	GinkgoHelper()
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "example.com/none", AllowVolumeExpansion: &expands}
	if err := admin.Get(ctx, client.ObjectKeyFromObject(class), class); err == nil {
		class.AllowVolumeExpansion = &expands
		Expect(admin.Update(ctx, class)).To(Succeed())
		return
	}
	Expect(admin.Create(ctx, class)).To(Succeed())
}

// claimStatus writes what Kubernetes would say of the claim of a namespace's instance.
func claimStatus(ctx context.Context, namespace string, mutate func(*corev1.PersistentVolumeClaimStatus)) {
	GinkgoHelper()
	Eventually(func() error {
		claim := &corev1.PersistentVolumeClaim{}
		if err := admin.Get(ctx, keyOf(namespace, "acme-packages-data"), claim); err != nil {
			return err
		}
		mutate(&claim.Status)
		return admin.Status().Update(ctx, claim)
	}).Should(Succeed())
}

// bind gives the claim a volume of that size.
func bind(ctx context.Context, namespace, size string) {
	GinkgoHelper()
	claimStatus(ctx, namespace, func(s *corev1.PersistentVolumeClaimStatus) {
		s.Phase, s.AccessModes = corev1.ClaimBound, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		s.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	})
}

// requested is what the claim asks for.
func requested(ctx context.Context, namespace string) string {
	GinkgoHelper()
	size := get[corev1.PersistentVolumeClaim](ctx, namespace, "acme-packages-data").Spec.Resources.Requests[corev1.ResourceStorage]
	return size.String()
}

func registryArguments(ctx context.Context, namespace string) []string {
	GinkgoHelper()
	return get[appsv1.StatefulSet](ctx, namespace, "acme-packages").Spec.Template.Spec.Containers[0].Args
}

// kubectl runs what a message told somebody to run.
func kubectl(ctx context.Context, arguments ...string) {
	GinkgoHelper()
	command := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
		append([]string{"--kubeconfig", adminKubeconfig}, arguments...)...)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}
