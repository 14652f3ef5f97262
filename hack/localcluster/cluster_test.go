// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux && cluster

package localcluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/packages-operator/packages-operator/hack/localcluster"
	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// Run with: go test -tags cluster -v -timeout 20m ./hack/localcluster
// It needs root and takes a real node and a real Docker daemon up and down.

const testHost = "hello.packages.test"

// The test's own server, so that no image has to come from anywhere: it
// answers on port 8080, and says what its volume held when it started.
const helloSource = `package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	before, _ := os.ReadFile("/data/mark")
	if err := os.WriteFile("/data/mark", append(before, 'x'), 0o644); err != nil {
		panic(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello %sx", before) })
	http.HandleFunc("/self", func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get("http://" + os.Getenv("HELLO_SERVICE_HOST") + ":80/")
		if err != nil {
			http.Error(w, err.Error(), 502)
			return
		}
		defer resp.Body.Close()
		io.Copy(w, resp.Body)
	})
	panic(http.ListenAndServe(":8080", nil))
}
`

const helloObjects = `apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {selector: {app: hello}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: hello}
spec:
  ingressClassName: traefik
  tls: [{hosts: [` + testHost + `], secretName: hello-tls}]
  rules:
  - host: ` + testHost + `
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: hello, port: {number: 80}}}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: hello}
spec:
  serviceName: hello
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: hello
        image: localhost/hello:1
        imagePullPolicy: Never
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

func TestClusterLifecycle(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	first, second := open(t, "test-a"), open(t, "test-b")
	before := hostState(t)
	t.Cleanup(func() {
		for _, c := range []*localcluster.Cluster{first, second} {
			if _, err := c.Down(context.WithoutCancel(ctx)); err != nil {
				t.Errorf("down: %v", err)
			}
		}
	})

	began := time.Now()
	must(t, first.Up(ctx, localcluster.UpOptions{RegistryHosts: []string{"docker.packages.test"}}))
	t.Logf("up: %.1fs", time.Since(began).Seconds())

	began = time.Now()
	must(t, first.Up(ctx, localcluster.UpOptions{}))
	t.Logf("up again: %.1fs", time.Since(began).Seconds())

	runHello(ctx, t, first)
	client := ingressClient(t, first)
	expectBody(ctx, t, client, "https://"+testHost+"/", "hello x")
	expectBody(ctx, t, client, "https://"+testHost+"/self", "hello x") // from a pod through its own Service

	t.Run("a pod finds its volume again", func(t *testing.T) {
		kubectl(ctx, t, first, "", "delete", "pod", "hello-0")
		kubectl(ctx, t, first, "", "rollout", "status", "statefulset/hello", "--timeout=60s")
		expectBody(ctx, t, client, "https://"+testHost+"/", "hello xx")
	})
	t.Run("traffic goes on without the API server", func(t *testing.T) {
		must(t, first.StopComponent(ctx, localcluster.APIServer))
		expectBody(ctx, t, client, "https://"+testHost+"/", "hello xx")
		must(t, first.StartComponent(ctx, localcluster.APIServer))
		kubectl(ctx, t, first, "", "get", "nodes")
	})
	t.Run("the audit log shows requests, but no leases", func(t *testing.T) {
		log, err := os.ReadFile(first.AuditLog())
		must(t, err)
		if !bytes.Contains(log, []byte(`"name":"hello-0"`)) {
			t.Error("the pod's deletion is not in the audit log")
		}
		if bytes.Contains(log, []byte(`"resource":"leases"`)) {
			t.Error("leases are in the audit log")
		}
	})
	t.Run("a second cluster and a Docker daemon for each live beside it", func(t *testing.T) {
		must(t, second.Up(ctx, localcluster.UpOptions{}))
		for _, c := range []*localcluster.Cluster{first, second} {
			useDocker(ctx, t, c)
		}
		expectBody(ctx, t, client, "https://"+testHost+"/", "hello xx")
		down(ctx, t, second)
		expectBody(ctx, t, client, "https://"+testHost+"/", "hello xx")
	})
	t.Run("a component that ends is noticed and repaired by up", func(t *testing.T) {
		kill, err := exec.CommandContext(ctx, "pgrep", "-f", "kube-scheduler --kubeconfig="+first.Dir()).Output()
		must(t, err)
		must(t, exec.CommandContext(ctx, "kill", "-9", strings.TrimSpace(string(kill))).Run())
		for state := machine.Running; state != machine.Failed; time.Sleep(20 * time.Millisecond) {
			components, err := first.Components(ctx)
			must(t, err)
			for _, c := range components {
				if c.Name == localcluster.Scheduler {
					state = c.State
				}
			}
		}
		must(t, first.Up(ctx, localcluster.UpOptions{}))
	})
	t.Run("an interrupted up is cleaned up after", func(t *testing.T) {
		for _, patience := range []time.Duration{200 * time.Millisecond, 3 * time.Second, 6 * time.Second} {
			short, stop := context.WithTimeout(ctx, patience)
			if err := second.Up(short, localcluster.UpOptions{}); err == nil {
				t.Errorf("up succeeded within %s", patience)
			}
			stop()
		}
		must(t, second.Up(ctx, localcluster.UpOptions{}))
	})
	down(ctx, t, first)
	down(ctx, t, second)
	if removed, err := first.Down(ctx); err != nil || len(removed) > 0 {
		t.Errorf("down again: removed %v, error %v", removed, err)
	}
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("something stays behind (-before +after):\n%s", diff)
	}
}

func open(t *testing.T, name string) *localcluster.Cluster {
	t.Helper()
	c, err := localcluster.Open(name)
	must(t, err)
	c.Log = t.Output()
	return c
}

func runHello(ctx context.Context, t *testing.T, c *localcluster.Cluster) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "hello.go"), []byte(helloSource), 0o644))
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "hello"), filepath.Join(dir, "hello.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	binary, err := os.ReadFile(filepath.Join(dir, "hello"))
	must(t, err)
	archive := filepath.Join(dir, "hello.tar")
	must(t, localcluster.WriteImageArchive(archive, "localhost/hello:1",
		localcluster.ImageConfig{User: "65532:65532", Entrypoint: []string{"/hello"}},
		[]localcluster.ImageFile{{Path: "hello", Data: binary, Mode: 0o755}}))
	must(t, c.LoadImage(ctx, archive))

	cert, key, err := c.IssueCertificate(testHost)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600))
	kubectl(ctx, t, c, "", "create", "secret", "tls", "hello-tls", "--cert="+filepath.Join(dir, "tls.crt"), "--key="+filepath.Join(dir, "tls.key"))
	kubectl(ctx, t, c, helloObjects, "apply", "-f", "-")
	kubectl(ctx, t, c, "", "rollout", "status", "statefulset/hello", "--timeout=60s")
}

// useDocker builds an image from nothing and lets the daemon ask the registry
// host, which is Traefik without a route: a 404 under a trusted certificate.
func useDocker(ctx context.Context, t *testing.T, c *localcluster.Cluster) {
	t.Helper()
	options, err := c.DockerOptions("docker.packages.test")
	must(t, err)
	must(t, c.Docker().Up(ctx, options))
	must(t, c.Docker().Up(ctx, options))
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\n"), 0o644))
	build, err := c.Docker().Command(ctx, "build", "-t", "docker.packages.test/a/b/c:1", dir)
	must(t, err)
	build.Env = append(build.Env, "DOCKER_BUILDKIT=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("docker build: %v: %s", err, out)
	}
	push, err := c.Docker().Command(ctx, "push", "docker.packages.test/a/b/c:1")
	must(t, err)
	out, err := push.CombinedOutput()
	if err == nil || strings.Contains(string(out), "no such host") {
		t.Errorf("docker push to a host without a registry: %v: %s", err, out)
	}
}

func ingressClient(t *testing.T, c *localcluster.Cluster) *http.Client {
	t.Helper()
	ip, err := c.NodeIP()
	must(t, err)
	ca, err := os.ReadFile(c.CACert())
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, ip.String()+":443")
		},
	}}
}

// expectBody waits for the answer, because Traefik learns of routes and of
// pods a moment later than we do.
func expectBody(ctx context.Context, t *testing.T, client *http.Client, url, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		must(t, err)
		resp, err := client.Do(req)
		if err != nil {
			got = err.Error()
		} else {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			got = string(body)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("GET %s answers %q, want %q", url, got, want)
		}
	}
}

func kubectl(ctx context.Context, t *testing.T, c *localcluster.Cluster, stdin string, args ...string) {
	t.Helper()
	cmd, err := c.Kubectl(ctx, args...)
	must(t, err)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func down(ctx context.Context, t *testing.T, c *localcluster.Cluster) {
	t.Helper()
	began := time.Now()
	removed, err := c.Down(ctx)
	must(t, err)
	t.Logf("down in %.1fs: %v", time.Since(began).Seconds(), removed)
}

// hostState is what a cluster could leave behind on this machine. Other work
// may go on beside the test, so only what bears a cluster's marks counts
// where that is possible.
func hostState(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for name, command := range map[string]string{
		"processes":      `ps -eo args | grep -E 'clusters/test-[ab]|containerd-shim' | grep -v grep | sort`,
		"mounts":         `grep -E 'clusters/test-[ab]' /proc/self/mounts | sort`,
		"interfaces":     `ip -o link | awk -F': ' '{print $2}' | grep -E '^po-test-[ab]' | sort`,
		"routes":         `ip route | grep -E 'po-test-[ab]'`,
		"packet filter":  `iptables-save | grep -v '^#' | sed 's/\[.*//'; iptables-legacy-save 2>/dev/null | grep -v '^#' | sed 's/\[.*//'`,
		"control groups": `find /sys/fs/cgroup -type d -name 'packages-operator-test-[ab]*' -o -type d -name 'kubepods*' | sort`,
		"sysctls":        `cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops /proc/sys/net/ipv4/ip_forward`,
		"etc":            `cat /etc/hosts; find /etc/docker /etc/cni /etc/containerd 2>/dev/null`,
		"var and run":    `ls -d /var/lib/cni /var/lib/containerd /var/lib/docker /var/lib/kubelet /var/log/pods /run/containerd /run/docker* /run/netns /run/kubernetes 2>/dev/null`,
	} {
		out, _ := exec.Command("sh", "-c", command).Output() // grep that finds nothing is what we want
		state[name] = string(out)
	}
	list, err := localcluster.List()
	must(t, err)
	for _, c := range list {
		if strings.HasPrefix(c.Name(), "test-") {
			state["state directories"] += fmt.Sprintln(c.Dir())
		}
	}
	return state
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
