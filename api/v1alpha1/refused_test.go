// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refused is an object that differs from a good one by patch and is refused for
// exactly the causes: "FIELD: END OF MESSAGE".
type refused struct {
	name   string
	base   string
	patch  string
	causes []string
}

func testRefused(t *testing.T, table []refused) {
	namespace := newNamespace(t)
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			u := object(t, namespace, row.base, row.patch)
			checkRefusal(t, api.Create(context.Background(), u, client.DryRunAll), row.causes...)
		})
	}
}

// spec writes a patch of fields of the spec.
func spec(format string, args ...any) string {
	return "spec: {" + fmt.Sprintf(format, args...) + "}"
}

func TestBadInstanceIsRefused(t *testing.T) {
	const (
		tooLongLabel = "spec.hostname: write a DNS name such as packages.example.com: lower-case letters, digits and - in labels of at most 63 characters, the last one not a number"
		noIP         = "spec.hostname: write a DNS name without a port, such as packages.example.com: an IP address has no subdomains"
		name         = ": write a metadata.name of at most 40 lower-case letters, digits and '-', beginning with a letter: names of Services and pods are made from it"
	)
	const (
		layerSize = "spec.docker.limits.maxLayerSize: write a size from 1Mi to 1Ti, such as 5Gi"
		imageSize = "spec.docker.limits.warnImageSize: write a size from 1Mi to 1Pi, such as 10Gi"
	)
	allowed := func(entry string) string { return spec("allowedNamespaces: [{%s}]", entry) }
	limits := func(limit string) string { return spec("docker: {limits: {%s}}", limit) }
	ingress := func(format string, args ...any) string {
		return spec("exposure: {ingress: {%s}}", fmt.Sprintf(format, args...))
	}
	gateway := func(format string, args ...any) string {
		return spec("exposure: {gateway: {%s}}", fmt.Sprintf(format, args...))
	}
	issuer := func(format string, args ...any) string {
		return ingress("tls: {issuerRef: {%s}}", fmt.Sprintf(format, args...))
	}
	const (
		listenerOnce = "spec.exposure.gateway.parentRefs: write every listener of a Gateway once: two references to one Gateway need different values of sectionName"
		listenerEach = "spec.exposure.gateway.parentRefs: write sectionName in each of two references to one Gateway: one without it stands for all listeners"
	)
	many := func(n int, format string) string {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(format, i))
		}
		return strings.Join(entries, ", ")
	}
	testRefused(t, []refused{
		{"no hostname", instance, spec("hostname: null"), []string{"spec.hostname: Required value"}},
		{"hostname with a scheme", instance, spec("hostname: 'https://packages.example.com'"), []string{"spec.hostname: leave out the scheme: write the name alone, such as packages.example.com"}},
		{"hostname with a path", instance, spec("hostname: packages.example.com/v2"), []string{"spec.hostname: leave out the path: write the name alone, such as packages.example.com"}},
		{"hostname with a port", instance, spec("hostname: 'packages.example.com:5000'"), []string{noIP}},
		{"hostname is an IPv4 address", instance, spec("hostname: 192.0.2.7"), []string{noIP}},
		{"hostname is an IPv6 address", instance, spec("hostname: '2001:db8::7'"), []string{noIP}},
		{"hostname ends with a number", instance, spec("hostname: packages.example.7"), []string{tooLongLabel}},
		{"hostname with a dot at the end", instance, spec("hostname: packages.example.com."), []string{"spec.hostname: leave out the dot at the end"}},
		{"hostname in upper case", instance, spec("hostname: Packages.Example.com"), []string{"spec.hostname: write it in lower case: packages.example.com"}},
		{"hostname of one label", instance, spec("hostname: packages"), []string{"spec.hostname: write a DNS name of at least two labels, such as packages.example.com"}},
		{"hostname with a wildcard", instance, spec("hostname: '*.example.com'"), []string{tooLongLabel}},
		{"hostname with an underscore", instance, spec("hostname: my_packages.example.com"), []string{tooLongLabel}},
		{"hostname with an empty label", instance, spec("hostname: packages..example.com"), []string{tooLongLabel}},
		{"hostname with a label that begins with a dash", instance, spec("hostname: packages.-example.com"), []string{tooLongLabel}},
		{"hostname with a label of 64 characters", instance, spec("hostname: %s.example.com", strings.Repeat("a", 64)), []string{tooLongLabel}},
		{"hostname with a line break", instance, spec(`hostname: "packages.example.com\n"`), []string{tooLongLabel}},
		{"hostname that leaves no room for docker.", instance, spec("hostname: %s", longHost(247)), []string{"spec.hostname: may not be more than 246 bytes"}},

		{"name longer than 40", instance, "metadata: {name: " + strings.Repeat("a", 41) + "}", []string{name}},
		{"name that begins with a digit", instance, "metadata: {name: 1acme}", []string{name}},
		{"name with a dot", instance, "metadata: {name: acme.packages}", []string{name}},

		{"unknown subdomainIsolation", instance, spec("subdomainIsolation: Isolated"), []string{`spec.subdomainIsolation: supported values: "Enabled", "Disabled"`}},
		{"unknown docker.support", instance, spec("docker: {support: Read-Only}"), []string{`spec.docker.support: supported values: "Enabled", "ReadOnly", "Disabled"`}},
		{"unknown docker.anonymousPull", instance, spec("docker: {anonymousPull: Allow}"), []string{`spec.docker.anonymousPull: supported values: "Deny", "PublicRepositories"`}},
		{"unknown deletionPolicy", instance, spec("deletionPolicy: Orphan"), []string{`spec.deletionPolicy: supported values: "Retain", "Delete"`}},
		{"suspend is no boolean", instance, spec("suspend: 'yes'"), []string{`spec.suspend: must be of type boolean: "string"`}},

		{"allowed namespaces that are neither named nor selected", instance, allowed("owners: [octo-org]"), []string{"spec.allowedNamespaces[0]: write names, such as names: [team-a], or selector, to choose namespaces by their labels"}},
		{"allowed namespaces that are named and selected", instance, allowed("names: [team-a], selector: {}, owners: [octo-org]"), []string{"spec.allowedNamespaces[0]: write names or selector, not both: two entries allow the namespaces of both"}},
		{"allowed namespaces for no owner", instance, allowed("names: [team-a], owners: []"), []string{"spec.allowedNamespaces[0].owners: should have at least 1 items"}},
		{"allowed namespaces without owners", instance, allowed("names: [team-a]"), []string{"spec.allowedNamespaces[0].owners: Required value"}},
		{"allowed namespaces for every owner", instance, allowed("names: [team-a], owners: ['*']"), []string{`spec.allowedNamespaces[0].owners[0]: write lower-case letters and digits, joined by ".", "_", "__" or "-", such as octo-org`}},
		{"no name in allowed namespaces", instance, allowed("names: [], owners: [octo-org]"), []string{"spec.allowedNamespaces[0].names: should have at least 1 items"}},
		{"a namespace that is no name", instance, allowed("names: [Team.A], owners: [octo-org]"), []string{"spec.allowedNamespaces[0].names[0]: write the name of a namespace: lower-case letters, digits and '-', such as team-a"}},
		{"a namespace twice", instance, allowed("names: [team-a, team-a], owners: [octo-org]"), []string{`spec.allowedNamespaces[0].names[1]: Duplicate value: "team-a"`}},
		{"a selector of an unknown operator", instance, allowed("selector: {matchExpressions: [{key: team, operator: Like, values: [a]}]}, owners: [octo-org]"), []string{`spec.allowedNamespaces[0].selector.matchExpressions[0].operator: supported values: "In", "NotIn", "Exists", "DoesNotExist"`}},
		{"a selector that lacks values", instance, allowed("selector: {matchExpressions: [{key: team, operator: In}]}, owners: [octo-org]"), []string{"spec.allowedNamespaces[0].selector.matchExpressions[0].values: write values with the operators In and NotIn, and with no other"}},
		{"a selector with values too many", instance, allowed("selector: {matchExpressions: [{key: team, operator: Exists, values: [a]}]}, owners: [octo-org]"), []string{"spec.allowedNamespaces[0].selector.matchExpressions[0].values: write values with the operators In and NotIn, and with no other"}},
		{"a selector of labels that are none", instance, allowed("selector: {matchLabels: {'a b': c}}, owners: [octo-org]"), []string{"spec.allowedNamespaces[0].selector.matchLabels: write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"}},
		{"33 entries of allowed namespaces", instance, spec("allowedNamespaces: [%s]", many(33, "{names: [n%d], owners: [octo-org]}")), []string{"spec.allowedNamespaces: must have at most 32 items"}},

		{"no storage", instance, spec("storage: null"), []string{"spec.storage: Required value"}},
		{"unknown docker.foreignLayers", instance, spec("docker: {foreignLayers: Deny}"), []string{`spec.docker.foreignLayers: supported values: "Reject", "Allow"`}},
		{"unknown docker.missingReferences", instance, spec("docker: {missingReferences: 'true'}"), []string{`spec.docker.missingReferences: supported values: "Reject", "Allow"`}},
		{"maxLayerSize of zero", instance, limits("maxLayerSize: 0"), []string{layerSize}},
		{"negative maxLayerSize", instance, limits("maxLayerSize: -5Gi"), []string{layerSize}},
		{"maxLayerSize below the least", instance, limits("maxLayerSize: 1023Ki"), []string{layerSize}},
		{"maxLayerSize above the most", instance, limits("maxLayerSize: 1025Gi"), []string{layerSize}},
		{"maxLayerSize with an unknown unit", instance, limits("maxLayerSize: 5GB"), []string{layerSize, "spec.docker.limits.maxLayerSize: " + quantityPattern}},
		{"maxLayerSize that is far too large", instance, limits("maxLayerSize: '1e30'"), []string{layerSize}},
		{"warnImageSize of zero", instance, limits("warnImageSize: 0"), []string{imageSize}},
		{"warnImageSize below the least", instance, limits("warnImageSize: 1M"), []string{imageSize}},
		{"warnImageSize above the most", instance, limits("warnImageSize: 1025Ti"), []string{imageSize}},
		{"warnImageSize that is no size", instance, limits("warnImageSize: huge"), []string{imageSize, "spec.docker.limits.warnImageSize: " + quantityPattern}},
		{"storage of no kind", instance, spec("storage: {filesystem: null}"), []string{"spec.storage: set storage.filesystem, such as filesystem: {size: 20Gi}"}},
		{"no size", instance, spec("storage: {filesystem: {size: null}}"), []string{"spec.storage.filesystem.size: Required value"}},
		{"size below the least", instance, spec("storage: {filesystem: {size: 63Mi}}"), []string{"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi"}},
		// Comparing these would keep the API server busy for good.
		{"size with a long exponent", instance, spec("storage: {filesystem: {size: \"1e999999999\"}}"), []string{"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi"}},
		{"size with a long negative exponent", instance, spec("storage: {filesystem: {size: \"1.5e-99999999\"}}"), []string{"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi"}},
		{"size of zero", instance, spec("storage: {filesystem: {size: 0}}"), []string{"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi"}},
		{"negative size", instance, spec("storage: {filesystem: {size: -5Gi}}"), []string{"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi"}},
		{"size with an unknown unit", instance, spec("storage: {filesystem: {size: 20GB}}"), []string{
			"spec.storage.filesystem.size: write a size of at least 64Mi, such as 20Gi",
			"spec.storage.filesystem.size: " + quantityPattern,
		}},
		{"storageClassName that is no name", instance, spec("storage: {filesystem: {storageClassName: Fast SSD}}"), []string{"spec.storage.filesystem.storageClassName: write the name of a StorageClass, as kubectl get storageclass shows it"}},

		{"ingress class that is no name", instance, ingress("className: Traefik!"), []string{"spec.exposure.ingress.className: write the name of an IngressClass, as kubectl get ingressclass shows it"}},
		{"ingress class of no characters", instance, ingress("className: ''"), []string{
			"spec.exposure.ingress.className: should be at least 1 chars long",
			"spec.exposure.ingress.className: write the name of an IngressClass, as kubectl get ingressclass shows it",
		}},
		{"annotation with a bad name", instance, ingress("annotations: {body size: 5g}"), []string{"spec.exposure.ingress.annotations: write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as nginx.ingress.kubernetes.io/proxy-body-size"}},
		{"annotation with a name too long", instance, ingress("annotations: {%s: x}", strings.Repeat("a", 64)), []string{"spec.exposure.ingress.annotations: write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as nginx.ingress.kubernetes.io/proxy-body-size"}},
		{"annotation of the operator's", instance, ingress("annotations: {packages-operator.io/note: mine}"), []string{"spec.exposure.ingress.annotations: choose other names: annotations under packages-operator.io/ are the operator's own"}},
		{"annotations without end", instance, ingress("annotations: {%s}", many(65, "a%d: b")), []string{"spec.exposure.ingress.annotations: must have at most 64 items"}},
		{"pod label with a bad name", instance, spec("podTemplate: {labels: {-team: a}}"), []string{"spec.podTemplate.labels: write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"}},
		{"pod label with a bad value", instance, spec("podTemplate: {labels: {team: the a team}}"), []string{"spec.podTemplate.labels[team]: write a label value of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"}},
		{"pod label of the operator's", instance, spec("podTemplate: {labels: {packages-operator.io/instance: other}}"), []string{"spec.podTemplate.labels: choose other names: labels under packages-operator.io/ are the operator's own"}},
		{"pod annotation with a bad name", instance, spec("podTemplate: {annotations: {a b: c}}"), []string{"spec.podTemplate.annotations: write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/note"}},
		{"pod annotation of the operator's", instance, spec("podTemplate: {annotations: {packages-operator.io/x: a}}"), []string{"spec.podTemplate.annotations: choose other names: annotations under packages-operator.io/ are the operator's own"}},
		{"pod of too little memory", instance, spec("podTemplate: {resources: {limits: {memory: 64Mi}}}"), []string{"spec.podTemplate.resources.limits: write a limit of at least 128Mi memory: uploads and listings need it"}},
		{"layers without end", instance, spec("docker: {limits: {maxLayerSize: \"1e999999999\"}}"), []string{"spec.docker.limits.maxLayerSize: write a size from 1Mi to 1Ti, such as 5Gi"}},
		{"images without end", instance, spec("docker: {limits: {warnImageSize: \"1e999999999\"}}"), []string{"spec.docker.limits.warnImageSize: write a size from 1Mi to 1Pi, such as 10Gi"}},
		{"pod of memory with an exponent", instance, spec("podTemplate: {resources: {limits: {memory: \"1e999999999\"}}}"), []string{"spec.podTemplate.resources.limits: write memory without an exponent and below Ei, such as 500m or 2Gi"}},
		{"pod of processors with an exponent", instance, spec("podTemplate: {resources: {requests: {cpu: \"1.5E-99999999\"}}}"), []string{"spec.podTemplate.resources.requests: write cpu without an exponent and below Ei, such as 500m or 2Gi"}},
		{"pod of memory that is no quantity", instance, spec("podTemplate: {resources: {limits: {memory: lots}}}"), []string{"spec.podTemplate.resources.limits.memory: " + quantityPattern}},
		{"pod of a priority that is no name", instance, spec("podTemplate: {priorityClassName: High}"), []string{"spec.podTemplate.priorityClassName: write the name of a PriorityClass, as kubectl get priorityclass shows it"}},
		{"pod with tolerations without end", instance, spec("podTemplate: {tolerations: [%s]}", many(65, "{key: a%d}")), []string{"spec.podTemplate.tolerations: must have at most 64 items"}},
		{"label with a bad name", instance, ingress("labels: {-team: a}"), []string{"spec.exposure.ingress.labels: write label names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as example.com/team"}},
		{"label with a bad value", instance, ingress("labels: {team: the a team}"), []string{"spec.exposure.ingress.labels[team]: write a label value of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"}},
		{"label with a value too long", instance, ingress("labels: {team: %s}", strings.Repeat("a", 64)), []string{"spec.exposure.ingress.labels.team: may not be more than 63 bytes"}},
		{"label of the operator's", instance, ingress("labels: {packages-operator.io/instance: other}"), []string{"spec.exposure.ingress.labels: choose other names: labels under packages-operator.io/ are the operator's own"}},
		{"labels without end", instance, ingress("labels: {%s}", many(65, "a%d: b")), []string{"spec.exposure.ingress.labels: must have at most 64 items"}},
		{"tls without a Secret or an issuer", instance, ingress("tls: {}"), []string{"spec.exposure.ingress.tls: write secretName, the name of a Secret that has a certificate, or issuerRef, to have cert-manager get one"}},
		{"issuer without a name", instance, issuer("kind: Issuer"), []string{"spec.exposure.ingress.tls.issuerRef.name: Required value"}},
		{"issuer that is no name", instance, issuer("name: Let's Encrypt"), []string{"spec.exposure.ingress.tls.issuerRef.name: write the metadata.name of an issuer, such as letsencrypt"}},
		{"issuer of an unknown kind", instance, issuer("name: a, kind: clusterissuer"), []string{"spec.exposure.ingress.tls.issuerRef.kind: write Issuer or ClusterIssuer, or the group of another kind of issuer"}},
		{"issuer of a kind that is no kind", instance, issuer("name: a, group: example.com, kind: 'My-Issuer'"), []string{"spec.exposure.ingress.tls.issuerRef.kind: write the kind of an issuer: Issuer or ClusterIssuer"}},
		{"issuer of a group that is none", instance, issuer("name: a, group: 'cert-manager.io/v1'"), []string{"spec.exposure.ingress.tls.issuerRef.group: write an API group, such as cert-manager.io"}},
		{"issuer with a name too long", instance, issuer("name: %s", strings.Repeat("a", 254)), []string{"spec.exposure.ingress.tls.issuerRef.name: may not be more than 253 bytes"}},

		{"ingress and gateway", instance, spec("exposure: {ingress: {}, gateway: {parentRefs: [{name: web}]}}"), []string{"spec.exposure: write ingress or gateway, not both"}},
		{"gateway without parentRefs", instance, gateway(""), []string{"spec.exposure.gateway.parentRefs: Required value"}},
		{"gateway of no parentRefs", instance, gateway("parentRefs: []"), []string{"spec.exposure.gateway.parentRefs: should have at least 1 items"}},
		{"gateways without end", instance, gateway("parentRefs: [%s]", many(9, "{name: a%d}")), []string{"spec.exposure.gateway.parentRefs: must have at most 8 items"}},
		{"parentRef without a name", instance, gateway("parentRefs: [{namespace: infra}]"), []string{"spec.exposure.gateway.parentRefs[0].name: Required value"}},
		{"parentRef that is no name", instance, gateway("parentRefs: [{name: infra/web}]"), []string{"spec.exposure.gateway.parentRefs[0].name: write the metadata.name of a Gateway, as kubectl get gateway shows it"}},
		{"parentRef with a bad namespace", instance, gateway("parentRefs: [{name: web, namespace: in.fra}]"), []string{"spec.exposure.gateway.parentRefs[0].namespace: write the name of a namespace: lower-case letters, digits and '-'"}},
		{"parentRef with a namespace too long", instance, gateway("parentRefs: [{name: web, namespace: %s}]", strings.Repeat("a", 64)), []string{"spec.exposure.gateway.parentRefs[0].namespace: may not be more than 63 bytes"}},
		{"parentRef with a bad sectionName", instance, gateway("parentRefs: [{name: web, sectionName: HTTPS}]"), []string{"spec.exposure.gateway.parentRefs[0].sectionName: write the name of a listener, as it is in the Gateway's spec.listeners"}},
		{"parentRef with port 0", instance, gateway("parentRefs: [{name: web, port: 0}]"), []string{"spec.exposure.gateway.parentRefs[0].port: should be greater than or equal to 1"}},
		{"parentRef with a port too high", instance, gateway("parentRefs: [{name: web, port: 65536}]"), []string{"spec.exposure.gateway.parentRefs[0].port: should be less than or equal to 65535"}},
		{"parentRef written twice", instance, gateway("parentRefs: [{name: web}, {name: web}]"), []string{listenerOnce}},
		{"listener written twice", instance, gateway("parentRefs: [{name: web, sectionName: a, port: 1}, {name: web, sectionName: a, port: 2}]"), []string{listenerOnce}},
		{"a Gateway and a listener of it", instance, gateway("parentRefs: [{name: web}, {name: web, sectionName: a}]"), []string{listenerEach}},
		{"route annotation of the operator's", instance, gateway("parentRefs: [{name: web}], annotations: {packages-operator.io/note: mine}"), []string{"spec.exposure.gateway.annotations: choose other names: annotations under packages-operator.io/ are the operator's own"}},
		{"route annotation with a bad name", instance, gateway("parentRefs: [{name: web}], annotations: {a b: c}"), []string{"spec.exposure.gateway.annotations: write annotation names as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', such as external-dns.alpha.kubernetes.io/ttl"}},
		{"route label of the operator's", instance, gateway("parentRefs: [{name: web}], labels: {packages-operator.io/instance: other}"), []string{"spec.exposure.gateway.labels: choose other names: labels under packages-operator.io/ are the operator's own"}},
		{"route label with a bad value", instance, gateway("parentRefs: [{name: web}], labels: {team: the a team}"), []string{"spec.exposure.gateway.labels[team]: write a label value of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"}},
		{"tls Secret that is no name", instance, ingress("tls: {secretName: Packages_TLS}"), []string{"spec.exposure.ingress.tls.secretName: write the metadata.name of a Secret: lower-case letters, digits, '-' and '.', such as packages-tls"}},
	})
}

