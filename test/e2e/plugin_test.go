// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("kubectl packages", Ordered, func() {
	var folder string

	BeforeAll(func(ctx SpecContext) {
		folder = filepath.Join(env.work, "plugin")
		goBuild(ctx, filepath.Join(folder, "kubectl-packages"), "./cmd/kubectl-packages")
	})

	// packages runs kubectl packages as a person with a docker configuration.
	packages := func(ctx context.Context, p *person, args ...string) (string, error) {
		GinkgoHelper()
		cmd, err := env.cluster.Kubectl(ctx, append([]string{"packages"}, args...)...)
		Expect(err).NotTo(HaveOccurred())
		cmd.Args = append(cmd.Args, "--namespace", sharedNamespace)
		if cmd.Env == nil {
			cmd.Env = os.Environ()
		}
		cmd.Env = append(cmd.Env, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"), "DOCKER_CONFIG="+p.config)
		return p.run(cmd)
	}

	It("takes a person from nothing to a push, and back", func(ctx SpecContext) {
		someone := newPerson()
		image := shared().image("octocat/octo-app/plugin:1.0")
		out, err := packages(ctx, someone, "token", "create", "plugin", "--username", "monalisa", "--scopes", "write:packages", "--repository", "octocat/octo-app")
		Expect(err).NotTo(HaveOccurred(), out)
		DeferCleanup(func(ctx SpecContext) {
			Expect(env.kube.Delete(ctx, &v1alpha1.PackagesToken{ObjectMeta: metav1.ObjectMeta{Namespace: sharedNamespace, Name: "plugin"}})).To(Succeed())
		})
		Expect(out).To(ContainSubstring("The PackagesToken plugin works: its value is the key password of the Secret plugin-token in the namespace " + sharedNamespace))

		someone.build(ctx, image, 4<<10)
		someone.refusedDocker(ctx, "unauthorized: sign in with docker login", "push", image)
		out, err = packages(ctx, someone, "login", "plugin")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(out).To(ContainSubstring("Logged in to " + shared().dockerHost() + " as monalisa"))
		Expect(out).NotTo(ContainSubstring("pkgt_"))
		someone.mustDocker(ctx, "push", image)
		someone.mustDocker(ctx, "pull", image)

		out, err = packages(ctx, someone, "logout")
		Expect(err).NotTo(HaveOccurred(), out)
		someone.refusedDocker(ctx, "unauthorized: sign in with docker login", "push", image)
	}, SpecTimeout(specTimeout))

	It("shows how an instance is", func(ctx SpecContext) {
		// Other specs may have left something in the namespace that is not well.
		out, _ := packages(ctx, newPerson(), "status", sharedInstance, "-o", "json")
		var seen struct {
			Instances []struct {
				State   struct{ Ready bool }
				Docker  struct{ Host string }
				Storage []struct{ Phase string }
				Pods    struct{ Ready, Wanted int }
				Ingress struct{ Class string }
				Tokens  []struct{ Object string }
			}
		}
		Expect(json.NewDecoder(strings.NewReader(out)).Decode(&seen)).To(Succeed(), out)
		Expect(seen.Instances).To(HaveLen(1))
		one := seen.Instances[0]
		Expect(one.State.Ready).To(BeTrue())
		Expect(one.Docker.Host).To(Equal(shared().dockerHost()))
		Expect(one.Storage).To(ConsistOf(HaveField("Phase", "Bound")))
		Expect(one.Pods.Ready).To(Equal(1))
		Expect(one.Pods.Wanted).To(Equal(1))
		Expect(one.Ingress.Class).To(Equal("traefik"))
		Expect(one.Tokens).To(ContainElement(HaveField("Object", "monalisa")))
	}, SpecTimeout(specTimeout))
})
