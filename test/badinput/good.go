// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// good have every field that people may write, between them: where two fields exclude
// each other there are two objects of one kind.
var good = []string{`
apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata: {name: acme}
spec:
  hostname: packages.example.com
  subdomainIsolation: Enabled
  docker:
    support: Enabled
    anonymousPull: Deny
    foreignLayers: Reject
    missingReferences: Reject
    limits: {maxLayerSize: 5Gi, warnImageSize: 10Gi}
  storage: {filesystem: {size: 1Gi, storageClassName: fast}}
  exposure:
    ingress:
      className: traefik
      annotations: {example.com/note: any text}
      labels: {example.com/team: a}
      tls: {secretName: packages-tls, issuerRef: {name: ours, kind: AWSPCAClusterIssuer, group: awspca.cert-manager.io}}
  deletionPolicy: Retain
  podTemplate:
    labels: {example.com/team: a}
    annotations: {example.com/note: any text}
    resources: {requests: {cpu: 100m}, limits: {memory: 512Mi}}
    nodeSelector: {kubernetes.io/os: linux}
    tolerations: [{key: dedicated, operator: Exists}]
    affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {a: b}}}]
    priorityClassName: system-cluster-critical
  suspend: false
  allowedNamespaces: [{names: [team-a], owners: [octo-org]}]
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata: {name: selecting}
spec:
  hostname: selecting.example.com
  storage: {filesystem: {size: 1Gi}}
  exposure:
    gateway:
      parentRefs: [{name: traefik, namespace: ingress, sectionName: https, port: 443}]
      annotations: {example.com/note: any text}
      labels: {example.com/team: a}
  allowedNamespaces:
    - selector:
        matchLabels: {example.com/team: a}
        matchExpressions: [{key: example.com/tier, operator: In, values: [a]}]
      owners: [octo-org]
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesInstance
metadata: {name: routed}
spec:
  hostname: packages.example.com
  storage: {filesystem: {size: 1Gi}}
  exposure:
    gateway:
      parentRefs: [{name: web, namespace: infra, sectionName: https, port: 443}]
      annotations: {example.com/note: any text}
      labels: {example.com/team: a}
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesOrganization
metadata: {name: octo-org}
spec:
  instanceRef: {name: acme, namespace: packages}
  name: octo-org
  owners: [monalisa]
  members: [hubot]
  teams: [{name: platform, members: [hubot]}]
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesRepository
metadata: {name: octo-app}
spec:
  instanceRef: {name: acme, namespace: packages}
  owner: octocat
  name: octo-app
  visibility: Private
  access:
    users: [{name: monalisa, role: Write}]
    teams: [{organization: octo-org, name: platform, role: Read}]
    serviceAccounts: [{namespace: team-a, name: builder, role: Write}]
  deletionPolicy: Retain
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata: {name: monalisa}
spec:
  instanceRef: {name: acme, namespace: packages}
  user: monalisa
  scopes: ['read:packages']
  repositories: [octocat/octo-app]
  expiresAt: '2099-01-01T00:00:00Z'
  rotation: {interval: 168h, overlap: 24h}
  secret: {name: monalisa-token, type: Opaque}
`, `
apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata: {name: hubot}
spec:
  instanceRef: {name: acme, namespace: packages}
  user: hubot
  scopes: ['read:packages']
  source: {secretRef: {name: hubot-value, key: value}}
`}

// Opaque are the fields whose insides Kubernetes defines.
var Opaque = []string{
	"spec.podTemplate.affinity", "spec.podTemplate.tolerations[0]", "spec.podTemplate.topologySpreadConstraints[0]",
}

// Good returns objects that have every field that people may write, between them.
func Good() ([]*unstructured.Unstructured, error) {
	objects := make([]*unstructured.Unstructured, len(good))
	for i, text := range good {
		objects[i] = &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(text), &objects[i].Object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}
