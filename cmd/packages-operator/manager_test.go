// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubeconfig names a cluster that answers as handler does.
func kubeconfig(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "` + server.URL + `"}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
users: [{name: test, user: {}}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func kubernetes(release string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion":"` + release + `"}`))
	}
}

func TestManagerSaysWhatItLacks(t *testing.T) {
	t.Setenv("REGISTRY_IMAGE", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", kubeconfig(t, kubernetes("v1.37.0")))
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no image": {
			[]string{"--kubeconfig", kubeconfig(t, kubernetes("v1.37.0"))},
			"set --registry-image or the environment variable REGISTRY_IMAGE",
		},
		"no cluster, though kubectl has a current one": {
			[]string{"--registry-image", "example.com/image"},
			"name a cluster with --kubeconfig FILE",
		},
		"an old cluster": {
			[]string{"--registry-image", "example.com/image", "--kubeconfig", kubeconfig(t, kubernetes("v1.31.4"))},
			"needs 1.32 or later, so upgrade the cluster first",
		},
		"a cluster without our kinds": {
			[]string{"--registry-image", "example.com/image", "--kubeconfig", kubeconfig(t, kubernetes("v1.37.0"))},
			"install the CustomResourceDefinitions first",
		},
		"a proxy that is none": {
			[]string{"--registry-image", "example.com/image", "--trusted-proxies", "10.1.2.3/8"},
			"--trusted-proxies: \"10.1.2.3/8\" names an address within a network; write 10.0.0.0/8",
		},
		"metrics for nobody that there is": {
			[]string{"--registry-image", "example.com/image", "--metrics-access", "anyone"},
			"--metrics-access is \"anyone\"; write Authorized or Anyone",
		},
		"metrics without their certificate": {
			[]string{"--registry-image", "example.com/image", "--metrics-cert-dir", "/nowhere"},
			"reading the certificate of the metrics (--metrics-cert-dir): open /nowhere/tls.crt",
		},
		"a wrong log level": {
			[]string{"--log-level", "loud"},
			"write error, info or debug",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(append([]string{"manager"}, test.args...))
			cmd.SetErr(&strings.Builder{})
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
