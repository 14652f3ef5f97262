// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

const (
	name              = "demo" // of the local cluster and the folder of state
	namespace         = "packages-demo"
	operatorNamespace = "packages-operator-system"

	// What config/samples declares.
	instance     = "acme"
	hostname     = "packages.test"
	registryHost = "docker." + hostname
	tlsSecret    = "packages-test-tls"
	user         = "monalisa"
	userSecret   = "monalisa-token"
	pullSecret   = "octo-app-pull"

	image   = registryHost + "/octocat/octo-app/monalisa:1.0"
	podName = "hello"

	readyPatience = 3 * time.Minute
)

// demo is one run, with what its steps hand on.
type demo struct {
	settings settings
	progress *progress
	dir      string
	cluster  *localcluster.Cluster
	docker   *localcluster.Docker
	target   target
	kube     *kube
	alone    *alone
	archive  string // the operator's image
	tag      string // and its reference in the cluster
	class    string
	address  netip.Addr
}

func up(ctx context.Context, s settings, p *progress) error {
	d := &demo{settings: s, progress: p}
	defer func() {
		if d.alone != nil {
			d.alone.stop()
		}
	}()
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"A Docker daemon", d.startDocker},
		{"The operator's binary, and the registry alone", d.buildBinary},
		{"A Kubernetes", d.startCluster},
		{"The operator's image", d.buildImage},
		{"CRDs, RBAC and the operator (config/default)", d.install},
		{"An instance, a repository, two tokens (config/samples)", d.declare},
		{"Ready, behind the ingress controller", d.waitReady},
		{"docker login", d.login},
		{"docker build, docker push", d.push},
		{"docker rmi, docker pull", d.pull},
		{"A pod that pulls with the operator's imagePullSecret", d.runPod},
	}
	p.total = len(steps)
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, step := range steps {
		if err := p.step(step.title, func() error { return step.do(ctx) }); err != nil {
			return err
		}
	}
	p.table()
	return d.lookAround(ctx)
}

// prepare decides where the demo runs, before anything is made.
func (d *demo) prepare(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return &failure{err: fmt.Errorf("the demo needs root"), next: "run make demo as root, for example on a fresh virtual machine."}
	}
	if _, err := os.Stat("hack/tools.sh"); err != nil {
		return &failure{err: err, next: "run make demo in the top folder of a clone."}
	}
	var err error
	if d.dir, err = stateDir(); err != nil {
		return err
	}
	if d.cluster, err = localcluster.Open(name); err != nil {
		return err
	}
	d.cluster.Log = d.progress
	d.docker = d.cluster.Docker()
	r, err := choose(ctx, d.settings, kindIsUsable)
	if err != nil {
		return err
	}
	d.target, err = targetOf(r, d.settings, d.cluster, d.progress)
	return err
}

func (d *demo) startDocker(ctx context.Context) error {
	return advise(d.docker.Up(ctx, localcluster.DockerOptions{}), "start a Docker daemon yourself, or look at the lines above, then make demo again.")
}

func (d *demo) buildBinary(ctx context.Context) error {
	d.progress.say("go build; a few minutes with an empty cache, seconds later on")
	cmd := exec.CommandContext(ctx, "make", "--silent", "--no-print-directory", "build")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // make ends the compiler
	if _, err := output(ctx, cmd); err != nil {
		return advise(err, "fix the build, then make demo again.")
	}
	var err error
	if d.alone, err = startAlone(ctx, d.dir); err != nil {
		return advise(err, "make run shows the same without the rest.")
	}
	return d.alone.show(ctx, d.progress, d.docker)
}

func (d *demo) startCluster(ctx context.Context) error {
	if err := d.target.up(ctx); err != nil {
		return err
	}
	var err error
	if d.kube, err = newKube(ctx, d.target); err != nil {
		return err
	}
	if d.class, d.address, err = d.target.ingress(ctx); err != nil {
		return err
	}
	if err := d.target.trust(ctx, []string{registryHost, hostname}); err != nil {
		return err
	}
	ca, err := os.ReadFile(d.cluster.CACert())
	if err != nil {
		return err
	}
	return d.docker.Up(ctx, localcluster.DockerOptions{Hosts: []string{registryHost, hostname}, Address: d.address, CA: ca})
}

