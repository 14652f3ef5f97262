// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// healthScript is one of config/argocd.
type healthScript struct{ function *lua.FunctionProto }

func loadHealthScript(kind string) *healthScript {
	GinkgoHelper()
	path := healthScriptPath(kind)
	file, err := os.Open(path)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	chunk, err := parse.Parse(file, path)
	Expect(err).NotTo(HaveOccurred())
	function, err := lua.Compile(chunk, path)
	Expect(err).NotTo(HaveOccurred())
	return &healthScript{function}
}

func healthScriptPath(kind string) string {
	return filepath.Join("..", "config", "argocd", strings.ToLower(kind)+".lua")
}

// run does what Argo CD does with a script of its ConfigMap: it has the basic and the
// table library and a second, and the object is the global obj.
func (s *healthScript) run(object *unstructured.Unstructured) (health, message string, err error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	// Longer than Argo CD's second: these machines are busy.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luaValue(state, object.Object))
	state.Push(state.NewFunctionFromProto(s.function))
	if err := state.PCall(0, 1, nil); err != nil {
		return "", "", err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returns %s", state.Get(-1).Type())
	}
	return table.RawGetString("status").String(), table.RawGetString("message").String(), nil
}

// luaValue is a value of JSON as Lua has it.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}

var _ = Describe("The health scripts for Argo CD", func() {
	keyOfKind := func(kind string) string { return "resource.customizations.health.packages-operator.io_" + kind }

	It("are in the patch as they are in their files", func() {
		text, err := os.ReadFile(filepath.Join("..", "config", "argocd", "argocd-cm-patch.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var patch corev1.ConfigMap
		Expect(yaml.UnmarshalStrict(text, &patch)).To(Succeed())
		Expect(patch.Data).To(HaveLen(len(userKinds)))
		for _, kind := range userKinds {
			script, err := os.ReadFile(healthScriptPath(kind))
			Expect(err).NotTo(HaveOccurred())
			Expect(patch.Data).To(HaveKeyWithValue(keyOfKind(kind), string(script)))
		}
	})

	It("come into Argo CD's ConfigMap with kubectl", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		settings := &corev1.ConfigMap{ObjectMeta: named("argocd-cm"), Data: map[string]string{"url": "https://argocd.example.com"}}
		settings.Namespace = namespace
		create(ctx, settings)
		kubectl(ctx, "patch", "configmap", "argocd-cm", "-n", namespace, "--patch-file", filepath.Join("..", "config", "argocd", "argocd-cm-patch.yaml"))
		Expect(get[corev1.ConfigMap](ctx, namespace, "argocd-cm").Data).To(And(
			HaveLen(len(userKinds)+1), HaveKeyWithValue("url", "https://argocd.example.com"), HaveKey(keyOfKind("PackagesInstance"))))
	})

	It("come into Argo CD's ConfigMap with kustomize", func() {
		component, err := filepath.Abs(filepath.Join("..", "config", "argocd"))
		Expect(err).NotTo(HaveOccurred())
		folder := GinkgoT().TempDir()
		relative, err := filepath.Rel(folder, component)
		Expect(err).NotTo(HaveOccurred())
		for name, text := range map[string]string{
			"kustomization.yaml": "resources: [argocd.yaml]\ncomponents: [" + relative + "]\n",
			"argocd.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\ndata: {url: https://argocd.example.com}\n",
		} {
			Expect(os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)).To(Succeed())
		}
		output, err := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "kustomize", folder).Output()
		Expect(err).NotTo(HaveOccurred())
		var built corev1.ConfigMap
		Expect(yaml.UnmarshalStrict(output, &built)).To(Succeed())
		Expect(built.Name).To(Equal("argocd-cm"))
		Expect(built.Data).To(HaveKeyWithValue("url", "https://argocd.example.com"))
		for _, kind := range userKinds {
			Expect(built.Data).To(HaveKey(keyOfKind(kind)))
		}
	})

	DescribeTable("understand an object that nobody has looked at", func(status map[string]any) {
		for _, kind := range userKinds {
			object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
			if status != nil {
				object.Object["status"] = status
			}
			object.SetGeneration(3)
			health, message, err := loadHealthScript(kind).run(object)
			Expect(err).NotTo(HaveOccurred())
			Expect(health).To(Equal("Progressing"))
			Expect(message).To(ContainSubstring("waiting for the operator"))
		}
	},
		Entry("without a status", nil),
		Entry("without conditions", map[string]any{"observedGeneration": int64(-1)}),
		Entry("with conditions of an earlier spec", map[string]any{"observedGeneration": int64(2), "conditions": []any{
			map[string]any{"type": "Ready", "status": "True", "message": "it works"},
			map[string]any{"type": "Stalled", "status": "True", "message": "it does not"},
		}}),
	)
})