func TestBadOrganizationIsRefused(t *testing.T) {
	many := func(n int, format string) string {
		var items []string
		for i := range n {
			items = append(items, fmt.Sprintf(format, i))
		}
		return strings.Join(items, ", ")
	}
	table := []refused{
		{"no instanceRef", organization, spec("instanceRef: null"), []string{"spec.instanceRef: Required value"}},
		{"no name", organization, spec("name: null"), []string{"spec.name: Required value"}},
		{"no owners", organization, spec("owners: null"), []string{"spec.owners: Required value"}},
		{"empty owners", organization, spec("owners: []"), []string{"spec.owners: should have at least 1 items"}},
		{"owner written twice", organization, spec("owners: [monalisa, monalisa]"), []string{`spec.owners[1]: "monalisa"`}},
		{"owners without end", organization, spec("owners: [%s]", many(101, "u%d")), []string{"spec.owners: must have at most 100 items"}},
		{"owner of itself", organization, spec("owners: [octo-org]"), []string{"spec.owners: write users: an organization does not own itself"}},
		{"member written twice", organization, spec("members: [hubot, hubot]"), []string{`spec.members[1]: "hubot"`}},
		{"members without end", organization, spec("members: [%s]", many(1001, "u%d")), []string{"spec.members: must have at most 1000 items"}},
		{"member of itself", organization, spec("members: [hubot, octo-org]"), []string{"spec.members: write users: an organization is not a member of itself"}},
		{"teams without end", organization, spec("teams: [%s]", many(101, "{name: t%d}")), []string{"spec.teams: must have at most 100 items"}},
		{"team without a name", organization, spec("teams: [{members: [hubot]}]"), []string{"spec.teams[0].name: Required value"}},
		{"team written twice", organization, spec("teams: [{name: platform}, {name: platform}]"), []string{`spec.teams[1]: {"name":"platform"}`}},
		{"team member written twice", organization, spec("teams: [{name: platform, members: [hubot, hubot]}]"), []string{`spec.teams[0].members[1]: "hubot"`}},
		{"team members without end", organization, spec("teams: [{name: platform, members: [%s]}]", many(501, "u%d")), []string{"spec.teams[0].members: must have at most 500 items"}},
		{"teams of 5001 members together", organization, spec("teams: [%s, {name: last, members: [hubot]}]", many(10, "{name: t%d, members: ["+many(500, "u%d")+"]}")), []string{"spec.teams: list users at most 5000 times in all teams together: put further teams into another organization"}},
		{"team of itself", organization, spec("teams: [{name: platform}, {name: infra, members: [octo-org]}]"), []string{"spec.teams: write users: an organization is not in its own teams"}},
	}
	table = append(table, badTeamNames(organization, "spec.teams[0].name", func(name string) string { return spec("teams: [{name: %q}]", name) })...)
	table = append(table, badUserNames(organization, "spec.name", "octo-org", func(name string) string { return spec("name: %q", name) })...)
	table = append(table, badUserNames(organization, "spec.owners[0]", "monalisa", func(name string) string { return spec("owners: [%q]", name) })...)
	table = append(table, badUserNames(organization, "spec.members[0]", "monalisa", func(name string) string { return spec("members: [%q]", name) })...)
	table = append(table, badUserNames(organization, "spec.teams[0].members[0]", "monalisa", func(name string) string { return spec("teams: [{name: platform, members: [%q]}]", name) })...)
	testRefused(t, table)
}