// buildImage tags the image by its content, so that a second run with another
// binary rolls it out, and one with the same changes nothing.
func (d *demo) buildImage(ctx context.Context) error {
	if d.settings.image != "" {
		d.tag = d.settings.image
		d.progress.say("DEMO_IMAGE: %s", d.tag)
		return nil
	}
	binary, err := os.ReadFile("bin/packages-operator")
	if err != nil {
		return err
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(binary, dockerfile...))
	d.tag = "packages-operator:demo-" + hex.EncodeToString(sum[:6])
	if err := d.dockerRun(ctx, "build", "--quiet", "--tag", d.tag, "."); err != nil {
		return err
	}
	d.archive = filepath.Join(d.dir, "operator.tar")
	if err := d.dockerRun(ctx, "save", "--output", d.archive, d.tag); err != nil {
		return err
	}
	if err := d.target.loadImage(ctx, d.archive); err != nil {
		return err
	}
	d.progress.say("%s is on the node", d.tag)
	return os.Remove(d.archive)
}

func (d *demo) install(ctx context.Context) error {
	objects, err := d.kustomize(ctx, "config/default", operatorOverlay(d.tag))
	if err != nil {
		return err
	}
	if err := d.kube.apply(ctx, objects); err != nil {
		return d.explain(ctx, err, "fix config/default, then make demo again.")
	}
	for _, args := range [][]string{
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/packagesinstances.packages-operator.io",
			"crd/packagesorganizations.packages-operator.io",
			"crd/packagesrepositories.packages-operator.io", "crd/packagestokens.packages-operator.io", "crd/packagespolicies.packages-operator.io"},
		{"rollout", "status", "--namespace", operatorNamespace, "--timeout=120s", "deployment"},
	} {
		out, err := d.kube.run(ctx, args...)
		if err != nil {
			return d.explain(ctx, err, "the operator's log and events say why it does not start.")
		}
		d.progress.say("%s", tail(out, 4))
	}
	return nil
}

func (d *demo) declare(ctx context.Context) error {
	if err := d.kube.apply(ctx, namespaceObject); err != nil {
		return err
	}
	if err := d.ensureCertificate(ctx); err != nil {
		return err
	}
	objects, err := d.kustomize(ctx, "config/samples", samplesOverlay(d.class))
	if err != nil {
		return err
	}
	if err := d.kube.apply(ctx, objects, "--namespace", namespace); err != nil {
		return d.explain(ctx, err, "fix config/samples, then make demo again.")
	}
	d.progress.say("%s/%s, octocat/octo-app, tokens of %s in namespace %s", "packagesinstance", instance, user, namespace)
	return nil
}

// ensureCertificate leaves a Secret alone whose certificate is still signed by
// the present authority.
func (d *demo) ensureCertificate(ctx context.Context) error {
	cert, err := d.kube.run(ctx, "get", "secret", tlsSecret, "--namespace", namespace, "--ignore-not-found",
		"--output", `go-template={{index .data "tls.crt" | base64decode}}`)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(d.cluster.CACert())
	if err != nil {
		return err
	}
	if signedBy([]byte(cert), ca, registryHost) {
		return nil
	}
	certPEM, keyPEM, err := d.cluster.IssueCertificate(hostname, "*."+hostname)
	if err != nil {
		return err
	}
	return d.kube.apply(ctx, tlsObject(certPEM, keyPEM))
}

