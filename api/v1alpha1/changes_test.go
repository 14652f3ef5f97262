// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestBadChangeIsRefused(t *testing.T) {
	classed := strings.ReplaceAll(instance, "size: 1Gi", "size: 1Gi, storageClassName: fast")
	testRefusedChanges(t, []refused{
		{"a smaller volume", instance, spec("storage: {filesystem: {size: 1023Mi}}"), []string{"spec.storage.filesystem.size: a volume cannot shrink: write 1Gi or more"}},
		{"a smaller volume in another unit", instance, spec("storage: {filesystem: {size: 1G}}"), []string{"spec.storage.filesystem.size: a volume cannot shrink: write 1Gi or more"}},
		{"another storage class", classed, spec("storage: {filesystem: {storageClassName: slow}}"), []string{`spec.storage.filesystem.storageClassName: storageClassName cannot change: keep "fast"`}},
		{"a storage class taken away", classed, spec("storage: {filesystem: {storageClassName: null}}"), []string{`spec.storage.filesystem.storageClassName: storageClassName cannot change: keep "fast"`}},
		{"a storage class added later", instance, spec("storage: {filesystem: {storageClassName: fast}}"), []string{"spec.storage.filesystem.storageClassName: storageClassName cannot change: leave it out, as it was"}},
		{"storage taken away", instance, spec("storage: {filesystem: null}"), []string{"spec.storage: set storage.filesystem, such as filesystem: {size: 20Gi}"}},

		{"an organization of an instance elsewhere", organization, spec("instanceRef: {namespace: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesOrganization for the other instance"}},
		{"an organization of another instance", organization, spec("instanceRef: {name: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesOrganization for the other instance"}},
		{"an organization of another name", organization, spec("name: other-org"), []string{"spec.name: name cannot change: keep octo-org, or create another PackagesOrganization"}},

		{"a repository of an instance elsewhere", repository, spec("instanceRef: {namespace: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesRepository for the other instance"}},
		{"a repository of another instance", repository, spec("instanceRef: {name: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesRepository for the other instance"}},
		{"a repository of another owner", repository, spec("owner: hubot"), []string{"spec.owner: owner cannot change: keep octocat, or create another PackagesRepository"}},
		{"a repository of another name", repository, spec("name: hello"), []string{"spec.name: name cannot change: keep octo-app, or create another PackagesRepository"}},

		{"a token of an instance elsewhere", token, spec("instanceRef: {namespace: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesToken for the other instance"}},
		{"a token of another instance", token, spec("instanceRef: {name: other}"), []string{"spec.instanceRef: instanceRef cannot change: create another PackagesToken for the other instance"}},
		{"a token of another user", token, spec("user: hubot"), []string{"spec.user: user cannot change: keep monalisa, or create another PackagesToken"}},
		{"a token in another Secret", token, spec("secret: {name: other}"), []string{"spec.secret.name: secret.name cannot change: keep monalisa-token, or create another PackagesToken"}},
		{"a token in a Secret of another type", token, spec("secret: {type: DockerConfigJSON}"), []string{"spec.secret.type: secret.type cannot change: keep Opaque, or create another PackagesToken"}},
		{"a value of your own for a made one", token, spec("secret: null, source: {secretRef: {name: mine, key: token}}"), []string{"spec: secret cannot be taken away: keep it, or create another PackagesToken with source"}},
		{"a made value for one of your own", sourcedToken, spec("source: null, secret: {name: hubot-token}"), []string{"spec: source cannot be replaced by secret: keep source, or create another PackagesToken with secret"}},
	})
}

func testRefusedChanges(t *testing.T, table []refused) {
	ctx := context.Background()
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			u := object(t, newNamespace(t), row.base, "")
			if err := api.Create(ctx, u); err != nil {
				t.Fatalf("create the object: %v", err)
			}
			err := api.Patch(ctx, u, client.RawPatch(types.MergePatchType, mustJSON(t, row.patch)))
			checkRefusal(t, err, row.causes...)
		})
	}
}

func TestGoodChangeIsAccepted(t *testing.T) {
	ctx := context.Background()
	for _, row := range []struct{ name, base, patch string }{
		{"hostname", instance, spec("hostname: registry.example.org")},
		{"subdomainIsolation", instance, spec("subdomainIsolation: Disabled")},
		{"allowedNamespaces", instance, spec("allowedNamespaces: [{names: [team-a], owners: [octo-org]}]")},
		{"docker", instance, spec("docker: {support: ReadOnly, anonymousPull: PublicRepositories}")},
		{"a larger volume", instance, spec("storage: {filesystem: {size: 2Gi}}")},
		{"the same volume in another unit", instance, spec("storage: {filesystem: {size: 1024Mi}}")},
		{"exposure", instance, spec("exposure: {ingress: {tls: {secretName: packages-tls}}}")},
		{"an issuer", instance, spec("exposure: {ingress: {tls: {issuerRef: {name: letsencrypt}}}}")},
		{"another exposure", strings.ReplaceAll(instance, "spec:", "spec:\n  exposure: {ingress: {}}"), spec("exposure: {ingress: null, gateway: {parentRefs: [{name: web}]}}")},
		{"deletionPolicy of an instance", instance, spec("deletionPolicy: Delete")},
		{"pods", instance, spec("podTemplate: {nodeSelector: {a: b}}")},
		{"suspend", instance, spec("suspend: true")},
		{"owners, members and teams", organization, spec("owners: [octocat], members: [hubot], teams: [{name: platform, members: [hubot]}]")},
		{"teams with access", repository, spec("access: {teams: [{organization: octo-org, name: platform, role: Write}]}")},
		{"visibility", repository, spec("visibility: Public")},
		{"access", repository, spec("access: {users: [{name: monalisa, role: Admin}]}")},
		{"deletionPolicy of a repository", repository, spec("deletionPolicy: Delete")},
		{"scopes", token, spec("scopes: ['delete:packages']")},
		{"narrowing", token, spec("repositories: ['octocat/*']")},
		{"expiry", token, spec("expiresAt: '2027-01-01T00:00:00Z'")},
		{"rotation", token, spec("rotation: {interval: 168h, overlap: 24h}")},
		{"source", sourcedToken, spec("source: {secretRef: {name: other, key: value}}")},
		{"a newer policy", policy, spec("revision: r2, document: '{\"a\":1}'")},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := object(t, newNamespace(t), row.base, "")
			if err := api.Create(ctx, u); err != nil {
				t.Fatalf("create the object: %v", err)
			}
			if err := api.Patch(ctx, u, client.RawPatch(types.MergePatchType, mustJSON(t, row.patch))); err != nil {
				t.Errorf("the change was refused: %v", err)
			}
		})
	}
}