// badTeamNames are the names that no team can have.
func badTeamNames(base, field string, patch func(name string) string) []refused {
	grammar := field + `: write lower-case letters and digits, joined by ".", "_", "__" or "-", such as platform`
	return []refused{
		{field + " in upper case", base, patch("Platform"), []string{field + ": write it in lower case: platform"}},
		{field + " of no characters", base, patch(""), []string{field + ": should be at least 1 chars long", grammar}},
		{field + " with its organization", base, patch("octo-org/platform"), []string{field + ": leave out the slash: write the team alone, such as platform"}},
		{field + " that ends with a dot", base, patch("platform."), []string{grammar}},
		{field + " longer than 100", base, patch(strings.Repeat("a", 101)), []string{field + ": may not be more than 100 bytes"}},
	}
}

func TestBadRepositoryIsRefused(t *testing.T) {
	user := func(format string, args ...any) string {
		return spec("access: {users: [{%s}]}", fmt.Sprintf(format, args...))
	}
	team := func(format string, args ...any) string {
		return spec("access: {teams: [{%s}]}", fmt.Sprintf(format, args...))
	}
	var users, teams []string
	for i := range 501 {
		users = append(users, fmt.Sprintf("{name: user%d, role: Read}", i))
	}
	for i := range 101 {
		teams = append(teams, fmt.Sprintf("{organization: octo-org, name: team%d, role: Read}", i))
	}
	account := func(format string, args ...any) string {
		return spec("access: {serviceAccounts: [{%s}]}", fmt.Sprintf(format, args...))
	}
	var accounts []string
	for i := range 101 {
		accounts = append(accounts, fmt.Sprintf("{namespace: ci, name: account%d, role: Read}", i))
	}
	table := []refused{
		{"a ServiceAccount without a namespace", repository, account("name: builder, role: Read"), []string{"spec.access.serviceAccounts[0].namespace: Required value"}},
		{"a ServiceAccount without a name", repository, account("namespace: ci, role: Read"), []string{"spec.access.serviceAccounts[0].name: Required value"}},
		{"a ServiceAccount without a role", repository, account("namespace: ci, name: builder"), []string{"spec.access.serviceAccounts[0].role: Required value"}},
		{"a ServiceAccount of an unknown role", repository, account("namespace: ci, name: builder, role: Push"), []string{`spec.access.serviceAccounts[0].role: supported values: "Read", "Write", "Admin"`}},
		{"a ServiceAccount by its user name", repository, account("namespace: ci, name: 'system:serviceaccount:ci:builder', role: Read"), []string{"spec.access.serviceAccounts[0].name: write the metadata.name of a ServiceAccount: lower-case letters, digits, '-' and '.', such as builder"}},
		{"every ServiceAccount of a namespace", repository, account("namespace: ci, name: '*', role: Read"), []string{"spec.access.serviceAccounts[0].name: write the metadata.name of a ServiceAccount: lower-case letters, digits, '-' and '.', such as builder"}},
		{"a ServiceAccount of every namespace", repository, account("namespace: '*', name: builder, role: Read"), []string{"spec.access.serviceAccounts[0].namespace: write the name of a namespace: lower-case letters, digits and '-', such as ci"}},
		{"a ServiceAccount twice", repository, spec("access: {serviceAccounts: [{namespace: ci, name: builder, role: Read}, {namespace: ci, name: builder, role: Write}]}"), []string{`spec.access.serviceAccounts[1]: Duplicate value: {"name":"builder","namespace":"ci"}`}},
		{"101 ServiceAccounts", repository, spec("access: {serviceAccounts: [%s]}", strings.Join(accounts, ", ")), []string{"spec.access.serviceAccounts: must have at most 100 items"}},
		{"an instance in a namespace that is no name", repository, spec("instanceRef: {namespace: Registry}"), []string{"spec.instanceRef.namespace: write the name of a namespace: lower-case letters, digits and '-', such as registry"}},
		{"no instanceRef", repository, spec("instanceRef: null"), []string{"spec.instanceRef: Required value"}},
		{"instanceRef without a name", repository, spec("instanceRef: {name: null}"), []string{"spec.instanceRef.name: Required value"}},
		{"instanceRef that no instance can have", repository, spec("instanceRef: {name: Acme}"), []string{"spec.instanceRef.name: write the metadata.name of a PackagesInstance: lower-case letters, digits and '-', beginning with a letter, such as acme"}},
		{"no owner", repository, spec("owner: null"), []string{"spec.owner: Required value"}},
		{"no name", repository, spec("name: null"), []string{"spec.name: Required value"}},
		{"name in upper case", repository, spec("name: Octo-App"), []string{"spec.name: write it in lower case: octo-app"}},
		{"name with its owner", repository, spec("name: octocat/octo-app"), []string{"spec.name: leave out the slash: write the repository alone, such as octo-app, and its owner in owner"}},
		{"name with a dot at the end", repository, spec("name: octo-app."), []string{`spec.name: write lower-case letters and digits, joined by ".", "_", "__" or "-", such as octo-app`}},
		{"name longer than 100", repository, spec("name: %s", strings.Repeat("a", 101)), []string{"spec.name: may not be more than 100 bytes"}},
		{"unknown visibility", repository, spec("visibility: private"), []string{`spec.visibility: supported values: "Private", "Internal", "Public"`}},
		{"unknown deletionPolicy", repository, spec("deletionPolicy: Keep"), []string{`spec.deletionPolicy: supported values: "Retain", "Delete"`}},
		{"user without a role", repository, user("name: monalisa"), []string{"spec.access.users[0].role: Required value"}},
		{"user without a name", repository, user("role: Read"), []string{"spec.access.users[0].name: Required value"}},
		{"user with an unknown role", repository, user("name: monalisa, role: Maintain"), []string{`spec.access.users[0].role: supported values: "Read", "Write", "Admin"`}},
		{"user named twice", repository, spec("access: {users: [{name: monalisa, role: Read}, {name: monalisa, role: Write}]}"), []string{`spec.access.users[1]: {"name":"monalisa"}`}},
		{"users without end", repository, spec("access: {users: [%s]}", strings.Join(users, ", ")), []string{"spec.access.users: must have at most 500 items"}},
		{"team without an organization", repository, team("name: platform, role: Read"), []string{"spec.access.teams[0].organization: Required value"}},
		{"team without a name", repository, team("organization: octo-org, role: Read"), []string{"spec.access.teams[0].name: Required value"}},
		{"team without a role", repository, team("organization: octo-org, name: platform"), []string{"spec.access.teams[0].role: Required value"}},
		{"team with an unknown role", repository, team("organization: octo-org, name: platform, role: Maintain"), []string{`spec.access.teams[0].role: supported values: "Read", "Write", "Admin"`}},
		{"team named twice", repository, spec("access: {teams: [{organization: octo-org, name: platform, role: Read}, {organization: octo-org, name: platform, role: Write}]}"), []string{`spec.access.teams[1]: {"name":"platform","organization":"octo-org"}`}},
		{"teams without end", repository, spec("access: {teams: [%s]}", strings.Join(teams, ", ")), []string{"spec.access.teams: must have at most 100 items"}},
	}
	table = append(table, badTeamNames(repository, "spec.access.teams[0].name", func(name string) string { return team("organization: octo-org, name: %q, role: Read", name) })...)
	table = append(table, badUserNames(repository, "spec.access.teams[0].organization", "octo-org", func(name string) string {
		return team("organization: %q, name: platform, role: Read", name)
	})...)
	table = append(table, badUserNames(repository, "spec.owner", "octocat", func(name string) string { return spec("owner: %q", name) })...)
	table = append(table, badUserNames(repository, "spec.access.users[0].name", "monalisa", func(name string) string { return user("name: %q, role: Read", name) })...)
	testRefused(t, table)
}

