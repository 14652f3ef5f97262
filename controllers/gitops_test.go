// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/controllers/desired"
)

// gitOps is the field manager of whoever keeps the objects as Git has them.
const gitOps = client.FieldOwner("kustomize-controller")

// Whoever reconciles the objects from Git compares what is there with what Git has,
// and writes what differs. If the operator rewrote anything of it, the two would
// write for ever.
var _ = Describe("Objects that are kept in Git", func() {
	apply := func(ctx SpecContext, object *unstructured.Unstructured, options ...client.ApplyOption) *unstructured.Unstructured {
		GinkgoHelper()
		object = object.DeepCopy()
		Expect(admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), append(options, gitOps)...)).To(Succeed())
		return object
	}

	It("are as Git has them, whatever the operator did", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		create(ctx, newCertificate(namespace, "packages-test-tls", namespace+".packages.test", "*."+namespace+".packages.test"))
		samples := readSamples(namespace)
		Expect(samples).To(HaveLen(6))
		created := map[string]*unstructured.Unstructured{}
		for _, sample := range samples {
			created[sample.GetName()+sample.GetKind()] = apply(ctx, sample)
		}
		for _, sample := range samples {
			conditions(ctx, typed(sample)).Should(beReady())
		}
		settled(namespace)

		for _, sample := range samples {
			By(sample.GetKind() + " " + sample.GetName())
			live := sample.DeepCopy()
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(live), live)).To(Succeed())
			Expect(live.Object["spec"]).To(Equal(created[sample.GetName()+sample.GetKind()].Object["spec"]), "the operator rewrote the spec")
			Expect(live.GetGeneration()).To(Equal(int64(1)))
			Expect(live.GetLabels()).To(Equal(sample.GetLabels()))
			Expect(live.GetAnnotations()).To(Equal(sample.GetAnnotations()))
			Expect(ownedBy(live, desired.FieldOwner)).NotTo(Or(ContainSubstring("f:spec"), ContainSubstring("f:labels"), ContainSubstring("f:annotations")))

			// As Flux and Argo CD look for drift.
			tried := apply(ctx, sample, client.DryRunAll)
			Expect(tried).To(Equal(live), "a dry run of server-side apply differs from what is there")
			Expect(tried.GetResourceVersion()).To(Equal(live.GetResourceVersion()))

			// And nothing comes of applying it again.
			since := audit.end()
			apply(ctx, sample)
			again := sample.DeepCopy()
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(again), again)).To(Succeed())
			Expect(again.GetGeneration()).To(Equal(live.GetGeneration()))
			settled(namespace)
			Expect(audit.writes(since, namespace)).To(BeEmpty())
		}
	})
})

// readSamples are the objects of config/samples, for a namespace and with a host
// name of its own.
func readSamples(namespace string) []*unstructured.Unstructured {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join("..", "config", "samples", "packages*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var samples []*unstructured.Unstructured
	for _, file := range files {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		text = bytes.ReplaceAll(text, []byte("hostname: packages.test"), []byte("hostname: "+namespace+".packages.test"))
		// The class that this API server has.
		text = bytes.ReplaceAll(text, []byte("className: traefik"), []byte("className: web"))
		for documents := yamlutil.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text))); ; {
			document := make([]byte, len(text))
			n, err := documents.Read(document)
			if err == io.EOF {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			sample := &unstructured.Unstructured{}
			Expect(yaml.UnmarshalStrict(document[:n], &sample.Object)).To(Succeed())
			sample.SetNamespace(namespace)
			samples = append(samples, sample)
		}
	}
	return samples
}

// typed is an object of the sample's kind and name.
func typed(sample *unstructured.Unstructured) client.Object {
	GinkgoHelper()
	object, err := scheme.New(v1alpha1.GroupVersion.WithKind(sample.GetKind()))
	Expect(err).NotTo(HaveOccurred())
	named := object.(client.Object)
	named.SetNamespace(sample.GetNamespace())
	named.SetName(sample.GetName())
	return named
}

// ownedBy are the fields outside of the status that a field manager owns.
func ownedBy(object client.Object, manager string) string {
	var fields strings.Builder
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == manager && entry.Subresource == "" && entry.FieldsV1 != nil {
			fields.Write(entry.FieldsV1.GetRawBytes())
		}
	}
	return fields.String()
}
