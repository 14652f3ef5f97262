// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"fmt"
	"path/filepath"
	"strings"
)

const (
	// IngressClass is the class that Traefik serves.
	IngressClass = "traefik"
	// GatewayClass is the class of Gateways that Traefik serves, at ports 80 and 443.
	GatewayClass = "traefik"
	// StorageClass is the default class, of volumes that are directories.
	StorageClass = "local"

	volumeCount = 24
	volumeSize  = "20Gi"

	traefikTokenFile = "traefik-token"
	systemNamespace  = "kube-system"
)

// baseObjects are what the cluster has from the start: a default storage
// class, Traefik's class and identity.
const baseObjects = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: ` + StorageClass + `
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ` + IngressClass + `}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ` + Traefik + `, namespace: ` + systemNamespace + `}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: ` + Traefik + `}
rules:
- {apiGroups: [""], resources: [services, secrets, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update]}
- {apiGroups: [""], resources: [namespaces, configmaps], verbs: [get, list, watch]}
- {apiGroups: [gateway.networking.k8s.io], resources: [gatewayclasses, gateways, httproutes, grpcroutes, referencegrants, backendtlspolicies], verbs: [get, list, watch]}
- {apiGroups: [gateway.networking.k8s.io], resources: [gatewayclasses/status, gateways/status, httproutes/status, grpcroutes/status, backendtlspolicies/status], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ` + Traefik + `}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ` + Traefik + `}
subjects: [{kind: ServiceAccount, name: ` + Traefik + `, namespace: ` + systemNamespace + `}]
`

// gatewayObjects are for Gateways, once the cluster serves their kinds.
const gatewayObjects = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ` + GatewayClass + `}
spec: {controllerName: traefik.io/gateway-controller}
`

// gatewayModule has the definitions of the Gateway API, of which Traefik needs these.
const gatewayModule = "sigs.k8s.io/gateway-api"

var gatewayKinds = []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies"}

// volumeName of the i-th pre-made volume, and of its directory.
func volumeName(i int) string { return fmt.Sprintf("%s-%02d", StorageClass, i) }

// volumes are the pre-made PersistentVolumes: nothing in the cluster provisions any.
func volumes(l layout) string {
	var b strings.Builder
	for i := range volumeCount {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: %s}
spec:
  capacity: {storage: %s}
  accessModes: [ReadWriteOnce]
  storageClassName: %s
  persistentVolumeReclaimPolicy: Retain
  local: {path: %q}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]
`, volumeName(i), volumeSize, StorageClass, filepath.Join(l.Dir, "volumes", volumeName(i)), l.Name)
	}
	return b.String()
}