// badUserNames are the names that neither a user nor an owner can have.
func badUserNames(base, field, example string, patch func(name string) string) []refused {
	grammar := fmt.Sprintf(`%s: write lower-case letters and digits, joined by ".", "_", "__" or "-", such as %s`, field, example)
	rows := []refused{
		{field + " in upper case", base, patch("MonaLisa"), []string{field + ": write it in lower case: monalisa"}},
		{field + " of no characters", base, patch(""), []string{field + ": should be at least 1 chars long", grammar}},
		{field + " with a slash", base, patch("octo/cat"), []string{grammar}},
		{field + " that begins with a dash", base, patch("-octocat"), []string{grammar}},
		{field + " that ends with a dot", base, patch("octocat."), []string{grammar}},
		{field + " with three underscores", base, patch("octo___cat"), []string{grammar}},
		{field + " with two dots", base, patch("octo..cat"), []string{grammar}},
		{field + " with letters beyond ASCII", base, patch("öctocat"), []string{grammar}},
		{field + " with a line break", base, patch("octocat\n"), []string{grammar}},
		{field + " longer than 39", base, patch(strings.Repeat("a", 40)), []string{field + ": may not be more than 39 bytes"}},
	}
	for _, name := range []string{"v2", "token", "api", "healthz", "readyz", "metrics", "login", "logout", "settings", "assets", "-"} {
		rows = append(rows, refused{field + " reserved: " + name, base, patch(name), []string{field + ": the name " + name + " is reserved: write another"}})
	}
	return rows
}

