// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/hack/localcluster"
)

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want settings
		err  []string // all of these must be in the message
	}{
		{name: "nothing set", want: settings{cluster: auto}},
		{name: "a kind of cluster", env: map[string]string{"DEMO_CLUSTER": "local"}, want: settings{cluster: local}},
		{name: "an unknown kind", env: map[string]string{"DEMO_CLUSTER": "minikube"}, err: []string{"DEMO_CLUSTER=minikube", "auto, kind or local"}},
		{
			name: "another cluster, all said",
			env: map[string]string{
				"DEMO_KUBECONFIG": "/k", "DEMO_IMAGE": "example.com/po:1", "DEMO_INGRESS_CLASS": "nginx", "DEMO_INGRESS_ADDRESS": "192.0.2.7",
			},
			want: settings{cluster: external, kubeconfig: "/k", image: "example.com/po:1", ingressClass: "nginx", ingressAddress: netip.MustParseAddr("192.0.2.7")},
		},
		{
			name: "another cluster, all missing", env: map[string]string{"DEMO_KUBECONFIG": "/k"},
			err: []string{"DEMO_IMAGE", "DEMO_INGRESS_CLASS", "DEMO_INGRESS_ADDRESS"},
		},
		{
			name: "an address that is a name",
			env: map[string]string{
				"DEMO_KUBECONFIG": "/k", "DEMO_IMAGE": "i", "DEMO_INGRESS_CLASS": "nginx", "DEMO_INGRESS_ADDRESS": "ingress.example.com",
			},
			err: []string{"not an IP address"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := settingsFrom(func(name string) string { return test.env[name] })
			if len(test.err) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(settings{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return
			}
			for _, part := range test.err {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v does not say %q", err, part)
				}
			}
		})
	}
}

func TestTheClusterIsChosenOnceAndKept(t *testing.T) {
	t.Setenv("PACKAGES_OPERATOR_CACHE", t.TempDir())
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	usable := func(is bool) func(context.Context) bool { return func(context.Context) bool { return is } }
	forget := func() {
		file, err := recordFile()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}

	for _, test := range []struct {
		kind bool
		want string
	}{{false, local}, {true, kind}} {
		r, err := choose(t.Context(), settings{cluster: auto}, usable(test.kind))
		if err != nil || r.Cluster != test.want {
			t.Errorf("with kind usable %v: %v, error %v, want %s", test.kind, r, err, test.want)
		}
		again, err := choose(t.Context(), settings{cluster: auto}, usable(!test.kind))
		if err != nil || again.Cluster != test.want {
			t.Errorf("the second run chose %v, error %v", again, err)
		}
		forget()
	}
	if _, err := choose(t.Context(), settings{cluster: local}, usable(true)); err != nil {
		t.Fatal(err)
	}
	_, err := choose(t.Context(), settings{cluster: external, kubeconfig: config}, usable(true))
	var f *failure
	if !errors.As(err, &f) || !strings.Contains(f.next, "demo-down") {
		t.Errorf("two clusters at once: %v", err)
	}
	forget()
	if _, err := choose(t.Context(), settings{cluster: external, kubeconfig: config + ".absent"}, usable(true)); err == nil {
		t.Error("a kubeconfig that is not there was accepted")
	}
}

func TestReadyMeansReadyForWhatIsDeclaredNow(t *testing.T) {
	ready := condition{Type: "Ready", Status: "True", Reason: "Succeeded"}
	for _, test := range []struct {
		name             string
		generation, seen int64
		conditions       []condition
		want             bool
		line             string
	}{
		{"no status", 1, -1, nil, false, "packagesinstance/acme: not looked at yet"},
		{"ready", 2, 2, []condition{{Type: "Accepted", Status: "True"}, ready}, true, "packagesinstance/acme: Ready=True Succeeded"},
		{"ready for an older generation", 3, 2, []condition{ready}, false, "packagesinstance/acme: not looked at yet"},
		{
			"not ready", 1, 1, []condition{{Type: "Ready", Status: "False", Reason: "PodsNotReady", Message: "0 of 1"}}, false,
			"packagesinstance/acme: Ready=False PodsNotReady: 0 of 1",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := object{Kind: "PackagesInstance"}
			o.Metadata.Name, o.Metadata.Generation = "acme", test.generation
			o.Status.ObservedGeneration, o.Status.Conditions = test.seen, test.conditions
			if got, line := o.ready(); got != test.want || line != test.line {
				t.Errorf("got %v, %q", got, line)
			}
		})
	}
}

