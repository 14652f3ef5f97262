// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"fmt"
	"path/filepath"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// components are the command lines of the node's programs.
func components(l layout, t tools) []machine.Component {
	pki := l.PKI
	local := fmt.Sprintf("https://127.0.0.1:%d", apiServerPort)
	list := []machine.Component{
		{Name: Etcd, Args: []string{
			"--name=" + l.Name,
			"--data-dir=" + filepath.Join(l.Dir, "etcd"),
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=" + l.Name + "=http://127.0.0.1:2380",
			// The cluster's state outlives no power failure, and need not.
			"--unsafe-no-fsync",
			"--log-level=warn",
		}},
		{Name: APIServer, Args: []string{
			"--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", apiServerPort),
			"--advertise-address=" + l.NodeIP,
			"--service-cluster-ip-range=" + serviceRange,
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--client-ca-file=" + pki("ca.crt"),
			"--tls-cert-file=" + pki(APIServer+".crt"), "--tls-private-key-file=" + pki(APIServer+".key"),
			// Nothing is aggregated, but clients of these settings complain for ever without them.
			"--requestheader-client-ca-file=" + pki("ca.crt"), "--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--kubelet-certificate-authority=" + pki("ca.crt"),
			"--kubelet-client-certificate=" + pki(kubeletClient+".crt"), "--kubelet-client-key=" + pki(kubeletClient+".key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + pki("sa.pub"), "--service-account-signing-key-file=" + pki("sa.key"),
			"--audit-policy-file=" + filepath.Join(l.Dir, "config/audit-policy.yaml"),
			"--audit-log-path=" + filepath.Join(l.Dir, "audit.log"), "--audit-log-maxsize=1024",
		}},
		{Name: Containerd, Args: []string{"containerd", "--config=" + filepath.Join(l.Dir, "config/containerd.toml")}},
		{Name: ControllerManager, Args: []string{
			"--kubeconfig=" + pki(ControllerManager+".kubeconfig"),
			"--authentication-kubeconfig=" + pki(ControllerManager+".kubeconfig"),
			"--authorization-kubeconfig=" + pki(ControllerManager+".kubeconfig"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
			"--use-service-account-credentials",
			"--node-monitor-period=1s", // how soon a node's being Ready is acted on
			"--root-ca-file=" + pki("ca.crt"),
			"--service-account-private-key-file=" + pki("sa.key"),
			"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
		}},
		{Name: Scheduler, Args: []string{
			"--kubeconfig=" + pki(Scheduler+".kubeconfig"),
			"--authentication-kubeconfig=" + pki(Scheduler+".kubeconfig"),
			"--authorization-kubeconfig=" + pki(Scheduler+".kubeconfig"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
		}},
		{Name: Kubelet, Args: []string{
			"--config=" + filepath.Join(l.Dir, "config/kubelet.yaml"),
			"--kubeconfig=" + pki(Kubelet+".kubeconfig"),
			"--root-dir=" + filepath.Join(l.Dir, "kubelet"),
			"--cert-dir=" + filepath.Join(l.Dir, "kubelet/pki"),
			"--hostname-override=" + l.Name,
			"--node-ip=" + l.NodeIP,
		}},
		{Name: Proxy, Args: []string{"--config=" + filepath.Join(l.Dir, "config/kube-proxy.yaml")}},
		{Name: Traefik, Args: []string{
			"--entrypoints.web.address=:80",
			"--entrypoints.websecure.address=:443",
			"--entrypoints.websecure.http.tls=true",
			// A push of many gigabytes takes as long as it takes.
			"--entrypoints.web.transport.respondingTimeouts.readTimeout=0",
			"--entrypoints.websecure.transport.respondingTimeouts.readTimeout=0",
			"--providers.kubernetesingress.endpoint=" + local,
			"--providers.kubernetesingress.certauthfilepath=" + pki("ca.crt"),
			"--providers.kubernetesingress.token=" + filepath.Join(l.Dir, traefikTokenFile),
			"--providers.kubernetesingress.ingressclass=" + IngressClass,
			"--providers.kubernetesingress.ingressendpoint.ip=" + l.NodeIP,
			"--providers.kubernetesingress.allowemptyservices=true",
			"--providers.kubernetesgateway.endpoint=" + local,
			"--providers.kubernetesgateway.certauthfilepath=" + pki("ca.crt"),
			"--providers.kubernetesgateway.token=" + filepath.Join(l.Dir, traefikTokenFile),
			"--providers.kubernetesgateway.statusaddress.ip=" + l.NodeIP,
			"--global.checknewversion=false", "--global.sendanonymoususage=false",
			"--log.level=INFO",
		}},
	}
	for i := range list {
		if c := &list[i]; c.Name != Containerd { // it comes from the host's PATH
			c.Args = append([]string{t.path(c.Name)}, c.Args...)
		}
	}
	return list
}