func TestBadTokenIsRefused(t *testing.T) {
	var repositories []string
	for i := range 101 {
		repositories = append(repositories, fmt.Sprintf("octocat/app%d", i))
	}
	const narrowing = "spec.repositories[0]: write OWNER/REPOSITORY or OWNER/*, such as octocat/octo-app"
	table := []refused{
		{"name longer than a label value", token, "metadata: {name: " + strings.Repeat("a", 64) + "}", []string{": write a metadata.name of at most 63 characters: it becomes a label of the token's Secret"}},
		{"no instanceRef", token, spec("instanceRef: null"), []string{"spec.instanceRef: Required value"}},
		{"no user", token, spec("user: null"), []string{"spec.user: Required value"}},
		{"no scopes", token, spec("scopes: null"), []string{"spec.scopes: Required value"}},
		{"empty scopes", token, spec("scopes: []"), []string{"spec.scopes: should have at least 1 items"}},
		{"unknown scope", token, spec("scopes: ['admin:packages']"), []string{`spec.scopes[0]: supported values: "read:packages", "write:packages", "delete:packages"`}},
		{"scope written twice", token, spec("scopes: ['read:packages', 'read:packages']"), []string{`spec.scopes[1]: "read:packages"`}},
		{"no repositories at all", token, spec("repositories: []"), []string{"spec.repositories: should have at least 1 items"}},
		{"repository written twice", token, spec("repositories: [octocat/octo-app, octocat/octo-app]"), []string{`spec.repositories[1]: "octocat/octo-app"`}},
		{"repository without an owner", token, spec("repositories: [octo-app]"), []string{narrowing}},
		{"repository with an image", token, spec("repositories: [octocat/octo-app/image]"), []string{narrowing}},
		{"repository that is a pattern", token, spec("repositories: ['octocat/octo-*']"), []string{narrowing}},
		{"repository of every owner", token, spec("repositories: ['*/octo-app']"), []string{narrowing}},
		{"repository in upper case", token, spec("repositories: [Octocat/octo-app]"), []string{"spec.repositories[0]: write it in lower case: octocat/octo-app"}},
		{"repository with an owner longer than 39", token, spec("repositories: [%s/octo-app]", strings.Repeat("a", 40)), []string{narrowing}},
		{"repository with a name longer than 100", token, spec("repositories: [a/%s]", strings.Repeat("a", 101)), []string{narrowing}},
		{"repositories without end", token, spec("repositories: [%s]", strings.Join(repositories, ", ")), []string{"spec.repositories: must have at most 100 items"}},
		{"expiresAt that is no instant", token, spec("expiresAt: tomorrow"), []string{`spec.expiresAt: must be of type date-time: "tomorrow"`}},
		{"expiresAt without a time of day", token, spec("expiresAt: '2027-01-01'"), []string{`spec.expiresAt: must be of type date-time: "2027-01-01"`}},
		{"rotation without an interval", token, spec("rotation: {overlap: 1h}"), []string{"spec.rotation.interval: Required value"}},
		{"rotation without an overlap", token, spec("rotation: {interval: 24h}"), []string{"spec.rotation.overlap: Required value"}},
		{"rotation of less than an hour", token, spec("rotation: {interval: 59m59s, overlap: 1m}"), []string{"spec.rotation.interval: write an interval of at least 1h"}},
		{"rotation in days", token, spec("rotation: {interval: 7d, overlap: 1h}"), []string{"spec.rotation.interval: write hours, minutes and seconds, such as 168h or 1h30m"}},
		{"rotation in seconds without a unit", token, spec("rotation: {interval: 86400, overlap: 1h}"), []string{`spec.rotation.interval: must be of type string: "integer"`}},
		{"rotation of nothing", token, spec("rotation: {interval: '', overlap: ''}"), []string{"spec.rotation.interval: should be at least 2 chars long", "spec.rotation.interval: write hours, minutes and seconds, such as 168h or 1h30m", "spec.rotation.overlap: should be at least 2 chars long", "spec.rotation.overlap: write hours, minutes and seconds, such as 24h or 1h30m"}},
		{"rotation backwards", token, spec("rotation: {interval: 24h, overlap: -1h}"), []string{"spec.rotation.overlap: write hours, minutes and seconds, such as 24h or 1h30m"}},
		{"rotation beyond every calendar", token, spec("rotation: {interval: 9999999999h, overlap: 1h}"), []string{"spec.rotation.interval: write hours, minutes and seconds, such as 168h or 1h30m"}},
		{"overlap as long as the interval", token, spec("rotation: {interval: 1h, overlap: 60m}"), []string{"spec.rotation.overlap: write an overlap that is shorter than the interval of 1h"}},
		{"rotation of your own value", sourcedToken, spec("rotation: {interval: 24h, overlap: 1h}"), []string{"spec.rotation: rotation has no effect on a value that you bring: leave it out, and change the value in its Secret"}},
		{"neither secret nor source", token, spec("secret: null"), []string{"spec: write secret, such as secret: {name: monalisa-token}, to have the operator make the value, or source to bring your own"}},
		{"secret and source", token, spec("source: {secretRef: {name: mine, key: token}}"), []string{"spec: write secret or source, not both: secret has the operator make the value, source brings your own"}},
		{"secret without a name", token, spec("secret: {name: null}"), []string{"spec.secret.name: Required value"}},
		{"secret that is no name", token, spec("secret: {name: Monalisa_Token}"), []string{"spec.secret.name: write a metadata.name for the Secret: lower-case letters, digits, '-' and '.', such as monalisa-token"}},
		{"unknown type of Secret", token, spec("secret: {type: kubernetes.io/dockerconfigjson}"), []string{`spec.secret.type: supported values: "Opaque", "DockerConfigJSON"`}},
		{"source without a Secret", sourcedToken, spec("source: {secretRef: null}"), []string{"spec.source.secretRef: Required value"}},
		{"source without a key", sourcedToken, spec("source: {secretRef: {key: null}}"), []string{"spec.source.secretRef.key: Required value"}},
		{"source with a bad key", sourcedToken, spec("source: {secretRef: {key: 'the token'}}"), []string{"spec.source.secretRef.key: write a key of the Secret's data: letters, digits, '-', '_' and '.', such as token"}},
		{"source that is no name", sourcedToken, spec("source: {secretRef: {name: Mine}}"), []string{"spec.source.secretRef.name: write the metadata.name of a Secret: lower-case letters, digits, '-' and '.', such as monalisa-value"}},
	}
	table = append(table, badUserNames(token, "spec.user", "monalisa", func(name string) string { return spec("user: %q", name) })...)
	testRefused(t, table)
}