func (d *demo) waitReady(ctx context.Context) error {
	if err := d.kube.waitReady(ctx, d.progress, readyPatience); err != nil {
		return d.explain(ctx, err, "the conditions above say what is missing.")
	}
	if err := d.waitForRegistries(ctx); err != nil {
		return d.explain(ctx, err, "the registry's events and log say why its pod does not follow.")
	}
	// The controller learns of the route a moment after the operator declared it.
	if err := d.waitForRoute(ctx); err != nil {
		return d.explain(ctx, err, fmt.Sprintf("look at the Ingress (kubectl --namespace %s describe ingress) and at the ingress controller's log.", namespace))
	}
	d.progress.say("https://%s/v2/ asks for a token, over TLS, at %s", registryHost, d.address)
	return nil
}

// waitForRegistries waits until the registry runs the image of this run: after
// an earlier one, Ready may still tell of the image before.
func (d *demo) waitForRegistries(ctx context.Context) error {
	args := []string{"--namespace", namespace, "--selector", "packages-operator.io/instance=" + instance}
	for deadline := time.Now().Add(time.Minute); ; {
		images, err := d.kube.run(ctx, append([]string{"get", "statefulset", "--output=jsonpath={.items[*].spec.template.spec.containers[*].image}"}, args...)...)
		if err != nil {
			return err
		}
		if images == d.tag {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the registry's StatefulSet has the image %q after a minute, want %s", images, d.tag)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	_, err := d.kube.run(ctx, append([]string{"rollout", "status", "statefulset", "--timeout=120s"}, args...)...)
	return err
}

func (d *demo) waitForRoute(ctx context.Context) error {
	ca, err := os.ReadFile(d.cluster.CACert())
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, netip.AddrPortFrom(d.address, 443).String())
		},
	}}
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+registryHost+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusUnauthorized {
				return nil
			}
			err = fmt.Errorf("answer %s, want 401", resp.Status)
		}
		last = err
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("GET https://%s/v2/ at %s: %w", registryHost, d.address, last)
}

func (d *demo) login(ctx context.Context) error {
	password, err := d.kube.run(ctx, "get", "secret", userSecret, "--namespace", namespace, "--output", "go-template={{.data.password | base64decode}}")
	if err != nil {
		return d.explain(ctx, err, "the PackagesToken's conditions say why its Secret is not there.")
	}
	cmd, err := d.docker.Command(ctx, "login", registryHost, "--username", user, "--password-stdin")
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(password)
	d.progress.say("$ kubectl get secret %s … | docker login %s -u %s --password-stdin", userSecret, registryHost, user)
	out, err := output(ctx, cmd)
	if err != nil {
		return d.explain(ctx, err, "the registry's log above says why it refused.")
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "Succeeded") {
			d.progress.say("%s", line)
		}
	}
	return nil
}