func TestOverlaysAreKustomizations(t *testing.T) {
	for reference, want := range map[string]map[string]any{
		"packages-operator:demo-1":  {"name": "packages-operator", "newName": "packages-operator", "newTag": "demo-1"},
		"example.com:5000/a/b":      {"name": "packages-operator", "newName": "example.com:5000/a/b", "newTag": "latest"},
		"example.com:5000/a/b:v1":   {"name": "packages-operator", "newName": "example.com:5000/a/b", "newTag": "v1"},
		"example.com/a@sha256:0123": {"name": "packages-operator", "newName": "example.com/a", "digest": "sha256:0123"},
	} {
		var parsed struct{ Images []map[string]any }
		if err := yaml.Unmarshal([]byte(operatorOverlay(reference)), &parsed); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]map[string]any{want}, parsed.Images); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reference, diff)
		}
	}
	for _, text := range []string{samplesOverlay("nginx"), namespaceObject, podObject, tlsObject([]byte("c"), []byte("k")), traefikObjects, kindConfig} {
		for _, doc := range strings.Split(text, "\n---\n") {
			var parsed map[string]any
			if err := yaml.UnmarshalStrict([]byte(doc), &parsed); err != nil {
				t.Errorf("%v in\n%s", err, doc)
			}
		}
	}
}

// The demo speaks of what config/samples declares.
func TestSamplesDeclareWhatTheDemoUses(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	for _, value := range []string{"name: " + instance, "hostname: " + hostname, "secretName: " + tlsSecret, "user: " + user,
		"name: " + userSecret, "name: " + pullSecret, "owner: octocat", "name: octo-app", "className:"} {
		if !strings.Contains(all.String(), value+"\n") && !strings.Contains(all.String(), value+" ") {
			t.Errorf("no %q in config/samples", value)
		}
	}
}

func TestProgressShowsNumbersTimesAndFailures(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	p := &progress{out: &out, began: now, total: 2, now: func() time.Time { return now }}
	if err := p.step("First", func() error { p.say("one\ntwo\n"); now = now.Add(65 * time.Second); return nil }); err != nil {
		t.Fatal(err)
	}
	err := p.step("Second", func() error {
		return advise(&failure{err: errors.New("broken"), detail: "log line", next: "mend it"}, "not this")
	})
	p.table()
	p.fail(err)
	want := `
[1/2  0:00] First
      one
      two

[2/2  1:05] Second

  1     65.0 s  First
        65.0 s  in all

log line

FAILED: Second
broken

What to do: mend it
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFreeAddressAvoidsATakenPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	taken := listener.Addr().String()
	got, err := freeAddress(taken)
	if err != nil || got == taken || !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("got %s, error %v, while %s is taken", got, err, taken)
	}
}

func TestACertificateOfAnotherAuthorityIsReplaced(t *testing.T) {
	t.Setenv("PACKAGES_OPERATOR_CACHE", t.TempDir())
	var certs, cas [][]byte
	for _, name := range []string{"one", "two"} {
		c, err := localcluster.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.EnsureAuthority(); err != nil {
			t.Fatal(err)
		}
		cert, _, err := c.IssueCertificate(hostname, "*."+hostname)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(c.CACert())
		if err != nil {
			t.Fatal(err)
		}
		certs, cas = append(certs, cert), append(cas, ca)
	}
	if !signedBy(certs[0], cas[0], registryHost) {
		t.Error("the authority's own certificate is not recognized")
	}
	if signedBy(certs[0], cas[1], registryHost) || signedBy(certs[0], cas[0], "example.com") || signedBy(nil, cas[0], registryHost) {
		t.Error("a certificate of another authority, for another host, or none is accepted")
	}
}