func TestBadPolicyIsRefused(t *testing.T) {
	const head = "spec: write revision and parts with index 0, and with no other index"
	testRefused(t, []refused{
		{"no instanceRef", policy, spec("instanceRef: null"), []string{"spec.instanceRef: Required value"}},
		{"format of no version", policy, spec("formatVersion: 0"), []string{"spec.formatVersion: should be greater than or equal to 1"}},
		{"negative index", policy, spec("index: -1, revision: null, parts: null"), []string{"spec.index: should be greater than or equal to 0"}},
		{"index beyond the last", policy, spec("index: 1024, revision: null, parts: null"), []string{"spec.index: should be less than or equal to 1023"}},
		{"first part without a revision", policy, spec("revision: null"), []string{head}},
		{"first part without digests", policy, spec("parts: null"), []string{head}},
		{"later part with a revision", policy, spec("index: 1, parts: null"), []string{head}},
		{"later part with digests", policy, spec("index: 1, revision: null"), []string{head}},
		{"part that is no digest", policy, spec("parts: [%s]", sixtyFourHex), []string{"spec.parts[0]: should match '^sha256:[0-9a-f]{64}$'"}},
		{"no document", policy, spec("document: null"), []string{"spec.document: Required value"}},
		{"document over the cap", policy, spec("document: %q", strings.Repeat("a", 262145)), []string{"spec.document: may not be more than 262144 bytes"}},
	})
}

// quantityPattern is how the API server refuses what is no quantity at all.
const quantityPattern = `should match '^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$'`

// longHost is a DNS name of n characters.
func longHost(n int) string {
	name := strings.Repeat(strings.Repeat("a", 59)+".", n/60+1)
	return strings.Repeat("b", 3) + name[:n-5] + "cc"
}