func (d *demo) push(ctx context.Context) error {
	build := filepath.Join(d.dir, "hello")
	if err := os.MkdirAll(build, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(build, "hello"), "./hack/demo/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(ctx, cmd); err != nil {
		return err
	}
	dockerfile := "FROM scratch\nCOPY hello /hello\nUSER 65532:65532\nENTRYPOINT [\"/hello\"]\n"
	if err := os.WriteFile(filepath.Join(build, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	if err := d.dockerShow(ctx, "build", "--quiet", "--tag", image, build); err != nil {
		return err
	}
	return d.dockerShow(ctx, "push", image)
}

func (d *demo) pull(ctx context.Context) error {
	if err := d.dockerShow(ctx, "rmi", image); err != nil {
		return err
	}
	return d.dockerShow(ctx, "pull", image)
}

// runPod lets the kubelet pull, always: no copy on the node will do.
func (d *demo) runPod(ctx context.Context) error {
	if _, err := d.kube.run(ctx, "delete", "pod", podName, "--namespace", namespace, "--ignore-not-found", "--grace-period=0", "--wait"); err != nil {
		return err
	}
	if err := d.kube.apply(ctx, podObject); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		items, err := d.kube.list(ctx, "pods", "--namespace", namespace, "--field-selector", "metadata.name="+podName)
		if err != nil {
			return err
		}
		if len(items) == 1 && items[0].Status.Phase == "Succeeded" {
			break
		}
		if time.Now().After(deadline) || (len(items) == 1 && items[0].Status.Phase == "Failed") {
			return d.explain(ctx, fmt.Errorf("pod %s did not run to its end within a minute", podName),
				"the events above say whether the image could not be pulled; the nodes must resolve "+registryHost+" and trust its certificate.")
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	log, err := d.kube.run(ctx, "logs", podName, "--namespace", namespace)
	if err != nil {
		return err
	}
	d.progress.say("image %s\nimagePullSecrets %s\n%s", image, pullSecret, log)
	return nil
}

// dockerRun runs docker; dockerShow shows the command and its last lines too.
func (d *demo) dockerRun(ctx context.Context, args ...string) error {
	_, err := d.dockerOutput(ctx, args...)
	return err
}

func (d *demo) dockerShow(ctx context.Context, args ...string) error {
	d.progress.say("$ docker %s", strings.Join(args, " "))
	out, err := d.dockerOutput(ctx, args...)
	if err == nil {
		d.progress.say("%s", tail(out, 4))
	}
	return err
}

func (d *demo) dockerOutput(ctx context.Context, args ...string) (string, error) {
	cmd, err := d.docker.Command(ctx, args...)
	if err != nil {
		return "", err
	}
	// The classic builder needs no plugin, and Debian's daemon no other.
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=0")
	out, err := output(ctx, cmd)
	if err != nil {
		return "", d.explain(ctx, err, "docker's last lines and the registry's log say why.")
	}
	return out, nil
}

// explain adds what the cluster has to say.
func (d *demo) explain(ctx context.Context, err error, next string) error {
	if ctx.Err() != nil || d.kube == nil {
		return err
	}
	return &failure{err: err, detail: d.kube.diagnosis(ctx), next: next}
}

func (d *demo) lookAround(ctx context.Context) error {
	env, err := d.docker.Env()
	if err != nil {
		return err
	}
	d.progress.say("%s", strings.NewReplacer(
		"KUBECONFIG_FILE", d.target.kubeconfig(),
		"KUBECTL_DIR", filepath.Dir(d.kube.path),
		"OPERATOR_NAMESPACE", operatorNamespace,
		"NAMESPACE", namespace,
		"INSTANCE", instance,
		"DOCKER_ENVIRONMENT", exports(env),
		"IMAGE2", strings.TrimSuffix(image, "1.0")+"2.0",
		"IMAGE", image,
		"HOST", registryHost,
		"ADDRESS", d.address.String(),
		"CA_FILE", d.cluster.CACert(),
		"USER", user,
	).Replace(lookAroundText))
	return ctx.Err()
}

const lookAroundText = `
Done: a push through a real ingress controller, over TLS, and a pod that pulled it.

Look around:

  export KUBECONFIG=KUBECONFIG_FILE
  export PATH=KUBECTL_DIR:$PATH
  kubectl --namespace NAMESPACE get pkgi,pkgorg,pkgrepo,pkgtoken
  kubectl --namespace NAMESPACE get pods,ingress,secrets,pvc
  kubectl --namespace NAMESPACE describe pkgi INSTANCE
  kubectl --namespace OPERATOR_NAMESPACE logs --selector app.kubernetes.io/name=packages-operator

Pull and push (USER is logged in):

DOCKER_ENVIRONMENT
  docker pull IMAGE
  docker tag IMAGE IMAGE2
  docker push IMAGE2

Make the registry read-only, which takes less than a second, push again, and back:

  kubectl --namespace NAMESPACE patch pkgi INSTANCE --type merge --patch '{"spec":{"docker":{"support":"ReadOnly"}}}'
  docker push IMAGE2
  kubectl --namespace NAMESPACE patch pkgi INSTANCE --type merge --patch '{"spec":{"docker":{"support":"Enabled"}}}'

Without docker:

  curl --cacert CA_FILE --resolve HOST:443:ADDRESS https://HOST/v2/

Remove everything:

  make demo-down
`

// exports are the lines that set the environment in a shell.
func exports(env []string) string {
	var b strings.Builder
	for i, entry := range env {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("  export " + entry)
	}
	return b.String()
}
