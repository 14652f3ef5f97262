// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// A directory whose name needs quoting everywhere.
func testLayout(t *testing.T) layout {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `a "b": c`)
	l := layout{Name: "demo", Dir: dir, NodeIP: "198.19.0.2", CNIBin: "/usr/lib/cni", Snapshotter: "overlayfs", Cgroup: "/po"}
	if err := writePKI(filepath.Join(dir, "pki"), l.Name, l.NodeIP); err != nil {
		t.Fatal(err)
	}
	if err := writeConfig(l); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConfigurationFilesAreWellFormedInAnyDirectory(t *testing.T) {
	l := testLayout(t)
	for name := range configFiles {
		if filepath.Ext(name) == ".toml" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(l.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var parsed map[string]any
		if err := yaml.UnmarshalStrict(data, &parsed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "config/kubelet.yaml" && parsed["tlsCertFile"] != l.PKI("kubelet-server.crt") {
			t.Errorf("the kubelet reads its certificate from %v", parsed["tlsCertFile"])
		}
	}
	for _, doc := range strings.Split(baseObjects+volumes(l), "---\n") {
		var object struct {
			Kind string
			Spec struct{ Local struct{ Path string } }
		}
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Errorf("%v in:\n%s", err, doc)
		}
		if object.Kind == "PersistentVolume" && filepath.Dir(object.Spec.Local.Path) != filepath.Join(l.Dir, "volumes") {
			t.Errorf("a volume is at %s", object.Spec.Local.Path)
		}
	}
}

func TestKubeconfigBelongsToTheClusterAlone(t *testing.T) {
	l := testLayout(t)
	config, err := clientcmd.LoadFromFile(filepath.Join(l.Dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.Clusters["demo"].Server, "https://198.19.0.2:6443"; got != want || config.CurrentContext != "demo" {
		t.Errorf("server %s in context %s, want %s in demo", got, config.CurrentContext, want)
	}
	info, err := os.Stat(filepath.Join(l.Dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestEveryComponentRunsWithFilesThatExist(t *testing.T) {
	l := testLayout(t)
	if err := writeFile(filepath.Join(l.Dir, traefikTokenFile), "token", 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range components(l, tools{ControlPlane: "/cp", Node: "/n", Traefik: "/t"}) {
		seen[c.Name] = true
		for _, arg := range c.Args[1:] {
			_, value, _ := strings.Cut(arg, "=")
			if strings.HasPrefix(value, filepath.Join(l.Dir, "pki")) || strings.HasPrefix(value, filepath.Join(l.Dir, "config")) {
				if _, err := os.Stat(value); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		}
	}
	for _, name := range []string{Etcd, APIServer, ControllerManager, Scheduler, Containerd, Kubelet, Proxy, Traefik} {
		if !seen[name] {
			t.Errorf("no component %s", name)
		}
	}
}

func TestIssuedCertificatesAreTrustedForTheirHostsOnly(t *testing.T) {
	dir := t.TempDir()
	c := &Cluster{name: "demo", dir: dir}
	if err := writePKI(filepath.Join(dir, "pki"), "demo", "198.19.0.2"); err != nil {
		t.Fatal(err)
	}
	cert, key, err := c.IssueCertificate("packages.test", "*.packages.test", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(c.CACert())
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(ca)
	for host, want := range map[string]bool{
		"packages.test": true, "docker.packages.test": true, "192.0.2.1": true, "example.com": false, "a.b.packages.test": false,
	} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		if (err == nil) != want {
			t.Errorf("%s: valid %v, want %v (%v)", host, err == nil, want, err)
		}
	}
	if _, _, err := c.IssueCertificate(); err == nil {
		t.Error("a certificate for nobody was issued")
	}
}

func TestRegistryHostsReachTheNodesFiles(t *testing.T) {
	dir := t.TempDir()
	c := &Cluster{name: "demo", dir: filepath.Join(dir, "demo")}
	network, err := chooseNetwork("demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.save(&settings{Network: *network}); err != nil {
		t.Fatal(err)
	}
	for _, hosts := range [][]string{{"docker.packages.test"}, {"packages.test", "docker.packages.test"}} {
		if err := c.AddRegistryHosts(t.Context(), hosts...); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(c.dir, "etc/hosts"))
	if err != nil {
		t.Fatal(err)
	}
	ip := network.Node.Addr().String()
	want := "127.0.0.1 localhost\n::1 localhost\n" + ip + " demo\n" +
		ip + " docker.packages.test # packages-operator demo\n" + ip + " packages.test # packages-operator demo\n"
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	toml, err := os.ReadFile(filepath.Join(c.dir, "etc/containerd/certs.d/packages.test/hosts.toml"))
	if err != nil || !strings.Contains(string(toml), `[host."https://packages.test"]`) {
		t.Errorf("hosts.toml: %v\n%s", err, toml)
	}
	for _, bad := range []string{"../x", "Upper.test", "a/b", ""} {
		if err := c.AddRegistryHosts(t.Context(), bad); err == nil {
			t.Errorf("host %q was accepted", bad)
		}
	}
}

func TestClusterNames(t *testing.T) {
	t.Setenv("PACKAGES_OPERATOR_CACHE", t.TempDir())
	for name, want := range map[string]bool{
		"demo": true, "e2e-1a2b3c4d": true, "a": true, "": false, "Demo": false, "../x": false, "a-": false, "1a": false, "abcdefghijklm": false,
	} {
		if _, err := Open(name); (err == nil) != want {
			t.Errorf("name %q accepted: %v, want %v", name, err == nil, want)
		}
	}
}

func TestImageArchiveIsAnImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	err := WriteImageArchive(path, "localhost/x:1", ImageConfig{User: "65532", Entrypoint: []string{"/x"}},
		[]ImageFile{{Path: "x", Data: []byte("program"), Mode: 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, error %v", len(layers), err)
	}
	diffID, err := layers[0].DiffID()
	if err != nil || diffID != config.RootFS.DiffIDs[0] {
		t.Errorf("layer %v, configuration says %v, error %v", diffID, config.RootFS.DiffIDs, err)
	}
	if config.OS != "linux" || config.Config.User != "65532" {
		t.Errorf("configuration %+v", config)
	}
}

func TestWithoutProxies(t *testing.T) {
	got := WithoutProxies([]string{"PATH=/bin", "https_proxy=x", "HTTP_PROXY=y", "NO_PROXY=z", "MY_HTTP_PROXY=kept"})
	if want := []string{"PATH=/bin", "MY_HTTP_PROXY=kept"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
