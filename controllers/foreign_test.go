// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Where other projects have their CustomResourceDefinitions in their modules, and in
// which module of this repository the version is pinned.
var (
	gatewayCRDs = foreignCRDs{
		module: "sigs.k8s.io/gateway-api", pinned: "..", folder: "config/crd/standard",
		group: "gateway.networking.k8s.io", resources: []string{"gatewayclasses", "gateways", "httproutes"},
	}
	certManagerCRDs = foreignCRDs{
		module: "github.com/cert-manager/cert-manager", pinned: "../hack/tools/cert-manager", folder: "deploy/crds",
		group: "cert-manager.io", resources: []string{"certificates", "clusterissuers", "issuers"},
	}
)

// uninstallTimeout bounds how long definitions may take to go. The API server tries
// again ever more seldom when one was made shortly before.
const uninstallTimeout = 3 * time.Minute

type foreignCRDs struct {
	module, pinned, folder, group string
	resources                     []string
}

func (f foreignCRDs) options() envtest.CRDInstallOptions {
	GinkgoHelper()
	cmd := exec.Command("go", "mod", "download", "-json", f.module)
	cmd.Dir = f.pinned
	out, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), "go mod download %s: %s", f.module, out)
	var module struct{ Dir string }
	Expect(json.Unmarshal(out, &module)).To(Succeed())
	options := envtest.CRDInstallOptions{ErrorIfPathMissing: true, MaxTime: soon}
	for _, resource := range f.resources {
		options.Paths = append(options.Paths, filepath.Join(module.Dir, f.folder, f.group+"_"+resource+".yaml"))
	}
	return options
}

func (f foreignCRDs) install() {
	GinkgoHelper()
	_, err := envtest.InstallCRDs(adminConfig, f.options())
	Expect(err).NotTo(HaveOccurred())
}

func (f foreignCRDs) uninstall() {
	GinkgoHelper()
	Expect(envtest.UninstallCRDs(adminConfig, f.options())).To(Succeed())
	// Their objects go first, and what is installed meanwhile would go with them.
	Eventually(func() ([]string, error) {
		all := &metav1.PartialObjectMetadataList{}
		all.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
		err := admin.List(context.Background(), all)
		var names []string
		for _, definition := range all.Items {
			if strings.HasSuffix(definition.Name, "."+f.group) {
				names = append(names, definition.Name)
			}
		}
		return names, err
	}).WithTimeout(uninstallTimeout).Should(BeEmpty())
}
