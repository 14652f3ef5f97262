// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// Addresses inside a cluster. They are the same in every one, because each has
// a network of its own.
const (
	podRange       = "10.244.0.0/16"
	serviceRange   = "10.96.0.0/16"
	firstServiceIP = "10.96.0.1"
	apiServerPort  = 6443

	containerdSocket = "/run/containerd/containerd.sock"
	// pauseImage is built here, see pauseArchive.
	pauseImage = "localhost/packages-operator/pause:1"
)

// layout gives the configuration templates their values.
type layout struct {
	Name        string // of the cluster and its node
	Dir         string
	NodeIP      string
	CNIBin      string
	Snapshotter string
	Cgroup      string
}

func (l layout) PKI(file string) string { return filepath.Join(l.Dir, "pki", file) }

// Values of the constants above, for the templates.
func (layout) PodRange() string     { return podRange }
func (layout) ServiceRange() string { return serviceRange }
func (layout) Socket() string       { return containerdSocket }
func (layout) PauseImage() string   { return pauseImage }

// render fills in a template. Values are quoted by the templates with printf
// %q, whose result is a string in YAML, JSON and TOML alike.
func (l layout) render(text string) (string, error) {
	t, err := template.New("config").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, l); err != nil {
		return "", err
	}
	return out.String(), nil
}

// configFiles are the files that the components read, by path below the
// cluster's directory.
var configFiles = map[string]string{
	"config/audit-policy.yaml":       auditPolicy,
	"config/kubelet.yaml":            kubeletConfig,
	"config/kube-proxy.yaml":         proxyConfig,
	"config/containerd.toml":         containerdConfig,
	"etc/cni/net.d/10-pods.conflist": cniConfig,
}

// Leases are renewed every few seconds by design, and health is asked all the time.
// Those of pods are there: tests ask what their rights were used for.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: None
  nonResourceURLs: ["/livez*", "/readyz*", "/healthz*"]
- level: Metadata
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{printf "%q" (.PKI "ca.crt")}}}
authorization: {mode: Webhook}
tlsCertFile: {{printf "%q" (.PKI "kubelet-server.crt")}}
tlsPrivateKeyFile: {{printf "%q" (.PKI "kubelet-server.key")}}
containerRuntimeEndpoint: unix://{{.Socket}}
cgroupDriver: cgroupfs
cgroupRoot: {{printf "%q" .Cgroup}}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
resolvConf: ""
clusterDomain: cluster.local
podLogsDir: /var/log/pods
serializeImagePulls: false
# The disk belongs to somebody else: its filling up is no reason to evict.
evictionHard: {memory.available: 64Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 2s
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: {{.PodRange}}
clientConnection: {kubeconfig: {{printf "%q" (.PKI "kube-proxy.kubeconfig")}}}
hostnameOverride: {{.Name}}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
# Zero leaves the connection table's settings, which are the whole host's, alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

const containerdConfig = `version = 2
root = {{printf "%q" (printf "%s/containerd" .Dir)}}
state = "/run/containerd"
[grpc]
address = "{{.Socket}}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{{.PauseImage}}"
# Without CAP_SYS_RESOURCE nobody may lower a process's OOM score.
restrict_oom_score_adj = true
# A profile would be loaded into the host's kernel, and stay there.
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {{printf "%q" .CNIBin}}
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{{.Snapshotter}}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
`

// Pods hang on point-to-point links, not on a bridge: traffic from a pod through
// a Service to a pod is then always routed, and needs no br_netfilter module.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// pinnedSysctls are what the kubelet would set for the whole host.
var pinnedSysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// writeConfig writes the components' configuration files and kubeconfigs.
func writeConfig(l layout) error {
	for name, text := range configFiles {
		content, err := l.render(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := writeFile(filepath.Join(l.Dir, name), content, 0o644); err != nil {
			return err
		}
	}
	local := fmt.Sprintf("https://127.0.0.1:%d", apiServerPort)
	remote := fmt.Sprintf("https://%s:%d", l.NodeIP, apiServerPort)
	for _, k := range []struct{ user, server, path string }{
		{ControllerManager, local, l.PKI(ControllerManager + ".kubeconfig")},
		{Scheduler, local, l.PKI(Scheduler + ".kubeconfig")},
		{Kubelet, local, l.PKI(Kubelet + ".kubeconfig")},
		{Proxy, local, l.PKI(Proxy + ".kubeconfig")},
		{admin, remote, filepath.Join(l.Dir, "kubeconfig")},
	} {
		content, err := kubeconfig(l, k.user, k.server)
		if err != nil {
			return err
		}
		if err := writeFile(k.path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfig embeds the certificates, so that the file can be copied.
func kubeconfig(l layout, user, server string) (string, error) {
	var encoded []any
	for _, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		data, err := os.ReadFile(l.PKI(file))
		if err != nil {
			return "", err
		}
		encoded = append(encoded, base64.StdEncoding.EncodeToString(data))
	}
	text := strings.NewReplacer("NAME", l.Name, "USER", user, "SERVER", server).Replace(`apiVersion: v1
kind: Config
current-context: NAME
contexts: [{name: NAME, context: {cluster: NAME, user: USER}}]
clusters: [{name: NAME, cluster: {server: "SERVER", certificate-authority-data: %s}}]
users: [{name: USER, user: {client-certificate-data: %s, client-key-data: %s}}]
`)
	return fmt.Sprintf(text, encoded...), nil
}

func writeFile(path, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), mode)
}
