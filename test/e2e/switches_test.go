// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

var _ = Describe("an instance's switches", func() {
	It("docker.support goes Enabled, ReadOnly, Disabled, Enabled, each at once and without a restart", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "support", "app", v1alpha1.VisibilityPrivate, may("sally", v1alpha1.RoleWrite))
		_, sallys := at.issueToken(ctx, "sally", toWrite, nil)
		sally := loggedIn(ctx, at.dockerHost(), sallys)
		image, another := at.image("support/app/image:1"), at.image("support/app/image:2")
		sally.pushNew(ctx, image)
		sally.build(ctx, another, 4<<10)

		v := newVisitor(at.dockerHost())
		bearer := v.bearer(ctx, sallys, "repository:support/app/image:pull,push")
		const pull, push = "/v2/support/app/image/manifests/1", "/v2/support/app/image/blobs/uploads/"
		before := incarnation(registryPod(ctx, at.namespace, at.instance))
		setSupport := func(ctx context.Context, mode v1alpha1.SupportMode) {
			GinkgoHelper()
			change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) { i.Spec.Docker.Support = mode })
		}
		DeferCleanup(func(ctx SpecContext) {
			setSupport(ctx, v1alpha1.SupportEnabled)
			eventuallyReady(ctx, at.instanceObject())
		})

		setSupport(ctx, v1alpha1.SupportReadOnly)
		inForce(ctx, "support ReadOnly", v.answers(http.MethodPost, push, bearer, http.StatusMethodNotAllowed, "UNSUPPORTED"))
		sally.refusedDocker(ctx, "the Docker registry of this instance is read-only", "push", another)
		sally.expectPull(ctx, image)
		owner := at.login(ctx, "support", toWrite)
		owner.refusedDocker(ctx, "read-only", "push", another)
		for _, path := range []string{pull, "/v2/support/app/image/manifests/" + sally.repoDigest(ctx, image)} {
			Expect(v.must(ctx, http.MethodDelete, path, bearer).status).To(Equal(http.StatusMethodNotAllowed), "DELETE %s", path)
		}

		setSupport(ctx, v1alpha1.SupportDisabled)
		inForce(ctx, "support Disabled", v.answers(http.MethodGet, pull, bearer, http.StatusNotFound, "UNSUPPORTED"))
		Expect(v.must(ctx, http.MethodGet, "/v2/", bearer).status).To(Equal(http.StatusNotFound))
		sally.refusedDocker(ctx, "Docker packages are disabled on this instance", "pull", image)
		sally.refusedDocker(ctx, "Docker packages are disabled on this instance", "push", another)
		out, err := newPerson().login(ctx, at.dockerHost(), sallys)
		Expect(err).To(HaveOccurred())
		Expect(out).To(ContainSubstring("404"))

		setSupport(ctx, v1alpha1.SupportEnabled)
		inForce(ctx, "support Enabled", v.answers(http.MethodGet, pull, bearer, http.StatusOK, ""))
		sally.expectPull(ctx, image)
		sally.mustDocker(ctx, "push", another)
		Expect(incarnation(registryPod(ctx, at.namespace, at.instance))).To(Equal(before))
	}, SpecTimeout(specTimeout))

	It("subdomainIsolation goes Enabled, Disabled, Enabled over the same data", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "isolation", "app", v1alpha1.VisibilityPrivate)
		token, c := at.issueToken(ctx, "isolation", toWrite, nil)
		isolated, bare := at.dockerHost(), at.hostname
		setIsolation := func(ctx context.Context, isolation v1alpha1.SubdomainIsolation, host string) {
			GinkgoHelper()
			instance := at.instanceObject()
			change(ctx, instance, func(i *v1alpha1.PackagesInstance) { i.Spec.SubdomainIsolation = isolation })
			eventuallyReady(ctx, instance)
			Expect(instance.Status.Endpoints.Docker.Host).To(Equal(host))
			eventuallyReachable(ctx, host)
		}
		DeferCleanup(func(ctx SpecContext) { setIsolation(ctx, v1alpha1.SubdomainIsolationEnabled, isolated) })

		owner := loggedIn(ctx, isolated, c)
		owner.pushNew(ctx, isolated+"/isolation/app/image:1")
		owner.refusedDocker(ctx, "the Docker registry is at "+isolated, "pull", bare+"/isolation/app/image:1")
		before := incarnation(registryPod(ctx, at.namespace, at.instance))

		setIsolation(ctx, v1alpha1.SubdomainIsolationDisabled, bare)
		owner = loggedIn(ctx, bare, c)
		owner.mustDocker(ctx, "pull", bare+"/isolation/app/image:1")
		owner.pushNew(ctx, bare+"/isolation/app/image:2")
		// Its host is in the Secret, too, and the value stays.
		Eventually(ctx, func() []byte { return at.secretData(ctx, token.Spec.Secret.Name)["registry"] }).Should(BeEquivalentTo(bare))
		Eventually(ctx, func() []byte { return at.secretData(ctx, "octo-app-pull")[corev1.DockerConfigJsonKey] }).
			Should(And(ContainSubstring(`"%s"`, bare), Not(ContainSubstring(isolated))))
		Expect(at.readCredential(ctx, token.Spec.Secret.Name)).To(Equal(c))
		out, err := owner.docker(ctx, "pull", isolated+"/isolation/app/image:1")
		Expect(err).To(HaveOccurred(), out)

		setIsolation(ctx, v1alpha1.SubdomainIsolationEnabled, isolated)
		owner = loggedIn(ctx, isolated, c)
		owner.expectPull(ctx, isolated+"/isolation/app/image:1")
		owner.mustDocker(ctx, "pull", isolated+"/isolation/app/image:2")
		Expect(at.readCredential(ctx, token.Spec.Secret.Name)).To(Equal(c))
		Expect(incarnation(registryPod(ctx, at.namespace, at.instance))).To(Equal(before))
	}, SpecTimeout(specTimeout))

	It("docker.anonymousPull opens public repositories to everybody, and others to nobody", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "anonymous", "public", v1alpha1.VisibilityPublic)
		at.declareRepository(ctx, "anonymous", "internal", v1alpha1.VisibilityInternal)
		at.declareRepository(ctx, "anonymous", "private", v1alpha1.VisibilityPrivate)
		owner := at.login(ctx, "anonymous", toWrite)
		for _, repository := range []string{"public", "internal", "private"} {
			owner.pushNew(ctx, at.image("anonymous/"+repository+"/image:1"))
		}
		setAnonymousPull := func(ctx context.Context, mode v1alpha1.AnonymousPull) {
			GinkgoHelper()
			change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) { i.Spec.Docker.AnonymousPull = mode })
		}
		DeferCleanup(setAnonymousPull, v1alpha1.AnonymousPullDeny)
		nobody, v := newPerson(), newVisitor(at.dockerHost())
		public := at.image("anonymous/public/image:1")
		// What a client gets who follows the challenge without credentials.
		anonymously := func(ctx context.Context) error {
			a, err := v.do(ctx, http.MethodGet, "/token?service="+at.dockerHost()+"&scope=repository:anonymous/public/image:pull", "", nil)
			if err != nil {
				return err
			}
			return v.answers(http.MethodGet, "/v2/anonymous/public/image/manifests/1", "Bearer "+a.issuedToken(), http.StatusOK, "")(ctx)
		}

		nobody.refusedDocker(ctx, "unauthorized", "pull", public)

		setAnonymousPull(ctx, v1alpha1.AnonymousPullPublicRepositories)
		inForce(ctx, "anonymousPull PublicRepositories", anonymously)
		owner.mustDocker(ctx, "rmi", public)
		nobody.mustDocker(ctx, "pull", public)
		nobody.refusedDocker(ctx, "sign in with docker login", "push", public)
		for _, repository := range []string{"internal", "private", "missing"} {
			nobody.refusedDocker(ctx, "sign in with docker login", "pull", at.image("anonymous/"+repository+"/image:1"))
		}

		setAnonymousPull(ctx, v1alpha1.AnonymousPullDeny)
		inForce(ctx, "anonymousPull Deny", v.answers(http.MethodGet, "/v2/anonymous/public/image/manifests/1", "", http.StatusUnauthorized, "UNAUTHORIZED"))
		nobody.refusedDocker(ctx, "unauthorized", "pull", public)
	}, SpecTimeout(specTimeout))

	It("docker.limits, foreignLayers and missingReferences say what may be pushed, and docker says why not", func(ctx SpecContext) {
		at := shared()
		at.declareRepository(ctx, "limits", "app", v1alpha1.VisibilityPrivate)
		_, c := at.issueToken(ctx, "limits", toWrite, nil)
		owner, v := loggedIn(ctx, at.dockerHost(), c), newVisitor(at.dockerHost())
		image := at.image("limits/app/image:1")
		owner.build(ctx, image, 3*mebibyte)
		owner.refusedDocker(ctx, "must be lowercase", "push", at.image("limits/app/Image:1"))
		before := incarnation(registryPod(ctx, at.namespace, at.instance))
		set := func(ctx context.Context, edit func(*v1alpha1.DockerSpec)) {
			GinkgoHelper()
			change(ctx, at.instanceObject(), func(i *v1alpha1.PackagesInstance) {
				i.Spec.Docker.Limits, i.Spec.Docker.ForeignLayers, i.Spec.Docker.MissingReferences = v1alpha1.DockerLimits{}, "", ""
				edit(&i.Spec.Docker)
			})
		}
		DeferCleanup(set, func(*v1alpha1.DockerSpec) {})
		// A push by hand that is answered so; the digest is that of nothing.
		const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		answers := func(method, path string, body []byte, status int, code string) func(context.Context) error {
			return func(ctx context.Context) error {
				a, err := v.do(ctx, method, "/v2/limits/app/image/"+path, c.basic(), body)
				if err == nil && (a.status != status || a.code() != code) {
					err = fmt.Errorf("%s %s answers %s, want %d %s", method, path, a, status, code)
				}
				return err
			}
		}
		manifest := func(layer string) []byte {
			return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":0},`+
				`"layers":[{"mediaType":%q,"digest":%q,"size":2097152}]}`, digest, layer, "sha256:"+strings.Repeat("a", 64))
		}
		plain, foreign := manifest("application/vnd.oci.image.layer.v1.tar"), manifest("application/vnd.oci.image.layer.nondistributable.v1.tar")

		set(ctx, func(d *v1alpha1.DockerSpec) { d.Limits.MaxLayerSize = new(resource.MustParse("1Mi")) })
		inForce(ctx, "maxLayerSize 1Mi", answers(http.MethodPost, "blobs/uploads/?digest="+digest, make([]byte, mebibyte+1), http.StatusRequestEntityTooLarge, "DENIED"))
		owner.refusedDocker(ctx, "denied: the layer is larger than the 1Mi that this instance's docker.limits.maxLayerSize allows", "push", image)

		Expect(answers(http.MethodPut, "manifests/2", plain, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")(ctx)).To(Succeed())
		set(ctx, func(d *v1alpha1.DockerSpec) {
			d.MissingReferences, d.Limits.WarnImageSize = v1alpha1.AcceptanceAllow, new(resource.MustParse("1Mi"))
		})
		inForce(ctx, "missingReferences Allow", answers(http.MethodPut, "manifests/2", plain, http.StatusCreated, ""))
		warned, err := v.do(ctx, http.MethodPut, "/v2/limits/app/image/manifests/2", c.basic(), plain)
		Expect(err).NotTo(HaveOccurred())
		Expect(warned.header.Get("Warning")).To(HavePrefix(`299 - "the image is stored, but its configuration and layers have 2097152 bytes, more than the 1Mi`))
		owner.mustDocker(ctx, "push", image)

		Expect(answers(http.MethodPut, "manifests/3", foreign, http.StatusBadRequest, "MANIFEST_INVALID")(ctx)).To(Succeed())
		set(ctx, func(d *v1alpha1.DockerSpec) {
			d.ForeignLayers, d.MissingReferences = v1alpha1.AcceptanceAllow, v1alpha1.AcceptanceAllow
		})
		inForce(ctx, "foreignLayers Allow", answers(http.MethodPut, "manifests/3", foreign, http.StatusCreated, ""))
		Expect(incarnation(registryPod(ctx, at.namespace, at.instance))).To(Equal(before))
	}, SpecTimeout(specTimeout))
})
