// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

const (
	kindName = "packages-operator-demo"
	kindNode = kindName + "-control-plane"

	kindConfig = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
- |-
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`
	traefikImage = "localhost/packages-operator/traefik:demo"

	// Traefik on the node's own network, as on many a small cluster.
	traefikObjects = `apiVersion: v1
kind: Namespace
metadata: {name: traefik}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ` + localcluster.IngressClass + `}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: traefik, namespace: traefik}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: traefik}
rules:
- {apiGroups: [""], resources: [services, secrets, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: traefik}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: traefik}
subjects: [{kind: ServiceAccount, name: traefik, namespace: traefik}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traefik, namespace: traefik}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: traefik}}
  template:
    metadata: {labels: {app: traefik}}
    spec:
      serviceAccountName: traefik
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers:
      - name: traefik
        image: ` + traefikImage + `
        imagePullPolicy: Never
        args:
        - --entrypoints.web.address=:80
        - --entrypoints.websecure.address=:443
        - --entrypoints.websecure.http.tls=true
        - --entrypoints.websecure.transport.respondingTimeouts.readTimeout=0
        - --providers.kubernetesingress=true
        - --providers.kubernetesingress.ingressclass=` + localcluster.IngressClass + `
        - --global.checknewversion=false
        - --global.sendanonymoususage=false
        readinessProbe: {tcpSocket: {port: 443}}
`
)

// kindTarget is a kind cluster in the Docker daemon of this machine.
type kindTarget struct {
	cluster  *localcluster.Cluster // for the Docker daemon and the authority
	dir      string
	progress *progress
}

func (t *kindTarget) kubeconfig() string { return filepath.Join(t.dir, "kubeconfig") }

func (t *kindTarget) kubectl(ctx context.Context) (string, error) {
	dir, err := tool(ctx, t.progress, "kubectl")
	return filepath.Join(dir, "kubectl"), err
}

func (t *kindTarget) kind(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "kind", append(args, "--name", kindName)...)
}

func (t *kindTarget) up(ctx context.Context) error {
	if err := t.cluster.EnsureAuthority(); err != nil {
		return err
	}
	clusters, err := output(ctx, exec.CommandContext(ctx, "kind", "get", "clusters"))
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(clusters), kindName) {
		if _, err := output(ctx, t.kind(ctx, "export", "kubeconfig", "--kubeconfig", t.kubeconfig())); err != nil {
			return err
		}
	} else {
		cmd := t.kind(ctx, "create", "cluster", "--kubeconfig", t.kubeconfig(), "--config", "-", "--wait", "120s")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(kindConfig), t.progress, t.progress
		if err := cmd.Run(); err != nil {
			return advise(fmt.Errorf("kind create cluster: %w", err), "see kind's output above, or use DEMO_CLUSTER=local.")
		}
	}
	return t.installTraefik(ctx)
}

func (t *kindTarget) installTraefik(ctx context.Context) error {
	dir, err := tool(ctx, t.progress, "traefik")
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(filepath.Join(dir, "traefik"))
	if err != nil {
		return err
	}
	archive := filepath.Join(t.dir, "traefik.tar")
	if err := localcluster.WriteImageArchive(archive, traefikImage, localcluster.ImageConfig{Entrypoint: []string{"/traefik"}},
		[]localcluster.ImageFile{{Path: "traefik", Data: binary, Mode: 0o755}}); err != nil {
		return err
	}
	if err := t.loadImage(ctx, archive); err != nil {
		return err
	}
	k, err := newKube(ctx, t)
	if err != nil {
		return err
	}
	if err := k.apply(ctx, traefikObjects); err != nil {
		return err
	}
	_, err = k.run(ctx, "rollout", "status", "deployment/traefik", "--namespace=traefik", "--timeout=120s")
	return err
}

func (t *kindTarget) loadImage(ctx context.Context, archive string) error {
	_, err := output(ctx, t.kind(ctx, "load", "image-archive", archive))
	return err
}

func (t *kindTarget) ingress(ctx context.Context) (string, netip.Addr, error) {
	out, err := output(ctx, exec.CommandContext(ctx, "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", kindNode))
	if err != nil {
		return "", netip.Addr{}, err
	}
	address, err := netip.ParseAddr(strings.TrimSpace(out))
	return localcluster.IngressClass, address, err
}

func (t *kindTarget) trust(ctx context.Context, hosts []string) error {
	_, address, err := t.ingress(ctx)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(t.cluster.CACert())
	if err != nil {
		return err
	}
	for _, host := range hosts {
		script := fmt.Sprintf(`set -e
hosts=$(grep -v ' %[1]s$' /etc/hosts)
printf '%%s\n%[2]s %[1]s\n' "$hosts" >/etc/hosts
mkdir -p /etc/containerd/certs.d/%[1]s
cat >/etc/containerd/certs.d/%[1]s/ca.crt
cat >/etc/containerd/certs.d/%[1]s/hosts.toml <<END
server = "https://%[1]s"
[host."https://%[1]s"]
capabilities = ["pull", "resolve"]
ca = "/etc/containerd/certs.d/%[1]s/ca.crt"
END
`, host, address)
		cmd := exec.CommandContext(ctx, "docker", "exec", "--interactive", kindNode, "sh", "-c", script)
		cmd.Stdin = strings.NewReader(string(ca))
		if _, err := output(ctx, cmd); err != nil {
			return err
		}
	}
	return nil
}

func (t *kindTarget) down(ctx context.Context) ([]string, error) {
	if _, err := output(ctx, t.kind(ctx, "delete", "cluster", "--kubeconfig", t.kubeconfig())); err != nil {
		return nil, err
	}
	removed, err := t.cluster.Down(ctx)
	return append([]string{"kind cluster " + kindName}, removed...), err
}
