// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
)

func TestObjectAtItsLimitsIsAccepted(t *testing.T) {
	list := func(n int, format string) string {
		var items []string
		for i := range n {
			items = append(items, fmt.Sprintf(format, i))
		}
		return strings.Join(items, ", ")
	}
	label63 := strings.Repeat("a", 63)
	for _, row := range []struct{ name, base, patch string }{
		{"instance", instance, ""},
		{"hostname of 246 characters", instance, spec("hostname: %s", longHost(246))},
		{"hostname of two short labels", instance, spec("hostname: a.b")},
		{"hostname of a label of 63 characters", instance, spec("hostname: %s.com", label63)},
		{"hostname with digits and dashes", instance, spec("hostname: 9-to-5.xn--bcher-kva.example")},
		{"name of 40 characters", instance, "metadata: {name: " + strings.Repeat("a", 40) + "}"},
		{"every mode off", instance, spec("subdomainIsolation: Disabled, docker: {support: Disabled, anonymousPull: Deny}, deletionPolicy: Delete, suspend: true")},
		{"read-only", instance, spec("docker: {support: ReadOnly, anonymousPull: PublicRepositories}")},
		{"foreign layers and missing references", instance, spec("docker: {foreignLayers: Allow, missingReferences: Allow}")},
		{"neither of them", instance, spec("docker: {foreignLayers: Reject, missingReferences: Reject}")},
		{"smallest limits", instance, spec("docker: {limits: {maxLayerSize: 1Mi, warnImageSize: 1048576}}")},
		{"largest limits", instance, spec("docker: {limits: {maxLayerSize: 1Ti, warnImageSize: 1024Ti}}")},
		{"limits in other units", instance, spec("docker: {limits: {maxLayerSize: 2.5G, warnImageSize: 1e10}}")},
		{"smallest volume", instance, spec("storage: {filesystem: {size: 64Mi}}")},
		{"volume in bytes", instance, spec("storage: {filesystem: {size: 67108864}}")},
		{"volume without a class", instance, spec("storage: {filesystem: {storageClassName: ''}}")},
		{"exposed to nobody", instance, spec("exposure: {}")},
		{"ingress by default", instance, spec("exposure: {ingress: {}}")},
		{"ingress in full", instance, spec("exposure: {ingress: {className: traefik, tls: {secretName: packages-tls},"+
			"annotations: {nginx.ingress.kubernetes.io/proxy-body-size: '0', plain: '', %s}, labels: {example.com/team: a_b.C-1, empty: '', %s}}}",
			list(62, "a%d: b"), list(62, "a%d: "+label63))},
		{"an issuer", instance, spec("exposure: {ingress: {tls: {issuerRef: {name: letsencrypt}}}}")},
		{"an issuer in full", instance, spec("exposure: {ingress: {tls: {secretName: mine, issuerRef: {name: letsencrypt, kind: ClusterIssuer, group: cert-manager.io}}}}")},
		{"an issuer of another kind", instance, spec("exposure: {ingress: {tls: {issuerRef: {name: a, kind: AWSPCAClusterIssuer, group: awspca.cert-manager.io}}}}")},
		{"a gateway", instance, spec("exposure: {gateway: {parentRefs: [{name: web}]}}")},
		{"eight gateways in full", instance, spec("exposure: {gateway: {parentRefs: [%s], annotations: {%s}, labels: {%s}}}",
			list(8, "{name: "+strings.Repeat("a", 252)+"%d, namespace: "+strings.Repeat("b", 63)+", sectionName: "+strings.Repeat("c", 253)+", port: 65535}"),
			list(64, "a%d: b"), list(64, "a%d: "+label63))},
		{"listeners of one gateway, and one of its name elsewhere", instance, spec("exposure: {gateway: {parentRefs: [{name: web, sectionName: a}, {name: web, sectionName: b}, {name: web, namespace: infra}]}}")},

		{"the most allowed namespaces and owners", instance, spec("allowedNamespaces: [%s]", strings.Join(slices.Repeat([]string{
			"{names: [" + list(100, strings.Repeat("n", 60)+"-%02d") + "], owners: [" + list(100, strings.Repeat("o", 37)+"%02d") + "]}",
		}, 32), ", "))},
		{"namespaces by every kind of selector", instance, spec("allowedNamespaces: [{selector: {}, owners: [a]}, {selector: {matchLabels: {example.com/team: a, plain: ''}, matchExpressions: [" +
			"{key: a, operator: In, values: [b, '']}, {key: a, operator: NotIn, values: [c]}, {key: d, operator: Exists}, {key: e, operator: DoesNotExist, values: []}]}, owners: [a, b]}]")},
		{"organization of an instance elsewhere", organization, spec("instanceRef: {namespace: %s}", label63)},
		{"the most and longest ServiceAccounts", repository, spec("access: {serviceAccounts: [%s]}", list(100, "{namespace: "+label63+", name: "+strings.Repeat("a", 250)+"%03d, role: Admin}"))},
		{"the same name in two namespaces", repository, spec("access: {serviceAccounts: [{namespace: a, name: default, role: Read}, {namespace: b, name: default, role: Write}]}")},
		{"repository of an instance elsewhere", repository, spec("instanceRef: {namespace: registry}")},
		{"token of an instance elsewhere", token, spec("instanceRef: {namespace: '0'}")},

		{"organization", organization, ""},
		{"organization of the longest name", organization, spec("name: %s", strings.Repeat("a", 39))},
		{"the most and longest of everything in an organization", organization, spec("owners: [%s], members: [%s], teams: [%s]",
			list(100, strings.Repeat("o", 34)+"%05d"), list(1000, strings.Repeat("m", 34)+"%05d"),
			list(100, "{name: "+strings.Repeat("t", 95)+"%05d, members: ["+list(50, strings.Repeat("m", 34)+"%05d")+"]}"))},
		{"team of 500 members", organization, spec("teams: [{name: everybody, members: [%s]}]", list(500, "u%d"))},
		{"no members and no teams", organization, spec("members: [], teams: []")},
		{"team of nobody", organization, spec("teams: [{name: platform}, {name: v2, members: []}]")},
		{"owner in members and in a team", organization, spec("members: [monalisa], teams: [{name: platform, members: [monalisa]}]")},

		{"repository", repository, ""},
		{"longest names", repository, spec("owner: %s, name: %s", strings.Repeat("a", 39), strings.Repeat("b", 100))},
		{"shortest names", repository, spec("owner: a, name: '1'")},
		{"pods to measure", instance, spec("podTemplate: {" +
			`labels: {example.com/team: a}, ` +
			`annotations: {example.com/note: any text}, ` +
			`resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: "2", memory: 128Mi, ephemeral-storage: 1Gi}}, ` +
			`nodeSelector: {kubernetes.io/os: linux}, ` +
			`tolerations: [{key: dedicated, operator: Equal, value: registry, effect: NoSchedule}], ` +
			`affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}, ` +
			`topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {a: b}}}], ` +
			`priorityClassName: system-cluster-critical}`)},
		{"every separator", repository, spec("owner: a.b_c__d-e--f, name: a.b_c__d---e")},
		{"a reserved name as the repository", repository, spec("name: v2")},
		{"internal", repository, spec("visibility: Internal")},
		{"500 users", repository, spec("access: {users: [%s]}", list(500, "{name: "+strings.Repeat("u", 34)+"%05d, role: Write}"))},
		{"100 teams", repository, spec("access: {teams: [%s]}", list(100, "{organization: "+strings.Repeat("o", 39)+", name: "+strings.Repeat("t", 95)+"%05d, role: Read}"))},
		{"teams of one name in two organizations", repository, spec("access: {teams: [{organization: one, name: platform, role: Read}, {organization: two, name: platform, role: Admin}]}")},
		{"a user of every role", repository, spec("access: {users: [{name: a, role: Read}, {name: b, role: Write}, {name: c, role: Admin}]}")},

		{"token", token, ""},
		{"token of your own", sourcedToken, ""},
		{"name of 63 characters", token, "metadata: {name: " + label63 + "}"},
		{"every scope", token, spec("scopes: ['read:packages', 'write:packages', 'delete:packages']")},
		{"100 of the longest repositories", token, spec("repositories: [%s]", list(100, strings.Repeat("a", 39)+"/"+strings.Repeat("b", 95)+"%05d"))},
		{"all of an owner's repositories", token, spec("repositories: ['octocat/*']")},
		{"expiry in another time zone", token, spec("expiresAt: '2027-01-01T02:00:00+02:00'")},
		{"expiry in the past", token, spec("expiresAt: '2020-01-01T00:00:00Z'")},
		{"rotation", token, spec("rotation: {interval: 168h, overlap: 24h}")},
		{"rotation to the second, without an overlap", token, spec("rotation: {interval: 1h0m1s, overlap: 0s}")},
		{"the longest rotation", token, spec("rotation: {interval: 999999h999999m999999s, overlap: 999999h}")},
		{"imagePullSecret", token, spec("secret: {name: a.b-c, type: DockerConfigJSON}")},

		{"policy", policy, ""},
		{"later part", policy, spec("index: 1023, revision: null, parts: null")},
		{"largest document", policy, spec("document: %q", strings.Repeat("a", v1alpha1.MaxPolicyDocumentLength))},
		{"1024 parts", policy, spec("parts: [%s]", list(1024, "'sha256:%064x'"))},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := api.Create(context.Background(), object(t, newNamespace(t), row.base, row.patch)); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// What is left out is filled in by the API server, so that code reads values.
func TestDefaults(t *testing.T) {
	ctx := context.Background()
	namespace := newNamespace(t)
	for _, base := range []string{instance, organization, repository, token} {
		if err := api.Create(ctx, object(t, namespace, base, "")); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string, into client.Object) {
		t.Helper()
		if err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
			t.Fatal(err)
		}
	}
	var i v1alpha1.PackagesInstance
	get("acme", &i)
	if got, want := i.Spec.SubdomainIsolation, v1alpha1.SubdomainIsolationEnabled; got != want {
		t.Errorf("subdomainIsolation is %q, want %q", got, want)
	}
	docker := v1alpha1.DockerSpec{
		Support: v1alpha1.SupportEnabled, AnonymousPull: v1alpha1.AnonymousPullDeny,
		ForeignLayers: v1alpha1.AcceptanceReject, MissingReferences: v1alpha1.AcceptanceReject,
		Limits: v1alpha1.DockerLimits{MaxLayerSize: new(resource.MustParse("5Gi")), WarnImageSize: new(resource.MustParse("10Gi"))},
	}
	if diff := cmp.Diff(docker, i.Spec.Docker); diff != "" {
		t.Errorf("docker (-want +got):\n%s", diff)
	}
	if got, want := i.Spec.DeletionPolicy, v1alpha1.DeletionPolicyRetain; got != want {
		t.Errorf("deletionPolicy of an instance is %q, want %q", got, want)
	}
	if i.Spec.Suspend {
		t.Error("suspend is true, want false")
	}
	var o v1alpha1.PackagesOrganization
	get("octo-org", &o)
	var r v1alpha1.PackagesRepository
	get("octo-app", &r)
	if got, want := r.Spec.Visibility, v1alpha1.VisibilityPrivate; got != want {
		t.Errorf("visibility is %q, want %q", got, want)
	}
	if got, want := r.Spec.DeletionPolicy, v1alpha1.DeletionPolicyRetain; got != want {
		t.Errorf("deletionPolicy of a repository is %q, want %q", got, want)
	}
	var k v1alpha1.PackagesToken
	get("monalisa", &k)
	if got, want := *k.Spec.Secret, (v1alpha1.TokenSecret{Name: "monalisa-token", Type: v1alpha1.TokenSecretOpaque}); got != want {
		t.Errorf("secret is %+v, want %+v", got, want)
	}
	for kind, observed := range map[string]int64{
		"instance": i.Status.ObservedGeneration, "organization": o.Status.ObservedGeneration,
		"repository": r.Status.ObservedGeneration, "token": k.Status.ObservedGeneration,
	} {
		if observed != -1 {
			t.Errorf("observedGeneration of a new %s is %d, want -1", kind, observed)
		}
	}
}

// A status is written through its subresource and comes back as it was written;
// the object itself cannot carry one in.
func TestStatusIsKeptApart(t *testing.T) {
	ctx := context.Background()
	namespace := newNamespace(t)
	now := metav1.NewTime(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	later := metav1.NewTime(now.Add(time.Hour))
	ready := []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded,
		Message: "served at docker.packages.example.com", ObservedGeneration: 1, LastTransitionTime: now,
	}}

	i := &v1alpha1.PackagesInstance{}
	u := object(t, namespace, instance, "status: {observedGeneration: 7, version: forged}")
	if err := api.Create(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(ctx, client.ObjectKeyFromObject(u), i); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v1alpha1.PackagesInstanceStatus{ObservedGeneration: -1}, i.Status); diff != "" {
		t.Errorf("the status of a new instance (-want +got):\n%s", diff)
	}
	wantInstance := v1alpha1.PackagesInstanceStatus{
		ObservedGeneration: 1, Conditions: ready, PolicyRevision: "r1", Version: "v0.1.0",
		Endpoints: v1alpha1.InstanceEndpoints{Docker: &v1alpha1.Endpoint{Host: "docker.packages.example.com", URL: "https://docker.packages.example.com"}},
	}
	i.Status = *wantInstance.DeepCopy()
	if err := api.Status().Update(ctx, i); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantInstance, i.Status); diff != "" {
		t.Errorf("the status of the instance (-want +got):\n%s", diff)
	}

	k := &v1alpha1.PackagesToken{}
	u = object(t, namespace, token, "")
	if err := api.Create(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(ctx, client.ObjectKeyFromObject(u), k); err != nil {
		t.Fatal(err)
	}
	wantToken := v1alpha1.PackagesTokenStatus{
		ObservedGeneration: 1, Conditions: ready,
		Credentials: []v1alpha1.TokenCredential{{ID: "one", IssuedAt: now, NotAfter: &later}, {ID: "two", IssuedAt: later}},
	}
	k.Status = *wantToken.DeepCopy()
	if err := api.Status().Update(ctx, k); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantToken, k.Status); diff != "" {
		t.Errorf("the status of the token (-want +got):\n%s", diff)
	}
}
